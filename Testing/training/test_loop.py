import argparse
import json
import time

import pytest
import torch

from IrisSegmentLib.network import build, load_network
from IrisSegmentLib.training.arguments import add_train_arguments
from IrisSegmentLib.training.episodes import Episode
from IrisSegmentLib.training.loop import Trainer, episode_loss
from IrisSegmentLib.training.losses import hard_dice, schedule, segmentation_loss, soft_dice


def arguments(data, output, hours=0.003):
    parser = argparse.ArgumentParser()
    add_train_arguments(parser)
    return parser.parse_args(["--data", str(data), "--output", str(output), "--hours", str(hours), "--network", "tiny"])


def test_a_run_learns_saves_and_goes_on(small_set, tmp_path):
    first = Trainer(arguments(small_set, tmp_path))
    first.train()
    line = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert line["step"] == first.step > 3 and set(line["validation"]["hippocampus"]) == {"coarse", "fine"}
    second = Trainer(arguments(small_set, tmp_path, hours=0.004))
    assert second.step == first.step and second.seconds == pytest.approx(first.seconds)
    for a, b in zip(first.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(a, b)
    started = time.monotonic()
    second.train()
    assert second.step > first.step and time.monotonic() - started < 20
    assert load_network(tmp_path / "average.safetensors").config.name == "tiny"


def test_a_task_is_learned_from_another_view_and_not_from_ones_own():
    """The loss of a view hangs on the mask of the view before it."""
    network = build("tiny", seed=1).train()
    images = torch.randn(2, 1, 32, 32, 32)
    masks = torch.zeros(2, 1, 32, 32, 32)
    masks[0, :, :16], masks[1, :, 16:] = 1, 1
    swapped = episode_loss(network, Episode(images, masks, ""), 1)
    own = episode_loss(network, Episode(images, masks, ""), 2)
    assert not torch.isclose(swapped, own)
    swapped.backward()
    missing = [n for n, p in network.named_parameters() if p.grad is None]
    assert not missing, f"parameters that never learn: {missing}"


def test_losses_and_schedule():
    masks = torch.zeros(1, 2, 8, 8, 8)
    masks[:, :, :4] = 1
    perfect, wrong = (masks * 2 - 1) * 20, (1 - masks * 2) * 20
    assert float(segmentation_loss(perfect, masks)) < 1e-3 < 1 < float(segmentation_loss(wrong, masks))
    assert float(hard_dice(perfect, masks).min()) == pytest.approx(1.0)
    assert soft_dice(masks, masks).shape == (1, 2)
    rates = [schedule(p, 5000) for p in (0.0, 0.3, 0.6, 0.9, 1.0)]
    assert schedule(0.0, 0) < rates[0] == 1.0 and rates == sorted(rates, reverse=True) and rates[-1] == 0.01
