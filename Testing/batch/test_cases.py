"""Which cases a folder, a BIDS tree or a table holds, and what is wrong with it, row by row."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from IrisSegmentLib.batch.cases import find_cases
from IrisSegmentLib.errors import IrisError


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(cases):
    return [case.name for case in cases]


def test_a_folder_of_scans_with_what_is_no_scan(tmp_path):
    touch(tmp_path, "b.nii.gz", "a_image.nrrd", "a_label.nrrd", "a.seg.nrrd", ".c.nii", "x.txt", "x/b.nii", ".h/d.nii")
    cases = find_cases(tmp_path)
    assert names(cases) == ["a_image", "b", "x_b"] and all(case.image.is_absolute() for case in cases)
    assert names(find_cases(tmp_path, "b.*")) == ["b", "x_b"]


def test_folders_of_dicom_files_are_cases(tmp_path):
    touch(tmp_path, "p/s1/1.dcm", "p/s1/2.dcm")
    (tmp_path / "p" / "s2").mkdir()
    (tmp_path / "p" / "s2" / "1.2.840.5").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "p" / "s2" / "README").write_bytes(bytes(200))
    cases = find_cases(tmp_path)
    assert names(cases) == ["p_s1", "p_s2"] and all(case.image.is_dir() for case in cases)


def test_dicom_segmentations_are_no_scans_and_belong_to_the_series_beside_them(tmp_path):
    touch(tmp_path, "a.1/1.dcm", "a.1_label.dcm", "b_image.nii.gz", "b_label.dcm", "c/1.dcm")
    assert names(find_cases(tmp_path)) == ["a.1", "b_image", "c"]
    paired = find_cases(tmp_path, segmented=True)
    assert [(case.name, case.segmentation.name) for case in paired] == [
        ("a.1", "a.1_label.dcm"), ("b_image", "b_label.dcm"),
    ]  # fmt: skip


def test_a_bids_tree(tmp_path):
    touch(
        tmp_path, "dataset_description.json", "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz",
        "sub-02/anat/sub-02_T1w.nii.gz", "sub-02/anat/sub-02_T2w.nii.gz",
        "derivatives/fs/sub-02/anat/sub-02_T1w.nii.gz",
        "derivatives/fs/sub-02/anat/sub-02_desc-manual_dseg.nii.gz",
    )  # fmt: skip
    with pytest.raises(IrisError, match="holds T1w, T2w; choose with --only"):
        find_cases(tmp_path)
    assert names(find_cases(tmp_path, "*_T1w.nii.gz")) == ["sub-01_ses-1_T1w", "sub-02_T1w"]
    (paired,) = find_cases(tmp_path, "*_T1w.nii.gz", segmented=True)
    assert paired.name == "sub-02_T1w" and paired.segmentation.name == "sub-02_desc-manual_dseg.nii.gz"


def test_tables_mean_what_lies_beside_them(tmp_path):
    lines = "\ufeffcase,image,segmentation", 'p1,"scans/a, b.nii.gz",', "p2,/abs/b.nii,b.seg.nrrd"
    (tmp_path / "t.csv").write_text("\n".join(lines), encoding="utf-8")
    first, second = find_cases(tmp_path / "t.csv")
    assert (first.name, first.image, first.segmentation) == ("p1", tmp_path / "scans" / "a, b.nii.gz", None)
    assert (second.image, second.segmentation) == (Path("/abs/b.nii"), tmp_path / "b.seg.nrrd")
    pq.write_table(pa.table({"case": ["p1", "p2"], "image": ["a.nii", "b.nii"]}), tmp_path / "t.parquet")
    assert [c.image for c in find_cases(tmp_path / "t.parquet")] == [tmp_path / "a.nii", tmp_path / "b.nii"]
    assert names(find_cases(tmp_path / "t.csv", segmented=True)) == ["p2"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,image\na,b.nii\n", "no column 'case'"),
        ("case,image,segmentatoin\na,b.nii,c\n", "the column 'segmentatoin'"),
        ("case,image,image\na,b.nii,c\n", "the column 'one twice'"),
        ("case,image\na,b.nii\nb\n", "Row 3 of 't.csv' has 1 fields instead of 2"),
        ("case,image\n,b.nii\n", "Row 2 of 't.csv' names no case"),
        ("case,image\na,\n", "Row 2 of 't.csv' names no image"),
        ("case,image\n../a,b.nii\n", "cannot be the name of a file"),
        ("case,image\n.a,b.nii\n", "cannot be the name of a file"),
        ("case,image\na,b.nii\n\nA,c.nii\n", "Row 4 of 't.csv' has the same case 'A' as row 2"),
        ('case,image\na,"b.nii\n', "could not be read as a CSV file"),
        ("case,image\n", "has no scan"),
        ("", "no column 'case'"),
        (b"case,image\n\xff,b\n", "UTF-8"),
    ],
)
def test_a_fault_of_a_table_is_one_sentence(tmp_path, text, words):
    (tmp_path / "t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(IrisError) as caught:
        find_cases(tmp_path / "t.csv")
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_faults_of_parquet_and_folders(tmp_path):
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    pq.write_table(pa.table({"case": np.arange(2), "image": ["a", "b"]}), tmp_path / "n.parquet")
    pq.write_table(pa.table({"case": ["a", None], "image": ["a", "b"]}), tmp_path / "null.parquet")
    touch(tmp_path, "twins/a.nii", "twins/A.nrrd", "none/readme.txt")
    for name, words in (
        ("bad.parquet", "could not be read as a Parquet"), ("n.parquet", "The column 'case'"),
        ("null.parquet", "Row 2 of 'null.parquet' names no case"), ("twins", "would both be the case"),
        ("none", "has no scan"), ("absent", "no folder or table"),
    ):  # fmt: skip
        with pytest.raises(IrisError, match=words):
            find_cases(tmp_path / name)
