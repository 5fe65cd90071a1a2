"""What DICOM files say of their slices: read by pydicom, without their voxels.

A slice is one picture with its place in the patient, whether it has a file to itself or is a frame of a multi-frame
file. Nothing that names a patient is read.
"""

from __future__ import annotations

import importlib
import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import IrisError

ENDINGS = (".dcm", ".dicom", ".ima")
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # bits, and label map
STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.3"
SMALLEST, LARGEST = 1e-4, 1e4  # mm that a voxel can measure
DENSEST = 10_000  # no compressed picture holds more bytes per byte, if its header is counted too
# What can tell the volumes of a 4D series apart, likeliest first: where a single slice says it, and where a frame does.
TELLS = {
    "TemporalPositionIdentifier": "position in time", "TriggerTime": "trigger time",
    "NominalPercentageOfCardiacPhase": "cardiac phase", "EchoTime": "echo time", "InversionTime": "inversion time",
    "DiffusionBValue": "b-value", "ImageType": "image type", "AcquisitionNumber": "acquisition",
    "AcquisitionTime": "acquisition time", "ContentTime": "time",
}  # fmt: skip
FRAME_TELLS = {
    "TemporalPositionIdentifier": ("FrameContentSequence", "TemporalPositionIndex"),
    "TriggerTime": ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
    "NominalPercentageOfCardiacPhase": ("CardiacSynchronizationSequence", "NominalPercentageOfCardiacPhase"),
    "EchoTime": ("MREchoSequence", "EffectiveEchoTime"),
    "DiffusionBValue": ("MRDiffusionSequence", "DiffusionBValue"),
    "ImageType": ("MRImageFrameTypeSequence", "FrameType"),
    "AcquisitionNumber": ("FrameContentSequence", "FrameAcquisitionNumber"),
}
TAGS = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "Modality", "Rows",
    "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated", "ImagePositionPatient", "ImageOrientationPatient",
    "PixelSpacing", "SpacingBetweenSlices", "SliceThickness", "RescaleSlope", "RescaleIntercept", "InstanceNumber",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", *TELLS,
]  # fmt: skip


@dataclass(frozen=True)
class Slice:
    """One picture in its place.

    :param frame: its number in a file of several, from 0; None when it has the file to itself.
    :param series: UID of its series; ``label`` says in words which that is.
    :param position: of the first voxel's center, LPS in mm; None when the file does not say.
    :param axes: directions in which the columns, then the rows, are counted, LPS; None as ``position``.
    :param spacing: between columns, then between rows, in mm; None as ``position``.
    :param size: columns, rows.
    :param thickness: to the next slice, or of the slice, in mm; 0 when the file does not say.
    :param rescale: slope and intercept from stored numbers to the scan's.
    :param applied: those of the file's first frame, which GDCM applies to all.
    :param tells: what can tell it from another slice in the same place.
    """

    path: Path
    frame: int | None
    uid: str
    series: str
    label: str
    position: tuple[float, ...] | None
    axes: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    size: tuple[int, int]
    samples: int
    bits: int
    thickness: float
    rescale: tuple[float, float]
    applied: tuple[float, float]
    number: int
    scout: bool
    tells: dict[str, str]


def library(name: str) -> Any:
    """pydicom or highdicom.

    :raises IrisError: when it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        wanted = name.split(".")[0]
        raise IrisError(f"DICOM needs {wanted}; install it with: pip install pydicom highdicom.") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Without warnings of what a header gets wrong: they would print what it says, names and UIDs among it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its name or its first bytes. Old files begin without the usual mark."""
    if path.name.lower().endswith(ENDINGS):
        return True
    try:
        with path.open("rb") as file:
            head = file.read(132)
    except OSError:
        return False
    return head[128:] == b"DICM" or head[:4] in (b"\x08\0\0\0", b"\x08\0\5\0", b"\x08\0\x08\0")


def read_header(path: Path, tags: list[str] | None = None) -> Any:
    """A file's data set without its voxels.

    :param tags: only these; default: all.
    :raises IrisError: when it is missing, damaged, or not DICOM.
    """
    pydicom = library("pydicom")
    if not path.is_file():
        raise IrisError(f"There is no file '{path}'; check its name and folder.")
    try:
        with path.open("rb") as file, quiet():
            data = pydicom.dcmread(file, stop_before_pixels=tags is None, specific_tags=tags, force=True)
            # An element that claims to go on behind the file's end was skipped; GDCM would make room for it.
            known = bool(data.get("SOPClassUID")) and file.tell() <= path.stat().st_size
    except Exception as error:  # of a stranger's bytes pydicom raises whatever they led it to
        raise damaged(path) from error
    if not known:
        raise damaged(path)
    return data


def check_types(path: Path) -> None:
    """
    :raises IrisError: as `read_header`, and for an element of a type that DICOM does not know: GDCM takes what follows
        for a length, and makes room for as much.
    """
    known = {str(vr.value) for vr in library("pydicom").valuerep.VR}
    data = read_header(path)
    for part in (data.file_meta, data):
        tags = list(part.keys())  # the part itself would give elements, and their types as they are taken for
        if any((vr := part.get_item(tag).VR) is not None and str(vr) not in known for tag in tags):
            raise damaged(path)


