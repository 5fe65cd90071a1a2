"""Which slices of a folder, a file or a list of files are meant: one series, one volume of it, nothing twice."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ...errors import IrisError
from .grid import SAME_PLACE, heights
from .headers import TELLS, Slice, is_dicom, slices_of

SHOWN = 5  # series that a sentence names
ALIKE = 1e-3  # that the directions of slices of one orientation differ at most


def frame_of(path: Path) -> tuple[Path, int | None]:
    """A path, and which volume of its 4D series, from 1: ``cine#3``, or ``cine/#3``, is the third of ``cine``."""
    found = re.fullmatch(r"(.*)#(\d+)", path.name)
    if found is None or path.exists():
        return path, None
    name, number = found.groups()
    return path.with_name(name) if name else path.parent, int(number)


def chosen(path: Path | Sequence[Path], name: str) -> list[Slice]:
    """The slices of one volume, sorted from slice to slice.

    :param path: a folder with one series; a file, which stands for its series in its folder; or the files themselves.
        A path that ends with ``#N`` means the N-th volume of a 4D series.
    :raises IrisError: when it is not one volume, or one of the files is damaged.
    """
    frame = None
    if isinstance(path, Path):
        path, frame = frame_of(path)
        found = _of_path(path)
    else:
        found = [s for file in path for s in slices_of(file)]
    if not found:
        raise IrisError(f"'{name}' holds no DICOM images; choose the folder of a series.")
    volumes, told = _volumes(_pictures(_one_series(found, name), name), name)
    if frame is not None and not 1 <= frame <= len(volumes):
        raise IrisError(f"'{name}' has no volume {frame}; choose one from 1 to {len(volumes)}.")
    if frame is None and len(volumes) > 1:
        shown = f"{path}" if isinstance(path, Path) else "FOLDER"
        raise IrisError(
            f"'{name}' holds {len(volumes)} volumes of the same place ({told}); choose one: '{shown}#1' to "
            f"'{shown}#{len(volumes)}'."
        )
    return volumes[(frame or 1) - 1]


def gathered(paths: Sequence[Path]) -> list[Path | tuple[Path, ...]]:
    """Scans as a person lists them: files of one DICOM series among them are one scan.

    :raises IrisError: when a DICOM file is damaged.
    """
    groups: dict[tuple[str, ...], list[Path]] = {}
    for n, path in enumerate(paths):
        key: tuple[str, ...] = (str(n),)  # a scan of its own
        if path.is_file() and is_dicom(path):
            pictures = slices_of(path)
            if len(pictures) == 1:
                key = str(path.parent), pictures[0].series
        groups.setdefault(key, []).append(path)
    return [group[0] if len(group) == 1 else tuple(group) for group in groups.values()]


def _of_path(path: Path) -> list[Slice]:
    if path.is_dir():
        return _in_files(p for p in sorted(path.rglob("*")) if not p.name.startswith("."))
    own = slices_of(path)
    if len(own) != 1:
        return own
    return [s for s in _in_files(sorted(path.parent.iterdir())) if s.series == own[0].series]


def _in_files(paths: Iterable[Path]) -> list[Slice]:
    return [s for path in paths if path.is_file() and is_dicom(path) for s in slices_of(path)]


def _one_series(found: list[Slice], name: str) -> list[Slice]:
    """Those of the only series that is a volume; localizers count only when there is nothing else."""
    found = [s for s in found if not s.scout] or found
    found = [s for s in found if s.position is not None] or found
    series: dict[str, list[Slice]] = defaultdict(list)
    for one in found:
        series[one.series].append(one)
    if len(series) > 1:
        listed = [f"{s[0].label} of {len(s)} slices with {s[0].path.name}" for s in list(series.values())[:SHOWN]]
        more = f" and {len(series) - SHOWN} more" if len(series) > SHOWN else ""
        raise IrisError(
            f"'{name}' holds {len(series)} series ({'; '.join(listed)}{more}); choose one by giving a file of it."
        )
    return found


