import numpy as np
import pytest
import torch

from IrisSegmentLib.training.cases import read_cases
from IrisSegmentLib.training.derived import Derivation
from IrisSegmentLib.training.episodes import Episodes
from IrisSegmentLib.training.mixture import Mixture


@pytest.fixture
def two_organs():
    """Two boxes of different size, (2, X, Y, Z)."""
    masks = torch.zeros((2, 24, 20, 16), dtype=torch.bool)
    masks[0, 4:12, 4:10, 4:8] = True
    masks[1, 14:20, 10:18, 2:14] = True
    return masks


def derivations(way: str) -> list[Derivation]:
    return [d for d in (Derivation(np.random.default_rng(n)) for n in range(60)) if d._way == way]


def test_joined_classes_are_one_that_covers_all(two_organs):
    joined = derivations("join")[0].of_labels(two_organs)
    assert joined.shape[0] == 1 and torch.equal(joined[0], two_organs.any(0))


def test_halves_lie_within_their_class_on_either_side_along_every_axis(two_organs):
    places = set()
    for derivation in derivations("half"):
        halves = derivation.of_labels(two_organs)
        assert not (halves & ~two_organs).any()
        assert torch.equal(halves.flatten(1).sum(1) * 2, two_organs.flatten(1).sum(1))
        first = halves[0].nonzero()
        places.add((tuple(first.amin(0).tolist()), tuple(first.amax(0).tolist())))
    assert len(places) == 6


def test_a_rim_is_around_its_class_and_not_in_it(two_organs):
    seen = two_organs.float()
    thick = set()
    for derivation in derivations("rim"):
        assert torch.equal(derivation.of_labels(two_organs), two_organs)
        rim = derivation.of_view(seen)
        assert float((rim * seen).sum()) == 0 and (rim.flatten(1).sum(1) > 0).all()
        thick.add(int(4 - rim[0].nonzero().amin(0)[0]))
    assert thick == {1, 2, 3}


def test_episodes_ask_for_derived_classes_alike_in_every_view(small_set):
    cases = read_cases(small_set, "train")

    def share_marked(derived: float) -> float:
        episodes = Episodes(cases, seed=3, mixture=Mixture(derived=derived).without(["invented", "regions"]))
        drawn = [episodes.draw(n) for n in range(16)]
        assert all((e.masks[: len(e.masks) - e.empty].sum((2, 3, 4)) > 2).all() for e in drawn)
        return float(np.mean([e.masks.mean() for e in drawn if e.source != "self"]))

    assert share_marked(1.0) != pytest.approx(share_marked(0.0), rel=0.05)
