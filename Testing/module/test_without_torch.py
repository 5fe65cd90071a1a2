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


FIRST_CLICKS = """
import sys

import slicer  # before Testing is on the path

sys.path.append("Testing")
import SlicerRuntime
from radiologist import choose, encode, load, mark, results, segment

SlicerRuntime.start()
import qt

qt.QSettings().clear()
panel = SlicerRuntime.loadModule("IrisSegment/IrisSegment.py")
choose(panel, load("023", "A"), mark("023"))
volume = load("035", "B")
SlicerRuntime.processEvents(1.0)
with SlicerRuntime.EventLoopWatch() as watch:
    encode(panel)
    segment(panel)
    SlicerRuntime.processEvents(0.2)
panel.presets.save(sys.argv[1])
panel.presets.load(sys.argv[1])
panel.library.take(sys.argv[1])
panel.ui.mapButton.click()
told = panel.ui.statusLabel.text
panel.cleanup()
print(*results(), watch.longest_ms, "torch" in sys.modules, told, sep="|")
"""


def test_the_first_clicks_of_a_day_hold_nobody_and_torch_stays_with_the_worker(tmp_path):
    """Torch takes seconds to import: in Slicer's own process the first click would wait for it. Here no other test has
    imported anything."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", FIRST_CLICKS, str(tmp_path / "any.iris")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    targets, longest, torch, told = done.stdout.splitlines()[-1].split("|")
    assert (targets, torch) == ("B", "False") and "shows the map" in told
    assert float(longest) < 50
