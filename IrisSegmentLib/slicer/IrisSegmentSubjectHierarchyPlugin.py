"""What a right-click in the subject hierarchy offers: a reference, and segmentation with a preset.

Slicer finds the class by its file's name, and loads the file by itself: nothing here is imported relatively.
"""

import qt
import slicer
from slicer.i18n import tr as _
from SubjectHierarchyPlugins import AbstractScriptedSubjectHierarchyPlugin

from IrisSegmentLib.slicer.presetchoice import presetChoices
from IrisSegmentLib.slicer.targets import targetsInScene


class IrisSegmentSubjectHierarchyPlugin(AbstractScriptedSubjectHierarchyPlugin):
    """Offered for volumes and segmentations, and for patients, studies and folders that hold volumes."""

    filePath = __file__

    def __init__(self, scriptedPlugin):
        scriptedPlugin.name = "IrisSegment"
        AbstractScriptedSubjectHierarchyPlugin.__init__(self, scriptedPlugin)
        self._item = 0
        self.referenceAction = qt.QAction(_("Use as Iris reference"), scriptedPlugin)
        self.referenceAction.objectName = "IrisReferenceAction"
        self.referenceAction.connect("triggered()", self._useAsReference)
        self._menu = qt.QMenu()
        self.segmentAction = qt.QAction(_("Segment with Iris"), scriptedPlugin)
        self.segmentAction.objectName = "IrisSegmentAction"
        self.segmentAction.setMenu(self._menu)

    def canAddNodeToSubjectHierarchy(self, node, parentItemID):
        return 0.0  # others own volumes and segmentations

    def canOwnSubjectHierarchyItem(self, itemID):
        return 0.0

    def roleForPlugin(self):
        return "Iris"

    def itemContextMenuActions(self):
        return [self.referenceAction, self.segmentAction]

    def showContextMenuActionsForItem(self, itemID):
        self._item = itemID
        node = _hierarchy().GetItemDataNode(itemID) if itemID else None
        isVolume = node is not None and node.GetClassName() == "vtkMRMLScalarVolumeNode"
        isSegmentation = node is not None and node.IsA("vtkMRMLSegmentationNode")
        self.referenceAction.visible = isVolume or isSegmentation
        targets, widget = self._targets(), slicer.util.getModuleWidget("IrisSegment")
        self.segmentAction.visible = bool(targets)
        if targets:
            self._fillMenu(widget, targets)

    def _fillMenu(self, widget, targets):
        self._menu.clear()
        self._menu.enabled = not widget.logic.busy
        choices = presetChoices(widget.logic)
        for choice in choices:
            action = self._menu.addAction(choice.name)
            action.connect("triggered()", lambda choice=choice: self._segment(choice, targets))
        if not choices:
            self._menu.addAction(_("No preset yet: encode a reference first")).enabled = False

    def _segment(self, choice, targets):
        _showModule()
        slicer.util.getModuleWidget("IrisSegment").segmentWith(choice, targets)

    def _useAsReference(self):
        node = _hierarchy().GetItemDataNode(self._item)
        _showModule()
        choices = slicer.util.getModuleWidget("IrisSegment").logic.getParameterNode()
        if node.IsA("vtkMRMLSegmentationNode"):
            choices.referenceSegmentation = node
            node = node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())
        if node is not None:
            choices.referenceVolume = node

    def _targets(self):
        """The volumes and sequences at the item or below it."""
        hierarchy = _hierarchy()
        return [target.node for target in targetsInScene() if self._isBelow(hierarchy, target.node)]

    def _isBelow(self, hierarchy, node):
        item = hierarchy.GetItemByDataNode(node)
        while item and item != self._item:
            item = hierarchy.GetItemParent(item)
        return bool(item) and item != hierarchy.GetSceneItemID()


def _hierarchy():
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)


def _showModule():
    if slicer.util.mainWindow() is not None:
        slicer.util.selectModule("IrisSegment")
