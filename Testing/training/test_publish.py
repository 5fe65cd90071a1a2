import numpy as np
import pytest
import torch

from IrisSegmentLib.errors import IrisError
from IrisSegmentLib.network import build, load_network, save_network
from IrisSegmentLib.network.trust import Trust
from IrisSegmentLib.training.publish import calibrated, publish

KNOWN = Trust(offset=-0.8, promised=1.0, likeness=0.7)


def reports(count=60, noise=0.005):
    """Cases whose Dice is what `KNOWN` says, and scans without the object that look otherwise."""
    random = np.random.default_rng(0)
    names = [f"case {n}" for n in range(count)]
    promised, likeness = random.uniform(0.6, 1.0, count), random.uniform(0.8, 0.9, count)
    dice = [KNOWN.expected(p, like) + random.normal(0, noise) for p, like in zip(promised, likeness, strict=True)]
    of_set = {
        "per_case": {n: {"organ": d} for n, d in zip(names, dice, strict=True)},
        "confidence": {n: {"organ": p} for n, p in zip(names, promised, strict=True)},
        "likeness": dict(zip(names, likeness, strict=True)),
    }
    targets = [{"confidence": [p], "likeness": 0.1} for p in random.uniform(0.6, 1.0, count)]
    return {"sets": {"organs": of_set}}, {"organs": {"absent": {"per_target": targets}}}


def test_confidence_is_the_dice_that_validation_showed_and_little_where_there_is_no_object():
    report, probes = reports()
    trust = calibrated(report, probes)
    of_set = report["sets"]["organs"]
    pairs = [
        (trust.expected(of_set["confidence"][n]["organ"], of_set["likeness"][n]), scores["organ"])
        for n, scores in of_set["per_case"].items()
    ]
    expected, true = np.array(pairs).T
    assert np.abs(expected - true).mean() < 0.06
    absent = [trust.expected(t["confidence"][0], t["likeness"]) for t in probes["organs"]["absent"]["per_target"]]
    assert np.mean(absent) < 0.1 < expected.mean()


def test_a_likeness_that_is_unknown_or_high_changes_nothing_and_a_low_one_does():
    trust = Trust(offset=-1.6, promised=1.0, likeness=1.6)
    assert trust.expected(0.9, None) == trust.expected(0.9, 0.95) == pytest.approx(0.74)
    assert trust.expected(0.9, 0.7) == pytest.approx(0.42) and 0 < trust.expected(0.1, 0.0) < 0.02, "it was found"
    assert Trust().expected(0.8, 0.1) == 0.8 and Trust().expected(0.0, 1.0) == 0.0 and Trust(1.0).expected(1, 1) == 1.0


def test_a_published_network_carries_its_calibration(tmp_path):
    state = {"average": build("tiny", seed=2).state_dict(), "step": 7, "seconds": 3600.0}
    torch.save(state, tmp_path / "checkpoint.pt")
    publish(tmp_path, tmp_path / "plain.safetensors", "tiny")
    publish(tmp_path, tmp_path / "known.safetensors", "tiny", KNOWN)
    assert load_network(tmp_path / "plain.safetensors").trust == Trust()
    assert load_network(tmp_path / "known.safetensors").trust == KNOWN


@pytest.mark.parametrize("trust", ['{"offset": NaN}', "[1]", "no", '"ab"', '{"ofset": 1}', '{"slope": 1}'])
def test_a_calibration_that_is_none_is_refused(tmp_path, trust):
    save_network(build("tiny"), tmp_path / "n.safetensors", {"trust": trust})
    with pytest.raises(IrisError, match="not a network"):
        load_network(tmp_path / "n.safetensors")
