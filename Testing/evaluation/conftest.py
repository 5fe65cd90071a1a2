import json

import numpy as np
import pytest

from IrisSegmentLib.imaging.files import write_segmentation, write_volume
from IrisSegmentLib.imaging.volume import Segment, Segmentation, Volume


@pytest.fixture(scope="session")
def ball_sets(tmp_path_factory):
    """Three labelled sets of small scans, a ball in noise, under names that the training loop knows; two anatomies are
    small and one is not."""
    root = tmp_path_factory.mktemp("sets")
    balls = (("hippocampus", 6, 1.0), ("left_atrium", 9, 2.5), ("sarcoma_pet", 7, 1.5))  # radius in voxels, voxel in mm
    for n, (name, radius, spacing) in enumerate(balls):
        folder, random = root / name, np.random.default_rng(n)
        folder.mkdir()
        cases = [f"{name}_{k}" for k in range(6)]
        for case in cases:
            axes = np.meshgrid(*[np.arange(32)] * 3, indexing="ij")
            center = random.uniform(12, 20, 3)
            labels = (sum((a - c) ** 2 for a, c in zip(axes, center, strict=True)) < radius**2).astype(np.uint8)
            image = (random.normal(100, 5, labels.shape) + (40 + 20 * n) * labels).astype(np.int16)
            affine = np.diag([-spacing, -spacing, spacing, 1.0])
            write_volume(Volume(image, affine), folder / f"{case}_image.nii.gz")
            segments = (Segment(f"ball of {name}", (1, 0, 0)),)
            write_segmentation(Segmentation(labels[None], affine, segments), folder / f"{case}_label.nii.gz")
        (folder / "dataset.json").write_text(json.dumps({
            "name": name, "modality": "MR", "classes": {"1": f"ball of {name}"},
            "cases": {"train": cases[:3], "val": cases[3:4], "test": cases[4:]},
        }))  # fmt: skip
    return root
