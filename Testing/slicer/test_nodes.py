"""Scene nodes to plain values and results into the scene, on the real MRML scene."""

import numpy as np
import pytest
from nodemaker import SHAPE, TERMINOLOGY, addTransform, addVolume, blocks, oblique, preset, result

from IrisSegmentLib.errors import IrisError


def readBack(node, volumeNode):
    from IrisSegmentLib.slicer.marks import Marks

    return Marks(node, volumeNode, list(node.GetSegmentation().GetSegmentIDs())).segmentation()


@pytest.mark.parametrize("leftHanded", [False, True])
def test_a_volume_node_is_read_as_it_is(leftHanded):
    from IrisSegmentLib.slicer.nodes import volumeFromNode

    node, array = addVolume(oblique(leftHanded))
    volume = volumeFromNode(node)
    assert np.array_equal(volume.array, array) and np.allclose(volume.affine, oblique(leftHanded))
    assert volume.name == "CT"


@pytest.mark.parametrize("leftHanded", [False, True])
@pytest.mark.parametrize("transformed", [False, True])
def test_a_result_lands_on_its_volume_and_is_read_back_voxel_by_voxel(leftHanded, transformed):
    from IrisSegmentLib.slicer.results import showResult

    volumeNode, _ = addVolume(oblique(leftHanded))
    if transformed:
        volumeNode.SetAndObserveTransformNodeID(addTransform(1).GetID())
    node = showResult(result(oblique(leftHanded)), preset(), volumeNode)
    assert node.GetTransformNodeID() == volumeNode.GetTransformNodeID()
    back = readBack(node, volumeNode)
    for n, mask in enumerate(blocks()):
        assert np.array_equal(back.mask(n), mask)
    assert [s.name for s in back.segments] == ["Liver", "Lesion"]
    assert back.segments[0].terminology == TERMINOLOGY, "Slicer gives segments without words a default, this has words"
    assert np.allclose(back.segments[0].color, (0.8, 0.2, 0.1))


def test_slicers_own_reader_agrees():
    import slicer

    from IrisSegmentLib.slicer.results import showResult

    volumeNode, _ = addVolume()
    node = showResult(result(oblique()), preset(), volumeNode)
    for segmentID, mask in zip(node.GetSegmentation().GetSegmentIDs(), blocks(), strict=True):
        theirs = slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentID, volumeNode)
        assert np.array_equal(theirs.transpose(2, 1, 0) > 0, mask)


def test_a_reference_under_another_transform_is_read_where_it_is_seen():
    """The segmentation stays, the volume is moved and moved back by two transforms: the masks are unchanged; moved by
    one alone, they are elsewhere."""
    from IrisSegmentLib.slicer.marks import Marks
    from IrisSegmentLib.slicer.results import showResult

    volumeNode, _ = addVolume()
    node = showResult(result(oblique()), preset(), volumeNode)
    there, back = addTransform(1), addTransform(1)
    back.Inverse()
    there.SetAndObserveTransformNodeID(back.GetID())
    volumeNode.SetAndObserveTransformNodeID(there.GetID())
    assert np.array_equal(readBack(node, volumeNode).mask(0), blocks()[0])
    there.SetAndObserveTransformNodeID(None)
    with pytest.raises(IrisError, match="empty"):
        Marks(node, volumeNode, list(node.GetSegmentation().GetSegmentIDs())).segmentation()


def test_overlapping_segments_keep_all_their_voxels():
    import slicer

    from IrisSegmentLib.slicer.marks import Marks

    volumeNode, _ = addVolume()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    first = np.zeros(SHAPE, bool)
    first[2:12, 2:12, 2:12] = True
    second = np.zeros(SHAPE, bool)
    second[8:16, 8:16, 8:14] = True
    ids = [node.GetSegmentation().AddEmptySegment(name, name) for name in ("first", "second")]
    for segmentID, mask in zip(ids, (first, second), strict=True):
        array = np.ascontiguousarray(mask.transpose(2, 1, 0)).astype(np.uint8)
        slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, segmentID, volumeNode)
    both = Marks(node, volumeNode, ids).segmentation()
    assert np.array_equal(both.mask(0), first) and np.array_equal(both.mask(1), second) and len(both.layers) == 2


def test_a_rerun_replaces_our_own_result_and_never_an_edited_one(scene):
    import slicer

    from IrisSegmentLib.slicer.results import showResult

    volumeNode, _ = addVolume()
    first = showResult(result(oblique()), preset(), volumeNode)
    again = showResult(result(oblique(), blocks()[::-1]), preset(), volumeNode)
    assert again is first and np.array_equal(readBack(first, volumeNode).mask(0), blocks()[1])
    segmentID = first.GetSegmentation().GetSegmentIDs()[0]
    edited = np.zeros(SHAPE[::-1], np.uint8)
    edited[5:9, 5:9, 5:9] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(edited, first, segmentID, volumeNode)
    new = showResult(result(oblique()), preset(), volumeNode)
    assert new is not first and new.GetName() != first.GetName()
    kept = slicer.util.arrayFromSegmentBinaryLabelmap(first, segmentID, volumeNode)
    assert np.array_equal(kept, edited)
    other = showResult(result(oblique()), preset("kidney"), volumeNode)
    assert other not in (first, new)


def test_a_result_lies_beside_its_volume_and_remembers_where_it_came_from(scene):
    import slicer

    from IrisSegmentLib.slicer.results import showResult

    volumeNode, _ = addVolume()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "Patient")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(volumeNode), patient)
    node = showResult(result(oblique()), preset(), volumeNode)
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == patient
    assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is volumeNode
    segment = node.GetSegmentation().GetSegment(node.GetSegmentation().GetSegmentIDs()[0])
    assert segment.HasTag("IrisSegment.Preset") and segment.HasTag("IrisSegment.Network")


def test_volumes_that_are_none_are_refused_by_name(scene):
    import slicer

    from IrisSegmentLib.slicer.nodes import volumeFromNode

    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "nothing")
    with pytest.raises(IrisError, match="'nothing' holds no image"):
        volumeFromNode(empty)
    vector = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "photo")
    slicer.util.updateVolumeFromArray(vector, np.zeros((4, 5, 6, 3), np.uint8))
    with pytest.raises(IrisError, match="'photo' has several values"):
        volumeFromNode(vector)


def test_an_empty_class_in_a_result_is_written_as_an_empty_segment():
    from IrisSegmentLib.slicer.results import showResult

    volumeNode, _ = addVolume()
    nothing = np.zeros(SHAPE, bool)
    node = showResult(result(oblique(), (blocks()[0], nothing)), preset(), volumeNode)
    assert node.GetSegmentation().GetNumberOfSegments() == 2


def test_results_survive_saving_the_scene(scene, tmp_path):
    import slicer

    from IrisSegmentLib.slicer.results import showResult

    volumeNode, _ = addVolume()
    node = showResult(result(oblique()), preset(), volumeNode)
    for saved in (volumeNode, node):
        saved.AddDefaultStorageNode()
    assert scene.WriteToMRB(str(tmp_path / "scene.mrb"), None)
    scene.Clear(False)
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"), True)
    volumeNode = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")[0]
    node = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")[0]
    back = readBack(node, volumeNode)
    assert np.array_equal(back.mask(0), blocks()[0]) and back.segments[0].terminology == TERMINOLOGY
    # still known as ours, so a rerun replaces it
    assert showResult(result(oblique()), preset(), volumeNode) is node
