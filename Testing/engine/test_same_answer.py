"""Same input, network, device and version: the same voxels, whoever asks and however often.

What is promised: the same request gives the same voxels, run for run, in process or by the worker, from a preset before
and after it was saved. What is not promised: that a class asked for alone has the voxels that it has among others. The
method reads all classes together: the scan's features attend to the tokens of every class (Eq. 5), the closer look goes
where all of them are, and each is looked for where the others say that it should be.
"""

import numpy as np
import pytest
from workerbench import Bench

from IrisSegmentLib.context.preset import Preset
from IrisSegmentLib.engine import Engine
from IrisSegmentLib.evaluation.metrics import dice


@pytest.fixture(scope="module")
def asked(hippocampi):
    """The bundled network's answer, by an engine that has done nothing else."""
    engine = Engine(device="cpu")
    preset = engine.encode(*hippocampi[0], name="h")
    return engine, preset, engine.segment(hippocampi[1][0], preset)


def same(one, other):
    return (
        np.array_equal(one.segmentation.layers, other.segmentation.layers)
        and one.volumes_ml == other.volumes_ml and one.confidence == other.confidence
        and np.array_equal(one.doubt.values, other.doubt.values)
    )  # fmt: skip


def test_every_way_to_ask_gives_the_same_voxels(asked, hippocampi, tmp_path):
    engine, preset, answer = asked
    image = hippocampi[1][0]
    engine.segment(hippocampi[2][0], preset)  # what was done between has no part in it
    assert same(engine.segment(image, preset), answer)
    preset.save(tmp_path / "h.iris")
    loaded = Preset.load(tmp_path / "h.iris")
    fresh = Engine(device="cpu")
    assert same(fresh.segment(image, loaded), answer)
    assert same(fresh.segment(image, fresh.encode(*hippocampi[0], name="h")), answer)
    bench = Bench(None)
    try:
        for one in (preset, loaded):
            bench.wait(bench.ask("segment", image, one), seconds=200)
            assert same(bench.answer, answer)
        bench.wait(bench.ask("encode", *hippocampi[0], name="h"), seconds=200)
        bench.wait(bench.ask("segment", image, bench.answer), seconds=200)
        assert same(bench.answer, answer)
    finally:
        bench.client.close()


def test_a_whole_run_for_one_class_finds_the_same_thing(asked, hippocampi):
    """Not the same voxels, as said above."""
    engine, _preset, answer = asked
    image, marked = hippocampi[0]
    for number in range(len(marked.segments)):
        alone = engine.segment(hippocampi[1][0], engine.encode(image, marked.only([number]), name="one"))
        assert dice(alone.segmentation.mask(0), answer.segmentation.mask(number)) > 0.6
