import numpy as np
import torch

from IrisSegmentLib.imaging.files import read_segmentation, read_volume
from IrisSegmentLib.imaging.window import Box, Window
from IrisSegmentLib.training import episodes as episodes_module
from IrisSegmentLib.training.cases import read_cases
from IrisSegmentLib.training.episodes import Episode, Episodes, Look
from IrisSegmentLib.training.mixture import Mixture
from IrisSegmentLib.training.synthetic import Painter, grown_mask
from IrisSegmentLib.training.views import Placement, positions, resampled, within


def test_a_plain_view_is_what_the_window_sees(small_set):
    """Training must show the network what inference will: same place, same step, same numbers."""
    case = read_cases(small_set, "train")["hippocampus"][0]
    image = read_volume(small_set / "hippocampus" / "case_0_image.nii.gz")
    label = read_segmentation(small_set / "hippocampus" / "case_0_label.nii.gz")
    extent = np.array(case.labels.shape) * case.spacing
    window = Window.over(image, Box(tuple(-case.spacing / 2), tuple(extent - case.spacing / 2)))
    placement = Placement((extent - case.spacing) / 2, extent)
    where = positions(placement, window.step, window.shape, case.spacing, None)
    shown, filled = resampled(case, torch.stack([case.labels == k for k in (1, 2)]), where, window.step)
    assert (shown - window.sample_image(image)[0]).abs().mean() < 0.02
    assert (filled - window.sample_masks(label)).abs().mean() < 0.002


def test_only_what_a_view_reaches_is_read(small_set):
    """A closer look amid the scan, at its rim, and beyond it: linear between voxels, background outside."""
    case = read_cases(small_set, "train")["hippocampus"][0]
    masks = torch.stack([case.labels > 0])
    for center in ([0.0, 0.0, 0.0], [20.0, 25.0, 15.0], [1000.0, 0.0, 0.0]):
        where = positions(Placement(np.array(center), np.full(3, 20.0)), 0.7, (32, 32, 32), case.spacing, None)
        image, filled = resampled(case, masks, where, 0.7)
        inside = within(where, case.labels.shape)
        low, rest = where.floor().long(), where - where.floor()
        known = inside & (low >= 0).all(0) & (low + 1 < torch.tensor(case.labels.shape)[:, None, None, None]).all(0)
        x, y, z = low[:, known]
        u, v, w = rest[:, known]
        line = [(1 - u) * case.image[x, j, k].float() + u * case.image[x + 1, j, k].float()
                for j, k in ((y, z), (y + 1, z), (y, z + 1), (y + 1, z + 1))]
        by_hand = (1 - w) * ((1 - v) * line[0] + v * line[1]) + w * ((1 - v) * line[2] + v * line[3])
        assert torch.allclose(image[0][known], by_hand, atol=1e-3)
        beyond = (where < -1).any(0) | (where > torch.tensor(case.labels.shape)[:, None, None, None]).any(0)
        assert torch.equal(image[0][beyond], torch.full_like(image[0][beyond], case.background))
        assert float(filled[0][beyond].sum()) == 0


def test_episodes_hold_what_they_promise(small_set):
    episodes = Episodes(read_cases(small_set, "train"), seed=3)
    sources = set()
    for number in range(25):
        episode = episodes.draw(number)
        sources.add(episode.source)
        views, classes = episode.masks.shape[:2]
        assert episode.images.shape == (views, 1, *episode.masks.shape[2:]) and views >= 2
        assert all(32 <= n <= 96 and n % 16 == 0 for n in episode.images.shape[2:])
        assert torch.isfinite(episode.images).all() and episode.masks.min() >= 0 and episode.masks.max() <= 1 + 1e-5
        assert (episode.masks[: views - episode.empty].sum((2, 3, 4)) > 2).all(), "what it must teach it sees"
        assert 1 <= classes <= (7 if episode.source == "invented" else 2)
        assert views <= 3 or max(episode.masks.shape[2:]) <= 64
    assert sources == {"hippocampus", "self", "invented"}


