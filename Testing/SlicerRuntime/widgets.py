"""`ctk` and `slicer.qMRML...`: stand-ins for the widgets that the module's panel uses, bound to the real scene."""

from __future__ import annotations

import sys
import types
import xml.etree.ElementTree as ElementTree
from typing import Any

import slicer
from PySide6 import QtCore, QtUiTools, QtWidgets

Property, Signal = QtCore.Property, QtCore.Signal


class qMRMLWidget(QtWidgets.QWidget):
    """A panel that hands its scene to the MRML widgets inside it."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.isEntered = True
        self._scene: Any = None
        self.sceneReceivers: list[Any] = []

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        for receiver in self.sceneReceivers:
            receiver.setMRMLScene(scene)

    def mrmlScene(self) -> Any:
        return self._scene


class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """The panel of a module in Python."""

    python: Any = None

    def self(self) -> Any:
        return self.python


class ctkCollapsibleButton(QtWidgets.QWidget):
    """A titled section that folds."""

    contentsCollapsed = Signal(bool)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._folding, self._hidden = False, set[Any]()  # children that are hidden even when the section is open
        self._title = QtWidgets.QToolButton(self)
        self._title.setCheckable(True)
        self._title.setChecked(True)
        self._title.setToolButtonStyle(QtCore.Qt.ToolButtonTextBesideIcon)
        self._title.setArrowType(QtCore.Qt.DownArrow)
        self._title.toggled.connect(self._toggled)
        self.setContentsMargins(0, 26, 0, 0)

    def resizeEvent(self, event: Any) -> None:
        self._title.setGeometry(0, 0, event.size().width(), 24)

    def childEvent(self, event: Any) -> None:
        title = getattr(self, "_title", None)  # None while the title itself is put in
        if title is not None and event.added() and event.child().isWidgetType():
            event.child().installEventFilter(self)
            if not title.isChecked():  # as CTK does: what is put into a folded section is hidden with it
                self._setShown(event.child(), False)

    def eventFilter(self, child: Any, event: Any) -> bool:
        # As CTK does: what was hidden by itself stays hidden when the section opens.
        kind, told = event.type(), (QtCore.QEvent.ShowToParent, QtCore.QEvent.HideToParent)
        if kind in told and not self._folding:
            (self._hidden.discard if kind == told[0] else self._hidden.add)(child)
            if kind == told[0] and not self._title.isChecked():
                self._setShown(child, False)
        return False

    def _toggled(self, shown: bool) -> None:
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget) and child is not self._title:
                self._setShown(child, shown and child not in self._hidden)
        self._title.setArrowType(QtCore.Qt.DownArrow if shown else QtCore.Qt.RightArrow)
        self.contentsCollapsed.emit(not shown)

    def _setShown(self, child: Any, shown: bool) -> None:
        self._folding = True
        child.setVisible(shown)
        self._folding = False
        # Else Qt would not tell of it when the folded child is hidden by itself.
        child.setAttribute(QtCore.Qt.WA_WState_ExplicitShowHide, False)

    text = Property(str, lambda self: self._title.text, lambda self, value: self._title.setText(value))
    collapsed = Property(
        bool, lambda self: not self._title.checked, lambda self, value: self._title.setChecked(not value)
    )


class qMRMLNodeComboBox(QtWidgets.QWidget):
    """A choice among the scene's nodes of given classes."""

    currentNodeChanged = Signal(object)
    currentNodeIDChanged = Signal(str)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._box = QtWidgets.QComboBox()
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)
        self._scene: Any = None
        self._types: list[str] = []
        self._none = "None"
        self._observed: set[str] = set()
        self._options = {"noneEnabled": False, "addEnabled": True, "removeEnabled": True, "showChildNodeTypes": True}
        self._filling = False
        self._announced = ""
        self._box.currentIndexChanged.connect(lambda index: self._announce())

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        for event in ("NodeAddedEvent", "NodeRemovedEvent", "EndCloseEvent", "EndImportEvent"):
            scene.AddObserver(getattr(slicer.vtkMRMLScene, event), lambda caller, event: self._fill())
        self._fill()

    def mrmlScene(self) -> Any:
        return self._scene

    def currentNode(self) -> Any:
        return self._scene.GetNodeByID(self._box.currentData) if self._scene and self._box.currentData else None

    def setCurrentNode(self, node: Any) -> None:
        self.setCurrentNodeID(node.GetID() if node is not None else "")

    def setCurrentNodeID(self, nodeID: str) -> None:
        self._box.setCurrentIndex(self._box.findData(nodeID) if nodeID else (0 if self._options["noneEnabled"] else -1))

    def _nodes(self) -> list[Any]:
        found = []
        for className in self._types:
            for node in slicer.util.getNodesByClass(className, scene=self._scene):
                exact = self._options["showChildNodeTypes"] or node.GetClassName() == className
                if exact and not node.GetHideFromEditors():
                    found.append(node)
        return found

    def _fill(self) -> None:
        if self._scene is None:
            return
        current = self._box.currentData
        self._filling = True
        self._box.clear()
        if self._options["noneEnabled"]:
            self._box.addItem(self._none, "")
        for node in self._nodes():
            self._box.addItem(node.GetName(), node.GetID())
            if node.GetID() not in self._observed:
                self._observed.add(node.GetID())
                node.AddObserver("ModifiedEvent", lambda caller, event: self._rename(caller))
        self._box.setCurrentIndex(max(self._box.findData(current) if current else 0, 0 if self._box.count else -1))
        self._filling = False
        self._announce()

    def _rename(self, node: Any) -> None:
        index = self._box.findData(node.GetID())
        if index >= 0 and self._box.itemText(index) != node.GetName():
            self._box.setItemText(index, node.GetName())

    def _announce(self) -> None:
        current = self._box.currentData or ""
        if not self._filling and current != self._announced:
            self._announced = current
            self.currentNodeChanged.emit(self.currentNode())
            self.currentNodeIDChanged.emit(current)

    def _setTypes(self, types: list[str]) -> None:
        self._types = list(types)
        self._fill()

    def _option(name: str) -> Any:  # type: ignore[misc]
        def setter(self: Any, value: bool) -> None:
            self._options[name] = value
            self._fill()

        return Property(bool, lambda self: self._options[name], setter)

    def _setNone(self, words: str) -> None:
        self._none = words
        self._fill()

    noneDisplay = Property(str, lambda self: self._none, _setNone)
    nodeTypes = Property("QStringList", lambda self: self._types, _setTypes)
    noneEnabled = _option("noneEnabled")
    addEnabled = _option("addEnabled")
    removeEnabled = _option("removeEnabled")
    showChildNodeTypes = _option("showChildNodeTypes")
    currentNodeID = Property(str, lambda self: self._box.currentData or "", setCurrentNodeID)


