"""The small sister of `make large`: the same work under the same limits, in seconds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("resource")
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits another process, as Linux can")
def test_many_classes_are_found_under_the_limit():
    command = [sys.executable, "Testing/large/large.py", "128", "3"]
    ran = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=280
    )
    words = json.loads(ran.stdout)
    assert ran.returncode == 0 and words["classes_found"] == 3, words
    assert words["worker_mb"]["mapped"] < 5000 and words["asking_mb"]["mapped"] < 3000
