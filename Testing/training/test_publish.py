import json
import math
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from safetensors import safe_open

from IrisSegmentLib.errors import IrisError
from IrisSegmentLib.network import build, load_network, save_network
from IrisSegmentLib.network.trust import AGAIN, LEAST_UNFAMILIAR, Presence, Signs, Trust, together
from IrisSegmentLib.training.publish import calibrated, lost, publish

KNOWN = Trust(-1.14, 1.2, brought=0.5, presence=Presence(-8.0, 6.0, 4.0, 4.0, 0.2), again=0.4)


def words(promised, likeness, brought, returned, returned_wide, again=None):
    return asdict(Signs(promised, likeness, brought, returned, returned_wide, again=again))


def reported(count=200, noise=0.02, seed=0):
    """A report of a set whose Dice is by `KNOWN`, and probes in which what is not there looks and returns otherwise."""
    random = np.random.default_rng(seed)
    names = [f"case{n}" for n in range(count)]
    low, high = (0.7, 0.8, 0.3, 0.6, 0.6, 0.5), (1, 1, 0.9, 0.9, 0.9, 1)
    signs = {n: {"organ": words(*random.uniform(low, high))} for n in names}
    dice = {n: {"organ": KNOWN.expected(Signs(**s["organ"])) + random.normal(0, noise)} for n, s in signs.items()}
    nothing = {"nothing": {"organ": words(0.0, None, 0.1, 0.1, 0.1)}}  # of which nothing was found
    of_set = {"signs": signs | nothing, "per_case": dice | {"nothing": {"organ": 0.0}}}
    elsewhere = [words(*random.uniform((0.5, 0.1, 0.1, 0, 0), (1, 0.8, 0.9, 0.5, 0.5))) for _ in range(count)]
    targets = [{"signs": [s]} for s in elsewhere]
    return {"sets": {"organs": of_set}}, {"organs": {"absent": {"per_target": targets}}}


def test_confidence_is_the_dice_that_validation_showed_and_little_where_there_is_no_object():
    report, probes = reported()
    trust = calibrated(report, probes)
    of_set = report["sets"]["organs"]
    pairs = np.array([
        (trust.expected(Signs(**signs["organ"])), of_set["per_case"][n]["organ"])
        for n, signs in of_set["signs"].items()
    ])  # fmt: skip
    assert np.abs(pairs[:, 0] - pairs[:, 1]).mean() < 0.03 and np.corrcoef(pairs.T)[0, 1] > 0.97
    targets = [Signs(**t["signs"][0]) for t in probes["organs"]["absent"]["per_target"]]
    assert np.mean([trust.none_there(signs) for signs in targets]) > 0.9, "a class is left empty"
    assert np.mean([trust.expected(signs) for signs in targets]) < 0.1
    assert not any(trust.none_there(Signs(**signs["organ"])) for signs in of_set["signs"].values())
    assert lost(report, trust) == {"organs": 0.0}


def test_what_is_left_empty_wrongly_is_counted_in_points_of_dice():
    report, _ = reported(count=3)
    report["sets"]["organs"]["signs"]["case1"]["organ"].update(likeness=0.0, returned=0.1)
    gone = report["sets"]["organs"]["per_case"]["case1"]["organ"]
    assert lost(report, KNOWN) == {"organs": pytest.approx(100 * gone / 4)}, "of four cases"


def test_a_scan_of_the_other_kind_has_to_show_more():
    right = Signs(0.9, 0.9, 0.8, 0.7, 0.7)
    presence = KNOWN.presence.of(right)
    other = KNOWN.presence.of(replace(right, foreign=True))
    assert presence > 0.5 and math.log(other / (1 - other)) == pytest.approx(math.log(presence / (1 - presence)) - 2.5)


