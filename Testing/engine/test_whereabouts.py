"""Unfamiliar anatomy is looked for where what looks alike puts it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from IrisSegmentLib.context.arrangement import Place
from IrisSegmentLib.context.caution import HARDLY
from IrisSegmentLib.engine import Engine
from IrisSegmentLib.engine.progress import Progress
from IrisSegmentLib.engine.segmenting import Segmenting
from IrisSegmentLib.engine.whereabouts import FromAlignment, FromAnswers
from IrisSegmentLib.imaging.box import Box
from IrisSegmentLib.imaging.volume import Segment, Segmentation, Volume
from IrisSegmentLib.imaging.window import Window, box_of_segments

SIZE = 64  # mm, of a scan
PLACES = (
    Place((-10.0, 0.0, 0.0), (-3.0, -4.0, -5.0), (3.0, 4.0, 5.0)),
    Place((10.0, 0.0, 0.0), (-3.0, -4.0, -5.0), (3.0, 4.0, 5.0)),
)


def window(step):
    """All of a scan, in cells of so many mm."""
    return Window.whole_scan(Volume(np.zeros((SIZE,) * 3, np.float32), np.eye(4), "scan"), round(SIZE / step))


def centers(boxes):
    return np.array([b.center for b in boxes])


def middle(window):
    return window.at((0.0, 0.0, 0.0))


def nothing(window, count=2):
    return torch.full((count, *window.shape), -20.0)


def test_where_the_alignment_puts_them_is_where_they_are_looked_for():
    whereabouts, whole = FromAlignment(PLACES), window(2.0)
    box = whereabouts.around_all(whole, nothing(whole), [(20.0, 31.0, 32.0), (40.0, 31.0, 32.0)])
    assert np.allclose(centers(whereabouts.around_each()), [[20, 31, 32], [40, 31, 32]], atol=0.1)
    assert np.allclose(box.low, [17, 27, 27], atol=0.5)
    assert np.allclose(box.high, [43, 35, 37], atol=0.5)


def test_a_look_counts_by_how_finely_it_looks():
    whereabouts, whole, finer = FromAlignment(PLACES), window(4.0), window(2.0)
    whereabouts.around_all(whole, nothing(whole), [(10.0, 31.0, 32.0), (30.0, 31.0, 32.0)])
    whereabouts.heard("fine", finer, nothing(finer), [(20.0, 31.0, 32.0), (40.0, 31.0, 32.0)])
    assert np.allclose(centers(whereabouts.around_each()), [[18, 31, 32], [38, 31, 32]], atol=0.1), "by four to one"
    whereabouts.heard("fine", finer, nothing(finer), [(15.0, 31.0, 32.0), (35.0, 31.0, 32.0)])
    assert np.allclose(centers(whereabouts.around_each()), [[14, 31, 32], [34, 31, 32]], atol=0.1), "not said twice"


def test_an_answer_counts_as_far_as_it_is_sure_of_itself_and_not_of_the_whole_scan():
    finer = window(2.0)
    sure = nothing(finer)
    sure[0, 3:7, 14:17, 14:18] = sure[1, 13:17, 14:17, 14:18] = 20.0
    aligned = [(29.0, 31.0, 31.0), (49.0, 31.0, 31.0)]
    for logits, moved in ((sure, 10.0), (nothing(finer), 0.0)):
        whereabouts = FromAlignment(PLACES)
        whereabouts.heard("fine", finer, logits, aligned)
        assert np.allclose(centers(whereabouts.around_each())[:, 0], [29 - moved, 49 - moved], atol=0.6)
    whereabouts = FromAlignment(PLACES)
    whereabouts.around_all(finer, sure, aligned)
    assert np.allclose(centers(whereabouts.around_each())[:, 0], [29, 49], atol=0.1)


def test_of_one_class_alone_its_second_look_is_heard():
    whereabouts, whole, closest = FromAlignment(PLACES), window(4.0), window(0.5)
    whereabouts.around_all(whole, nothing(whole), [(20.0, 31.0, 32.0), (40.0, 31.0, 32.0)])
    whereabouts.heard("class1", closest, nothing(closest, 1), [(44.0, 31.0, 32.0)], first=1)
    first, second = centers(whereabouts.around_each())[:, 0]
    assert first < 23 and second > 42, "each pulls at the other a little, as they are arranged"


def test_otherwise_the_last_answer_of_each_class_says_where():
    whereabouts, look = FromAnswers(PLACES), window(2.0)
    faint = nothing(look)
    assert whereabouts.around_all(look, faint, []) is None
    faint[0, 8:12, 14:18, 14:18] = -1.0
    assert np.allclose(whereabouts.around_all(look, faint, []).low, [15.5, 27.5, 27.5]), "what is all there is"
    faint[1, 18:22, 14:18, 14:18] = 1.0
    assert np.allclose(whereabouts.around_all(look, faint, []).low, [35.5, 27.5, 27.5]), "not beside what is found"
    whereabouts.heard("fine", look, nothing(look), [])
    assert whereabouts.around_each() == []
    sure = nothing(look)
    sure[0, 3:7, 14:17, 14:18] = sure[1, 13:17, 14:17, 14:18] = 20.0
    whereabouts.heard("fine", look, sure, [])
    assert np.allclose(centers(whereabouts.around_each())[:, 0], [9, 29], atol=0.6)
    whereabouts.heard("class1", look, sure[:1], [], first=1)
    first, second = centers(whereabouts.around_each())[:, 0]
    assert second - first < 15, "the second now lies at the first, whatever the look before said"


@pytest.fixture(scope="module")
def engine():
    return Engine(device="cpu")


def cut(first, name):
    """A part of one body, that changes slowly from place to place, as no anatomy does, with two balls in it."""
    few = torch.randn(1, 1, 11, 11, 11, generator=torch.Generator().manual_seed(0))
    body = F.interpolate(few, scale_factor=10, mode="trilinear")[0, 0].numpy()
    where = np.indices(body.shape)
    labels = np.zeros(body.shape, np.uint8)
    for n, center in enumerate(((48, 58, 53), (68, 60, 56))):
        labels[((where - np.reshape(center, (3, 1, 1, 1))) ** 2).sum(0) < 49] = n + 1
    part = tuple(slice(n, n + SIZE + 16) for n in first)
    segments = tuple(Segment(f"ball {n}", (1.0, 0.0, 0.0), "", 0, n) for n in (1, 2))
    array, layer = np.ascontiguousarray(body[part]), np.ascontiguousarray(labels[part])
    return Volume(array, np.eye(4), name), Segmentation(layer[None], np.eye(4), segments, name)


def hardly_found(preset):
    """The same preset as if it had found little of itself in its reference's own scan."""
    little = (HARDLY - 0.01,) * len(preset.segments)
    references = tuple(replace(r, found_again=little, found_altered=little) for r in preset.references)
    return replace(preset, references=references)


