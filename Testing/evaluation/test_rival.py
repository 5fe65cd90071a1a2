import json

import numpy as np
import pytest

from IrisSegmentLib.engine import Engine
from IrisSegmentLib.evaluation.dataset import LabelledSet
from IrisSegmentLib.evaluation.metrics import dice
from IrisSegmentLib.evaluation.probes import cropped, turned
from IrisSegmentLib.evaluation.references import References
from IrisSegmentLib.evaluation.registration import registered_labels
from IrisSegmentLib.evaluation.rival import METHODS, rival, table


def test_a_turned_scan_is_found_again(hippocampi):
    image, truth = hippocampi[0]
    moved, goal = turned(image, truth)
    labels = registered_labels(image, truth, moved)
    before = dice(truth.layers[0] > 0, goal.layers[0] > 0)
    assert dice(labels > 0, goal.layers[0] > 0) > max(0.85, before)


def test_the_rival_has_the_references_of_one_shot(samples):
    labelled, engine = LabelledSet.read(samples / "hippocampus"), Engine(device="cpu")
    found = rival(engine, labelled, "test", limit=1)
    assert json.loads(json.dumps(found)) == found and set(found["dice"]) == set(METHODS)
    case = labelled.cases["test"][0]
    (alone,) = References(engine, labelled).drawn(f"0 {case}", 1)
    labels = registered_labels(labelled.image(alone), labelled.label(alone), labelled.image(case))
    truth = labelled.label(case)
    expected = np.mean([dice(labels == n + 1, truth.mask(n)) for n in range(len(truth.segments))])
    assert found["dice"]["registered"]["mean"] == pytest.approx(expected, abs=0.02)
    assert labelled.name in table([found])


def test_a_crop_holds_the_whole_object_where_it_lies(hippocampi):
    image, truth = hippocampi[0][0], hippocampi[0][1].only([0])  # both segments fill the sample
    kept, masks = cropped(image, truth)
    assert kept.array.size < image.array.size and masks.volumes_ml() == pytest.approx(truth.volumes_ml())
    inside = np.argwhere(masks.mask(0)).mean(0)
    place = (masks.affine @ [*inside, 1])[:3]
    assert place == pytest.approx((truth.affine @ [*np.argwhere(truth.mask(0)).mean(0), 1])[:3])
