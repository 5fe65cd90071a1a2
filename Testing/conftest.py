"""What every test shares: quiet threads, and the labelled sets where they are present."""

from __future__ import annotations

import os
from pathlib import Path

# Threads that spin while they wait starve every other process on a small machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of labelled sets, beside the repository or where IRIS_DATA says."""
    folder = Path(os.environ.get("IRIS_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the labelled sets are not on this machine (set IRIS_DATA)")
    return folder


@pytest.fixture(scope="session")
def samples() -> Path:
    """The sample cases that are part of the repository."""
    return ROOT / "Resources" / "SampleCases"


@pytest.fixture(scope="session")
def tiny_network(tmp_path_factory) -> Path:
    """A network file with random weights: for tests of what lies around a network."""
    from IrisSegmentLib.network import build, save_network

    path = tmp_path_factory.mktemp("network") / "tiny.safetensors"
    save_network(build("tiny"), path)
    return path


@pytest.fixture(scope="session")
def hippocampi(samples):
    """The four sample hippocampi as (volume, segmentation) pairs; the first is the reference."""
    from IrisSegmentLib.evaluation.dataset import LabelledSet

    labelled = LabelledSet.read(samples / "hippocampus")
    return [(labelled.image(case), labelled.label(case)) for case in labelled.cases["train"] + labelled.cases["test"]]
