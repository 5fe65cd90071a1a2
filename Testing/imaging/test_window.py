import subprocess
import sys
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from IrisSegmentLib.imaging import window
from IrisSegmentLib.imaging.intensity import Intensity
from IrisSegmentLib.imaging.volume import Segment, Segmentation, Volume
from IrisSegmentLib.imaging.window import Window, box_of_segments, paste

ROOT = Path(__file__).resolve().parents[2]
SHAPES = [(35, 51, 35), (64, 20, 9), (130, 40, 70)]


def scan(shape=(40, 30, 20), spacing=(1.0, 1.5, 2.5), seed=0) -> Volume:
    random = np.random.default_rng(seed)
    smooth = sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(random.normal(size=shape[::-1])), 2.0)
    array = (sitk.GetArrayFromImage(smooth).transpose(2, 1, 0) * 1000).astype(np.int16)
    return Volume(array, np.diag([*spacing, 1.0]), "scan")


def ball(volume: Volume, center=0.5, radius=0.3) -> Segmentation:
    axes = np.meshgrid(*[(np.arange(n) + 0.5) / n - center for n in volume.shape], indexing="ij")
    mask = sum(a**2 for a in axes) < radius**2
    return Segmentation(mask[None].astype(np.uint8), volume.affine, (Segment("ball", (1, 0, 0)),))


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("level", ["whole", "around"])
def test_a_mask_survives_the_way_there_and_back(shape, level):
    volume = scan(shape)
    segmentation = ball(volume, 0.45)
    window = Window.whole_scan(volume) if level == "whole" else Window.over(volume, box_of_segments(segmentation))
    labels = window.paste(window.sample_masks(segmentation) - 0.5)
    assert labels.shape == volume.shape
    assert dice(labels > 0, segmentation.mask(0)) > 0.95


def test_sampling_agrees_with_simpleitk():
    """An independent resampling of the same grid, where the window is no coarser than the scan."""
    volume = scan()
    window = Window.whole_scan(volume)
    assert window.step < min(volume.spacing)
    image = sitk.GetImageFromArray(volume.array.transpose(2, 1, 0).astype(np.float32))
    image.SetSpacing(volume.spacing)
    grid = sitk.Image([int(n) for n in window.shape], sitk.sitkFloat32)
    grid.SetOrigin(window.origin)
    grid.SetSpacing([window.step] * 3)
    theirs = sitk.GetArrayFromImage(sitk.Resample(image, grid, sitk.Transform(), sitk.sitkLinear)).transpose(2, 1, 0)
    identity = Intensity(-5000.0, 5000.0, 0.0, 1.0, "")
    ours = window.sample_image(volume, identity)[0, 0].numpy()
    inside = tuple(
        slice(int(np.ceil(-o / window.step)) + 1, int(((n - 1) * s - o) / window.step) - 1)
        for o, n, s in zip(window.origin, volume.shape, volume.spacing, strict=True)
    )
    assert ours[inside].size > 1000 and np.abs(ours[inside]).max() > 100
    assert np.abs(ours[inside] - theirs[inside]).max() < 0.01


def test_a_constant_scan_stays_constant_inside():
    volume = Volume(np.full((20, 20, 20), 7, np.int16), np.eye(4), "flat")
    sampled = Window.whole_scan(volume).sample_image(volume)
    assert torch.isfinite(sampled).all() and sampled.abs().max() < 1e-3


def test_nan_and_infinity_count_as_the_lowest_value():
    volume = scan()
    array = volume.array.astype(np.float32)
    array[3, 3, 3], array[4, 4, 4], array[5, 5, 5] = np.nan, -np.inf, np.inf
    assert torch.isfinite(Window.whole_scan(volume).sample_image(Volume(array, volume.affine))).all()


def test_ct_keeps_its_absolute_scale():
    air = np.full((20, 20, 20), -1000, np.int16)
    air[5:15] = 40
    more_air = np.full((40, 20, 20), -1000, np.int16)
    more_air[5:15] = 40
    a, b = (Intensity.of(x) for x in (air, more_air))
    assert a == b and a.modality == "CT"


