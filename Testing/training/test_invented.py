import numpy as np
import pytest
import torch

from IrisSegmentLib.errors import IrisError
from IrisSegmentLib.training.episodes import Episodes
from IrisSegmentLib.training.invented import LEAST, MOST, Anatomy, Organ
from IrisSegmentLib.training.mixture import INVENTED, KINDS, SHARES, SOURCES, Mixture


def patients(seed: int, count: int = 3):
    anatomy = Anatomy(np.random.default_rng(seed))
    cases = [anatomy.patient() for _ in range(count)]
    return anatomy, cases


def overlap(one: torch.Tensor, other: torch.Tensor) -> float:
    return 2 * float((one & other).sum()) / max(1, int(one.sum() + other.sum()))


def test_patients_of_one_anatomy_are_alike_and_not_the_same():
    """An organ of one patient lies where it lies in the next, more or less; in another anatomy nothing does."""
    own, foreign = [], []
    for seed in range(6):
        anatomy, (one, other, _) = patients(seed)
        assert one.labels.shape == other.labels.shape and not torch.equal(one.labels, other.labels)
        own += [overlap(one.labels == k, other.labels == k) for k in anatomy.shown([one, other])]
        _, (stranger,) = patients(seed + 100, 1)
        shape = [min(a, b) for a, b in zip(one.labels.shape, stranger.labels.shape, strict=True)]
        part = tuple(slice(n) for n in shape)
        foreign += [overlap(one.labels[part] == k, stranger.labels[part] == k) for k in range(1, 12)]
    assert 0.45 < np.mean(own) < 0.8 and np.mean(foreign) < 0.2


def test_what_can_be_asked_for_is_in_every_patient():
    anatomy, cases = patients(3)
    asked = anatomy.shown(cases)
    assert len(asked) > 3 and 0 not in asked
    for k in asked:
        assert all(LEAST <= int((c.labels == k).sum()) < MOST * c.labels.numel() for c in cases)
    cases[1].labels[cases[1].labels == asked[0]] = 0
    assert asked[0] not in anatomy.shown(cases)


def test_a_hollow_is_inside_its_wall():
    labels = torch.zeros(40, 40, 40, dtype=torch.int64)
    Organ(np.full(3, 0.5), np.full(3, 0.3), np.eye(3), np.zeros((4, 4, 4)), 0.6).paste(labels, 7)
    middle = labels[:, 20, 20].tolist()
    assert middle[20] == 8 and middle[0] == 0 and middle == sorted(middle[:21]) + sorted(middle[21:], reverse=True)
    assert abs(int((labels == 8).sum()) / int((labels > 0).sum()) - 0.6**3) < 0.03, "a ball in a ball"


def test_episodes_of_invented_anatomies():
    """Without any set at hand: an image for every mask, and now and then a view of somebody else's anatomy."""
    episodes = Episodes({}, seed=2, mixture=Mixture(sources={INVENTED: 1.0}, empty=0.5))
    drawn = [episodes.draw(n) for n in range(16)]
    assert {e.source for e in drawn} == {INVENTED} and {e.empty for e in drawn} == {False, True}
    for e in drawn:
        assert torch.isfinite(e.images).all() and (e.images.std((1, 2, 3, 4)) > 0.1).all()
        assert (e.masks[: len(e.masks) - e.empty].sum((2, 3, 4)) > 2).all()
        assert not e.empty or float(e.masks[-1].sum()) == 0
    assert torch.equal(drawn[5].images, episodes.draw(5).images)


def test_a_mixture_without_some_kinds():
    mixture = Mixture().without(["empty", "pose", "sarcoma_ct", INVENTED])
    assert set(SOURCES) - set(mixture.sources) == {"sarcoma_ct", INVENTED}
    assert mixture.empty == mixture.empty_whole == mixture.pose == 0 and mixture.contrast == Mixture().contrast > 0
    nothing = Mixture().without(KINDS)
    assert not nothing.sources and not any(getattr(nothing, share) for share in SHARES)
    assert Mixture().without([]) == Mixture()
    with pytest.raises(IrisError, match="No task is left"):
        Episodes({}, seed=0, mixture=nothing)
