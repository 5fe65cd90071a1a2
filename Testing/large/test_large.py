"""The large scan on 8 GB, as `make large` runs it, and its small sister, in seconds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere the limit means another thing")
SCRIPT = Path(__file__).with_name("large.py")


def run(folder, *arguments):
    """As a person runs it."""
    report = folder / "large.json"
    subprocess.run([sys.executable, SCRIPT, "--json", report, *map(str, arguments)], check=True)
    return json.loads(report.read_text())


def test_a_few_classes_under_a_limit(tmp_path):
    """Neither verb takes much more than it needs."""
    found = run(tmp_path, "--shape", 128, 128, 128, "--classes", 3, "--limit", 3)
    assert 0 < found["large_peak_mb"] < 1500


@pytest.mark.slow
def test_a_large_ct_with_forty_classes_is_done_on_8_gb(tmp_path):
    assert 0 < run(tmp_path)["large_peak_mb"] < 8 * 1024
