"""The same scan, preset, network, device and number of threads give the same voxels, bit for bit: in this process or in
the worker, today or tomorrow, before a preset was saved or after, whatever was computed in between.

What is said of one class or many: a preset is its classes. They are decoded together and read each other (Eq. 5), and
the first two looks lie where all of them are; so a preset of fewer classes is another preset, and its voxels are close
to, not the same as, those of the larger one. What is the same is all that a class alone decides: what is learned of it
from the whole reference scan, whichever others are learned with it.
"""

import numpy as np
import pytest
import torch
from workerbench import Bench

from IrisSegmentLib.context.preset import Preset
from IrisSegmentLib.engine import Engine


@pytest.fixture(scope="module")
def engine():
    return Engine(device="cpu")


@pytest.fixture(scope="module")
def first(engine, hippocampi):
    """A preset, and what it finds in a target."""
    preset = engine.encode(*hippocampi[0], name="hippocampus")
    return preset, engine.segment(hippocampi[1][0], preset)


def numbers(preset):
    """All that a network made of a preset's reference, by level."""
    levels = preset.references[0].levels
    return {
        f"{level} {n}": t
        for level, e in levels.items()
        for n, t in enumerate([*e.tokens, e.keys, e.values])
    }


def same(one, other):
    """Whether two results are the same in all that is computed."""
    return (
        np.array_equal(one.segmentation.layers, other.segmentation.layers)
        and one.confidence == other.confidence
        and one.volumes_ml == other.volumes_ml
        and np.array_equal(one.doubt.values, other.doubt.values)
        and one.doubt.places == other.doubt.places
    )


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_again_and_after_other_work(engine, first, hippocampi):
    preset, result = first
    assert min(result.volumes_ml) > 0.5, "something was found"
    other = engine.segment(hippocampi[2][0], preset)
    assert not np.array_equal(other.segmentation.layers, result.segmentation.layers)
    assert same(engine.segment(hippocampi[1][0], preset), result)


def test_after_the_preset_was_saved_and_loaded(engine, first, hippocampi, tmp_path):
    preset, result = first
    preset.save(tmp_path / "kept.iris")
    Preset.load(tmp_path / "kept.iris").save(tmp_path / "again.iris")
    loaded = Preset.load(tmp_path / "again.iris")
    kept = numbers(loaded)
    assert all(torch.equal(t, kept[name]) for name, t in numbers(preset).items())
    assert same(engine.segment(hippocampi[1][0], loaded), result)


def test_in_the_worker_as_in_this_process(first, hippocampi):
    """It learns the preset itself, in a process that has done nothing else."""
    preset, result = first
    bench = Bench(None)
    try:
        bench.wait(bench.ask("encode", *hippocampi[0], name="hippocampus"), seconds=240)
        made = bench.answer
        bench.wait(bench.ask("segment", hippocampi[1][0], made), seconds=240)
    finally:
        bench.client.close()
    assert not bench.errors
    theirs = numbers(made)
    assert all(torch.equal(t, theirs[name]) for name, t in numbers(preset).items())
    assert same(bench.answer, result)


def test_learned_anew_by_another_engine(first, hippocampi):
    preset, result = first
    engine = Engine(device="cpu")
    anew = engine.encode(*hippocampi[0], name="of another name")
    ours = numbers(anew)
    assert all(torch.equal(t, ours[name]) for name, t in numbers(preset).items())
    assert same(engine.segment(hippocampi[1][0], anew), result)


@pytest.mark.parametrize("number", [0, 1])
def test_a_class_learned_alone_or_with_others(engine, first, hippocampi, number):
    """The same from the whole scan, to the last digit that is kept; and close to the same voxels."""
    preset, result = first
    image, segmentation = hippocampi[0]
    alone = engine.encode(image, segmentation.only([number]), name="one")
    many, one = preset.references[0].levels["coarse"], alone.references[0].levels["coarse"]
    assert torch.equal(one.keys, many.keys) and torch.equal(one.values[0], many.values[number])
    for a, b in zip(one.tokens, many.tokens, strict=True):
        assert torch.allclose(a[0].float(), b[number].float(), rtol=0.01, atol=0.02)
    found = engine.segment(hippocampi[1][0], alone).segmentation
    assert dice(found.mask(0), result.segmentation.mask(number)) > 0.7
    assert found.segments[0].name == result.segmentation.segments[number].name
