"""The panel opens in a Slicer where nothing was installed yet, and says what is missing when it is needed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("SlicerRuntime")
pytest.importorskip("vtk")

ROOT = Path(__file__).resolve().parents[2]
OPEN = """
import sys

for name in ("torch", "monai", "safetensors"):
    sys.modules[name] = None  # importing it fails, as if it was not installed
import slicer  # before Testing is on the path, or it takes the tests in Testing/slicer for its own

sys.path.append("Testing")
import SlicerRuntime

SlicerRuntime.start()
panel = SlicerRuntime.loadModule("IrisSegment/IrisSegment.py")
panel.exit()
panel.enter()
print(*(name for name in sys.modules if name.startswith("IrisSegmentLib.slicer.panels.")))
panel.presets.load("any.iris")
print(panel.ui.statusLabel.text)
panel.ui.statusLabel.text = ""
panel.ui.publicNetworkButton.click()
print(panel.ui.statusLabel.text)
panel.cleanup()
"""


def test_the_panel_opens_without_torch_and_asks_for_it_when_it_is_needed():
    """A process of its own: this one may have torch."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", OPEN], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    imported, *sentences = done.stdout.splitlines()
    sections = {path.stem for path in (ROOT / "IrisSegmentLib" / "slicer" / "panels").glob("[a-z]*.py")}
    assert {name.rsplit(".", 1)[1] for name in imported.split()} == sections
    assert len(sentences) == 2 and all("install the extension 'PyTorch'" in sentence for sentence in sentences)
