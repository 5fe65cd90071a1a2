import os
import shutil
import sys
from pathlib import Path

import pytest

SlicerRuntime = pytest.importorskip("SlicerRuntime")
pytest.importorskip("vtk")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session", autouse=True)
def runtime():
    return SlicerRuntime.start(os.environ.get("IRIS_SLICER_PYTHON"))


@pytest.fixture
def panel(runtime):
    import qt
    import slicer

    slicer.mrmlScene.Clear(False)
    qt.QSettings().clear()
    shutil.rmtree(Path(slicer.app.slicerUserSettingsFilePath).parent / "IrisSegment", ignore_errors=True)
    widget = SlicerRuntime.loadModule(ROOT / "IrisSegment" / "IrisSegment.py")
    yield widget
    widget.cleanup()
    slicer.mrmlScene.Clear(False)


@pytest.fixture
def library_modules():
    """The library's modules as they were, for other tests hold on to their classes."""

    def ours():
        return {name: module for name, module in sys.modules.items() if name.split(".")[0] == "IrisSegmentLib"}

    kept = ours()
    yield
    for name in ours():
        del sys.modules[name]
    sys.modules.update(kept)
