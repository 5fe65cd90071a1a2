"""Training on a CUDA card. Skipped where there is none."""

import json

import numpy as np
import pytest
import torch
from training.test_loop import arguments

from IrisSegmentLib.network import load_network
from IrisSegmentLib.training.loop import Trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA card")


def test_a_run_on_the_card_learns_saves_and_goes_on(small_set, tmp_path):
    Trainer(arguments(small_set, tmp_path, 1, "--steps", "4")).train()
    second = Trainer(arguments(small_set, tmp_path, 1, "--steps", "8"))
    assert second.step == 4 and next(second.network.parameters()).device.type == "cuda"
    second.train()
    line = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert line["step"] == 8 and np.isfinite(line["loss"]) and line["validation"]["hippocampus"]["fine"] >= 0
    assert load_network(tmp_path / "average.safetensors", torch.device("cuda")).config.name == "tiny"
