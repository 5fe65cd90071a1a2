"""The large scan on 8 GB, as `make large` runs it."""

import sys

import pytest


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere the limit means another thing")
def test_a_large_ct_with_forty_classes_is_done_on_8_gb(tmp_path):
    from large.large import run

    found = run(tmp_path)
    assert 0 < found["large_peak_mb"] < 8 * 1024
