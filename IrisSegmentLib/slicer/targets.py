"""What can be segmented in a scene: its volumes, and its sequences of volumes."""

from __future__ import annotations

from dataclasses import dataclass

import slicer

from .sequences import isVolumeSequence, proxiesOf


@dataclass(frozen=True)
class Target:
    """
    :param node: a scalar volume or a sequence of such.
    :param frames: of a sequence; 1 for a volume.
    :param place: modality, study and patient as far as the subject hierarchy tells, for people to read.
    :param current: whether it is but the current frame of a sequence, which is a target itself.
    """

    node: slicer.vtkMRMLNode
    frames: int
    place: str
    current: bool

    def matches(self, words: str) -> bool:
        """Whether name or place contain every one of the words."""
        found = f"{self.node.GetName()} {self.place}".lower()
        return all(word in found for word in words.lower().split())


def targetsInScene() -> list[Target]:
    """Volumes first, in the scene's order."""
    sequences = [node for node in slicer.util.getNodesByClass("vtkMRMLSequenceNode") if isVolumeSequence(node)]
    current = {proxy.GetID() for sequence in sequences for proxy in proxiesOf(sequence)}
    volumes = [
        node
        for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        if node.GetClassName() == "vtkMRMLScalarVolumeNode" and not node.GetHideFromEditors()
    ]
    return [
        *(Target(node, 1, _place(node), node.GetID() in current) for node in volumes),
        *(Target(node, node.GetNumberOfDataNodes(), _placeOfSequence(node), False) for node in sequences),
    ]


def _placeOfSequence(sequence: slicer.vtkMRMLSequenceNode) -> str:
    """A sequence lies where the volume lies that shows its frames."""
    return next((place for place in map(_place, proxiesOf(sequence)) if place), "")


def _place(node: slicer.vtkMRMLNode) -> str:
    """Modality and the names of all that a node lies under, as far as the subject hierarchy tells."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(node)
    if not item:
        return ""
    attribute = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMSeriesModalityAttributeName()
    words = [hierarchy.GetItemAttribute(item, attribute)]
    above = hierarchy.GetItemParent(item)
    while above and above != hierarchy.GetSceneItemID():
        words.append(hierarchy.GetItemName(above))
        above = hierarchy.GetItemParent(above)
    return ", ".join(word for word in words if word)
