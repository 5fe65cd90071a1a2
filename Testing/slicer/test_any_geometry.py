"""Results land on their volume's voxels, whatever its geometry and wherever its parent transforms put it."""

import random

import numpy as np
import pytest
from nodemaker import preset, result

GRIDS = 500


class Scan:
    """A volume at random: voxel sizes, axes in any order and direction, any turn, up to three parent transforms, the
    outermost of which may bend space."""

    def __init__(self, seed):
        import slicer

        self.random = random.Random(seed)
        self.shape = tuple(self.random.randrange(6, 22) for _axis in range(3))
        spacing = [self.random.choice([0.3, 0.7, 1.0, 3.0, 7.5]) for _axis in range(3)]
        axes = np.eye(3)[:, self.random.sample(range(3), 3)] * [self.random.choice([-1, 1]) for _axis in range(3)]
        self.affine = np.eye(4)
        self.affine[:3, :3] = self._turn() @ axes * spacing
        self.affine[:3, 3] = [self.random.uniform(-300, 300) for _axis in range(3)]
        self.node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", f"scan {seed}")
        slicer.util.updateVolumeFromArray(self.node, np.zeros(self.shape[::-1], np.int16))
        self.node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(self.affine))
        parent = None
        for _transform in range(self.random.randrange(4)):
            parent = self._transform(parent)
        if parent is not None:
            self.node.SetAndObserveTransformNodeID(parent.GetID())

    def masks(self):
        """Two that do not overlap, anywhere, the border included; one may be empty."""
        values = np.random.default_rng(self.random.randrange(2**32)).random(self.shape)
        share = self.random.choice([0.02, 0.3])
        return values < share, values > 1 - share * self.random.choice([0, 1])

    def _turn(self):
        """A rotation, none for a third of the scans."""
        if self.random.random() < 0.33:
            return np.eye(3)
        basis, _upper = np.linalg.qr(np.array([[self.random.gauss(0, 1) for _c in range(3)] for _r in range(3)]))
        return basis * np.sign(np.linalg.det(basis))

    def _transform(self, parent):
        import slicer

        if parent is None and self.random.random() < 0.2:
            return self._bending()
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        matrix = np.eye(4)
        matrix[:3, :3] = self._turn() * self.random.choice([1, 1, 0.5, -1])
        matrix[:3, 3] = [self.random.uniform(-80, 80) for _axis in range(3)]
        node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
        if parent is not None:
            node.SetAndObserveTransformNodeID(parent.GetID())
        return node

    def _bending(self):
        import slicer
        import vtk

        spline = vtk.vtkThinPlateSplineTransform()
        spline.SetBasisToR()
        points = [vtk.vtkPoints(), vtk.vtkPoints()]
        for corner in np.ndindex(2, 2, 2):
            place = (np.array(corner) - 0.5) * 400
            points[0].InsertNextPoint(place)
            points[1].InsertNextPoint(place + [self.random.uniform(-20, 20) for _axis in range(3)])
        spline.SetSourceLandmarks(points[0])
        spline.SetTargetLandmarks(points[1])
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode")
        node.SetAndObserveTransformToParent(spline)
        return node


def wrong_voxels(seed, scene):
    """How many differ after a result was written and read back: by this module, and by Slicer where it may."""
    import slicer

    from IrisSegmentLib.slicer.existing import ExistingSegmentation
    from IrisSegmentLib.slicer.marks import Marks
    from IrisSegmentLib.slicer.results import showResult

    scene.Clear(False)
    scan = Scan(seed)
    masks = scan.masks()
    beside = showResult(result(scan.affine, masks), preset(), scan.node)
    mine = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    mine.SetAndObserveTransformNodeID(scan.node.GetTransformNodeID())
    ExistingSegmentation(mine).add(result(scan.affine, masks), preset(), scan.node)
    wrong = 0
    for node in (beside, mine):
        for segmentID, mask in zip(node.GetSegmentation().GetSegmentIDs(), masks, strict=True):
            if mask.any():
                ours = Marks(node, scan.node, [segmentID]).segmentation().mask(0)
                theirs = slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentID, scan.node).transpose(2, 1, 0) > 0
                wrong += int((ours != mask).sum()) + int((theirs != mask).sum())
    return wrong


@pytest.mark.parametrize("seed", range(25))
def test_no_voxel_is_wrong(seed, scene):
    assert wrong_voxels(seed, scene) == 0


@pytest.mark.slow
def test_no_voxel_is_wrong_in_any_of_five_hundred(scene):
    assert not {seed for seed in range(100, 100 + GRIDS) if wrong_voxels(seed, scene)}