@pytest.mark.parametrize("lowest", [-1024, -3024, -899, -32768])
def test_ct_is_told_by_air_and_nothing_far_below(lowest):
    """Some scanners put -3024 around a CT; MR that was stored over all of int16 lies far lower."""
    scan = np.full((8, 8, 8), 40, np.int16)
    scan[0, 0, 0] = lowest
    told = "CT" if lowest in (-1024, -3024) else "MR or PET"
    assert Intensity.of(scan).modality == Intensity.as_published(scan).modality == told
    assert (Intensity.of(scan).high == 600) == (told == "CT"), "and has the numbers of what it is"


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_storage_order_and_flips_do_not_matter(order):
    """The same scan stored with permuted and flipped axes: the network sees the same numbers, bit for bit, and its
    answer lands on the same places."""
    volume = scan()
    window = Window.whole_scan(volume)
    seen = window.sample_image(volume)
    labels = window.paste(seen[0])
    for flips in product([False, True], repeat=3):
        array, affine = volume.array.transpose(order), volume.affine[:, [*order, 3]].copy()
        for axis, flip in enumerate(flips):
            if flip:
                affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
                affine[:3, axis] *= -1
                array = np.flip(array, axis)
        stored = Volume(np.ascontiguousarray(array), affine)
        other = Window.whole_scan(stored)
        assert torch.equal(other.sample_image(stored), seen)
        back = other.paste(seen[0])
        for axis, flip in enumerate(flips):
            if flip:
                back = np.flip(back, axis)
        assert np.array_equal(back.transpose(np.argsort(order)), labels)


@pytest.mark.parametrize("seed", range(5))
def test_a_rigid_change_of_header_does_not_matter(seed):
    """Rotated by up to 40 degrees and moved by metres: same numbers in, same voxels out."""
    random = np.random.default_rng(seed)
    axis = random.normal(size=3)
    axis /= np.linalg.norm(axis)
    angle = np.radians(random.uniform(-25, 25))
    cross = np.cross(np.eye(3), axis)
    motion = np.eye(4)
    motion[:3, :3] = np.eye(3) * np.cos(angle) + np.sin(angle) * cross + (1 - np.cos(angle)) * np.outer(axis, axis)
    motion[:3, 3] = random.uniform(-2000, 2000, 3)
    volume = scan()
    moved = Volume(volume.array, motion @ volume.affine)
    seen = Window.whole_scan(volume).sample_image(volume)
    assert torch.equal(Window.whole_scan(moved).sample_image(moved), seen)
    assert np.array_equal(Window.whole_scan(moved).paste(seen[0]), Window.whole_scan(volume).paste(seen[0]))


def test_thin_things_fade_and_do_not_vanish():
    """A one-voxel vessel in a scan four times finer than the window keeps its mass."""
    mask = np.zeros((1, 256, 64, 64), np.uint8)
    mask[0, :, 30, 33] = 1
    vessel = Segmentation(mask, np.eye(4), (Segment("vessel", (1, 0, 0)),))
    window = Window.whole_scan(vessel)
    assert float(window.sample_masks(vessel).sum()) * window.step**3 == pytest.approx(256, rel=0.03)


def test_boxes_and_grids():
    volume = scan((40, 30, 20), (1.0, 1.0, 1.0))
    segmentation = ball(volume)
    assert box_of_segments(Segmentation(np.zeros((1, 4, 4, 4), np.uint8), np.eye(4), segmentation.segments)) is None
    window = Window.whole_scan(volume)
    assert window.shape == (64, 48, 32) and window.step == pytest.approx(40 / 64)
    assert window.box_of(torch.zeros(window.shape, dtype=torch.bool)) is None
    cells = window.box_of(window.sample_masks(segmentation)[0] > 0.5, margin=1.0)
    voxels = box_of_segments(segmentation, margin=1.0)
    assert np.allclose(cells.low, voxels.low, atol=1.0) and np.allclose(cells.high, voxels.high, atol=1.0)


def test_more_classes_than_a_byte_holds_is_an_error():
    window = Window.whole_scan(scan())
    with pytest.raises(ValueError, match="255"):
        window.paste(torch.zeros(256, 1, 1, 1).expand(256, *window.shape))


