"""The verbs of the command line with a folder of DICOM files for a scan and DICOM SEG for a segmentation."""

import shutil

import numpy as np
import pytest
from dicommaker import LPS_RAS, write_contours, write_series
from pydicom import dcmread

from IrisSegmentLib.cli import main
from IrisSegmentLib.context.preset import Preset
from IrisSegmentLib.imaging.files import read_segmentation, read_volume, write_segmentation
from IrisSegmentLib.imaging.volume import Segment, Segmentation, same_grid


@pytest.fixture(scope="module")
def study(hippocampi, tmp_path_factory):
    """Two series, each with a DICOM SEG of its hippocampus; the first in a folder with it."""
    folder = tmp_path_factory.mktemp("study")
    for name, (image, segmentation) in zip("ab", hippocampi, strict=False):
        write_series(folder / name, np.rint(image.array).astype(np.int16), image.affine)
        segments = (Segment("Anterior", (1.0, 0.5, 0.0), "", 0, 1), Segment("Posterior", (0.0, 0.5, 1.0), "", 0, 2))
        marked = Segmentation(segmentation.layers, read_volume(folder / name).affine, segments, name)
        write_segmentation(marked, folder / f"{name}_label.dcm", folder / name)
    return folder


def test_a_result_is_a_seg_of_its_series(study, hippocampi, tmp_path, capsys):
    """By the bundled network: as good as from NIfTI, and traced to network and preset."""
    preset = tmp_path / "hippocampus.iris"
    files = sorted((study / "b").iterdir())
    for arguments in [
        ["encode", "--image", study / "a", "--segmentation", study / "a_label.dcm", "--output", preset],
        ["segment", "--preset", preset, "--image", study / "b", "--output", tmp_path / "b.dcm"],
        ["segment", "--preset", preset, "--image", *files, "--output", tmp_path / "files"],
    ]:
        assert main(list(map(str, arguments))) == 0, capsys.readouterr().err
    image = read_volume(study / "b")
    found, truth = read_segmentation(tmp_path / "b.dcm", image=image), hippocampi[1][1]
    assert same_grid(found, image) and [s.name for s in found.segments] == ["Anterior", "Posterior"]
    dice = 2 * ((found.layers > 0) & (truth.layers > 0)).sum() / ((found.layers > 0).sum() + (truth.layers > 0).sum())
    assert dice > 0.7
    data = dcmread(tmp_path / "b.dcm")
    assert data.DeviceSerialNumber == Preset.load(preset).network
    assert data.SeriesDescription == "IrisSegment: preset hippocampus"
    (also,) = (tmp_path / "files").iterdir()
    assert also.name == "b.seg.nrrd" and np.array_equal(read_segmentation(also).layers, found.layers)


def test_contours_and_pools_of_dicom(study, tiny_network, tmp_path, capsys):
    affine = read_volume(study / "a").affine
    square = np.array([[10, 12], [20, 12], [20, 30], [10, 30]])
    points = [
        (np.c_[square, np.full(4, k), np.ones(4)] @ (LPS_RAS @ affine).T)[:, :3] for k in range(12, 18)
    ]
    write_contours(tmp_path / "s.dcm", {"Leber": points})
    for arguments in [
        ["encode", "--image", study / "a", "--segmentation", tmp_path / "s.dcm", "--output", tmp_path / "s.iris"],
        ["pool", "--data", study, "--output", tmp_path / "p.irispool"],
    ]:
        assert main([*map(str, arguments), "--network", str(tiny_network)]) == 0, capsys.readouterr().err
    assert [s.name for s in Preset.load(tmp_path / "s.iris").segments] == ["Leber"]
    assert "2 references" in capsys.readouterr().out


def test_a_batch_answers_series_with_segs_and_sets_others_aside(study, samples, tiny_network, tmp_path, capsys):
    """A series that cannot be named in a DICOM SEG, and a scan that is no DICOM, end nothing."""
    archive, output = tmp_path / "archive", tmp_path / "out"
    for name in "ab":
        shutil.copytree(study / name, archive / name)
    shutil.copytree(study / "a", archive / "nameless")
    for path in (archive / "nameless").iterdir():
        data = dcmread(path)
        del data.FrameOfReferenceUID
        data.save_as(path)
    shutil.copy(samples / "hippocampus" / "hippocampus_023_image.nii.gz", archive / "plain.nii.gz")
    preset, network = tmp_path / "p.iris", ["--network", tiny_network, "--device", "cpu"]
    encode = ["encode", "--image", study / "a", "--segmentation", study / "a_label.dcm", "--output", preset]
    assert main(list(map(str, [*encode, *network]))) == 0
    batch = ["batch", "--preset", preset, "--data", archive, "--output", output, "--dicom", *network]
    assert main(list(map(str, batch))) == 2
    assert "2 of 4 cases were set aside" in capsys.readouterr().err
    page = (output / "report.html").read_text()
    assert "FrameOfReferenceUID" in page and "only a DICOM series" in page
    assert sorted(p.name for p in output.glob("*.*") if not p.name.startswith(".")) == [
        "a.dcm", "b.dcm", "report.html", "results.parquet",
    ]  # fmt: skip
    for name in "ab":
        image = read_volume(archive / name)
        found = read_segmentation(output / f"{name}.dcm", image=image)
        assert same_grid(found, image) and found.layers.any()
    before = {path: path.stat().st_mtime_ns for path in output.glob("*.dcm")}
    assert main(list(map(str, batch))) == 2
    assert before == {path: path.stat().st_mtime_ns for path in output.glob("*.dcm")}


def test_what_is_asked_wrong_is_told_in_one_sentence(study, tiny_network, samples, tmp_path, capsys):
    preset, nifti = tmp_path / "p.iris", samples / "hippocampus" / "hippocampus_023_image.nii.gz"
    network = ["--network", tiny_network]
    arguments = ["encode", "--image", study / "a", "--segmentation", study / "a_label.dcm", "--output", preset]
    assert main(list(map(str, [*arguments, *network]))) == 0
    encode = ["encode", "--image", study / "b", "--output", tmp_path / "x.iris"]
    for arguments, words in [
        (["segment", "--preset", preset, "--image", nifti, "--output", tmp_path / "x.dcm"], "only a DICOM series"),
        (["segment", "--preset", preset, "--image", study, "--output", tmp_path / "x.dcm"], "2 series"),
        (["segment", "--preset", preset, "--image", f"{study}/a#2", "--output", tmp_path / "x.dcm"], "no volume 2"),
        (["segment", "--preset", preset, "--image", study / "no", "--output", tmp_path / "x.dcm"], "no file"),
        ([*encode, "--segmentation", study / "b"], "not a DICOM segmentation"),
    ]:  # fmt: skip
        assert main(list(map(str, [*arguments, *network]))) == 2, words
        error = capsys.readouterr().err
        assert words in error and len(error.strip().splitlines()) == 1, error
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.iris"]