def _pictures(found: list[Slice], name: str) -> list[Slice]:
    """Each once, all of one kind and with a place in space.

    :raises IrisError: when they are not.
    """
    found = list({(s.uid or s.path, s.frame): s for s in found}.values())
    if found[0].samples != 1:
        raise IrisError(f"'{name}' has several values per voxel (color); choose a series of single values.")
    if any("MOSAIC" in s.tells.get("ImageType", "") for s in found):
        raise IrisError(f"'{name}' has all slices side by side in one picture (a mosaic); convert it to NIfTI first.")
    for s in found:
        if s.position is None or s.axes is None or s.spacing is None or not _sound(s):
            raise IrisError(f"'{name}' does not say where its pictures lie in the patient; choose a series that does.")
    axes: list[np.ndarray] = []
    for s in found:
        if not any(np.abs(known - s.axes).max() < ALIKE for known in axes):
            axes.append(np.array(s.axes))
    if len(axes) > 1:
        raise IrisError(f"The slices of '{name}' lie in {len(axes)} orientations; give the files of one of them.")
    if len({(s.size, *np.round(s.spacing or (), 4)) for s in found}) > 1:
        raise IrisError(f"The slices of '{name}' differ in size; give the files of those that belong together.")
    return found


def _sound(s: Slice) -> bool:
    """Whether the numbers of a slice's place can be those of one."""
    numbers = np.array([*(s.position or ()), *(s.axes or ()), *(s.spacing or ()), s.thickness, *s.rescale])
    axes = np.array(s.axes).reshape(2, 3)
    right_angles = np.abs(axes @ axes.T - np.eye(2)).max() < 0.01
    lengths = min(s.spacing or (0,)) > 1e-6 and min(s.size) > 0 and s.rescale[0] != 0
    return bool(np.isfinite(numbers).all() and right_angles and lengths)


def _volumes(found: list[Slice], name: str) -> tuple[list[list[Slice]], str]:
    """The slices by volume, each from slice to slice; and what tells the volumes apart, in words.

    :raises IrisError: when some places have more slices than others.
    """
    high = heights(found)
    order = sorted(range(len(found)), key=lambda n: high[n])
    places: list[list[Slice]] = []
    last = -np.inf
    for n in order:
        if high[n] - last > SAME_PLACE:
            places.append([])
            last = high[n]
        places[-1].append(found[n])
    places = [_no_copies(place) for place in places]
    count = len(places[0])
    if any(len(place) != count for place in places):
        most = max(map(len, places))
        raise IrisError(
            f"'{name}' has up to {most} slices in the same place, but not everywhere; give the files of one volume."
        )
    if count == 1:
        return [[place[0] for place in places]], ""
    for tell, words in TELLS.items():
        values = {s.tells.get(tell, "") for s in places[0]}
        if len(values) == count and all({s.tells.get(tell, "") for s in p} == values for p in places):
            ordered = sorted(values, key=_by_number)
            by_value = [{s.tells.get(tell, ""): s for s in place} for place in places]
            return [[place[value] for place in by_value] for value in ordered], f"by {words}"
    listed = [sorted(place, key=lambda s: (s.number, s.frame or 0, s.path.name)) for place in places]
    return [[place[n] for place in listed] for n in range(count)], "in the order of their numbers"


def _no_copies(place: list[Slice]) -> list[Slice]:
    """Without pictures that were sent twice under another UID: the same in all that they say, and in their bytes."""
    kept: list[Slice] = []
    for one in place:
        twins = [k for k in kept if one.frame is None and k.number == one.number and k.tells == one.tells]
        if not any(_pixels(k) == _pixels(one) for k in twins):
            kept.append(one)
    return kept


def _pixels(s: Slice) -> bytes:
    """The end of a file, as many bytes as its picture has."""
    with s.path.open("rb") as file:
        end = file.seek(0, 2)
        file.seek(max(0, end - s.size[0] * s.size[1] * s.bits // 8))
        return file.read()


def _by_number(value: str) -> tuple[float, str]:
    try:
        return float(value), value
    except ValueError:
        return 0.0, value
