import os

import pytest

SlicerRuntime = pytest.importorskip("SlicerRuntime")
pytest.importorskip("vtk")


@pytest.fixture(scope="session", autouse=True)
def runtime():
    return SlicerRuntime.start(os.environ.get("IRIS_SLICER_PYTHON"))


@pytest.fixture(autouse=True)
def scene(runtime):
    import slicer

    slicer.mrmlScene.Clear(False)
    yield slicer.mrmlScene
    slicer.mrmlScene.Clear(False)
