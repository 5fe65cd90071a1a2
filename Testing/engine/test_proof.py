"""What a card may answer and what not, with the bundled network. A card is simulated in `test_card`."""

import pytest
import torch

from IrisSegmentLib.engine import proof
from IrisSegmentLib.engine.inputs import Inputs
from IrisSegmentLib.engine.proof import answers_alike
from IrisSegmentLib.engine.sight import Sight
from IrisSegmentLib.network import Precision, load_network


def sight_in(precision):
    network = load_network()
    precision.prepare(network)
    return Sight(network, torch.device("cpu"), precision, Inputs.of(network.config))


@pytest.fixture(scope="module")
def exact():
    return sight_in(Precision("cpu", False))


@pytest.fixture(scope="module")
def answer(exact):
    return proof._answer(exact)


def said(sight, logits, monkeypatch):
    """A card that answers so."""
    asked = proof._answer
    monkeypatch.setattr(proof, "_answer", lambda one: logits if one is None else asked(one))
    return answers_alike(None, sight)


def test_another_precision_is_alike(exact):
    assert answers_alike(sight_in(Precision("cpu", True)), exact)


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_voxels_in_other_places_are_not(exact, answer, axis, monkeypatch):
    pairs = answer.unflatten(axis, (-1, 2))
    doubled = pairs.narrow(axis + 1, 1, 1).expand_as(pairs).flatten(axis, axis + 1)
    for wrong in (doubled, pairs.flip(axis + 1).flatten(axis, axis + 1), answer.roll(1, axis), answer.flip(axis)):
        assert not said(exact, wrong, monkeypatch)


def test_nor_is_what_is_no_number_or_of_another_class(exact, answer, monkeypatch):
    for wrong in (answer.flip(0), torch.full_like(answer, torch.nan), torch.zeros_like(answer)):
        assert not said(exact, wrong, monkeypatch)
    assert said(exact, answer, monkeypatch)
