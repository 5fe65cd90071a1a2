"""A part of `make fuzz` that every run of the tests repeats."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest.importorskip("resource")

import fuzz

from IrisSegmentLib.errors import IrisError
from IrisSegmentLib.imaging.files import read_volume


def test_files_from_strangers_are_taken_or_refused_in_one_sentence(monkeypatch):
    monkeypatch.setattr(fuzz, "PART", 360)
    report = fuzz.in_parts(360, seed=1)
    assert not report.findings, "\n".join(report.findings[:5])
    assert sum(report.taken.values()) > 20 and sum(report.refused.values()) > 80
    assert len(set(report.taken) | set(report.refused)) == 18


@pytest.mark.parametrize(
    "name, header",
    [
        ("a.nhdr", "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 2 2\nencoding: raw\ndata file: ../outside.bin\n"),
        ("a.mhd", "NDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\nElementDataFile = ../outside.bin\n"),
    ],
)
def test_no_header_reads_a_file_outside_its_folder(tmp_path, name, header):
    (tmp_path / "in").mkdir()
    (tmp_path / "outside.bin").write_bytes(b"secrets!")
    (tmp_path / "in" / name).write_text(header)
    with pytest.raises(IrisError, match="outside its own folder"):
        read_volume(tmp_path / "in" / name)
    (tmp_path / "in" / "outside.bin").write_bytes(b"a scan!!")
    (tmp_path / "in" / name).write_text(header.replace("../", ""))
    assert read_volume(tmp_path / "in" / name).shape == (2, 2, 2)


def test_headers_that_crash_the_image_library_are_refused(tmp_path):
    """Each ends the process when SimpleITK reads it."""
    for name, header in {
        "a.nrrd": "NRRD0004\ntype: short\ndimension: 3\n" + "x" * 5000 + "\nsizes: 2 2 2\nencoding: raw\n\n",
        "a.mha": "NDims = 3\nDimSize = 2 2 2\nElementType = MET_SHORT\nElementDataFile = " + "x" * 5000 + "\n",
    }.items():
        (tmp_path / name).write_text(header)
        with pytest.raises(IrisError, match="header of"):
            read_volume(tmp_path / name)


def test_a_scan_that_claims_more_than_its_file_holds_is_refused(tmp_path):
    header = "NRRD0004\ntype: double\nendian: little\ndimension: 3\nsizes: 900 900 900\nencoding: gzip\n\n"
    (tmp_path / "a.nrrd").write_text(header)
    with pytest.raises(IrisError, match="more voxels than the file can hold"):
        read_volume(tmp_path / "a.nrrd")
