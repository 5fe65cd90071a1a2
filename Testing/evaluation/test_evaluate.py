import json

import numpy as np
import pytest

from IrisSegmentLib.engine import Engine
from IrisSegmentLib.errors import IrisError
from IrisSegmentLib.evaluation.baseline import copied_labels
from IrisSegmentLib.evaluation.dataset import LabelledSet, find_sets
from IrisSegmentLib.evaluation.evaluate import evaluate
from IrisSegmentLib.evaluation.finished import Finished
from IrisSegmentLib.evaluation.metrics import METRICS, dice, hd95, surface_dice
from IrisSegmentLib.evaluation.report import mean_dice, overall, per_class, table
from IrisSegmentLib.imaging.volume import Volume


@pytest.fixture(scope="module")
def engine():
    return Engine(device="cpu")


@pytest.fixture(scope="module")
def labelled(samples):
    return LabelledSet.read(samples / "hippocampus")


@pytest.fixture(scope="module")
def report(engine, labelled):
    return evaluate(engine, labelled, "test")


def test_the_report_says_what_it_must(report, labelled):
    assert json.loads(json.dumps(report)) == report
    assert set(report["per_case"]) == set(labelled.cases["test"]) == set(report["references"])
    assert 0.5 < report["mean_dice"] <= 1 and report["mean_dice"] > report["copy_dice"]
    assert report["mean_dice"] == pytest.approx(np.mean(list(report["per_class"].values())))
    assert report["strategy"] == "one-shot" and report["seconds_per_target"] > 0 and report["network"]
    assert all(r == labelled.cases["train"] for r in report["references"].values())


def test_every_metric_has_its_interval_and_is_of_the_masks_themselves(report, engine, labelled):
    for metric in METRICS:
        found = report["metrics"][metric]
        assert found["interval"][0] <= found["mean"] <= found["interval"][1]
        for row in found["per_class"].values():
            assert row["interval"][0] <= row["mean"] <= row["interval"][1] and row["cases"] == 3
    assert report["metrics"]["dice"]["per_case"] == report["per_case"] and set(report["missed"].values()) == {0}
    case = labelled.cases["test"][0]
    reference = labelled.cases["train"][0]
    preset = engine.encode(labelled.image(reference), labelled.label(reference), name="again")
    labels = engine.segment(labelled.image(case), preset).segmentation.layers[0]
    truth = labelled.label(case)
    for n, segment in enumerate(truth.segments):
        pair = (labels == n + 1, truth.mask(n))
        assert report["metrics"]["dice"]["per_case"][case][segment.name] == dice(*pair)
        assert report["metrics"]["surface_dice"]["per_case"][case][segment.name] == surface_dice(*pair, truth.spacing)
        assert report["metrics"]["hd95_mm"]["per_case"][case][segment.name] == hd95(*pair, truth.spacing)


def test_the_table_shows_what_the_report_holds(report):
    lines = table(report).splitlines()
    assert len(lines) == 2 + 2 + 1 and lines[2].startswith("anterior hippocampus")
    low, high = report["metrics"]["dice"]["interval"]
    assert f"{report['mean_dice']:.3f} [{low:.3f}, {high:.3f}]" in lines[-1] and "at 2 mm" in lines[0]


def test_over_several_sets_each_set_counts_the_same(report):
    other = json.loads(json.dumps(report))
    other["set"], other["mean_dice"] = "other", 0.0
    other["metrics"]["dice"]["mean"] = 0.0
    other["metrics"]["dice"]["per_case"] = {c: dict.fromkeys(s, 0.0) for c, s in report["per_case"].items()}
    both = overall([report, other])
    assert both["mean_dice"] == both["metrics"]["dice"]["mean"] == pytest.approx(report["mean_dice"] / 2)
    assert both["metrics"]["dice"]["interval"] == pytest.approx(
        [v / 2 for v in report["metrics"]["dice"]["interval"]], abs=1e-3
    )
    assert len(both["per_case"]) == 6 and "other/anterior hippocampus" in both["per_class"]


def test_an_interrupted_run_goes_on_and_gives_the_same(report, engine, labelled, tmp_path):
    path, run = tmp_path / "r.json.partial", {"seed": 0, "network": engine.network.hash}

    def stop_at_the_second(fraction, text):
        if fraction > 0.3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(engine, labelled, "test", finished=Finished(path, run), show=stop_at_the_second)
    with path.open("a") as file:
        file.write('{"set": "hippocampus", "case": "hippoc')  # killed while it wrote
    again = Finished(path, run)
    assert len(again) == 1
    seen = []
    rest = evaluate(engine, labelled, "test", finished=again, show=lambda f, t: seen.append((f, t)))
    assert [t.split()[-1] for _, t in seen[:-1]] == labelled.cases["test"][1:] and seen[0][0] == 0.0
    assert {**rest, "seconds_per_target": 0} == {**report, "seconds_per_target": 0}
    assert len(Finished(path, run)) == 3
    with pytest.raises(IrisError, match=r"r\.json\.partial.*another network"):
        Finished(path, {**run, "seed": 1})
    again.remove()
    assert not path.exists() and len(Finished(path, {"seed": 1})) == 0
    path.write_text('{"network": ')  # killed before the first case was done: nothing to go on with, nothing to lose
    assert len(Finished(path, run)) == 0


def test_means_are_over_cases_then_classes_and_skip_what_a_case_does_not_show():
    scores = {"a": {"x": 1.0, "y": 0.0}, "b": {"x": 0.5}}
    assert per_class(scores) == {"x": 0.75, "y": 0.0} and mean_dice(scores) == pytest.approx(0.375)


def test_copying_onto_the_same_scan_gives_the_mask_back_however_it_is_stored(hippocampi):
    image, truth = hippocampi[0]
    assert np.array_equal(copied_labels(truth, image), truth.layers[0])
    affine = image.affine.copy()
    affine[:3, 3] += affine[:3, 0] * (image.shape[0] - 1)
    affine[:3, 0] *= -1
    flipped = Volume(image.array[::-1], affine)
    assert np.array_equal(copied_labels(truth, flipped)[::-1], truth.layers[0])


def test_folders_that_are_no_sets_are_refused(tmp_path, samples):
    for make, words in [
        (lambda: find_sets(tmp_path), "No labelled set"),
        (lambda: LabelledSet.read(tmp_path), "no dataset.json"),
        (lambda: LabelledSet.read(samples / "hippocampus").split("validation"), "it has train, test"),
        (lambda: evaluate(None, None, strategy="magic"), "no strategy 'magic'"),
    ]:
        with pytest.raises(IrisError, match=words):
            make()
    (tmp_path / "dataset.json").write_text('{"classes": "many"}')
    with pytest.raises(IrisError, match="does not name classes"):
        LabelledSet.read(tmp_path)
