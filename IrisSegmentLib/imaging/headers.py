"""NRRD and MetaImage headers of strangers, looked at before the image library sees them.

Such a header is text that may name other files for the voxels, anywhere on the machine; and the library that reads them
overruns its memory when it meets a long line or a long name.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import IrisError

LARGEST = 4 * 2**20  # bytes of a header
LONGEST = 500  # letters of a line that is not free text
LONGEST_META = 250  # and of any line of a MetaImage


def stored_bytes(path: Path) -> int:
    """How many bytes there are of a scan, compressed or not: those of its file, or of its folder when its header
    names other files.

    :raises IrisError: when the header is damaged, or names files outside its folder.
    :raises OSError: when the file cannot be read.
    """
    if path.is_dir():
        raise IrisError(f"'{path}' is a folder; choose a file in it.")
    if not path.name.lower().endswith((".nrrd", ".nhdr", ".mha", ".mhd")):
        return path.stat().st_size
    with path.open("rb") as file:
        head = file.read(LARGEST).decode("latin-1")
    named = _nrrd(head, path) if head.startswith("NRRD") else _meta_image(head, path)
    if not named:
        return path.stat().st_size
    for name in named:
        place = name.strip().replace("\\", "/")
        if place.startswith("/") or re.match("[A-Za-z]:", place) or ".." in place.split("/"):
            raise IrisError(f"'{path.name}' names voxels outside its own folder; put all of its files into one folder.")
    return sum(p.stat().st_size for p in path.parent.rglob("*") if p.is_file())


def _nrrd(head: str, path: Path) -> list[str]:
    """The files that a NRRD header names; none when the voxels follow it."""
    lines = [line.removesuffix("\r") for line in head.split("\n")]
    ended = "" in lines
    lines = lines[: lines.index("")] if ended else lines
    if (
        (not ended and len(head) == LARGEST)
        or any("\r" in line or "\0" in line for line in lines)
        or any(len(line) > LONGEST and not re.match(r"#|content:|[^:]{1,100}:=", line) for line in lines)
    ):
        raise _damaged(path)
    for n, line in enumerate(lines):
        if found := re.match(r"\s*data ?file\s*:(?!=)(.*)", line, re.IGNORECASE):
            value = found.group(1).strip()
            return [value, *lines[n + 1 :]] if value.upper().startswith("LIST") else [value]
    return []


def _meta_image(head: str, path: Path) -> list[str]:
    """The files that a MetaImage header names; none when the voxels follow it."""
    found = re.search(r"^[ \t]*ElementDataFile[ \t]*[=:](.*)", head, re.MULTILINE)
    value = found.group(1).strip() if found else ""
    listed = head[found.end() :].splitlines() if found and value.upper().startswith("LIST") else []
    lines = [*head[: found.end() if found else 0].split("\n"), *listed]
    if not value or any(len(line) > LONGEST_META or not line.removesuffix("\r").isprintable() for line in lines):
        raise _damaged(path)
    return [] if value.upper() == "LOCAL" else [value, *listed]


def _damaged(path: Path) -> IrisError:
    return IrisError(f"The header of '{path.name}' is damaged; save the file again, or get it again.")