def text(value: Any) -> str:
    """Words of a header. A backslash in them has split them up."""
    return "\\".join(map(str, _list(value)))


def damaged(path: Path) -> IrisError:
    return IrisError(f"'{path.name}' could not be read as DICOM; it is damaged or of another kind, so choose another.")


def slices_of(path: Path) -> list[Slice]:
    """The pictures of a file; none when it holds something else, or a segmentation of another scan.

    :raises IrisError: as `read_header`.
    """
    data = read_header(path, TAGS)
    try:
        if "Rows" not in data or str(data.SOPClassUID) in SEGMENTATIONS:
            return []
        with quiet():
            found, claimed = list(pictures_in(data, path)), claim(data)
    except Exception as error:  # as there: values are looked at only now
        raise damaged(path) from error
    if claimed > path.stat().st_size:
        raise IrisError(f"'{path.name}' claims more voxels than the file can hold; it is damaged, so get it again.")
    return found


def claim(data: Any) -> int:
    """How many bytes a file must have at least that holds what its header says."""
    pictures = int(data.get("NumberOfFrames") or 1) * int(data.get("SamplesPerPixel") or 1)
    voxels = pictures * int(data.Rows) * int(data.Columns)
    syntax = data.file_meta.get("TransferSyntaxUID")
    plain = syntax is None or not (syntax.is_encapsulated or syntax.is_deflated)
    return voxels * int(data.get("BitsAllocated") or 16) // 8 // (1 if plain else DENSEST)


def pictures_in(data: Any, path: Path) -> Iterator[Slice]:
    image_type = text(data.get("ImageType"))
    words = f"{text(data.get('SeriesNumber'))} '{text(data.get('SeriesDescription')) or text(data.get('Modality'))}'"
    common: dict[str, Any] = {
        "path": path,
        "uid": str(data.get("SOPInstanceUID", "")),
        "series": str(data.get("SeriesInstanceUID", "")),
        "label": re.sub(r"\s+", " ", words).strip(),
        "size": (int(data.Columns), int(data.Rows)),
        "samples": int(data.get("SamplesPerPixel") or 1),
        "bits": int(data.get("BitsAllocated") or 16),
        "number": int(data.get("InstanceNumber") or 0),
        "scout": "LOCALIZER" in image_type.upper(),
    }
    if not (per_frame := data.get("PerFrameFunctionalGroupsSequence")):
        frames = int(data.get("NumberOfFrames") or 1)
        if frames > 1:  # a film, or an old kind that says of no frame where it lies
            place = _place(None, None, None)
            for frame in range(frames):
                yield Slice(frame=frame, tells={}, rescale=(1.0, 0.0), applied=(1.0, 0.0), **place, **common)
            return
        tells = {tell: text(data.get(tell)) for tell in TELLS}
        scale = _rescale(data)
        yield Slice(frame=None, tells=tells, rescale=scale, applied=scale, **_place(data, data, data), **common)
        return
    applied = None
    shared = (data.get("SharedFunctionalGroupsSequence") or [None])[0]
    for frame, groups in enumerate(per_frame):
        def item(name: str, groups: Any = groups) -> Any:
            own = groups.get(name) or (None if shared is None else shared.get(name))
            return own[0] if own else None

        place = _place(item("PlanePositionSequence"), item("PlaneOrientationSequence"), item("PixelMeasuresSequence"))
        rescale = _rescale(item("PixelValueTransformationSequence"))
        applied = applied or rescale
        told = {tell: (item(name), keyword) for tell, (name, keyword) in FRAME_TELLS.items()}
        tells = {tell: "" if where is None else text(where.get(keyword)) for tell, (where, keyword) in told.items()}
        yield Slice(frame=frame, tells=tells, rescale=rescale, applied=applied, **place, **common)


def _rescale(data: Any) -> tuple[float, float]:
    slope, intercept = _numbers(data, "RescaleSlope", 1), _numbers(data, "RescaleIntercept", 1)
    return slope[0] if slope else 1.0, intercept[0] if intercept else 0.0


def _place(position: Any, orientation: Any, measures: Any) -> dict[str, Any]:
    spacing = _numbers(measures, "PixelSpacing", 2)
    between = _numbers(measures, "SpacingBetweenSlices", 1) or _numbers(measures, "SliceThickness", 1) or (0.0,)
    axes = _numbers(orientation, "ImageOrientationPatient", 6)
    # What no scanner writes is as good as missing.
    real = spacing is None or all(SMALLEST < v < LARGEST for v in spacing)
    across = axes is None or np.linalg.norm(np.cross(axes[:3], axes[3:])) > 0.5
    return {
        "position": _numbers(position, "ImagePositionPatient", 3),
        "axes": axes if across else None,
        "spacing": spacing[::-1] if spacing and real else None,  # DICOM says the distance between rows first
        "thickness": abs(between[0]),
    }


def _numbers(data: Any, keyword: str, count: int) -> tuple[float, ...] | None:
    values = tuple(float(v) for v in ([] if data is None else _list(data.get(keyword))))
    return values if len(values) == count and all(map(math.isfinite, values)) else None


def _list(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return list(value) if hasattr(value, "__iter__") and not isinstance(value, str) else [value]