def test_classes_seen_in_windows_of_their_own_come_together():
    """As one window would have it where the windows meet, each class within its own window only."""
    volume = scan((60, 50, 40), (1.0, 1.2, 1.5))
    left, right = ball(volume, 0.35, 0.2), ball(volume, 0.65, 0.2)
    whole = Window.whole_scan(volume)
    close = [Window.over(volume, box_of_segments(s, 1.5)) for s in (left, right)]
    labels = paste([(w, w.sample_masks(s) - 0.5) for w, s in zip(close, (left, right), strict=True)])
    both = whole.paste(torch.cat([whole.sample_masks(s) for s in (left, right)]) - 0.5)
    assert dice(labels == 1, both == 1) > 0.9 and dice(labels == 2, both == 2) > 0.9
    everywhere = paste([(w, torch.full((1, *w.shape), 2.0 + n)) for n, w in enumerate(close)])
    first, second = (w.paste(torch.ones(1, *w.shape)) > 0 for w in close)
    assert np.array_equal(everywhere == 2, second), "the likelier class wins where both are seen"
    assert np.array_equal(everywhere == 1, first & ~second)


def test_an_answer_seen_from_another_window_keeps_its_place():
    volume = scan((60, 50, 40), (1.0, 1.0, 1.0))
    segmentation = ball(volume, 0.4, 0.2)
    whole, close = Window.whole_scan(volume), Window.over(volume, box_of_segments(segmentation))
    brought = whole.seen_from(close, whole.sample_masks(segmentation) - 0.5)
    direct = close.sample_masks(segmentation) - 0.5
    assert dice((brought > 0).numpy(), (direct > 0).numpy()) > 0.9
    box = box_of_segments(segmentation, 1.0)
    assert box.at_least((5.0, 200.0, 5.0)).extent == pytest.approx((box.extent[0], 200.0, box.extent[2]))


@pytest.mark.parametrize("order", list(permutations(range(3)))[::2])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, -1), (1, -1, -1)])
def test_masks_read_only_where_they_are_are_those_of_the_whole_scan(order, flips):
    """A large scan with many classes is read once, not once for each class and look: the cells are the same."""
    shape, affine = (50, 41, 33), np.eye(4)
    affine[:3, :3] = np.diag([1.0, 1.5, 2.0])[:, list(order)] * flips
    layer = np.zeros(shape, np.uint8)
    layer[0:7, 30:41, 5:20], layer[20:40, 10:18, 12:30], layer[22, 12, 14] = 1, 2, 3
    segments = tuple(Segment(f"S{n}", (1, 0, 0), "", 0, n) for n in (1, 2, 3, 4))  # the last one is empty
    segmentation = Segmentation(layer[None], affine, segments)
    for view in (Window.whole_scan(segmentation), Window.over(segmentation, box_of_segments(segmentation.only([1])))):
        (to_r, to_a, to_s), spans = zip(*(view._weights_from_scan(n) for n in range(3)), strict=True)
        for n, found in enumerate(view.sample_masks(segmentation)):
            whole = torch.from_numpy(view.orientation.to_canonical(layer == n + 1)[spans].astype(np.float64))
            expected = torch.einsum("ras,dr,ha,ws->dhw", whole, to_r.double(), to_a.double(), to_s.double())
            assert torch.allclose(found.double(), expected, atol=1e-6)
            assert bool(found.any()) == bool(expected.any())


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, -1)])
def test_the_box_of_segments_is_that_of_their_voxels(flips):
    affine = np.diag([1.0, 1.5, 2.0, 1.0])
    affine[:3, :3] = affine[:3, :3][:, [2, 0, 1]] * flips
    layers = np.zeros((2, 20, 30, 40), np.uint16)
    layers[0, 3:9, 4:11, 5:12], layers[0, 15, 20, 30], layers[1, 8, 2, 36] = 1, 500, 1
    segments = (Segment("a", (1, 0, 0)), Segment("b", (1, 0, 0), "", 1, 1), Segment("none", (1, 0, 0), "", 1, 7))
    segmentation = Segmentation(layers, affine, segments)
    shown = Window.whole_scan(segmentation).orientation.to_canonical((layers[0] == 1) | (layers[1] == 1))
    where, spacing = np.nonzero(shown), (1.0, 1.5, 2.0)
    box = box_of_segments(segmentation, 1.0)
    assert box.low == pytest.approx([(w.min() - 0.5) * s for w, s in zip(where, spacing, strict=True)])
    assert box.high == pytest.approx([(w.max() + 0.5) * s for w, s in zip(where, spacing, strict=True)])
    assert box_of_segments(segmentation.only([2])) is None


