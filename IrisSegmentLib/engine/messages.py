"""What passes between a client and its worker: JSON lines, and arrays in files of a private folder.

To the worker: ``{"job": n, "verb": "encode" (or another verb), ...}``, ``{"verb": "cancel", "job": n}``.
From it: ``{"job": n, "progress": 0..1, "text": words}``, at times ``{"job": n, "note": sentence}`` and, while it tunes,
``{"job": n, "curve": Dice}``; then one of
``{"job": n, "done": answer}``, ``{"job": n, "cancelled": true}`` and ``{"job": n, "error": sentence}``.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import IrisError
from ..imaging.volume import Segment, Segmentation, Volume
from .doubt import Doubt

Message = dict[str, Any]


FILES = ("file", "preset", "labels")  # what names a file, in whatever message


def renamed(message: Message, name: Callable[[str], str]) -> Message:
    """A message with its files called otherwise: ``name`` gets each name once and gives the new one."""

    def walk(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {k: walk(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [walk(v) for v in value]
        return name(value) if key in FILES and isinstance(value, str) else value

    found: Message = walk(message)
    return found


def to_line(message: Message) -> str:
    return json.dumps(message, separators=(",", ":")) + "\n"


def from_line(line: str) -> Message | None:
    """The message of a line, or None when the line is none (a library that printed)."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) and type(message.get("job")) is int else None


def put_array(array: NDArray, folder: Path, name: str) -> str:
    """Write an array (any order in memory) as a `.npy` file of the folder; returns the file's name."""
    if not array.flags.forc:
        array = np.ascontiguousarray(array)  # while other threads go on, as they could not while np.save does it
    np.save(folder / f"{name}.npy", np.asarray(array), allow_pickle=False)
    return f"{name}.npy"


def path_in(folder: Path, name: str) -> Path:
    """A file of the exchange folder.

    :raises ValueError: for a name that leaves the folder.
    """
    if Path(name).name != name or name in ("", ".", ".."):
        raise ValueError(f"not a file of the exchange folder: {name}")
    return folder / name


def get_array(folder: Path, name: str) -> NDArray:
    """Memory-map an array of the folder.

    :raises ValueError: for a name that leaves the folder.
    :raises IrisError: when the file is gone or damaged.
    """
    path = path_in(folder, name)
    try:
        mapped: NDArray = np.load(path, mmap_mode="r", allow_pickle=False)
    except MemoryError:
        raise
    except Exception as error:  # a damaged header fails in any way it likes, and each means the same
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            raise MemoryError from error
        raise IrisError("A scan was damaged on its way to or from the background process; try again.") from error
    return mapped


def volume_out(volume: Volume, folder: Path, name: str) -> Message:
    return {"file": put_array(volume.array, folder, name), "affine": volume.affine.tolist(), "name": volume.name}


def volume_in(message: Message, folder: Path) -> Volume:
    return Volume(get_array(folder, message["file"]), np.array(message["affine"]), message["name"])


def segmentation_out(segmentation: Segmentation, folder: Path, name: str) -> Message:
    return {
        "file": put_array(segmentation.layers, folder, name),
        "affine": segmentation.affine.tolist(),
        "name": segmentation.name,
        "segments": [asdict(s) for s in segmentation.segments],
    }


def segmentation_in(message: Message, folder: Path) -> Segmentation:
    segments = tuple(Segment(**{**s, "color": tuple(s["color"])}) for s in message["segments"])
    return Segmentation(get_array(folder, message["file"]), np.array(message["affine"]), segments, message["name"])


def doubt_out(doubt: Doubt, folder: Path, name: str) -> Message:
    return {"file": put_array(doubt.values, folder, name), "affine": doubt.affine.tolist(), "places": doubt.places}


def doubt_in(message: Message, folder: Path) -> Doubt:
    values = np.array(get_array(folder, message["file"]))  # a copy: the file goes when the job has ended
    return Doubt(values, np.array(message["affine"]), tuple(tuple(p) for p in message["places"]))
