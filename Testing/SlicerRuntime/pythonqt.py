"""`qt`: PySide6 with PythonQt's manners.

PythonQt makes Qt properties Python attributes (`label.text = "x"`, `button.enabled`), connects by signature
(`button.connect("clicked(bool)", f)`), drops the signal's arguments that a slot does not take, and refuses attributes
and signals that do not exist. PySide6 does none of that, so it is taught here.
"""

from __future__ import annotations

import inspect
import keyword
import sys
import types
from collections.abc import Callable
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

METHODS_TOO = {("QTimer", "singleShot")}  # a property's name that is better known as a static method
_pending: set[Any] = set()  # timers of singleShot that have not fired
_wrappers: dict[tuple[int, str], list[tuple[Callable, Callable]]] = {}


def install() -> types.ModuleType:
    """Make `import qt` work; returns the module."""
    module = types.ModuleType("qt")
    for source in (QtCore, QtGui, QtWidgets):
        for name in dir(source):
            if not name.startswith("_"):
                thing = getattr(source, name)
                setattr(module, name, thing)
                if isinstance(thing, type) and issubclass(thing, QtCore.QObject):
                    exposeProperties(thing)
                    thing.__setattr__ = _strictSetattr
                    if "__getattribute__" in vars(thing):  # a class that looks attributes up in a way of its own
                        thing.__getattribute__ = _getattributeOf(thing.__getattribute__)
    QtCore.QObject.__getattribute__ = _getattributeOf(QtCore.QObject.__getattribute__)
    QtCore.QTimer.singleShot = staticmethod(_singleShot)
    sys.modules["qt"] = module
    QtWidgets.QApplication.instance() or QtWidgets.QApplication(sys.argv[:1])
    return module


def exposeProperties(widgetClass: type) -> None:
    """Turn the class's own Qt properties into Python attributes."""
    meta = widgetClass.staticMetaObject
    for index in range(meta.propertyOffset(), meta.propertyCount()):
        qtProperty = meta.property(index)
        name = qtProperty.name()
        if (widgetClass.__name__, name) in METHODS_TOO:
            continue
        setter = _setterOf(name) if qtProperty.isWritable() else None
        setattr(widgetClass, f"{name}_" if keyword.iskeyword(name) else name, property(_getterOf(name), setter))


def _getterOf(name: str) -> Callable[[Any], Any]:
    return lambda self: QtCore.QObject.property(self, name)


def _setterOf(name: str) -> Callable[[Any, Any], None]:
    def setter(self: Any, value: Any) -> None:
        QtCore.QObject.setProperty(self, name, value)

    return setter


def _connect(self: Any, signature: str, slot: Callable) -> bool:
    name, _, arguments = signature.replace(" ", "").rstrip(")").partition("(")
    signal = getattr(self, name, None)
    if not hasattr(signal, "connect") or not _declares(self, name, arguments):
        raise ValueError(f"{self.metaObject().className()} has no signal {signature}")
    taken = min(len(arguments.split(",")) if arguments else 0, _arity(slot))

    # PySide6 counts a slot's named parameters to decide what to pass, so the wrapper must have as many as are taken.
    wrapper = (lambda: slot(), lambda a: slot(a), lambda a, b: slot(a, b), lambda a, b, c: slot(a, b, c))[taken]
    signal.connect(wrapper)
    key = (id(self), name)
    if key not in _wrappers and hasattr(self, "destroyed") and name != "destroyed":
        self.destroyed.connect(lambda *_: _wrappers.pop(key, None))  # else they would outlive each row of a table
    _wrappers.setdefault(key, []).append((slot, wrapper))
    return True


def _disconnect(self: Any, signature: str, slot: Callable | None = None) -> bool:
    name = signature.partition("(")[0]
    kept = _wrappers.pop((id(self), name), [])
    for connected, wrapper in kept:
        if slot is None or connected == slot:
            getattr(self, name).disconnect(wrapper)
        else:
            _wrappers.setdefault((id(self), name), []).append((connected, wrapper))
    return True


def _singleShot(milliseconds: int, slot: Callable[[], None]) -> None:
    # PySide6's own asks its timer for PySide6's `connect` when the slot is a lambda, and finds PythonQt's.
    timer = QtCore.QTimer()
    timer.setSingleShot(True)

    def fire() -> None:
        _pending.discard(timer)
        slot()

    timer.timeout.connect(fire)
    _pending.add(timer)
    timer.start(milliseconds)


def _declares(widget: Any, name: str, arguments: str) -> bool:
    """Whether a signal of this signature exists; stand-ins declare MRML arguments as plain objects."""
    meta = widget.metaObject()
    for index in range(meta.methodCount()):
        method = meta.method(index)
        if method.methodType() == QtCore.QMetaMethod.Signal:
            signature = bytes(method.methodSignature()).decode()
            if signature == f"{name}({arguments})":
                return True
            if signature.startswith(f"{name}(PyObject") and arguments.startswith("vtk"):
                return True
    return False


def _arity(slot: Callable) -> int:
    try:
        parameters = inspect.signature(slot).parameters.values()
    except (TypeError, ValueError):  # a built-in that does not tell
        return 99
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return 99
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


_plainSetattr = QtCore.QObject.__mro__[-2].__setattr__  # of Shiboken's root class, which every Qt object has
# What every QObject has in PythonQt; PySide6 has static methods of the same names, or nothing.
_EVERYWHERE: dict[str, Callable[[Any], Any]] = {
    "connect": lambda self: lambda signature, slot: _connect(self, signature, slot),
    "disconnect": lambda self: lambda signature, slot=None: _disconnect(self, signature, slot),
    "name": lambda self: QtCore.QObject.property(self, "objectName"),
    "className": lambda self: lambda: self.metaObject().className(),
}


def _getattributeOf(plain: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    def getattribute(self: Any, name: str) -> Any:
        everywhere = _EVERYWHERE.get(name)
        return everywhere(self) if everywhere else plain(self, name)

    return getattribute


def _strictSetattr(self: Any, name: str, value: Any) -> None:
    qtName = "objectName" if name == "name" else name
    if self.metaObject().indexOfProperty(qtName) >= 0:
        QtCore.QObject.setProperty(self, qtName, value)
        return
    known = hasattr(type(self), name) or name.encode() in [bytes(n) for n in self.dynamicPropertyNames()]
    if type(self).__module__.startswith("PySide6") and not known:
        raise AttributeError(f"{type(self).__name__} has no attribute {name}")
    _plainSetattr(self, name, value)
