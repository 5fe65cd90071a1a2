"""DICOM series as scans: the voxels and the place that were written come back, or one sentence says why not."""

import locale
import shutil
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from dicommaker import save, series_header, write_multiframe, write_series
from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless, generate_uid

from IrisSegmentLib.errors import IrisError
from IrisSegmentLib.imaging.dicom.choice import gathered
from IrisSegmentLib.imaging.files import name_of, read_volume


def refused(path, words):
    with pytest.raises(IrisError, match=words) as caught:
        read_volume(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["axial", "sagittal", "oblique"])
def test_a_series_comes_back_as_it_was(tmp_path, scans, kind):
    array, _, affine = scans[kind]
    files = write_series(tmp_path / "scan", array, affine)
    names = np.random.default_rng(0).permutation(len(files))
    for n, file in zip(names, files, strict=True):  # the order of names says nothing
        file.rename(file.with_name(f"x{n:03d}"))
    back = read_volume(tmp_path / "scan")
    assert np.array_equal(back.array, array) and back.array.dtype == np.int16 and back.name == "scan"
    assert np.allclose(back.affine, affine, atol=1e-6)
    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / "scan")))
    corner = np.array(image.TransformIndexToPhysicalPoint([n - 1 for n in array.shape])) * [-1, -1, 1]
    last = (back.affine @ [*(n - 1 for n in array.shape), 1])[:3]
    assert np.allclose(corner, last, atol=1e-3), "SimpleITK says the same"


def test_a_file_stands_for_its_series_and_a_list_for_itself(tmp_path, axial):
    array, _, affine = axial
    files = write_series(tmp_path / "ct", array, affine)
    write_series(tmp_path / "other", array[:, :, :5] + 1, affine)
    for file in (tmp_path / "other").iterdir():
        file.rename(tmp_path / "ct" / f"other{file.name}")
    assert np.array_equal(read_volume(files[3]).array, array) and read_volume(files[3]).name == "IM0003"
    part = read_volume(files[4:9])
    assert np.array_equal(part.array, array[:, :, 4:9]) and part.name == "ct"
    assert np.allclose(part.affine[:3, 3], (affine @ [0, 0, 4, 1])[:3])
    refused(tmp_path / "ct", "2 series .*choose one by giving a file")
    others = [tmp_path / "ct", tmp_path / "a.nii", tmp_path / "a.nii"]
    (tmp_path / "a.nii").write_text("twice is a mistake for the caller to tell")
    assert gathered([*files, *others]) == [tuple(files), *others]
    assert name_of(tmp_path / "ct") == "ct" and name_of(tmp_path / "cine#3") == "cine_3"


def test_localizers_other_objects_and_copies_are_left_aside(tmp_path, axial):
    array, _, affine = axial
    files = write_series(tmp_path, array, affine)
    header = series_header()
    header.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    write_series(tmp_path / "scout", array.transpose(2, 0, 1)[:, :, :2], affine[:, [2, 0, 1, 3]], header)
    shutil.copy(files[2], tmp_path / "copy.dcm")
    twin = dcmread(files[5])  # sent again, under another UID
    twin.SOPInstanceUID = generate_uid()
    save(twin, tmp_path / "twin.dcm")
    (tmp_path / "notes.txt").write_text("no DICOM")
    assert np.array_equal(read_volume(tmp_path).array, array)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless, JPEGLosslessSV1])
def test_compressed_slices(tmp_path, axial, syntax):
    array, _, affine = axial
    ours = {JPEG2000Lossless: "JPEG2000", JPEGLosslessSV1: "JPEG"}
    spoken = locale.setlocale(locale.LC_ALL)
    for file in write_series(tmp_path, array[:, :, :4], affine):
        if syntax not in ours:
            data = dcmread(file)
            data.compress(syntax)
            data.save_as(file)
            continue
        writer = sitk.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.KeepOriginalImageUIDOn()
        writer.SetUseCompression(True)
        writer.SetCompressor(ours[syntax])
        writer.SetFileName(str(file))
        writer.Execute(sitk.ReadImage(str(file), imageIO="GDCMImageIO"))
    locale.setlocale(locale.LC_ALL, spoken)  # which writing such a file has changed
    assert dcmread(next(tmp_path.iterdir())).file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(read_volume(tmp_path).array, array[:, :, :4])
    assert locale.setlocale(locale.LC_ALL) == spoken, "reading it changes nothing"


def test_each_slice_is_rescaled_by_its_own_numbers(tmp_path, axial):
    """As PET is stored: with a whole factor first, which must not decide the type of all."""
    array, _, affine = axial
    factors = [1.0 if k == 0 else 0.25 * k for k in range(array.shape[2])]

    def scaled(data, k):
        data.RescaleSlope, data.RescaleIntercept = f"{factors[k]:g}", "-3"

    write_series(tmp_path, np.abs(array).astype(np.uint16), affine, series_header("PT"), scaled)
    assert np.allclose(read_volume(tmp_path).array, np.abs(array) * np.array(factors) - 3)


