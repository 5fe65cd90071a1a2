"""Any grid that a scanner or a stranger can make: what the network sees and draws lies where SimpleITK says it lies.

`make geometry` draws 500 grids, `make test` a few of them (IRIS_EXAMPLES).
"""

import os

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from IrisSegmentLib.engine import Engine
from IrisSegmentLib.errors import IrisError
from IrisSegmentLib.imaging.files import _to_image, read_segmentation, read_volume, write_segmentation
from IrisSegmentLib.imaging.intensity import Intensity
from IrisSegmentLib.imaging.volume import Segment, Segmentation, Volume
from IrisSegmentLib.imaging.window import Box, Window

EXAMPLES = int(os.environ.get("IRIS_EXAMPLES", "20"))
VOXELS = 150_000
drawn = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES <= 20, print_blob=True,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
few = settings(drawn, max_examples=max(6, EXAMPLES // 10))


@st.composite
def affines(draw, oblique=True):
    """Spacing 0.1 to 10 mm (anisotropy to 20), any direction, either hand, permuted axes, origins to 100 m."""
    base = draw(st.floats(0.1, 10.0))
    spacing = [base * draw(st.floats(1.0, 20.0)) for _ in range(3)]
    spacing = [min(s, 10.0) if base * 20 > 10 else s for s in spacing]
    turn = np.eye(3)[list(draw(st.permutations(range(3))))] * draw(st.sampled_from([-1.0, 1.0]))
    if oblique:
        quaternion = np.array([draw(st.floats(-1.0, 1.0)) for _ in range(4)])
        assume(np.linalg.norm(quaternion) > 0.1)
        w, x, y, z = quaternion / np.linalg.norm(quaternion)
        turn = turn @ np.array([
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ])  # fmt: skip
    affine = np.eye(4)
    affine[:3, :3] = turn * spacing
    affine[:3, 3] = [draw(st.floats(-1e5, 1e5)) for _ in range(3)]
    return affine


@st.composite
def shapes(draw, least=1):
    """1 to 700 voxels an axis."""
    shape = [draw(st.integers(least, 700))]
    shape.append(draw(st.integers(least, max(least, min(700, VOXELS // shape[0] // least)))))
    shape.append(draw(st.integers(least, max(least, min(700, VOXELS // shape[0] // shape[1])))))
    return tuple(draw(st.permutations(shape)))


def in_space(window, scan):
    """The window as SimpleITK places it: the scan turned by SimpleITK to run to right, anterior, superior. Its image
    of zeros, and that of the scan."""
    image = _to_image(scan.array, scan.affine)
    oriented = sitk.DICOMOrient(image, "RAS")
    grid = sitk.Image([int(n) for n in window.shape], sitk.sitkFloat32)
    start = [o / s for o, s in zip(window.origin, oriented.GetSpacing(), strict=True)]
    grid.SetOrigin(oriented.TransformContinuousIndexToPhysicalPoint(start))
    grid.SetSpacing([window.step] * 3)
    grid.SetDirection(oriented.GetDirection())
    return grid, image


def windows(scan, draw):
    """The whole scan, or a closer look at a part of it."""
    if draw(st.booleans()):
        return Window.whole_scan(scan, 64)
    extent = np.array(Window.whole_scan(scan, 64).extent)
    low = np.array([draw(st.floats(0.0, 0.6)) for _ in range(3)]) * extent
    high = low + np.array([draw(st.floats(0.2, 0.6)) for _ in range(3)]) * extent
    return Window.over(scan, Box(tuple(low), tuple(high)), 48)


def clear(affine):
    """Whether the axes are far from a tie, where two programs may rightly name them otherwise."""
    closeness = np.sort(np.abs(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)), axis=0)
    return bool((closeness[2] - closeness[1] > 0.1).all())


@drawn
@given(data=st.data())
def test_what_is_drawn_in_a_window_lands_where_simpleitk_puts_it(data):
    affine = data.draw(affines())
    assume(clear(affine))
    scan = Volume(np.zeros(data.draw(shapes()), np.uint8), affine)
    window = windows(scan, data.draw)
    random = torch.Generator().manual_seed(data.draw(st.integers(0, 9)))
    coarse = torch.randn(1, 1, 5, 5, 5, generator=random)
    logits = torch.nn.functional.interpolate(coarse, window.shape, mode="trilinear", align_corners=True)[0]
    ours = window.paste(logits)
    grid, image = in_space(window, scan)
    field = sitk.GetImageFromArray(np.ascontiguousarray(logits[0].numpy().transpose(2, 1, 0)))
    field.CopyInformation(grid)
    moved = sitk.Resample(field, image, sitk.Transform(), sitk.sitkLinear, float("nan"), sitk.sitkFloat32)
    theirs = sitk.GetArrayFromImage(moved).transpose(2, 1, 0)
    told = np.isfinite(theirs) & (np.abs(np.nan_to_num(theirs)) > 2e-2)  # single precision, origins of 100 m
    assert np.array_equal(ours[told] > 0, theirs[told] > 0)


@drawn
@given(data=st.data())
def test_what_a_window_sees_is_what_lies_there(data):
    """A scan that brightens evenly along a direction in space is seen at the cells as bright as it is there."""
    affine = data.draw(affines())
    assume(clear(affine))
    shape = data.draw(shapes())
    scan = Volume(np.zeros(shape, np.float64), affine)
    slope = np.array([data.draw(st.floats(-1.0, 1.0)) for _ in range(3)])
    center = affine[:3, 3] + affine[:3, :3] @ (np.array(shape) / 2)
    indices = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    values = ((indices @ affine[:3, :3].T + affine[:3, 3]) - center) @ slope
    scan = Volume(values, affine)
    window = windows(scan, data.draw)
    seen = window.sample_image(scan, Intensity(-1e9, 1e9, 0.0, 1.0, "plain", 0.0))[0, 0].numpy()
    grid, image = in_space(window, scan)
    cells = np.stack(np.meshgrid(*(np.arange(n) for n in window.shape), indexing="ij"), -1).reshape(-1, 3)
    spacing = np.array(sitk.DICOMOrient(image, "RAS").GetSpacing())
    reach = np.maximum(spacing, window.step) / spacing + 1e-3  # voxels that a cell reads to each side
    places = (np.array(window.origin) + cells * window.step) / spacing
    inside = ((places >= reach) & (places <= np.array(sitk.DICOMOrient(image, "RAS").GetSize()) - 1 - reach)).all(1)
    # Where cells are little wider than voxels, the filter's center of mass is up to a seventh of a voxel off its cell.
    allowed = 0.15 * np.abs(slope @ affine[:3, :3]).sum() + 1e-4 * np.abs(values).max() + 1e-3
    for cell in cells[inside][:: max(1, int(inside.sum()) // 50)]:
        lps = np.array(grid.TransformIndexToPhysicalPoint([int(n) for n in cell]))
        expected = (lps * [-1, -1, 1] - center) @ slope
        assert abs(seen[tuple(cell)] - expected) < allowed


NUMBERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64"]


@pytest.fixture(scope="module")
def engine(tiny_network):
    return Engine(tiny_network, "cpu")


@few
@given(data=st.data())
def test_any_scan_is_segmented_on_its_own_grid_or_refused_in_a_sentence(engine, data):
    """Every number type, values that are none, constant scans, one voxel, lesions smaller than a cell."""
    kind = data.draw(st.sampled_from(NUMBERS))
    shape = data.draw(shapes())
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    array = (random.normal(size=shape) * data.draw(st.sampled_from([0.0, 1.0, 100.0])) + 50).astype(kind)
    if kind.startswith("float") and data.draw(st.booleans()):
        array[random.random(shape) < data.draw(st.sampled_from([0.01, 1.0]))] = data.draw(
            st.sampled_from([np.nan, np.inf, -np.inf])
        )
    image = Volume(array, data.draw(affines()))
    label = data.draw(st.sampled_from([1, 255, 65535]))
    layer = np.zeros(shape, np.uint16)
    low = [data.draw(st.integers(0, n - 1)) for n in shape]
    high = [data.draw(st.integers(n + 1, m)) for n, m in zip(low, shape, strict=True)]
    layer[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = label
    overlapping = Segment("all", (0.0, 1.0, 0.0), "", 1, 1)
    segments = (Segment("lesion", (1.0, 0.0, 0.0), "", 0, label), overlapping)
    segmentation = Segmentation(np.stack([layer, np.ones(shape, np.uint16)]), image.affine, segments)
    result = engine.segment(image, engine.encode(image, segmentation, name="any"))
    assert result.segmentation.shape == shape and np.array_equal(result.segmentation.affine, image.affine)
    assert all(0.0 <= c <= 1.0 for c in result.confidence) and all(np.isfinite(result.volumes_ml))


@few
@given(data=st.data())
def test_a_grid_goes_through_a_file_and_back(data, tmp_path_factory):
    affine = data.draw(affines())
    layer = np.zeros(data.draw(shapes()), np.uint16)
    layer[0, 0, 0] = data.draw(st.sampled_from([1, 300, 65535]))
    segments = (Segment("a", (1.0, 0.0, 0.0), "", 0, int(layer[0, 0, 0])),)
    path = tmp_path_factory.mktemp("grid") / data.draw(st.sampled_from(["a.seg.nrrd", "a.nii.gz", "a.mha"]))
    write_segmentation(Segmentation(layer[None], affine, segments), path)
    back = read_segmentation(path)
    assert np.array_equal(back.mask(0), layer > 0)
    assert np.allclose(back.affine, affine, rtol=1e-5, atol=0.02)  # NIfTI keeps single precision


@few
@given(affines(), st.floats(0.01, 0.5))
def test_sheared_axes_are_refused(affine, shear):
    affine[:3, 0] += shear * np.linalg.norm(affine[:3, 0]) * affine[:3, 1] / np.linalg.norm(affine[:3, 1])
    with pytest.raises(IrisError, match="not at right angles"):
        Volume(np.zeros((2, 2, 2)), affine, "tilted")


def test_color_and_vectors_are_refused(tmp_path):
    image = sitk.GetImageFromArray(np.zeros((3, 4, 5, 3), np.uint8), isVector=True)
    sitk.WriteImage(image, str(tmp_path / "photo.nrrd"))
    with pytest.raises(IrisError, match="several values per voxel"):
        read_volume(tmp_path / "photo.nrrd")
