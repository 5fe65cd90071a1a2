import json

import numpy as np
import pytest

from IrisSegmentLib.imaging.files import write_segmentation, write_volume
from IrisSegmentLib.imaging.volume import Segment, Segmentation, Volume


@pytest.fixture(scope="session")
def small_set(tmp_path_factory):
    """A labelled set of five small scans: a bright and a dark ball in noise, in the folder form the project reads."""
    root = tmp_path_factory.mktemp("sets")
    folder = root / "hippocampus"
    folder.mkdir()
    names = [f"case_{n}" for n in range(5)]
    for n, name in enumerate(names):
        random = np.random.default_rng(n)
        shape = (34 + n, 30, 26)
        axes = np.meshgrid(*[np.arange(s) for s in shape], indexing="ij")
        labels = np.zeros(shape, np.uint8)
        for value, center in ((1, (11, 12, 12)), (2, (23, 18, 14))):
            far = sum((a - c - random.uniform(-2, 2)) ** 2 for a, c in zip(axes, center, strict=True))
            labels[far < 36] = value
        image = (random.normal(100, 5, shape) + np.choose(labels, [0, 60, -60])).astype(np.int16)
        affine = np.diag([-1.0, -1.0, 1.2, 1.0])
        write_volume(Volume(image, affine), folder / f"{name}_image.nii.gz")
        segments = (Segment("bright", (1, 0, 0), label=1), Segment("dark", (0, 1, 0), label=2))
        write_segmentation(Segmentation(labels[None], affine, segments), folder / f"{name}_label.nii.gz")
    (folder / "dataset.json").write_text(json.dumps({
        "name": "hippocampus", "modality": "MR", "classes": {"1": "bright", "2": "dark"},
        "cases": {"train": names[:3], "val": names[3:], "test": names[4:]},
    }))  # fmt: skip
    return root
