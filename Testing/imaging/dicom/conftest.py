"""A sample scan as it could come from three scanners: axial, sagittal and oblique slices."""

from __future__ import annotations

import numpy as np
import pytest

from IrisSegmentLib.imaging.volume import Segmentation, Volume


def turned(angle: float, about: int) -> np.ndarray:
    """(4, 4) rotation by degrees about an axis."""
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    matrix = np.eye(4)
    a, b = [axis for axis in range(3) if axis != about]
    matrix[a, a], matrix[a, b], matrix[b, a], matrix[b, b] = c, -s, s, c
    return matrix


def along(order: tuple[int, int, int], case: tuple[Volume, Segmentation]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image and labels with axes in another order, and their right-handed affine."""
    image, segmentation = case
    array, labels = image.array.transpose(order), segmentation.layers[0].transpose(order)
    affine = image.affine[:, [*order, 3]]
    if np.linalg.det(affine[:3, :3]) < 0:
        array, labels = array[:, :, ::-1], labels[:, :, ::-1]
        affine = affine.copy()
        affine[:3, 3] += affine[:3, 2] * (array.shape[2] - 1)
        affine[:3, 2] *= -1
    return np.rint(array).astype(np.int16), labels, affine


@pytest.fixture(scope="session")
def scans(hippocampi):
    """Array (I, J, K), labels and affine of a scan whose slices are axial, sagittal, or oblique; uneven voxels."""
    image, segmentation = hippocampi[0]
    affine = image.affine @ np.diag([0.7, 0.9, 2.5, 1])
    case = Volume(image.array, affine, "h"), Segmentation(segmentation.layers, affine, segmentation.segments, "h")
    array, labels, axial = along((0, 1, 2), case)
    return {
        "axial": (array, labels, axial),
        "sagittal": along((1, 2, 0), case),
        "oblique": (array, labels, turned(23, 0) @ turned(-12, 2) @ axial),
    }


@pytest.fixture(scope="session")
def axial(scans):
    return scans["axial"]
