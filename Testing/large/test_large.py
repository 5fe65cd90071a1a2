"""The large scan on 8 GB, as `make large` runs it, and its small sister, in seconds."""

import sys

import pytest
from large.large import run

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere the limit means another thing")


def test_a_few_classes_under_a_limit(tmp_path):
    """Neither verb maps for writing much more than it needs."""
    found = run(tmp_path, (128, 128, 128), 3, 3 * 2**30)
    assert 0 < found["large_peak_mb"] < 1500


@pytest.mark.slow
def test_a_large_ct_with_forty_classes_is_done_on_8_gb(tmp_path):
    found = run(tmp_path)
    assert 0 < found["large_peak_mb"] < 8 * 1024
