import os

import numpy as np
import pytest
import SimpleITK as sitk

from IrisSegmentLib.errors import IrisError
from IrisSegmentLib.imaging.files import read_segmentation, read_volume, stem_of, write_segmentation, write_volume
from IrisSegmentLib.imaging.volume import Segment, Segmentation, Volume, same_grid

TERMINOLOGY = "Segmentation category and type~SCT^123037004^Anatomical Structure~SCT^78277001^Hippocampus~^^~~^^~^^"


def oblique_affine():
    angle = np.radians(25)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine[:3, :3] *= [0.7, 0.7, 3.0]
    affine[:3, 3] = [-12.5, 40.0, 7.25]
    return affine


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.nrrd", "scan.mha"])
def test_a_scan_comes_back_as_it_was(tmp_path, name):
    array = np.random.default_rng(0).integers(-1000, 1000, (5, 6, 7)).astype(np.int16)
    write_volume(Volume(array, oblique_affine(), "scan"), tmp_path / name)
    back = read_volume(tmp_path / name)
    assert np.array_equal(back.array, array) and back.array.dtype == np.int16
    assert np.allclose(back.affine, oblique_affine(), atol=1e-5) and back.name == "scan"
    assert os.listdir(tmp_path) == [name], "nothing is left beside the file"


def test_geometry_agrees_with_simpleitk(tmp_path):
    write_volume(Volume(np.zeros((5, 6, 7), np.uint8), oblique_affine()), tmp_path / "v.nrrd")
    image = sitk.ReadImage(str(tmp_path / "v.nrrd"))
    point = np.array(image.TransformIndexToPhysicalPoint((4, 3, 2))) * [-1, -1, 1]
    assert np.allclose(point, (oblique_affine() @ [4, 3, 2, 1])[:3], atol=1e-5)


def test_seg_nrrd_keeps_names_colors_terminology_and_overlaps(tmp_path):
    layers = np.zeros((2, 4, 5, 6), np.uint8)
    layers[0, :2] = 1
    layers[0, 2:] = 2
    layers[1, 1:3] = 1
    segments = (
        Segment("Anterior hippocampus", (0.25, 0.5, 0.75), TERMINOLOGY, 0, 1),
        Segment("Posterior", (1.0, 0.0, 0.0), "", 0, 2),
        Segment("Lesion", (0.0, 1.0, 0.0), "", 1, 1),
    )
    write_segmentation(Segmentation(layers, oblique_affine(), segments), tmp_path / "a.seg.nrrd")
    back = read_segmentation(tmp_path / "a.seg.nrrd")
    assert back.segments == segments
    for n in range(3):
        assert np.array_equal(back.mask(n), Segmentation(layers, np.eye(4), segments).mask(n))


def test_label_maps_read_with_and_without_names(tmp_path):
    layers = np.zeros((1, 4, 4, 4), np.uint8)
    layers[0, 0] = 1
    layers[0, 1] = 7
    write_segmentation(Segmentation(layers, np.eye(4), ()), tmp_path / "l.nii.gz")
    assert [(s.name, s.label) for s in read_segmentation(tmp_path / "l.nii.gz").segments] == [
        ("Segment_1", 1), ("Segment_7", 7)]  # fmt: skip
    assert [s.name for s in read_segmentation(tmp_path / "l.nii.gz", {7: "liver"}).segments] == ["liver"]
    assert same_grid(read_segmentation(tmp_path / "l.nii.gz"), read_volume(tmp_path / "l.nii.gz"))


def test_bad_files_are_refused_in_one_sentence(tmp_path):
    (tmp_path / "broken.nii.gz").write_bytes(b"not an image")
    write_volume(Volume(np.full((3, 3, 3), 0.5, np.float32), np.eye(4)), tmp_path / "half.nrrd")
    write_volume(Volume(np.zeros((3, 3, 3), np.uint8), np.eye(4)), tmp_path / "empty.nrrd")
    for call, words in [
        (lambda: read_volume(tmp_path / "absent.nrrd"), "no file"),
        (lambda: read_volume(tmp_path / "broken.nii.gz"), "could not be read"),
        (lambda: read_segmentation(tmp_path / "half.nrrd"), "not whole numbers"),
        (lambda: read_segmentation(tmp_path / "empty.nrrd"), "empty"),
        (lambda: write_volume(Volume(np.zeros((2, 2, 2)), np.eye(4)), tmp_path / "x.txt"), "extension"),
        (lambda: write_volume(Volume(np.zeros((2, 2, 2)), np.eye(4)), tmp_path / "no" / "x.nrrd"), "does not exist"),
    ]:
        with pytest.raises(IrisError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_overlaps_are_never_flattened_silently(tmp_path):
    layers = np.ones((2, 3, 3, 3), np.uint8)
    overlapping = Segmentation(layers, np.eye(4), (Segment("a", (1, 0, 0)), Segment("b", (0, 1, 0), layer=1)))
    with pytest.raises(IrisError, match="overlap"):
        write_segmentation(overlapping, tmp_path / "x.nii.gz")
    assert not any(tmp_path.iterdir())


def test_names_lose_their_whole_extension():
    assert [stem_of(f) for f in ("a.b.nii.gz", "c.seg.nrrd", "d.nrrd")] == ["a.b", "c", "d"]
