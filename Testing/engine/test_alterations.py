"""Anatomy that looks as no training scan does is looked at through alterations too; what is familiar is not."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from IrisSegmentLib.context.levels import altered
from IrisSegmentLib.context.preset import WORTH, Preset
from IrisSegmentLib.engine import Engine
from IrisSegmentLib.engine import engine as engines
from IrisSegmentLib.engine.alterations import ALTERATIONS, AS_IS, Alteration
from IrisSegmentLib.engine.looks import weighed
from IrisSegmentLib.evaluation.metrics import dice


@pytest.fixture(scope="module")
def engine():
    return Engine(device="cpu")


def plainly(preset):
    """The same preset as if alterations had never been tried."""
    return replace(preset, references=tuple(replace(r, found_altered=()) for r in preset.references))


def strange(image, truth=None):
    """A scan with dark and bright exchanged and its axes too, and its segmentation. Which axes are the strangest hangs
    on the weights: laid the other way round, those of today find enough without alterations."""
    laid = np.ascontiguousarray(image.array.max() - image.array.transpose(1, 2, 0))
    if truth is None:
        return replace(image, array=laid)
    layers = np.ascontiguousarray(truth.layers.transpose(0, 2, 3, 1))
    return replace(image, array=laid), replace(truth, layers=layers)


@pytest.mark.parametrize("alteration", [AS_IS, *ALTERATIONS, Alteration((2, 1, 0), inverted=True)])
def test_what_is_altered_comes_back(alteration):
    masks = torch.rand(3, 4, 6, 8)
    assert torch.equal(alteration.back(alteration.of_masks(masks)), masks)
    image = masks[:1][None]
    shown = alteration.of_image(image)
    assert torch.equal(alteration.back(-shown if alteration.inverted else shown), image)
    bright, marked = int(image.argmax()), torch.zeros_like(image)
    marked.view(-1)[bright] = 1
    there = shown[alteration.of_masks(marked) > 0]
    assert there == (shown.min() if alteration.inverted else shown.max()), "image and mask are altered alike"


def test_who_does_not_see_a_class_is_hardly_heard():
    sees, blind = torch.full((1, 4, 4, 4), -4.0), torch.full((1, 4, 4, 4), -9.0)
    sees[0, 1:3] = 5.0
    assert torch.equal(weighed([sees, sees]) > 0, sees > 0) and torch.equal(weighed([sees, blind, blind]) > 0, sees > 0)
    assert torch.allclose(weighed([blind, blind]), blind)
    both = weighed([torch.cat([sees, blind]), torch.cat([blind, sees])])
    assert torch.equal(both[0] > 0, sees[0] > 0) and torch.equal(both[1] > 0, sees[0] > 0), "each class for itself"


def test_familiar_anatomy_is_seen_as_it_is(engine, hippocampi):
    preset = engine.encode(*hippocampi[0], name="hippocampus")
    assert not preset.alterations and preset.references[0].found_altered == ()
    assert not any("~" in level for level in preset.references[0].levels)
    assert preset.familiar and preset.embeddings("fine").by_place == (), "by looks alone"


def test_strange_anatomy_is_looked_at_through_alterations(engine, hippocampi, tmp_path):
    """The trained network finds more of it so, in patients that it never saw; a saved preset finds the same."""
    preset = engine.encode(*strange(*hippocampi[0]), name="strange")
    (reference,) = preset.references
    assert preset.alterations == 2 and np.mean(reference.found_altered) > np.mean(reference.found_again)
    preset.save(tmp_path / "s.iris")
    loaded = Preset.load(tmp_path / "s.iris")
    assert loaded.alterations and loaded.references[0].found_altered == reference.found_altered
    gains = []
    for image, truth in hippocampi[1:]:
        image, truth = strange(image, truth)
        found, before = (engine.segment(image, p).segmentation for p in (preset, plainly(preset)))
        gains += [dice(found.mask(n), truth.mask(n)) - dice(before.mask(n), truth.mask(n)) for n in range(2)]
        assert np.array_equal(engine.segment(image, loaded).segmentation.layers, found.layers)
    assert np.mean(gains) > 0.02, gains


def test_strange_anatomy_is_found_by_place_too(engine, hippocampi, monkeypatch):
    """Whether alterations help or not; of several references each by its own cells."""
    preset = engine.encode(*strange(*hippocampi[0]), name="strange")
    other = engine.encode(*strange(*hippocampi[1]), name="other")
    both = preset.with_reference(other)
    assert not both.familiar and both.embeddings("fine").by_place == tuple(
        len(r.levels["fine"].keys) for r in both.references
    )
    assert both.with_enabled(0, False).familiar == (other.references[0].found_altered == ())
    target = strange(hippocampi[2][0])
    found = engine.segment(target, preset).segmentation
    monkeypatch.setattr(Preset, "familiar", True)
    assert not np.array_equal(engine.segment(target, preset).segmentation.layers, found.layers)


def test_alterations_that_find_less_are_not_kept(engine, hippocampi, monkeypatch):
    monkeypatch.setattr(engines, "FAMILIAR", 2.0)  # try them all the same
    preset = engine.encode(*hippocampi[0], name="hippocampus")
    (reference,) = preset.references
    assert len(reference.found_altered) == 2 and not preset.alterations
    kept = np.mean(reference.found_altered) >= np.mean(reference.found_again)
    assert kept == any("~" in level for level in reference.levels)


def test_a_preset_goes_by_all_references_that_are_switched_on(engine, hippocampi):
    preset = engine.learned(*hippocampi[0], name="hippocampus")
    (reference,) = preset.references
    levels = dict(reference.levels) | {altered(level, 0): known for level, known in reference.levels.items()}

    def told(again, otherwise):
        return replace(reference, levels=levels, found_again=again, found_altered=otherwise)

    gains, loses, untried = told((0.5, 0.5), (0.5, 0.6)), told((0.5, 0.5), (0.4, 0.5)), told((0.9, 0.9), ())
    assert replace(preset, references=(gains,)).alterations == 1, "as many as are known"
    assert not replace(preset, references=(loses,)).alterations
    assert bool(replace(preset, references=(gains, untried)).alterations) == (WORTH <= 0.05 / 2)
    assert not replace(preset, references=(gains, loses)).alterations
    assert replace(preset, references=(gains, replace(loses, enabled=False))).alterations
    assert not replace(preset, references=(told((), (0.9, 0.9)),)).alterations, "nothing to compare with"
    assert not replace(preset, references=(replace(gains, levels=reference.levels),)).alterations, "nothing is known"
