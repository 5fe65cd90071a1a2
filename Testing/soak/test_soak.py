"""Sixty targets of the soak; `make soak` runs five hundred."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("SlicerRuntime")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the soak looks into /proc"),
]


def test_sixty_targets_leave_nothing_and_all_have_the_right_answer():
    """In a process of its own: what other tests hold in memory is no part of it."""
    soak = Path(__file__).parent / "soak.py"
    found = subprocess.run([sys.executable, str(soak), "60"], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout
