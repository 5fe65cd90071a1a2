import json

import numpy as np
import pytest

from IrisSegmentLib.engine import Engine
from IrisSegmentLib.errors import IrisError
from IrisSegmentLib.evaluation.baseline import copied_labels
from IrisSegmentLib.evaluation.dataset import LabelledSet, find_sets
from IrisSegmentLib.evaluation.evaluate import evaluate, mean_dice, per_class
from IrisSegmentLib.evaluation.metrics import dice
from IrisSegmentLib.imaging.volume import Volume


def test_the_report_says_what_it_must(samples):
    labelled = LabelledSet.read(samples / "hippocampus")
    report = evaluate(Engine(device="cpu"), labelled, "test")
    assert json.loads(json.dumps(report)) == report
    assert set(report["per_case"]) == set(labelled.cases["test"]) == set(report["references"])
    assert 0.5 < report["mean_dice"] <= 1 and report["mean_dice"] > report["copy_dice"]
    assert report["mean_dice"] == pytest.approx(np.mean(list(report["per_class"].values())))
    assert report["strategy"] == "one-shot" and report["seconds_per_target"] > 0 and report["network"]
    assert all(r == labelled.cases["train"] for r in report["references"].values())


def test_means_are_over_cases_then_classes_and_skip_what_a_case_does_not_show():
    scores = {"a": {"x": 1.0, "y": 0.0}, "b": {"x": 0.5}}
    assert per_class(scores) == {"x": 0.75, "y": 0.0} and mean_dice(scores) == pytest.approx(0.375)


def test_dice_of_known_masks():
    a, b = np.zeros((2, 2, 2), bool), np.zeros((2, 2, 2), bool)
    assert dice(a, b) == 1.0
    a[0], b[0, 0] = True, True
    assert dice(a, b) == pytest.approx(2 * 2 / (4 + 2)) and dice(a, ~a) == 0.0


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
