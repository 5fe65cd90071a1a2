"""Labelled cases held in memory, canonical and normalized, so that an episode costs one resampling per view."""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..imaging.files import read_volume
from ..imaging.intensity import Intensity
from ..imaging.orientation import Orientation

LABELS_ONLY = "brain_labels"  # a set without images: its episodes paint their own


@dataclass(frozen=True)
class Case:
    """
    :param image: (X, Y, Z) canonical, normalized, float16; or None for a set of label maps.
    :param labels: (X, Y, Z) int16; spacing in mm; background: the image's number outside the scan.
    :param boxes: per label, (low, high) in voxels.
    """

    name: str
    image: Tensor | None
    labels: Tensor
    spacing: np.ndarray
    background: float
    boxes: dict[int, tuple[np.ndarray, np.ndarray]]


def read_case(folder: Path, name: str) -> Case:
    label = read_volume(folder / f"{name}_label.nii.gz")
    orientation = Orientation.of(label.affine)
    labels = np.ascontiguousarray(orientation.to_canonical(label.array)).astype(np.int16)
    spacing = np.array(label.spacing)[list(orientation.order)]
    image, background = None, 0.0
    if (folder / f"{name}_image.nii.gz").exists():
        volume = read_volume(folder / f"{name}_image.nii.gz")
        canonical = Orientation.of(volume.affine).to_canonical(volume.array)
        intensity = Intensity.of(canonical)
        image = torch.from_numpy(intensity.apply(canonical)).half()
        background = intensity.background
    return Case(name, image, torch.from_numpy(labels), spacing, background, _boxes(labels))


def read_cases(data: Path, split: str, sets: Iterable[str] | None = None) -> dict[str, list[Case]]:
    """All cases of a split, by set. ``data`` holds one folder per set, each with a ``dataset.json``."""
    found: dict[str, list[Case]] = {}
    for description in sorted(data.glob("*/dataset.json")):
        folder = description.parent
        if sets is not None and folder.name not in sets:
            continue
        names = json.loads(description.read_text())["cases"][split]
        with ThreadPoolExecutor(2) as pool:
            found[folder.name] = list(pool.map(lambda n, f=folder: read_case(f, n), names))
    return found


def _boxes(labels: np.ndarray) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    boxes = {}
    for value in np.unique(labels):
        if value > 0:
            where = np.nonzero(labels == value)
            if len(where[0]) >= 8:
                boxes[int(value)] = (np.array([w.min() for w in where]), np.array([w.max() + 1 for w in where]))
    return boxes
