"""Contours as segmentations: a voxel belongs to a region when its center lies within an odd number of its contours."""

import numpy as np
import pytest
from dicommaker import LPS_RAS, write_contours
from matplotlib.path import Path as Polygon

from IrisSegmentLib.errors import IrisError
from IrisSegmentLib.imaging.files import read_segmentation
from IrisSegmentLib.imaging.volume import Volume

SHAPE = (40, 36, 12)


def star(center, radius, count=17, seed=0):
    """Corners (count, 2) of a jagged star that does not cross itself."""
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    lengths = radius * np.random.default_rng(seed).uniform(0.5, 1.0, count)
    return np.array(center) + lengths[:, None] * np.c_[np.cos(angles), np.sin(angles)]


def placed(points, k, affine):
    """Points (n, 2) of slice k, in voxels, as LPS in mm."""
    index = np.c_[points, np.full(len(points), k), np.ones(len(points))]
    return (index @ (LPS_RAS @ affine).T)[:, :3]


def centers_in(points):
    i, j = np.indices(SHAPE[:2])
    return Polygon(points).contains_points(np.c_[i.ravel(), j.ravel()]).reshape(SHAPE[:2])


@pytest.fixture(params=["axial", "sagittal", "oblique"])
def image(request, scans):
    affine = scans[request.param][2]
    return Volume(np.zeros(SHAPE, np.int16), affine, "scan")


def test_centers_within_an_odd_number_of_contours(tmp_path, image):
    outer, hole, island = star((19, 17), 16), star((19, 17), 7, seed=1), star((19, 17), 2.4, 9, seed=2)
    other = star((28.3, 20.1), 6, seed=3)  # overlaps the first region
    regions = {
        "Rind": [placed(p, k, image.affine) for k in (2, 3, 7) for p in (outer, hole, island)],
        "Tumor\\1": [placed(other, k, image.affine) for k in (3, 4)],
    }
    write_contours(tmp_path / "s.dcm", regions, {"Rind": (255, 128, 0), "Tumor\\1": (0, 0, 255)})
    found = read_segmentation(tmp_path / "s.dcm", image=image)
    expected = np.zeros((2, *SHAPE), bool)
    expected[0][:, :, [2, 3, 7]] = (centers_in(outer) ^ centers_in(hole) ^ centers_in(island))[:, :, None]
    expected[1][:, :, [3, 4]] = centers_in(other)[:, :, None]
    assert (expected[0] & expected[1]).any() and len(found.layers) == 2
    assert all(np.array_equal(found.mask(n), expected[n]) for n in range(2))
    assert [s.name for s in found.segments] == ["Rind", "Tumor\\1"]
    assert np.allclose(found.segments[0].color, (1, 128 / 255, 0)) and found.segments[1].color == (0, 0, 1)
    assert np.array_equal(found.affine, image.affine) and found.shape == image.shape


def test_contours_that_leave_the_scan_are_filled_as_far_as_it_goes(tmp_path, image):
    shapes = [star((1, 2), 9), star((37.5, 35), 12, seed=4), star((20, -6), 14, seed=5), star((-30, -30), 9)]
    write_contours(tmp_path / "s.dcm", {"a": [placed(p, k, image.affine) for k, p in enumerate(shapes)]})
    found = read_segmentation(tmp_path / "s.dcm", image=image).mask(0)
    for k, points in enumerate(shapes):
        assert np.array_equal(found[:, :, k], centers_in(points)), k
    assert [bool(found[:, :, k].any()) for k in range(4)] == [True, True, True, False]


def test_centers_on_a_contour_belong_to_it_on_every_side(tmp_path, image):
    """As programs write masks: through the centers of the outermost voxels. A hole's rim belongs to what it is in."""
    square = np.array([[5, 4], [15, 4], [15, 12], [5, 12]], float)
    hole = np.array([[8, 6], [8, 9], [12, 9], [12, 6]], float)
    line = np.array([[20, 20], [26, 20], [26, 20]], float)
    write_contours(tmp_path / "s.dcm", {"a": [placed(p, 4, image.affine) for p in (square, hole, line)]})
    found = read_segmentation(tmp_path / "s.dcm", image=image)
    expected = np.zeros(SHAPE, bool)
    expected[5:16, 4:13, 4] = True
    expected[9:12, 7:9, 4] = False
    expected[20:27, 20, 4] = True
    assert np.array_equal(found.mask(0), expected)


def test_contours_along_another_axis_than_the_files_slices(tmp_path, image):
    """A scan that was saved in another order of axes, with the contours of its old slices."""
    points = star((19, 17), 16)
    write_contours(tmp_path / "s.dcm", {"a": [placed(points, k, image.affine) for k in (5, 6)]})
    turned = Volume(image.array.transpose(2, 0, 1)[::-1], image.affine[:, [2, 0, 1, 3]] @ _flip(SHAPE[2]), "turned")
    found = read_segmentation(tmp_path / "s.dcm", image=turned).mask(0)
    assert np.array_equal(found[::-1].transpose(1, 2, 0)[:, :, 5], centers_in(points))
    assert found.any((1, 2)).sum() == 2


def _flip(count):
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = count - 1
    return flip


def test_what_does_not_fit_the_scan_is_told_in_one_sentence(tmp_path, image):
    good = placed(star((19, 17), 9), 3, image.affine)
    between, beyond = placed(star((19, 17), 9), 3.5, image.affine), placed(star((19, 17), 9), 14, image.affine)
    slanted = good + np.linspace(0, 9, len(good))[:, None] * np.array([[1.0, 1.0, 1.0]])
    write_contours(tmp_path / "point.dcm", {"Iso": [good[:1]]}, kind="POINT")
    cases = {"good": [good], "between": [between], "beyond": [beyond], "slanted": [good, slanted]}
    for name, contours in cases.items():
        write_contours(tmp_path / f"{name}.dcm", {"Leber": contours})
    for name, scan, words in [
        ("good", None, "holds contours; give the scan"),
        ("between", image, "'Leber' in 'between' do not lie on the slices of 'scan'"),
        ("slanted", image, "do not lie on the slices"),
        ("beyond", image, "reach beyond"),
        ("point", image, "is empty"),
    ]:
        with pytest.raises(IrisError, match=words) as caught:
            read_segmentation(tmp_path / f"{name}.dcm", image=scan)
        assert "\n" not in str(caught.value)
    nudged = placed(star((19, 17), 9), 3.04, image.affine)  # as much as rounded numbers lie off
    write_contours(tmp_path / "nudged.dcm", {"Leber": [nudged]})
    assert read_segmentation(tmp_path / "nudged.dcm", image=image).mask(0)[:, :, 3].any()