def test_what_is_hardly_found_at_home_is_left_empty_only_when_next_to_nothing_speaks_for_it():
    """Its signs are weak where it is there, too."""
    weak, none = Signs(0.9, 0.72, 0.5, 0.4, 0.3), Signs(0.9, 0.5, 0.3, 0.1, 0.1)
    assert KNOWN.presence is not None
    strict = replace(KNOWN, presence=replace(KNOWN.presence, least=0.5))
    assert KNOWN.presence.of(none) < LEAST_UNFAMILIAR < KNOWN.presence.of(weak) < 0.5
    for again, empty in ((None, True), (AGAIN, True), (AGAIN - 0.01, False)):
        assert strict.none_there(replace(weak, again=again)) == empty
        assert strict.none_there(replace(none, again=again))
    lenient, between = LEAST_UNFAMILIAR / 2, replace(weak, likeness=0.55, again=AGAIN - 0.01)
    assert lenient < KNOWN.presence.of(between) < LEAST_UNFAMILIAR
    never = replace(KNOWN, presence=replace(KNOWN.presence, least=lenient))
    assert strict.none_there(between) and not never.none_there(between), "nor more readily than what is familiar"


def test_what_the_other_classes_show_counts_half():
    shown = together([0.9, 0.1, None, 0.5], [True, True, True, False])
    assert shown == [pytest.approx(0.7), pytest.approx(0.3), None, pytest.approx(0.5)]
    assert together([0.4], [True]) == [0.4] and together([0.4, None], [False, True]) == [0.4, None]


def test_regions_that_no_label_names_count_when_they_were_found():
    """What was rightly found of them is there, though its signs are weak; what was not found right teaches the Dice."""
    report, probes = reported()
    weak = words(0.8, 0.6, 0.5, 0.5, 0.5)

    def taught(dice: float) -> Trust:
        probes["organs"]["unnamed"] = [{"case": f"r{n}", "dice": dice, "signs": weak} for n in range(50)]
        return calibrated(report, probes)

    before, signs = calibrated(report, probes), Signs(**weak)
    assert taught(0.7).presence.of(signs) > before.presence.of(signs) + 0.1
    assert taught(0.1).presence == before.presence
    assert taught(0.1).expected(signs) < before.expected(signs)


def test_every_set_counts_the_same_however_many_cases_it_has():
    report, probes = reported()
    few, _ = reported(count=5, seed=1)
    for scores in few["sets"]["organs"]["per_case"].values():
        scores["organ"] *= 0.5
    report["sets"]["few"] = few["sets"]["organs"]
    trust = calibrated(report, probes)
    worse = np.mean([KNOWN.expected(Signs(**s["organ"])) - trust.expected(Signs(**s["organ"]))
                     for s in report["sets"]["organs"]["signs"].values()])
    assert 0.1 < worse < 0.25, "half way to what five cases say"


def test_each_sign_counts_as_far_as_it_is_known():
    trust = Trust(offset=-1.6, promised=1.0, likeness=1.6)
    assert trust.expected(Signs(0.9)) == trust.expected(Signs(0.9, 0.95)) == pytest.approx(0.74)
    assert trust.expected(Signs(0.9, 0.7)) == pytest.approx(0.42) and 0 < trust.expected(Signs(0.1, 0.0)) < 0.02
    assert Trust().expected(Signs(0.8, 0.1)) == 0.8 and Trust().expected(Signs(0.0, 1.0)) == 0.0
    assert Trust(1.0).expected(Signs(1, 1)) == 1.0
    good, other = Signs(0.9, 0.9, 0.8, 0.8, 0.8), Signs(0.9, 0.5, 0.3, 0.1, 0.1)
    assert KNOWN.expected(replace(good, again=0.5)) == pytest.approx(KNOWN.expected(good) - 0.4 * (AGAIN - 0.5))
    assert KNOWN.expected(good) > KNOWN.expected(Signs(0.9, 0.9, 0.3, 0.8, 0.8)) > 10 * KNOWN.expected(other) > 0
    assert KNOWN.none_there(other) and not KNOWN.none_there(good)
    assert not KNOWN.none_there(Signs(0.9, 0.5, 0.3, None, 0.1)), "what is not known leaves nothing empty"
    assert not KNOWN.none_there(Signs(0.0, 0.5, 0.3, 0.1, 0.1)), "nor what was not found"
    assert not Trust().none_there(other) and not trust.none_there(other), "nor a network that knows no presence"


