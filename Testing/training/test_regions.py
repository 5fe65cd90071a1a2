import numpy as np
import pytest
import torch

from IrisSegmentLib.training import episodes as episodes_module
from IrisSegmentLib.training.cases import Case, read_cases
from IrisSegmentLib.training.episodes import Episodes
from IrisSegmentLib.training.mixture import Mixture
from IrisSegmentLib.training.regions import MOST_UNLIKE, Region

LOW, SIZE = np.array([10, 12, 8]), np.array([16, 12, 10])


def scan(shift: int = 0, grow: int = 1, beside: float = 1.0) -> Case:
    """Bright on one side of a plane through the middle of a labelled box, dark on the other."""
    image = torch.full((80, 80, 80), 0.5)
    low, high = LOW * grow + shift, (LOW + SIZE) * grow + shift
    image[int((low + high)[0]) // 2 :] = 0.5 + beside
    labels = torch.zeros((80, 80, 80), dtype=torch.int16)
    labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = 3
    return Case("scan", image.half(), labels, np.ones(3), -1.0, {3: (low, high)})


def found(cases: list[Case], count: int = 40) -> list[list[torch.Tensor]]:
    drawn = [Region(np.random.default_rng(n)).of(cases, [3]) for n in range(count)]
    return [d for d in drawn if d is not None]


def middle(mask: torch.Tensor) -> np.ndarray:
    return mask.nonzero().float().mean(0).numpy()


def test_a_region_lies_alike_to_the_labels_whatever_their_place_and_size():
    cases = [scan(), scan(shift=20), scan(grow=2)]
    regions = found(cases, 120)
    assert len(regions) > 10
    places = set()
    for here, moved, larger in regions:
        assert np.allclose(middle(moved), middle(here) + 20, atol=1.5)
        assert np.allclose(middle(larger), 2 * middle(here), atol=1.5)
        assert int(larger.sum()) == pytest.approx(8 * int(here.sum()), rel=0.6)  # in voxels
        places.add(tuple(np.sign(middle(here) - LOW - SIZE / 2)))
    assert len(places) > 4  # now here, now there


def test_a_region_is_of_one_tissue():
    case = scan()
    for (mask,) in found([case]):
        bright = float((case.image[mask] > 1).float().mean())
        assert min(bright, 1 - bright) < 0.2  # on one side of the plane, but for the smoothing at it


def test_what_would_not_be_the_same_region_is_none():
    """Another tissue at that place, or much more of it."""
    regions = [Region(np.random.default_rng(n)) for n in range(60)]
    one, other = scan(), scan(beside=3.0)
    both = [r for r in regions if r.of([one, other], [3]) is not None]
    alone = [r for r in regions if r.of([one], [3]) is not None]
    assert 0 < len(both) < len(alone)
    for region in both:
        sizes = [int(m.sum()) for m in region.of([one, other], [3])]
        assert max(sizes) < MOST_UNLIKE * min(sizes)
        assert middle(region.of([one], [3])[0])[0] < LOW[0] + SIZE[0] / 2 + 1  # the dark side, alike in both


def test_air_is_no_region():
    case = scan()
    case.image.fill_(-1.0)
    assert found([case]) == []


def test_episodes_ask_for_regions_that_no_label_names(small_set, monkeypatch):
    """Other masks than those of the labels, in every view that teaches."""
    cases = read_cases(small_set, "train")
    (name,) = cases
    monkeypatch.setattr(episodes_module, "TOLD", (name,))

    def shares(regions: float) -> list[float]:
        episodes = Episodes(cases, seed=3, mixture=Mixture(regions=regions, derived=0))
        drawn = [e for e in (episodes.draw(n) for n in range(24)) if e.source == name]
        assert len(drawn) > 5 and all((e.masks[: len(e.masks) - e.empty].sum((2, 3, 4)) > 2).all() for e in drawn)
        return [round(float(e.masks.mean()), 5) for e in drawn]

    assert set(shares(1.0)).isdisjoint(shares(0.0))
