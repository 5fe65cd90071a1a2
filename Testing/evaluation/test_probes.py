import numpy as np
import pytest

from IrisSegmentLib.cli import main
from IrisSegmentLib.evaluation.metrics import dice
from IrisSegmentLib.evaluation.probes import MISPLACED, PROBES, beside, cut, inverted, scaled, thick, turned


@pytest.mark.parametrize("name", list(PROBES))
def test_image_and_truth_change_together(hippocampi, name):
    """Where the mask goes, the gray values under it go too, and the object stays in view."""
    image, truth = hippocampi[0]
    seen, masks = PROBES[name](image, truth)
    assert seen.shape == masks.shape and np.array_equal(seen.affine, masks.affine)
    assert sum(masks.volumes_ml()) / sum(truth.volumes_ml()) == pytest.approx(
        {"a quarter larger": 1.25**3, "a fifth smaller": 0.8**3}.get(name, 1.0), rel=0.15
    )
    if name != "contrast inverted":
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


def test_the_verb_reports_every_probe_and_the_false_alarms(ball_sets, tmp_path, capsys):
    assert main(["probe", "--data", str(ball_sets), "--limit", "1", "--json", str(tmp_path / "p.json")]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in (*PROBES, MISPLACED)) and "object absent" in printed and "of 1" in printed
