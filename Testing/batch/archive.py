"""An archive of scans made from those at hand: each differs in its voxels, and is made again alike by its number."""

from __future__ import annotations

from itertools import cycle, islice
from pathlib import Path

import numpy as np

from IrisSegmentLib.evaluation.dataset import find_sets
from IrisSegmentLib.imaging.files import read_volume, write_volume
from IrisSegmentLib.imaging.volume import Volume


def make(data: Path, folder: Path, count: int, smallest: int | None = None) -> list[Path]:
    """Scans of the labelled sets of ``data``, in turn, each with noise of its own.

    :param smallest: voxels along an axis that they are cropped to; None leaves them whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sets = [[s.paths(case)[0] for cases in s.cases.values() for case in cases] for s in find_sets(data)]
    turns = [cycle(paths) for paths in sets]
    made = []
    for n, source in enumerate(islice((next(turn) for turn in cycle(turns)), count)):
        path = folder / f"case_{n:04}.nii.gz"
        if not path.exists():
            scan = read_volume(source)
            array = scan.array if smallest is None else scan.array[:smallest, :smallest, :smallest]
            noise = np.random.default_rng(n).normal(0, 0.01 * max(float(array.std()), 1.0), array.shape)
            write_volume(Volume((array + noise).astype(np.float32), scan.affine), path)
        made.append(path)
    return made
