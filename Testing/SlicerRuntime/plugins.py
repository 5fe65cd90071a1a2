"""Slicer's adaptors for plugins in Python: of the subject hierarchy's menus and of the Segment Editor.

As in Slicer, a plugin's file is loaded by itself, not as part of a package, and its class is found by the file's name.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtCore, QtWidgets


class _Adaptor(QtCore.QObject):
    """Holds the plugin's Python object."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._python: Any = None

    def self(self) -> Any:
        return self._python

    def _load(self, path: str, moduleName: str) -> bool:
        className = Path(path).stem
        spec = importlib.util.spec_from_file_location(moduleName, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[moduleName] = module
        spec.loader.exec_module(module)
        self._python = getattr(module, className)(self)
        return True


class qSlicerSubjectHierarchyScriptedPlugin(_Adaptor):
    name = ""

    def setPythonSource(self, path: str) -> bool:
        return self._load(path, Path(path).stem)


class qSlicerSubjectHierarchyPluginHandler:
    """Knows the registered plugins."""

    _instance: Any = None

    def __init__(self) -> None:
        self.plugins: list[Any] = []

    @classmethod
    def instance(cls) -> Any:
        cls._instance = cls._instance or cls()
        return cls._instance

    def registerPlugin(self, plugin: Any) -> None:
        self.plugins = [other for other in self.plugins if other.name != plugin.name] + [plugin]


def contextMenu(itemID: int) -> list[Any]:
    """The actions that a right-click on an item of the subject hierarchy shows, of all registered plugins."""
    shown = []
    for plugin in qSlicerSubjectHierarchyPluginHandler.instance().plugins:
        actions = plugin.self().itemContextMenuActions()
        for action in actions:
            action.setVisible(False)
        plugin.self().showContextMenuActionsForItem(itemID)
        shown += [action for action in actions if action.isVisible()]
    return shown


class qSlicerSegmentEditorScriptedEffect(_Adaptor):
    """An effect in the Segment Editor, with its frame of options."""

    name, perSegment, requireSegments = "", True, True

    def setPythonSource(self, path: str) -> bool:
        return self._load(path, Path(path).parent.name)

    def open(self, parameters: Any) -> None:
        """As when a person clicks the effect.

        :param parameters: a vtkMRMLSegmentEditorNode.
        """
        self._parameters = parameters
        self.frame = QtWidgets.QWidget()
        self._layout = QtWidgets.QFormLayout(self.frame)
        self.undoStates = 0
        self._python.setupOptionsFrame()
        self._python.activate()

    def parameterSetNode(self) -> Any:
        return self._parameters

    def addOptionsWidget(self, widget: Any) -> None:
        self._layout.addRow(widget)

    def addLabeledOptionsWidget(self, label: str, widget: Any) -> None:
        self._layout.addRow(label, widget)

    def saveStateForUndo(self) -> None:
        self.undoStates += 1


class qSlicerSegmentEditorEffectFactory:
    _instance: Any = None

    def __init__(self) -> None:
        self.effects: dict[str, Any] = {}

    def instance(self) -> Any:
        cls = type(self)
        cls._instance = cls._instance or self
        return cls._instance

    def registerEffect(self, effect: Any) -> None:
        self.effects[effect.name] = effect


class _ScriptedSubjectHierarchyPlugin:
    def __init__(self, scriptedPlugin: Any) -> None:
        self.scriptedPlugin = scriptedPlugin
        qSlicerSubjectHierarchyPluginHandler.instance().registerPlugin(scriptedPlugin)


class _ScriptedSegmentEditorEffect:
    def __init__(self, scriptedEffect: Any) -> None:
        self.scriptedEffect = scriptedEffect

    def register(self) -> None:
        qSlicerSegmentEditorEffectFactory().instance().registerEffect(self.scriptedEffect)


def install() -> None:
    """Put everything where plugins look for it."""
    slicer.qSlicerSubjectHierarchyScriptedPlugin = qSlicerSubjectHierarchyScriptedPlugin
    slicer.qSlicerSubjectHierarchyPluginHandler = qSlicerSubjectHierarchyPluginHandler
    for name, contents in {
        "SubjectHierarchyPlugins": {"AbstractScriptedSubjectHierarchyPlugin": _ScriptedSubjectHierarchyPlugin},
        "SegmentEditorEffects": {"AbstractScriptedSegmentEditorEffect": _ScriptedSegmentEditorEffect},
        "qSlicerSegmentationsEditorEffectsPythonQt": {
            "qSlicerSegmentEditorScriptedEffect": qSlicerSegmentEditorScriptedEffect,
            "qSlicerSegmentEditorEffectFactory": qSlicerSegmentEditorEffectFactory,
        },
    }.items():
        module = types.ModuleType(name)
        vars(module).update(contents)
        sys.modules[name] = module
