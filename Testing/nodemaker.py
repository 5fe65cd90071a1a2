"""Scene nodes, a preset and a result of it, small enough to be compared voxel by voxel."""

import numpy as np

from IrisSegmentLib.context.preset import Preset, Reference
from IrisSegmentLib.engine import Result
from IrisSegmentLib.imaging.volume import Segment, Segmentation

TERMINOLOGY = "Category~SCT^123037004^Anatomical Structure~SCT^10200004^Liver~^^~Region~^^~^^"
SHAPE = (24, 20, 16)


def oblique(leftHanded=False):
    angle = np.radians(28)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    affine[:3, :3] *= [0.8, 1.1, 3.0]
    if leftHanded:
        affine[:3, 0] *= -1
    affine[:3, 3] = [12.5, -80.0, 33.0]
    return affine


def addVolume(affine=None, name="CT"):
    import slicer

    affine = oblique() if affine is None else affine
    array = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(array.transpose(2, 1, 0)))
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(affine))
    return node, array


def addTransform(seed):
    import slicer

    random = np.random.default_rng(seed)
    axis = random.normal(size=3)
    axis /= np.linalg.norm(axis)
    cross = np.cross(np.eye(3), axis)
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3) + np.sin(0.7) * cross + (1 - np.cos(0.7)) * cross @ cross
    matrix[:3, 3] = random.uniform(-50, 50, 3)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    return node


def blocks():
    a, b = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    a[3:11, 4:12, 2:9], b[12:20, 4:15, 6:14] = True, True
    return a, b


def result(affine, masks=None):
    a, b = masks or blocks()
    segments = (Segment("Liver", (0.8, 0.2, 0.1), TERMINOLOGY, 0, 1), Segment("Lesion", (0.1, 0.9, 0.3), "", 0, 2))
    layer = a * np.uint8(1)
    layer[b] = 2
    segmentation = Segmentation(layer[None], affine, segments, "result")
    return Result(segmentation, (0.9, 0.4), segmentation.volumes_ml(), 0.1)


def preset(name="liver"):
    return Preset(name, result(np.eye(4)).segmentation.segments, (Reference({}, (1.0, 1.0, 1.0)),), "net", 1)
