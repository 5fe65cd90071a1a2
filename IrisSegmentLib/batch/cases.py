"""Which cases there are: in a folder of scans, a BIDS tree, or a table (CSV or Parquet) that lists them."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from ..errors import IrisError
from ..imaging.files import DICOM, EXTENSIONS, name_of, stem_of
from .extras import needs

COLUMNS = ("case", "image", "segmentation")
TABLES = (".csv", ".parquet")
LONGEST = 150  # letters of a case's name: it becomes the name of a file
LARGEST_TABLE = 10**7  # rows
UNFIT = re.compile(r'[\\/:*?"<>|\x00-\x1f\x7f]')  # what some file system does not let a name hold
AUXILIARY = ("derivatives", "sourcedata", "code", "stimuli")  # of a BIDS tree: no raw scans


@dataclass(frozen=True)
class Case:
    """
    :param name: what its result is called.
    :param image: a file, or the folder of a DICOM series.
    :param segmentation: of the scan, where it is to be learned from; labels: what its values are called, if known.
    """

    name: str
    image: Path
    segmentation: Path | None = None
    labels: Mapping[int, str] | None = None


def find_cases(data: Path, only: str | None = None, *, segmented: bool = False) -> list[Case]:
    """
    :param only: a pattern that the names of files must match.
    :param segmented: only cases that have a segmentation.
    :raises IrisError: when there is none, a table is not what it must be, or two cases have the same name.
    """
    data = data.absolute()
    if data.suffix.lower() in TABLES and data.is_file():
        cases = _of_table(data)
    elif data.is_dir():
        cases = list(scans_in(data, only))
        if segmented:
            cases = _paired(data, cases)
    else:
        raise IrisError(f"There is no folder or table '{data}'; give a folder of scans, or a .csv or .parquet file.")
    if only is not None:
        cases = [case for case in cases if fnmatch(case.image.name, only)]
    if segmented:
        cases = [case for case in cases if case.segmentation is not None]
    if not cases:
        what = "scan with a segmentation beside it (NAME_image.EXT and NAME_label.EXT)" if segmented else "scan"
        matching = f" that matches '{only}'" if only else ""
        raise IrisError(f"'{data}' has no {what}{matching}; check the folder and its files.")
    twins = twins_in(cases)
    if twins:
        first, second = twins[0]
        raise IrisError(
            f"'{first.image.name}' and '{second.image.name}' would both be the case '{second.name}'; "
            "rename one, or choose with --only."
        )
    return cases


def scans_in(folder: Path, only: str | None = None) -> Iterator[Case]:
    """Scans anywhere in a folder, by name; a folder of DICOM files is one. Segmentations and hidden files are none.

    :raises IrisError: for a BIDS tree with several kinds of scans, when none was chosen.
    """
    bids = (folder / "dataset_description.json").is_file()
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and not (bids and f in AUXILIARY))
        files = sorted(f for f in files if not f.startswith("."))
        found += [Path(place) / file for file in files if _is_scan(file)]
        if any(_is_dicom(Path(place) / file) for file in files if not _is_segmentation(file)):
            found.append(Path(place))
    if only is not None:
        found = [path for path in found if fnmatch(path.name, only)]
    if bids:
        kinds = sorted({stem_of(path).rpartition("_")[2] for path in found})
        if len(kinds) > 1:
            raise IrisError(
                f"The BIDS tree '{folder.name}' holds {', '.join(kinds)}; choose with --only '*_{kinds[0]}.nii.gz'."
            )
        return (Case(stem_of(path), path) for path in sorted(found))
    return (Case(_name(path, folder), path) for path in sorted(found))


def twins_in(cases: Iterable[Case]) -> list[tuple[Case, Case]]:
    """Cases whose results would replace each other, on a file system that does not tell capitals apart."""
    first: dict[str, Case] = {}
    return [(first[key], case) for case in cases if first.setdefault(key := case.name.casefold(), case) is not case]


def _name(path: Path, folder: Path) -> str:
    """By the way that leads to it, so that ``a/scan.nii`` and ``b/scan.nii`` are two cases."""
    if path == folder:
        return folder.name
    steps = path.relative_to(folder).parts
    return UNFIT.sub("-", "_".join([*steps[:-1], path.name if path.is_dir() else stem_of(path)]))[-LONGEST:]


def _is_scan(file: str) -> bool:
    return file.lower().endswith(EXTENSIONS) and not _is_segmentation(file)


def _is_segmentation(file: str) -> bool:
    lower = file.lower()
    return lower.endswith(".seg.nrrd") or stem_of(Path(lower)).endswith("_label")


def _is_dicom(path: Path) -> bool:
    if path.suffix.lower() in (".dcm", ".ima"):
        return True
    if path.suffix and not re.fullmatch(r"\.\d+", path.suffix):  # exports name files by numbers or by dotted UIDs
        return False
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _paired(folder: Path, cases: list[Case]) -> list[Case]:
    """Cases with the segmentation ``NAME_label.EXT`` or ``NAME.seg.nrrd`` beside the scan ``NAME_image.EXT`` (or
    ``NAME.EXT``, or the folder of a DICOM series), or ``NAME..._dseg`` in the derivatives of a BIDS tree."""
    endings = (".seg.nrrd", *(f"_label{ending}" for ending in (*EXTENSIONS, DICOM)))
    derived: dict[str, list[Path]] = {}
    for path in sorted((folder / "derivatives").rglob("*_dseg.nii*")):
        derived.setdefault(path.name.split("_")[0], []).append(path)
    paired = []
    for case in cases:
        name = name_of(case.image).removesuffix("_image")
        beside = [case.image.parent / f"{name}{ending}" for ending in endings]
        found = [path for path in beside if path.is_file()]
        entities = name.rpartition("_")[0]  # without what BIDS calls the suffix: T1w
        found += [p for p in derived.get(name.split("_")[0], ()) if p.name.startswith(f"{entities}_")]
        paired.append(Case(case.name, case.image, found[0] if found else None))
    return paired


def _of_table(path: Path) -> list[Case]:
    """:raises IrisError: naming the row that is at fault."""
    cases, rows = [], _rows_of_csv(path) if path.suffix.lower() == ".csv" else _rows_of_parquet(path)
    first: dict[str, int] = {}
    for number, row in rows:
        where = f"Row {number} of '{path.name}'"
        name, image, segmentation = (row.get(column, "") for column in COLUMNS)
        if not name:
            raise IrisError(f"{where} names no case; fill in the column 'case'.")
        if not image:
            raise IrisError(f"{where} names no image; fill in the column 'image'.")
        if UNFIT.search(name) or name.startswith(".") or name.endswith(".") or len(name) > LONGEST:
            raise IrisError(f"{where} calls its case {name[:40]!r}, which cannot be the name of a file; rename it.")
        if name.casefold() in first:
            raise IrisError(f"{where} has the same case '{name}' as row {first[name.casefold()]}; rename one.")
        first[name.casefold()] = number
        beside = path.parent  # what the table says is meant from where it lies
        cases.append(Case(name, beside / image, beside / segmentation if segmentation else None))
    return cases


def _rows_of_csv(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows with their number in the file: the head is row 1."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            head = [column.strip() for column in next(reader, [])]
            _check_columns(head, path)
            for values in reader:
                if not values:
                    continue
                if len(values) != len(head):
                    raise IrisError(
                        f"Row {reader.line_num} of '{path.name}' has {len(values)} fields instead of {len(head)}; "
                        "put names that hold commas into quotes."
                    )
                yield reader.line_num, {c: v.strip() for c, v in zip(head, values, strict=True)}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise IrisError(f"'{path}' could not be read as a CSV file in UTF-8 ({error}); save it as one.") from error


def _rows_of_parquet(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows with their number, from 1."""
    needs("pyarrow")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            _check_columns(file.schema_arrow.names, path)
            if file.metadata.num_rows > LARGEST_TABLE:
                raise IrisError(f"'{path.name}' lists more than {LARGEST_TABLE:,} cases; split it.")
            for field in file.schema_arrow:
                if not (pa.types.is_string(field.type) or pa.types.is_large_string(field.type)):
                    raise IrisError(f"The column '{field.name}' of '{path.name}' holds no text; write it as text.")
            number = 0
            for group in file.iter_batches():
                for row in group.to_pylist():
                    number += 1
                    yield number, {column: (value or "").strip() for column, value in row.items()}
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise IrisError(f"'{path}' could not be read as a Parquet file; it is damaged, so get it again.") from error


def _check_columns(columns: list[str], path: Path) -> None:
    missing = [column for column in COLUMNS[:2] if column not in columns]
    if missing:
        raise IrisError(f"'{path.name}' has no column '{missing[0]}'; its first row must name case, image.")
    unknown = [column for column in columns if column not in COLUMNS]
    if unknown or len(set(columns)) < len(columns):
        odd = unknown[0] if unknown else "one twice"
        raise IrisError(f"'{path.name}' has the column {odd!r}; the columns are case, image and, if any, segmentation.")