def test_what_no_network_knows_is_looked_for_where_it_lies(engine):
    """The trained network, and a patient who lies elsewhere in the scan."""
    image, marked = cut((18, 18, 18), "reference")
    target, truth = cut((8, 30, 24), "target")
    preset = hardly_found(engine.encode(image, marked, name="balls"))
    segmenting = Segmenting(engine.sight, target, preset, Progress())
    looks, _, over = segmenting._looked()
    true = np.array([box_of_segments(truth.only([n]), 1.0).center for n in range(2)])
    before = np.array([box_of_segments(marked.only([n]), 1.0).center for n in range(2)])
    off = np.linalg.norm(centers(segmenting._whereabouts.around_each()) - true, axis=1)
    assert off.max() < 6 < np.linalg.norm(true - before, axis=1).min() / 2, f"of balls that are 14 mm wide: {off}"
    seen = [middle(window) for window, _ in looks]
    assert np.abs(np.array(seen) - centers(segmenting._whereabouts.around_each())).max() < 5, "and looked at there"
    assert np.abs(np.array(middle(over)) - true.mean(0)).max() < 8


def test_nothing_leads_elsewhere_than_the_whereabouts(engine, monkeypatch):
    """Were they wrong, so would be all closer looks: the network's answers do not decide."""
    image, marked = cut((18, 18, 18), "reference")
    preset = hardly_found(engine.encode(image, marked, name="balls"))
    corner = Box((60.0, 60.0, 60.0), (78.0, 78.0, 78.0))
    monkeypatch.setattr(FromAlignment, "_boxes", lambda self, margin: [corner] * 2)
    looks, _, over = Segmenting(engine.sight, image, preset, Progress())._looked()
    for window in (over, *(window for window, _ in looks)):
        assert np.allclose(middle(window), corner.center, atol=1.0)


def test_a_preset_that_finds_itself_is_looked_for_by_its_answers(engine):
    """And one of a single thing, which may lie elsewhere in each patient."""
    image, marked = cut((18, 18, 18), "reference")
    several = engine.encode(image, marked, name="balls")
    assert np.mean(several.found_again()) > HARDLY
    single = hardly_found(engine.encode(image, marked.only([0]), name="ball"))
    for preset in (several, single):
        assert not preset.familiar
        assert isinstance(Segmenting(engine.sight, image, preset, Progress())._whereabouts, FromAnswers)
    segmenting = Segmenting(engine.sight, image, hardly_found(several), Progress())
    assert isinstance(segmenting._whereabouts, FromAlignment)
