"""The module's tests again, on Slicer's own ScriptedLoadableModule and parameterNodeWrapper, unmodified."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SLICER_PYTHON = ROOT.parent / "shared" / "slicer" / "source" / "Base" / "Python" / "slicer"


@pytest.mark.timeout(900)
@pytest.mark.skipif(not SLICER_PYTHON.is_dir(), reason="Slicer's own Python files are not beside the repository")
@pytest.mark.skipif("IRIS_SLICER_PYTHON" in os.environ, reason="this is that run")
@pytest.mark.parametrize("tests", ["test_panel.py", pytest.param("", marks=pytest.mark.slow)])
def test_the_panel_works_on_slicers_own_python_layer(tests):
    """One process has one layer, so this one is a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", f"Testing/module/{tests}", "-q", "-m", "not slow"],
        cwd=ROOT, env={**os.environ, "IRIS_SLICER_PYTHON": str(SLICER_PYTHON)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
