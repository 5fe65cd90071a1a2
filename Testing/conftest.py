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
def wary_network(tiny_network, tmp_path_factory) -> Path:
    """The same weights, for which nothing that is found is ever there."""
    from IrisSegmentLib.network.trust import Presence, Trust
    from IrisSegmentLib.training.publish import publish

    path = tmp_path_factory.mktemp("network") / "wary.safetensors"
    publish(tiny_network, path, trust=Trust(presence=Presence(-9.0, 0.0, 0.0, 0.0, least=0.5)))
    return path


def public_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the authors' state dict, in the small configuration of `expected_tiny.npz`."""
    lines = (ROOT / "Testing" / "network" / "public_tiny.txt").read_text().splitlines()
    return {name: tuple(map(int, shape)) for name, *shape in map(str.split, lines)}


@pytest.fixture(scope="session")
def public_checkpoint(tmp_path_factory) -> Path:
    """A checkpoint as the authors' program writes it, small and with random weights."""
    import numpy as np
    import torch

    torch.manual_seed(0)
    state = {f"module._orig_mod.{name}": 0.1 * torch.randn(shape) for name, shape in public_shapes().items()}
    stored = {"model": {}, "ema_model": state, "epoch": 3, "best_metric": np.float64(0.5), "config": {"model": {}}}
    path = tmp_path_factory.mktemp("public") / "public.pth"
    torch.save(stored, path)
    return path


@pytest.fixture(scope="session")
def hippocampi(samples):
    """The four sample hippocampi as (volume, segmentation) pairs; the first is the reference."""
    from IrisSegmentLib.evaluation.dataset import LabelledSet

    labelled = LabelledSet.read(samples / "hippocampus")
    return [(labelled.image(case), labelled.label(case)) for case in labelled.cases["train"] + labelled.cases["test"]]