def test_ct_numbers_take_no_more_room_than_they_need(tmp_path, axial):
    array, _, affine = axial

    def hounsfield(data, k):
        data.RescaleSlope, data.RescaleIntercept = "1", "-1024"

    write_series(tmp_path, (array + 5).astype(np.uint16), affine, series_header("CT"), hounsfield)
    back = read_volume(tmp_path)
    assert back.array.dtype == np.int16 and np.array_equal(back.array, array + 5 - 1024)


def test_multiframe_frames_lie_where_they_say(tmp_path, axial):
    array, _, affine = axial
    count = array.shape[2]
    order = np.random.default_rng(1).permutation(count)
    write_multiframe(tmp_path / "scan.dcm", [array], affine, order=order, rescale=lambda n: (2 if n == 3 else 1, n % 2))
    expected = array.astype(int)
    expected[:, :, 3] *= 2
    expected += np.arange(count) % 2
    back = read_volume(tmp_path / "scan.dcm")
    assert np.array_equal(back.array, expected) and np.allclose(back.affine, affine, atol=1e-6)
    assert np.array_equal(read_volume(tmp_path).array, expected), "its folder means the same"


def test_volumes_of_a_4d_series_are_chosen_by_number(tmp_path, axial):
    array, _, affine = axial
    times = [array, array + 7, array - 9]
    write_multiframe(tmp_path / "cine.dcm", times, affine)
    refused(tmp_path / "cine.dcm", "3 volumes .*by position in time.*cine.dcm#1' to .*cine.dcm#3'")
    refused(tmp_path / "cine.dcm#4", "no volume 4; choose one from 1 to 3")
    header = series_header()
    for n, when in enumerate((200, 30, 1000)):  # told apart by number, not by letters
        def trigger(data, k, when=when):
            data.TriggerTime = str(when)
        for file in write_series(tmp_path / "new", times[n], affine, header, trigger):
            (tmp_path / "cine").mkdir(exist_ok=True)
            file.rename(tmp_path / "cine" / f"{n}{file.name}")
    refused(tmp_path / "cine", "3 volumes .*by trigger time")
    for n in range(3):
        assert np.array_equal(read_volume(f"{tmp_path}/cine.dcm#{n + 1}").array, times[n])
        assert np.array_equal(read_volume(f"{tmp_path}/cine#{n + 1}").array, times[[1, 0, 2][n]])
    assert read_volume(tmp_path / "cine#2").name == read_volume(tmp_path / "cine" / "#2").name == "cine_2"
    next((tmp_path / "cine").glob("2*")).unlink()
    refused(tmp_path / "cine#1", "not everywhere")


def test_a_tilted_gantry_is_made_straight(tmp_path, axial):
    """A slanted bar, cut by slices that are shifted against each other: on the straight grid it lies where it was."""
    shift = np.tan(np.radians(18))  # of mm along y, per mm of z
    shape, spacing = (24, 40, 12), np.array([1.5, 1.25, 3.0])
    i, j, k = np.indices(shape)
    affine = np.diag([*spacing, 1.0])
    affine[1, 2] = spacing[2] * shift
    points = np.einsum("ab,b...->a...", affine, np.stack([i, j, k, np.ones(shape)]))
    truth = lambda x, y, z: 3 * x + 2 * y - 5 * z  # noqa: E731  (linear, so that linear resampling is exact)
    write_series(tmp_path, np.rint(4 * truth(*points[:3])).astype(np.int16), affine)
    back = read_volume(tmp_path)
    assert np.allclose(back.affine[:3, :3], np.diag(spacing), atol=1e-6), "right angles, and the spacing of the slices"
    x, y, z = np.einsum("ab,b...->a...", back.affine, np.stack([*np.indices(back.shape), np.ones(back.shape)]))[:3]
    # Where the slice was: a voxel or more inside its shifted extent.
    lies = (y - z * shift > spacing[1]) & (y - z * shift < spacing[1] * (shape[1] - 2))
    assert lies.sum() > 0.8 * np.prod(shape)
    assert np.abs(back.array - 4 * truth(x, y, z))[lies].max() <= 1.0, "within rounding"
    assert back.shape[2] == shape[2] and y.min() <= 0 and y.max() >= points[1].max() - 1e-6, "nothing is cut off"


