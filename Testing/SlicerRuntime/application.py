"""`slicer.app`: the few things that a module asks of the application."""

from __future__ import annotations

import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtWidgets


class Application:
    majorVersion, minorVersion = 5, 13

    def __init__(self, logic: Any) -> None:
        self._qt = QtWidgets.QApplication.instance()
        self._qt.setOrganizationName("IrisSegment tests")
        self._qt.setApplicationName("SlicerRuntime")
        self._logic = logic
        self._atStartup: list[Callable[[], None]] = []
        self._folder = tempfile.TemporaryDirectory(prefix="iris-runtime-")
        self.temporaryPath = self._folder.name
        self.slicerUserSettingsFilePath = str(Path(self._folder.name) / "Slicer.ini")

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

    def processEvents(self) -> None:
        self._qt.processEvents()

    def testingEnabled(self) -> bool:
        return True

    def commandOptions(self) -> Any:
        return types.SimpleNamespace(noMainWindow=True, testingEnabled=True)

    def layoutManager(self) -> None:
        return None

    def translate(self, context: str, text: str) -> str:
        return text

    def pauseRender(self) -> None: ...

    def resumeRender(self) -> None: ...

    def moduleManager(self) -> Any:
        return types.SimpleNamespace(connect=lambda *_: True, disconnect=lambda *_: True)

    def setOverrideCursor(self, cursor: Any) -> None:
        self._qt.setOverrideCursor(cursor)

    def restoreOverrideCursor(self) -> None:
        self._qt.restoreOverrideCursor()