def test_processes_that_wait_for_each_other_have_equal_work(small_set):
    """Two episodes of one step look equally closely, and differ."""
    episodes = Episodes(read_cases(small_set, "train"), seed=5)
    looks = [Look.draw(np.random.default_rng((5, turn, 1))) for turn in range(60)]
    finest = [turn for turn, look in enumerate(looks) if look.cells == 96]
    assert len(finest) < 30 and {looks[turn].coarse for turn in finest} == {False, True}
    assert all(looks[turn].coarse or looks[turn].alone for turn in finest), "as the engine looks"
    for turn in (next(t for t in finest if looks[t].coarse == coarse) for coarse in (False, True)):
        ours, theirs = (episodes.draw(2 * turn + rank, turn) for rank in range(2))
        assert len(ours.images) == len(theirs.images) == 3
        assert ours.images.shape != theirs.images.shape or not torch.equal(ours.images, theirs.images)


def test_a_rough_look_is_the_same_by_fewer_cells(small_set):
    """As a run's first share can have them."""
    looks = [[Look.draw(np.random.default_rng(n), rough) for rough in (False, True)] for n in range(40)]
    assert {(fine.cells, rough.cells) for fine, rough in looks} == {(48, 32), (64, 48), (96, 64)}
    assert all((fine.coarse, fine.alone) == (rough.coarse, rough.alone) for fine, rough in looks)
    episodes = Episodes(read_cases(small_set, "train"), seed=3)
    for number in range(6):
        fine, rough = (episodes.draw(number, rough=r) for r in (False, True))
        assert fine.source == rough.source and max(rough.images.shape[2:]) < max(fine.images.shape[2:])


def test_some_views_show_nothing_of_the_task_and_teach_it_to_none(small_set, monkeypatch):
    """Another scan, or the same one away from what was looked for; here both are of the one set at hand."""
    monkeypatch.setattr(episodes_module, "ELSEWHERE", {"hippocampus": ("hippocampus",)})
    mixture = Mixture(empty=1.0, empty_whole=1.0)
    episodes = Episodes(read_cases(small_set, "train"), seed=3, mixture=mixture)
    empty = [e for e in (episodes.draw(n) for n in range(30)) if e.empty]
    assert len(empty) > 5
    for episode in empty:
        assert float(episode.masks[-1].sum()) == 0 and (episode.masks[:-1].sum((2, 3, 4)) > 2).all()
        assert float(episode.images[-1].std()) > 0, "it shows a scan"
        for turn in range(6):
            given = episode.teachers(turn).tolist()
            assert len(given) == len(episode.images)
            assert all(len(set(teachers)) == len(teachers) for teachers in given)
            assert all(teacher not in (view, len(given) - 1) for view, t in enumerate(given) for teacher in t)


def test_every_view_is_taught_by_every_other_in_turn_and_now_and_then_by_two():
    episode = Episode(torch.zeros(4, 1, 1, 1, 1), torch.zeros(4, 1, 1, 1, 1), "x")
    given = [episode.teachers(turn).tolist() for turn in range(9)]
    assert all(view not in teachers for g in given for view, teachers in enumerate(g))
    assert [len(g[0]) for g in given] == [1, 1, 2] * 3
    assert all(len(set(teachers)) == len(teachers) for g in given for teachers in g)
    assert {g[0][0] for g in given} == {1, 2, 3}


def test_a_number_always_gives_the_same_episode(small_set):
    cases = read_cases(small_set, "train")
    a, b = Episodes(cases, seed=7), Episodes(cases, seed=7)
    later = [a.draw(number) for number in (4, 3)]
    for number, one in zip((4, 3), later, strict=True):
        torch.manual_seed(number)
        other = b.draw(number)
        assert torch.equal(one.images, other.images) and torch.equal(one.masks, other.masks)
    assert not torch.equal(Episodes(cases, seed=8).draw(3).images, later[1].images)


def test_grown_masks_are_regions_of_like_gray():
    random = np.random.default_rng(0)
    image = torch.randn(40, 40, 40) * 0.1
    image[:20] += 3
    masks = [m for m in (grown_mask(image, random) for _ in range(20)) if m is not None]
    assert masks and all(m[:18].any() != m[22:].any() for m in masks)


def test_painted_images_tell_labels_apart():
    labels = torch.zeros(24, 24, 24)
    labels[8:16] = 41
    image = Painter(np.random.default_rng(5)).paint(labels)
    assert image.shape == (1, 24, 24, 24)
    assert (image[0, 10:14].mean() - image[0, :6].mean()).abs() > 0.5
