import json

import numpy as np
import pytest

from IrisSegmentLib.cli import main
from IrisSegmentLib.evaluation.dataset import find_sets
from IrisSegmentLib.evaluation.metrics import dice
from IrisSegmentLib.evaluation.probes import (
    BOTH,
    MISPLACED,
    PROBES,
    UNNAMED,
    beside,
    cut,
    inverted,
    laid_across,
    scaled,
    thick,
    turned,
    unnamed,
)


@pytest.mark.parametrize("name", [*PROBES, *BOTH])
def test_image_and_truth_change_together(hippocampi, name):
    """Where the mask goes, the gray values under it go too, and the object stays in view."""
    image, truth = hippocampi[0]
    seen, masks = (PROBES | BOTH)[name](image, truth)
    assert seen.shape == masks.shape and np.array_equal(seen.affine, masks.affine)
    assert sum(masks.volumes_ml()) / sum(truth.volumes_ml()) == pytest.approx(
        {"a quarter larger": 1.25**3, "a fifth smaller": 0.8**3}.get(name, 1.0), rel=0.15
    )
    if not name.startswith("contrast inverted"):
        under = [volume.array[s.layers[0] > 0].mean() for volume, s in ((image, truth), (seen, masks))]
        around = [volume.array.mean() for volume in (image, seen)]
        assert under[1] == pytest.approx(under[0], rel=0.05) and around[1] == pytest.approx(around[0], rel=0.2)


def test_each_change_is_the_one_it_says(hippocampi):
    image, truth = hippocampi[0]
    assert scaled(1.25)(image, truth)[0].spacing == pytest.approx([1.25 * s for s in image.spacing])
    thinned = thick(image, truth)[0]
    axis = int(np.argmax(image.spacing))
    assert thinned.shape[axis] == image.shape[axis] // 4
    first = (thinned.affine @ [0, 0, 0, 1])[:3] - (image.affine @ [0, 0, 0, 1])[:3]
    assert np.linalg.norm(first) == pytest.approx(1.5 * image.spacing[axis]), "a thick slice lies amid its four"
    assert np.corrcoef(inverted(image, truth)[0].array.ravel(), image.array.ravel())[0, 1] < -0.9
    assert min(cut(image, truth)[0].shape[n] / image.shape[n] for n in range(3)) < 0.85
    across, lying = laid_across(image, truth)
    assert across.spacing == image.spacing and np.array_equal(across.affine, lying.affine)
    head = [np.linalg.inv(seen.affine)[:3, 2] for seen in (image, across)]  # a step towards it, in voxels
    assert abs(np.dot(*head)) < 0.1 * np.prod([np.linalg.norm(h) for h in head])
    once = turned(image, truth)[1]
    assert 0.2 < dice(once.layers[0] > 0, truth.layers[0] > 0) < 0.95
    voxel = np.argwhere(truth.layers[0] > 0).mean(0)
    center = (np.array(image.shape) - 1) / 2
    moved = np.argwhere(once.layers[0] > 0).mean(0)
    assert np.linalg.norm(moved - center) == pytest.approx(np.linalg.norm(voxel - center), rel=0.1)


def test_a_reference_is_marked_beside_its_object(hippocampi):
    _, marked = hippocampi[0]
    moved = beside(marked)
    assert np.array_equal(np.bincount(moved.layers.ravel()), np.bincount(marked.layers.ravel()))
    assert dice(moved.layers[0] > 0, marked.layers[0] > 0) < 0.6, "as far as this small scan lets it"


def test_a_region_that_no_label_names_is_as_far_from_the_labels_in_both_scans(ball_sets):
    sets = {s.folder.name: s for s in find_sets(ball_sets)}
    labelled, places = sets["hippocampus"], []
    for case in ("hippocampus_4", "hippocampus_5"):
        both = unnamed(labelled, "hippocampus_0", case, 0)
        assert both is not None
        since = []
        for region, name in zip(both, ("hippocampus_0", case), strict=True):
            label = labelled.label(name)
            assert region.shape == label.shape and np.array_equal(region.affine, label.affine)
            middles = [np.argwhere(s.mask(0)).mean(0) for s in (region, label)]
            since.append(middles[0] - middles[1])
        assert np.linalg.norm(since[0] - since[1]) < 2.5  # voxels; the ball is 12 wide
        places.append(since[0])
    assert np.linalg.norm(places[0] - places[1]) > 1, "every target is asked for another"
    assert unnamed(sets["sarcoma_pet"], "sarcoma_pet_0", "sarcoma_pet_4", 0) is None, "a tumor is anywhere"


def test_the_verb_reports_every_probe_and_the_false_alarms(ball_sets, tmp_path, capsys):
    assert main(["probe", "--data", str(ball_sets), "--limit", "1", "--json", str(tmp_path / "p.json")]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in (*PROBES, *BOTH, MISPLACED, UNNAMED))
    assert "object absent" in printed and "of 1" in printed
    found = json.loads((tmp_path / "p.json").read_text())
    (region,) = found["hippocampus"]["unnamed"]
    assert region["case"] == "hippocampus_4" and region["dice"] == found["hippocampus"]["dice"][UNNAMED]
    assert found["sarcoma_pet"]["unnamed"] == [] and UNNAMED not in found["sarcoma_pet"]["dice"]