CLASSES = (qMRMLWidget, qSlicerScriptedLoadableModuleWidget, ctkCollapsibleButton, qMRMLNodeComboBox)
# Named by Slicer's own Python layer when it is imported, used by no panel here.
NAMED_ONLY = {
    "ctk": (
        "ctkCheckBox ctkCheckablePushButton ctkDoubleSlider ctkDoubleSpinBox ctkComboBox ctkRangeWidget "
        "ctkDoubleRangeSlider ctkPathLineEdit ctkDirectoryButton ctkColorPickerButton ctkCollapsibleGroupBox "
        "ctkSliderWidget"
    ),
    "slicer": (
        "qMRMLSliderWidget qMRMLSpinBox qMRMLRangeWidget qMRMLSubjectHierarchyComboBox qMRMLCheckableNodeComboBox "
        "qMRMLSubjectHierarchyTreeView"
    ),
}


class UiLoader(QtUiTools.QUiLoader):
    """Loads a panel and links the widgets that its .ui file connects to mrmlSceneChanged.

    :raises ValueError: for a widget class that has no stand-in here.
    """

    def __init__(self, parent: Any = None) -> None:
        super().__init__()
        for widgetClass in CLASSES:
            self.registerCustomWidget(widgetClass)

    def load(self, file: Any, parent: Any = None) -> Any:
        root = ElementTree.fromstring(bytes(file.readAll()).decode())
        links = []
        for connections in root.findall("connections"):
            for connection in list(connections):
                if "vtkMRMLScene*" in connection.findtext("signal", ""):
                    links.append((connection.findtext("sender"), connection.findtext("receiver")))
                    connections.remove(connection)
        known = {c.__name__ for c in CLASSES} | set(dir(QtWidgets))
        unknown = {str(w.get("class")) for w in root.iter("widget")} - known
        if unknown:
            raise ValueError(f"no stand-in for {', '.join(sorted(unknown))}")
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(root))
        buffer.open(QtCore.QIODevice.ReadOnly)
        widget = super().load(buffer, parent)
        for sender, receiver in links:
            source = widget if widget.objectName == sender else widget.findChild(QtWidgets.QWidget, sender)
            source.sceneReceivers.append(widget.findChild(QtWidgets.QWidget, receiver))
        return widget


def install() -> None:
    """Make `import ctk` work and put the qMRML widgets where Slicer has them."""
    ctk = types.ModuleType("ctk")
    places = {"ctk": ctk, "slicer": slicer}
    for place, names in NAMED_ONLY.items():
        for name in names.split():
            setattr(places[place], name, type(name, (QtWidgets.QWidget,), {}))
    for widgetClass in CLASSES:
        setattr(ctk if widgetClass.__name__.startswith("ctk") else slicer, widgetClass.__name__, widgetClass)
    sys.modules["ctk"] = ctk
    sys.modules["qt"].QUiLoader = UiLoader  # type: ignore[attr-defined]
