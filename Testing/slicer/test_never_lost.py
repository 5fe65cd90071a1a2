"""Whatever a person does between runs, no voxel, name or color that a person made is ever lost; voxel by voxel."""

import random

import numpy as np
import pytest
from nodemaker import SHAPE, addTransform, addVolume, oblique, preset, result

from IrisSegmentLib.errors import IrisError

NAMES = ("Liver", "Lesion", "Vessel")


class Person:
    """Acts at random on a scene; ``own`` is what must never change but by the person's own hand.

    Example::

        person = Person(7)
        person.act()
        person.check()
    """

    def __init__(self, seed):
        import slicer

        self.random = random.Random(seed)
        self.volume, _array = addVolume()
        self.drawn = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
        self.drawn.SetReferenceImageGeometryParameterFromVolumeNode(self.volume)
        self.own = {}  # by node and segment ID: mask, name, color
        self.made = {}  # the same, of what the module made last
        self.existing = None
        self.log = []

    def act(self):
        actions = [self.draw, self.draw, self.rename, self.add, self.remove, self.move]
        actions += [self.run, self.run, self.runInto, self.runInto, self.undo]
        action = self.random.choice(actions)
        self.log.append(action.__name__)
        action()

    def segments(self):
        import slicer

        nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        return [(node, segmentID) for node in nodes for segmentID in node.GetSegmentation().GetSegmentIDs()]

    def draw(self):
        """Into any segment, the module's included: it is the person's from then on."""
        import slicer

        if self.segments():
            node, segmentID = self.random.choice(self.segments())
            array = self.mask(node, segmentID).transpose(2, 1, 0).astype(np.uint8)
            low = [self.random.randrange(n - 3) for n in array.shape]
            box = tuple(slice(start, start + self.random.randrange(2, 7)) for start in low)
            array[box] = self.random.choice([1, 1, 1, 0])
            before = self.seen(node, segmentID)
            drawn, grid = np.ascontiguousarray(array), self.gridOf(node)
            slicer.util.updateSegmentBinaryLabelmapFromArray(drawn, node, segmentID, grid)
            self.keep(node, segmentID, before)

    def gridOf(self, node):
        """The volume, for a node that lies under the same transform; else one that lies as the node does."""
        if node.GetTransformNodeID() == self.volume.GetTransformNodeID():
            return self.volume
        twin, _array = addVolume(name="twin")
        twin.SetHideFromEditors(True)
        twin.SetAndObserveTransformNodeID(node.GetTransformNodeID())
        return twin

    def rename(self):
        if self.segments():
            node, segmentID = self.random.choice(self.segments())
            before = self.seen(node, segmentID)
            node.GetSegmentation().GetSegment(segmentID).SetName(self.random.choice(NAMES))
            self.keep(node, segmentID, before)

    def add(self):
        """An empty segment."""
        import slicer

        node = self.random.choice(slicer.util.getNodesByClass("vtkMRMLSegmentationNode"))
        node.GetSegmentation().AddEmptySegment("", self.random.choice(NAMES))

    def remove(self):
        if self.segments():
            node, segmentID = self.random.choice(self.segments())
            node.GetSegmentation().RemoveSegment(segmentID)
            self.own.pop((node.GetID(), segmentID), None)

    def move(self):
        """The volume under another transform, or out of it; its own segmentation goes with it, or does not."""
        transform = self.random.choice([None, addTransform(self.random.randrange(99)).GetID()])
        self.volume.SetAndObserveTransformNodeID(transform)
        if self.random.random() < 0.7:
            self.drawn.SetAndObserveTransformNodeID(transform)

    def run(self):
        from IrisSegmentLib.slicer.results import showResult

        node = showResult(self.answer(), preset(), self.volume)
        self.note(node, node.GetSegmentation().GetSegmentIDs()[-2:])
        assert node.GetTransformNodeID() == self.volume.GetTransformNodeID()

    def runInto(self):
        from IrisSegmentLib.slicer.existing import ExistingSegmentation

        existing, answer = ExistingSegmentation(self.drawn), self.answer()
        try:
            written = existing.add(answer, preset(), self.volume, onlyEmpty=self.random.random() < 0.4)
        except IrisError:
            return
        self.existing = existing
        self.note(self.drawn, written)
        names = [segment.name for segment in answer.segmentation.segments]
        for segmentID in written:
            name = self.drawn.GetSegmentation().GetSegment(segmentID).GetName()
            number = next(n for n, other in enumerate(names) if name.startswith(other))
            assert np.array_equal(self.mask(self.drawn, segmentID), answer.segmentation.mask(number))

    def undo(self):
        if self.existing is not None and self.existing.canUndo:
            self.existing.undo()

    def answer(self):
        masks = []
        for _number in range(2):
            mask = np.zeros(SHAPE, bool)
            low = [self.random.randrange(n - 4) for n in SHAPE]
            mask[tuple(slice(start, start + self.random.randrange(1, 9)) for start in low)] = True
            masks.append(mask)
        masks[0] &= ~masks[1]
        return result(oblique(), masks)

    def keep(self, node, segmentID, before):
        now = self.seen(node, segmentID)
        if not now[0].any() or same(now, self.made.get((node.GetID(), segmentID), before)):
            self.own.pop((node.GetID(), segmentID), None)  # there to be filled, or changed back to what the module made
        elif not same(now, before):
            self.own[node.GetID(), segmentID] = now

    def note(self, node, segmentIDs):
        """What the module has just made."""
        for segmentID in segmentIDs:
            self.made[node.GetID(), segmentID] = self.seen(node, segmentID)

    def seen(self, node, segmentID):
        segment = node.GetSegmentation().GetSegment(segmentID)
        return self.mask(node, segmentID), segment.GetName(), segment.GetColor()

    def mask(self, node, segmentID):
        """(I, J, K), on the voxels that the volume had when all began."""
        import slicer

        from IrisSegmentLib.slicer.segments import isEmpty

        if isEmpty(node, segmentID):
            return np.zeros(SHAPE, bool)
        return slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentID, self.gridOf(node)).transpose(2, 1, 0) > 0

    def check(self):
        import slicer

        for (nodeID, segmentID), (mask, name, color) in self.own.items():
            node = slicer.mrmlScene.GetNodeByID(nodeID)
            assert node is not None and node.GetSegmentation().GetSegment(segmentID) is not None, self.log
            now = self.seen(node, segmentID)
            assert same(now, (mask, name, color)), self.log


def same(a, b):
    return np.array_equal(a[0], b[0]) and a[1:] == b[1:]


def live(seed, scene):
    scene.Clear(False)
    person = Person(seed)
    for _action in range(14):
        person.act()
        person.check()


@pytest.mark.parametrize("seed", range(25))
def test_no_sequence_of_actions_and_runs_loses_what_a_person_made(seed, scene):
    live(seed, scene)


@pytest.mark.slow
def test_nor_does_any_of_a_thousand(scene):
    for seed in range(1000, 2000):
        live(seed, scene)
