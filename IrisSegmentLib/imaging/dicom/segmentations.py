"""Whatever DICOM has of segmentations, as one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...errors import IrisError
from ..volume import Segmentation, Volume
from .headers import SEGMENTATIONS, STRUCTURES, is_dicom, read_header
from .segin import read_seg
from .structures import read_structures

Color = tuple[float, float, float]


def read_dicom_segmentation(
    path: Path, name: str, image: Volume | None, color: Callable[[int], Color]
) -> Segmentation:
    """
    :param path: a DICOM SEG, an RTSTRUCT, or a folder with one of them.
    :param image: as `read_seg` and `read_structures`.
    :param color: of the n-th segment, when it has none.
    :raises IrisError: when it is none of them, and as `read_seg` and `read_structures`.
    """
    files = [path]
    if path.is_dir():
        files = [p for p in sorted(path.rglob("*")) if p.is_file() and is_dicom(p) and not p.name.startswith(".")]
    kinds = {file: str(read_header(file, ["SOPClassUID"]).get("SOPClassUID")) for file in files}
    found = [file for file, kind in kinds.items() if kind in (*SEGMENTATIONS, STRUCTURES)]
    if len(found) > 1:
        raise IrisError(f"'{name}' holds {len(found)} segmentations; choose the file of one.")
    if not found:
        raise IrisError(f"'{name}' is not a DICOM segmentation; give a DICOM SEG, an RTSTRUCT or a label map.")
    if kinds[found[0]] == STRUCTURES:
        return read_structures(found[0], name, image, color)
    return read_seg(found[0], name, image)
