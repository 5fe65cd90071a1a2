"""What Slicer's application gives a scripted module, for tests on a machine without Slicer.

The scene, nodes, logics and `slicer.util` are Slicer's own, from the package `slicer-core`. This package adds what that
lacks: `qt` and `ctk` with PythonQt's manners and the qMRML widgets (on PySide6, offscreen), `slicer.app`,
`slicer.modules`, and the Python layer of scripted modules: our own small one, or Slicer's, unmodified, where its
folder is given. It is test equipment: only what the module uses, and strict where PythonQt is strict.

Example::

    import SlicerRuntime

    SlicerRuntime.start()
    widget = SlicerRuntime.loadModule("IrisSegment/IrisSegment.py")
    widget.ui.encodeButton.click()
    SlicerRuntime.waitFor(lambda: widget.logic.presets, seconds=20)
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

_started: dict[str, Any] = {}


def start(slicerPython: str | Path | None = None) -> Any:
    """Boot once per process: the scene, `qt`, `ctk`, `slicer.app`; returns `slicer.app`.

    :param slicerPython: Slicer's ``Base/Python/slicer`` folder, to run its own Python layer; our own by default.
    """
    if "app" in _started:
        return _started["app"]
    import slicer

    from . import application, plugins, pythonqt, scene, widgets

    _keepNone()
    _importAtOnce()
    pythonqt.install()
    widgets.install()
    plugins.install()
    logic = scene.boot()
    slicer.app = application.Application(logic)
    layer = Path(slicerPython) if slicerPython else Path(__file__).parent / "slicerLayer"
    slicer.__path__.append(str(layer))
    _started["app"] = slicer.app
    return slicer.app


def _keepNone() -> None:
    """PySide 6.12 gives None back once more than it took it, at every call that returns nothing: from Python 3.12 on
    None is immortal, as in Slicer; before, the process ends after some thousand calls. So None is made to last."""
    if sys.version_info < (3, 12):
        ctypes.c_ssize_t.from_address(id(None)).value += 2**40


def _importAtOnce() -> None:
    """PySide reads the source of whatever is imported, to see whether it speaks PySide: three milliseconds a module
    in which the application is deaf, and which Slicer does not spend."""
    from shibokensupport import feature

    feature._mod_uses_pyside = lambda module: False


def loadModule(path: str | Path) -> Any:
    """Load a scripted module as the module manager does and show its panel; returns the module's widget object, or None
    when the module is a hidden one."""
    import qt
    import slicer

    path = Path(path)
    name = path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    parent = types.SimpleNamespace(path=str(path), title="", icon=None, hidden=False)
    record = types.SimpleNamespace(name=name, path=str(path), title=name)
    setattr(slicer.modules, name.lower(), record)
    setattr(slicer.moduleNames, name, name)
    getattr(module, name)(parent)
    record.title = parent.title
    if parent.hidden:
        slicer.app.startUp()
        return None
    panel = slicer.qSlicerScriptedLoadableModuleWidget()
    panel.setLayout(qt.QVBoxLayout())
    panel.setMRMLScene(slicer.mrmlScene)
    panel.windowTitle = parent.title

    def show() -> Any:
        widget = getattr(sys.modules[name], f"{name}Widget")(panel)
        setattr(slicer.modules, f"{name}Widget", widget)
        panel.python = widget
        widget.setup()
        return widget

    panel.reload = show
    record.widgetRepresentation = lambda: panel
    widget = show()
    widget.enter()
    slicer.app.startUp()
    return widget


def processEvents(seconds: float = 0.0) -> None:
    """Let the application work for a while."""
    waitFor(lambda: False, seconds, mustHappen=False)


def waitFor(happened: Callable[[], Any], seconds: float, mustHappen: bool = True) -> None:
    """Let the application work until something is so.

    :raises AssertionError: when it does not come to pass in time.
    """
    import slicer

    until = time.monotonic() + seconds
    while True:
        slicer.app.processEvents()
        if happened():
            return
        if time.monotonic() >= until:
            break
        time.sleep(0.002)
    assert not mustHappen, f"waited {seconds} s in vain"


def screenshot(widget: Any, path: str | Path) -> None:
    """A picture of a widget as a person would see it."""
    import slicer

    widget.show()
    slicer.app.processEvents()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    assert widget.grab().save(str(path)), f"no picture was written to {path}"


class EventLoopWatch:
    """Measures how long the application was deaf: a 10 ms timer notes the longest time between two of its ticks,
    without the time that other programs kept the processor from this thread, or from another thread of ours while this
    one waited: one that has Python's lock may be made to wait itself. Nor does the watch's own reading count.

    Example::

        with EventLoopWatch() as watch:
            ...
        assert watch.longest_ms < 50
    """

    def __enter__(self) -> EventLoopWatch:
        import qt

        self.longest_ms = 0.0
        self._last = _Clocks.now().left()
        self._timer = qt.QTimer()
        self._timer.setTimerType(qt.Qt.PreciseTimer)
        self._timer.setInterval(10)
        self._timer.connect("timeout()", self._tick)
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.stop()

    def _tick(self) -> None:
        now = _Clocks.now()
        self.longest_ms = max(self.longest_ms, now.held_since(self._last) * 1000)
        self._last = now.left()


@dataclass(frozen=True)
class _Clocks:
    """Seconds.

    :param worked: that this thread had a processor; queued: that it was ready to run and had none.
    :param others: that other threads of this process were ready to run and had none.
    """

    wall: float
    worked: float
    queued: float
    others: float

    @classmethod
    def now(cls) -> _Clocks:
        wall, worked, queued = time.monotonic(), time.thread_time(), _queued(Path("/proc/thread-self"))
        others = sum(_queued(thread) for thread in Path("/proc/self/task").glob("*")) - queued
        return cls(wall, worked, queued, others)

    def left(self) -> _Clocks:
        """The clocks once they were read, which takes longer the more threads there are and wait for Python's lock."""
        queued = _queued(Path("/proc/thread-self"))
        return _Clocks(time.monotonic(), time.thread_time(), queued, self.others)

    def held_since(self, before: _Clocks) -> float:
        """How much longer than a timer's interval it took, without what is nobody's fault here."""
        late = self.wall - before.wall - (self.queued - before.queued) - 0.01
        waited = late - (self.worked - before.worked)
        return late - min(max(self.others - before.others, 0.0), max(waited, 0.0))


def _queued(thread: Path) -> float:
    """Seconds that a thread was ready to run and had no processor, as Linux counts them; 0 elsewhere."""
    try:
        return int((thread / "schedstat").read_text().split()[1]) * 1e-9
    except (OSError, IndexError):
        return 0.0
