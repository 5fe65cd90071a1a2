"""A part of `make fuzz` that every run of the tests repeats."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest.importorskip("resource")

import fuzz


def test_files_from_strangers_are_taken_or_refused_in_one_sentence(monkeypatch):
    monkeypatch.setattr(fuzz, "PART", 400)
    report = fuzz.in_parts(400, seed=1)
    assert not report.findings, "\n".join(report.findings[:5])
    assert sum(report.taken.values()) > 20 and sum(report.refused.values()) > 100
    assert len(set(report.taken) | set(report.refused)) == 14
