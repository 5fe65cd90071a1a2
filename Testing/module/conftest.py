import os
import shutil
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
