"""A short, fixed part of the fault bench; `make faults N=1000` makes the rest."""

import os
import tempfile

import pytest

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="the bench looks into /proc")


def test_seven_faults_harm_nothing(monkeypatch):
    from faults.bench import run

    monkeypatch.setenv("TMPDIR", tempfile.gettempdir())  # the bench changes it
    monkeypatch.setattr(tempfile, "tempdir", tempfile.gettempdir())
    said = []
    assert run(7, 1, said.append) == 0, "\n".join(said)
