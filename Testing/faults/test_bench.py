"""A short, fixed part of the fault bench; `make faults N=1000` makes the rest."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="the bench looks into /proc")
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("kinds, count", [("worker:messages", 4), ("scene:target", 5), ("library:librar", 10)])
def test_faults_harm_nothing(kinds, count):
    """In a process of its own, which makes small disks where it may, and changes the clock and Qt's error handling."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "Testing")])}
    command = [sys.executable, "Testing/faults/bench.py", str(count), "1", kinds]
    bench = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)
    assert bench.returncode == 0, bench.stdout + bench.stderr[-2000:]
    assert f"{count} faults" in bench.stdout
