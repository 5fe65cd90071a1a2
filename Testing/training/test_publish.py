
import numpy as np
import pytest
import torch

from IrisSegmentLib.engine.engine import confidence
from IrisSegmentLib.errors import IrisError
from IrisSegmentLib.network import build, load_network, save_network
from IrisSegmentLib.training.publish import calibrated, publish


def report_of(pairs):
    cases = {f"case {n}": {"organ": dice} for n, (_, dice) in enumerate(pairs)}
    return {"per_case": cases, "confidence": {f"case {n}": {"organ": c} for n, (c, _) in enumerate(pairs)}}


def test_confidence_is_brought_to_the_dice_that_validation_showed():
    random = np.random.default_rng(0)
    soft = random.uniform(0.5, 1.0, 40)
    rest = [(c, 0.9 * c - 0.1 + random.normal(0, 0.005)) for c in soft]
    assert calibrated(report_of(rest)) == pytest.approx([-0.1, 0.9], abs=0.02)
    missed = [*rest, (0.0, 0.0)]
    assert calibrated(report_of(missed)) == calibrated(report_of(rest)), "nothing found is nothing to be trusted"
    many, few = report_of(rest * 5), report_of([(c, 0.5) for c in soft])
    both = calibrated({"sets": {"many": many, "few": few}})
    assert both == pytest.approx(np.mean([calibrated(many), calibrated(few)], axis=0), abs=0.02), "sets count the same"


def test_a_published_network_carries_its_calibration(tmp_path):
    state = {"average": build("tiny", seed=2).state_dict(), "step": 7, "seconds": 3600.0}
    torch.save(state, tmp_path / "checkpoint.pt")
    publish(tmp_path, tmp_path / "plain.safetensors", "tiny")
    publish(tmp_path, tmp_path / "known.safetensors", "tiny", report_of([(0.5, 0.3), (0.9, 0.7), (0.8, 0.6)]))
    assert load_network(tmp_path / "plain.safetensors").trust == (0.0, 1.0)
    network = load_network(tmp_path / "known.safetensors")
    assert network.trust == pytest.approx((-0.2, 1.0), abs=1e-3)
    logits = torch.full((2, 4, 4, 4), -9.0)
    logits[0, 1:3, 1:3, 1:3] = 9.0
    plain, known = confidence(logits), confidence(logits, network.trust)
    assert known[0] == pytest.approx(plain[0] - 0.2, abs=1e-3) and known[1] == plain[1] == 0.0


@pytest.mark.parametrize("trust", ["[NaN, 1]", "[1]", "no", '"ab"', "[[1], 2]"])
def test_a_calibration_that_is_none_is_refused(tmp_path, trust):
    save_network(build("tiny"), tmp_path / "n.safetensors", {"trust": trust})
    with pytest.raises(IrisError, match="not a network"):
        load_network(tmp_path / "n.safetensors")