def test_missing_and_uneven_slices_are_refused_in_words(tmp_path, axial):
    array, _, affine = axial
    files = write_series(tmp_path / "ct", array, affine)
    for file in files[7:9]:
        file.unlink()
    refused(tmp_path / "ct", "misses 2 slices .after slice 7 of 33")

    def uneven(data, k):
        data.ImagePositionPatient[2] = float(data.ImagePositionPatient[2]) + 0.4 * (k > 9)

    write_series(tmp_path / "mr", array, affine, change=uneven)
    refused(tmp_path / "mr", "not evenly spaced .2.50 to 2.90 mm")

    def rounded(data, k):
        data.ImagePositionPatient[2] = round(float(data.ImagePositionPatient[2]) + 0.01 * (k % 3), 2)

    write_series(tmp_path / "us", array, affine, change=rounded)
    assert np.array_equal(read_volume(tmp_path / "us").array, array), "what rounding does is no gap"


def test_what_is_no_volume_is_refused_in_one_sentence(tmp_path, axial):
    array, _, affine = axial
    header = series_header()
    write_series(tmp_path / "survey", array[:, :, :3], affine, header)
    for file in write_series(tmp_path / "b", array.transpose(1, 2, 0)[:, :, :3], affine[:, [1, 2, 0, 3]], header):
        file.rename(tmp_path / "survey" / f"b{file.name}")
    refused(tmp_path / "survey", "2 orientations")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "no DICOM images")
    (tmp_path / "text.dcm").write_text("nothing of that kind" * 50)
    refused(tmp_path / "text.dcm", "could not be read as DICOM")
    refused(tmp_path / "absent.dcm", "no file")

    def nowhere(data, k):
        del data.ImagePositionPatient

    write_series(tmp_path / "photo", array, affine, change=nowhere)
    refused(tmp_path / "photo", "where its pictures lie")
    forged = {
        "ImageOrientationPatient": ["1", "0", "0", "1", "0", "0"], "PixelSpacing": ["0", "1"],
        "ImagePositionPatient": ["nan", "0", "0"],
    }  # fmt: skip
    for keyword, value in forged.items():
        write_series(tmp_path / keyword, array, affine, change=lambda d, k, w=keyword, v=value: setattr(d, w, v))
        refused(tmp_path / keyword, "where its pictures lie")
    header.ImageType = ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]
    write_series(tmp_path / "mosaic", array, affine, header)
    refused(tmp_path / "mosaic", "mosaic")
    first = write_series(tmp_path / "cut", array[:, :, :3], affine)[1]
    first.write_bytes(first.read_bytes()[:-500])
    refused(tmp_path / "cut", "could not be read as DICOM")

    def huge(data, k):
        data.Rows = data.Columns = 65535

    write_series(tmp_path / "huge", array[:, :, :5], affine, change=huge)
    refused(tmp_path / "huge", "claims")


def test_one_slice_is_a_thin_scan(tmp_path, axial):
    array, _, affine = axial
    (file,) = write_series(tmp_path, array[:, :, :1], affine)
    assert read_volume(file).shape == (*array.shape[:2], 1) and read_volume(file).spacing[2] == 1.0


def test_the_library_needs_no_dicom_library_for_other_files(tmp_path, samples):
    """With both hidden, an image is still read, and a series asks for what it needs."""
    code = (
        "import sys\n"
        "sys.modules['pydicom'] = sys.modules['highdicom'] = None\n"
        "from IrisSegmentLib.errors import IrisError\n"
        "from IrisSegmentLib.imaging.files import read_volume, read_segmentation, write_segmentation\n"
        f"read_volume({str(samples / 'hippocampus' / 'hippocampus_023_image.nii.gz')!r})\n"
        "try:\n"
        f"    read_volume({str(tmp_path / 'a.dcm')!r})\n"
        "except IrisError as error:\n"
        "    print(error)\n"
    )
    (tmp_path / "a.dcm").write_bytes(b"\0" * 128 + b"DICM")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install pydicom highdicom" in done.stdout


def test_an_element_of_no_known_type_is_refused_before_room_is_made_for_it(tmp_path, scans):
    """GDCM took what follows for its length: 775 MB for a file of 2 KB (found by the fuzz)."""
    array, _, affine = scans["axial"]
    (file, *_) = write_series(tmp_path / "scan", array[:, :, :1], affine)
    data, element = file.read_bytes(), b"\x02\x00\x02\x00UI"
    assert data.count(element) == 1
    file.write_bytes(data.replace(element, element[:-2] + b"UH"))
    code = (
        "import sys; from pathlib import Path; from IrisSegmentLib.imaging.files import read_volume\n"
        "from IrisSegmentLib.errors import IrisError; from IrisSegmentLib.evaluation.memory import peak_mb\n"
        "before = peak_mb()\ntry: read_volume(Path(sys.argv[1]))\nexcept IrisError as error: print(error)\n"
        "print(peak_mb() - before < 200)"
    )
    said = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == [
        f"'{file.name}' could not be read as DICOM; it is damaged or of another kind, so choose another.", "True",
    ]  # fmt: skip