def test_segments_taken_apart_keep_their_boxes():
    layers = np.zeros((1, 20, 30, 40), np.uint8)
    layers[0, 3:9, 4:11, 5:12], layers[0, 15, 20, 30] = 1, 2
    several = Segmentation(layers, np.eye(4), tuple(Segment(f"S{n}", (1, 0, 0), "", 0, n) for n in (1, 2, 3, 0)))
    boxes = [(slice(3, 9), slice(4, 11), slice(5, 12)), (slice(15, 16), slice(20, 21), slice(30, 31))]
    boxes += [(slice(0, 0),) * 3, (slice(0, 20), slice(0, 30), slice(0, 40))]
    for order in ([2, 0], [3, 1]):
        fresh = several.only(order).boxes
        assert list(fresh) == [boxes[n] for n in order]
    assert list(several.boxes) == boxes and list(several.only([1, 2]).boxes) == boxes[1:3]


@pytest.mark.parametrize("seed", range(4))
def test_only_what_may_belong_to_a_class_is_drawn_and_nothing_of_it_is_missed(seed):
    """Against the whole of a window brought to the voxels: a blob, one at the rim, a speck, and nothing."""
    volume = scan((50, 41, 33), (1.0, 1.3, 2.1))
    view = Window.over(volume, window.Box((5.0, 8.0, 10.0), (40.0, 45.0, 52.0)), 32)
    random = torch.Generator().manual_seed(seed)
    logits = -torch.rand(2, *view.shape, generator=random)
    low = [int(torch.randint(0, n - 8, (1,), generator=random)) for n in view.shape]
    if seed < 3:
        size = (6, 40, 1)[seed]
        logits[1, low[0] : low[0] + size, low[1] : low[1] + size, low[2] : low[2] + size] = 3.0
    covered = tuple(view._covered(n) for n in range(3))
    weights = [view._weights_to_scan(n, covered[n]) for n in range(3)]
    value, index = torch.einsum("kdhw,ad,bh,cw->kabc", logits, *weights).max(0)
    expected = np.zeros(volume.shape, np.uint8)
    expected[covered] = ((value > 1e-6) * (index + 1)).numpy()
    assert np.array_equal(view.orientation.to_canonical(view.paste(logits)), expected)
    assert expected.any() == (seed < 3)


PASTE_FORTY = """
import numpy as np, torch
from IrisSegmentLib.evaluation.memory import peak_mb
from IrisSegmentLib.imaging.volume import Volume
from IrisSegmentLib.imaging.window import Window

scan = Volume(np.zeros((64, 512, 320), np.int16), np.eye(4), "wide")
window = Window.whole_scan(scan, 64)
logits = torch.randn(40, *window.shape, generator=torch.Generator().manual_seed(0))
window.paste(logits[:1])
before = peak_mb()
window.paste(logits)
print(int(peak_mb() - before))
"""


def test_forty_classes_are_pasted_together_in_little_memory():
    """The whole of what lies between the axes once took gigabytes on a large scan; here, 840 MB."""
    told = subprocess.run([sys.executable, "-c", PASTE_FORTY], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(told.stdout) < 600


def test_pieces_make_the_same_whole(monkeypatch):
    scan = Volume(np.zeros((37, 50, 23), np.int16), np.diag([1.0, 0.7, 2.0, 1.0]), "odd")
    view = Window.whole_scan(scan, 32)
    logits = torch.randn(5, *view.shape, generator=torch.Generator().manual_seed(1))
    whole = view.paste(logits)
    monkeypatch.setattr(window, "SLAB", 20_000)
    assert whole.any() and np.array_equal(view.paste(logits), whole)
