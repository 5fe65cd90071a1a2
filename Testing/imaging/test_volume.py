import tracemalloc

import numpy as np
import pytest

from IrisSegmentLib.errors import IrisError
from IrisSegmentLib.imaging.volume import Segment, Segmentation, Volume, box_of, boxes_of, same_grid


def test_spacing_and_volume_of_an_oblique_anisotropic_grid():
    angle = np.radians(30)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn * [0.5, 2.0, 4.0]
    layers = np.zeros((1, 5, 6, 7), np.uint8)
    layers[0, 1:3, 1:4, 1:5] = 1
    segmentation = Segmentation(layers, affine, (Segment("box", (1, 0, 0)),))
    assert segmentation.spacing == pytest.approx((0.5, 2.0, 4.0))
    assert segmentation.volumes_ml() == pytest.approx((24 * 4 / 1000,))


def test_overlapping_segments_keep_their_voxels():
    layers = np.zeros((2, 4, 4, 4), np.uint8)
    layers[0, :3] = 1
    layers[1, 2:] = 1
    both = Segmentation(layers, np.eye(4), (Segment("a", (1, 0, 0), layer=0), Segment("b", (0, 1, 0), layer=1)))
    assert both.mask(0).sum() == 48 and both.mask(1).sum() == 32
    assert [s.name for s in both.only([1]).segments] == ["b"]


@pytest.mark.parametrize(
    ("array", "affine", "words"),
    [
        (np.zeros((2, 3, 4, 5)), np.eye(4), "not a single 3D scan"),
        (np.zeros((2, 3, 0)), np.eye(4), "not a single 3D scan"),
        (np.zeros((2, 3, 4)), np.diag([1, 1, 0, 1.0]), "voxel size of zero"),
        (np.zeros((2, 3, 4)), np.diag([1, np.nan, 1, 1]), "no numbers"),
        (np.zeros((2, 3, 4)), np.array([[1, 0.3, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), "right angles"),
    ],
)
def test_bad_scans_are_refused_in_words(array, affine, words):
    with pytest.raises(IrisError, match=words) as caught:
        Volume(array, affine, "CT chest")
    assert "CT chest" in str(caught.value)


def test_same_grid_sees_shape_and_position():
    a = Volume(np.zeros((3, 4, 5)), np.eye(4))
    moved = np.eye(4)
    moved[0, 3] = 0.5
    assert same_grid(a, Volume(np.ones((3, 4, 5)), np.eye(4)))
    assert not same_grid(a, Volume(np.zeros((3, 4, 5)), moved))
    assert not same_grid(a, Volume(np.zeros((3, 5, 4)), np.eye(4)))


def test_volumes_of_a_large_scan_take_no_eight_bytes_a_voxel():
    """numpy's count would: 1.3 GB for a 512x512x600 CT."""
    layers = np.zeros((1, 60, 256, 256), np.uint8).transpose(0, 3, 2, 1)  # as files are read
    layers[0, :100, :50, :10], layers[0, 200:, 200:, 50:] = 3, 9
    segments = tuple(Segment(f"S{n}", (1.0, 0.0, 0.0), "", 0, n) for n in (3, 9, 200))
    segmentation = Segmentation(layers, np.diag([1.0, 1.0, 2.0, 1.0]), segments)
    tracemalloc.start()
    try:
        found = segmentation.volumes_ml()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == pytest.approx((100.0, 56 * 56 * 10 * 2 / 1000, 0.0))
    assert peak < 3 * layers.nbytes


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("seed", range(4))
def test_boxes_of_labels_are_those_of_their_masks(order, seed):
    random = np.random.default_rng(seed)
    layer = np.where(random.random((6, 9, 7)) < 0.02, random.integers(1, 5, (6, 9, 7)), 0).astype(np.int16)
    layer = np.asarray(layer, order=order)[::-1]
    labels = [4, 1, 9, 2]
    assert boxes_of(layer, labels) == [box_of(layer == label) for label in labels]
