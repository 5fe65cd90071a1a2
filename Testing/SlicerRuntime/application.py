"""`slicer.app`: the few things that a module asks of the application."""

from __future__ import annotations

import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtCore, QtWidgets


class Application:
    majorVersion, minorVersion = 5, 13
    applicationName = "SlicerRuntime"

    def __init__(self, logic: Any) -> None:
        self._qt = QtWidgets.QApplication.instance()
        self._qt.setOrganizationName("IrisSegment tests")
        self._qt.setApplicationName(self.applicationName)
        self._loop = QtCore.QEventLoop()
        self._logic = logic
        self._atStartup: list[Callable[[], None]] = []
        self._folder = tempfile.TemporaryDirectory(prefix="iris-runtime-")
        self.temporaryPath = self._folder.name
        self.slicerUserSettingsFilePath = str(Path(self._folder.name) / "Slicer.ini")
        # As in Slicer, QSettings() is the person's own file; here it is one that nobody misses afterwards.
        QtCore.QSettings.setDefaultFormat(QtCore.QSettings.IniFormat)
        QtCore.QSettings.setPath(QtCore.QSettings.IniFormat, QtCore.QSettings.UserScope, self._folder.name)

    def applicationLogic(self) -> Any:
        return self._logic

    def mrmlScene(self) -> Any:
        return slicer.mrmlScene

    def connect(self, signature: str, slot: Callable[[], None]) -> bool:
        if signature != "startupCompleted()":
            raise ValueError(f"qSlicerApplication has no signal {signature} here")
        self._atStartup.append(slot)
        return True

    def startUp(self) -> None:
        """Emit startupCompleted to those who asked."""
        slots, self._atStartup = self._atStartup, []
        for slot in slots:
            slot()

    def coreIOManager(self) -> CoreIOManager:
        return CoreIOManager()

    def processEvents(self) -> None:
        # Not QApplication.processEvents: in PySide6 6.12 each call takes one reference too many from None.
        self._loop.processEvents()

    def testingEnabled(self) -> bool:
        return True

    def commandOptions(self) -> Any:
        return types.SimpleNamespace(noMainWindow=True, testingEnabled=True)

    def topLevelWidgets(self) -> list[Any]:
        return self._qt.topLevelWidgets()

    def layoutManager(self) -> None:
        return None

    def translate(self, context: str, text: str) -> str:
        return text

    def pauseRender(self) -> None: ...

    def resumeRender(self) -> None: ...

    def moduleManager(self) -> Any:
        def module(name: str) -> Any:
            return getattr(slicer.modules, name.lower(), None)

        return types.SimpleNamespace(connect=lambda *_: True, disconnect=lambda *_: True, module=module)

    def setOverrideCursor(self, cursor: Any) -> None:
        self._qt.setOverrideCursor(cursor)

    def restoreOverrideCursor(self) -> None:
        self._qt.restoreOverrideCursor()


class CoreIOManager:
    """Loads volumes and segmentations by the logics that do it in Slicer."""

    def loadNodes(self, fileType: str, properties: dict[str, Any], nodes: Any, messages: Any) -> bool:
        path = properties["fileName"]
        if fileType == "VolumeFile":
            name = properties.get("name") or Path(path).name.split(".")[0]
            node = slicer.modules.volumes.logic().AddArchetypeVolume(path, name, 0)
        elif fileType == "SegmentationFile":
            node = slicer.modules.segmentations.logic().LoadSegmentationFromFile(path)
        else:
            raise ValueError(f"no reader of {fileType} here")
        if node is not None:
            nodes.AddItem(node)
        return node is not None
