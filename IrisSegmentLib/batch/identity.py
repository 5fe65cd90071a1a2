"""What a result hangs on, as one hash: the same scan, preset, network and preprocessing are never computed twice."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from ..context.preset import Preset, segment_out, tensors_of
from ..imaging.volume import Volume


def task_hash(preset: Preset) -> str:
    """sha256 of all that a preset, its network and its preprocessing bring into a result; a preset that was only
    renamed or annotated keeps it."""
    digest = hashlib.sha256(f"{preset.network} {preset.preprocessing}".encode())
    digest.update(json.dumps([segment_out(s) for s in preset.segments]).encode())
    for reference in preset.enabled():
        places = [place.numbers() for place in reference.places]
        digest.update(json.dumps([list(reference.extent), [list(p) for p in places]]).encode())
        for name, tensor in sorted(tensors_of("", reference).items()):
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(tensor.tobytes())
    return digest.hexdigest()


def identity(image: Volume, task: str) -> str:
    """sha256 of a scan's voxels and grid and of a task; the names of files do not enter."""
    digest = hashlib.sha256(f"{task} {image.array.dtype} {image.array.shape}".encode())
    digest.update(np.ascontiguousarray(image.affine).data)
    digest.update(np.ascontiguousarray(image.array).data)
    return digest.hexdigest()


def stamp_of(path: Path) -> str:
    """What changes when a file, or a file of a folder, is written to: size and time. Empty where that does not tell:
    the path is gone, or is a header whose voxels lie in another file."""
    try:
        if path.suffix.lower() in (".nhdr", ".mhd"):
            return ""
        if not path.is_dir():
            found = path.stat()
            return f"{found.st_size} {found.st_mtime_ns}"
        files = [file.stat() for file in sorted(path.iterdir()) if file.is_file()]
        return f"{len(files)} {sum(f.st_size for f in files)} {max((f.st_mtime_ns for f in files), default=0)}"
    except OSError:
        return ""