def inside(path):
    """Numbers and notes of a network file; their order in it is by chance."""
    with safe_open(path, "pt") as file:
        return {k: file.get_tensor(k).tolist() for k in file.keys()}, file.metadata()  # noqa: SIM118


def published(run, to, trust=None):
    publish(run, to, "tiny", trust)
    return load_network(to)


def test_what_a_network_knows_of_itself_is_in_its_file(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    torch.save({"average": build("tiny").state_dict(), "step": 1, "seconds": 60.0}, run / "checkpoint.pt")
    plain, known = tmp_path / "plain.safetensors", tmp_path / "known.safetensors"
    assert published(run, plain).trust == Trust()
    first = published(run, known, KNOWN)
    assert first.trust == KNOWN
    assert published(plain, tmp_path / "again.safetensors", KNOWN).trust == KNOWN
    for file in (known, tmp_path / "again.safetensors"):  # a file is published as its run is
        assert inside(file) == inside(known) and inside(file)[0] == inside(plain)[0]
    assert published(known, known).trust == Trust() and inside(known) == inside(plain), "and forgets"
    with pytest.raises(IrisError, match="no run in"):
        published(tmp_path, plain)


def test_the_mean_of_two_networks_is_written(tmp_path):
    one, other = build("tiny", seed=1), build("tiny", seed=2)
    for name, network in (("one", one), ("other", other)):
        save_network(network, tmp_path / name)
    publish(tmp_path / "one", tmp_path / "mean", mean=tmp_path / "other")
    for a, b, m in zip(*(load_network(tmp_path / n).parameters() for n in ("one", "other", "mean")), strict=True):
        assert torch.allclose((a + b) / 2, m, atol=1e-3) and (torch.equal(a, b) or not torch.equal(a, m))
    save_network(build("small"), tmp_path / "small")
    with pytest.raises(IrisError, match="another kind"):
        publish(tmp_path / "one", tmp_path / "bad", mean=tmp_path / "small")
    assert not (tmp_path / "bad").exists()


def test_the_command_reads_reports_and_says_what_is_lost(tmp_path):
    save_network(build("tiny"), tmp_path / "n.safetensors")
    for name, part in zip(("report", "probes"), reported(), strict=True):
        (tmp_path / f"{name}.json").write_text(json.dumps(part))
    files = ("n.safetensors", "out.safetensors", "--calibration", "report.json", "probes.json")
    done = subprocess.run(
        [sys.executable, "-m", "IrisSegmentLib.training.publish", *files],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "organs: 0.0 points of mean Dice are lost" in done.stdout, done.stdout
    assert load_network(tmp_path / "out.safetensors").trust == calibrated(*reported())


def test_files_of_before_are_read(tmp_path):
    trust = '{"offset": -0.8, "promised": 1.1, "likeness": 0.6}'
    save_network(build("tiny"), tmp_path / "n.safetensors", {"trust": trust})
    assert load_network(tmp_path / "n.safetensors").trust == Trust(-0.8, 1.1, 0.6)


@pytest.mark.parametrize("trust", [
    '{"offset": NaN}', "[1]", "no", '"ab"', '{"ofset": 1}', '{"slope": 1}', '{"presence": 1}', '{"presence": {}}',
    '{"presence": {"offset": 0, "likeness": 0, "returned": Infinity, "returned_wide": 0, "least": 0}}',
    '{"presence": {"offset": 0, "likeness": 0, "returned": 0, "returned_wide": 0, "least": 0, "more": 0}}',
])  # fmt: skip
def test_a_calibration_that_is_none_is_refused(tmp_path, trust):
    save_network(build("tiny"), tmp_path / "n.safetensors", {"trust": trust})
    with pytest.raises(IrisError, match="is not a network of this program, or is damaged"):
        load_network(tmp_path / "n.safetensors")
