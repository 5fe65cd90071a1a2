import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from IrisSegmentLib.context.ensemble import joined
from IrisSegmentLib.errors import IrisError
from IrisSegmentLib.network import build, load_network, save_network
from IrisSegmentLib.training.arguments import add_train_arguments
from IrisSegmentLib.training.cases import read_cases
from IrisSegmentLib.training.episodes import Episodes
from IrisSegmentLib.training.loop import Trainer, episode_loss
from IrisSegmentLib.training.losses import carried_loss, hard_dice, schedule, segmentation_loss, soft_dice


def arguments(data, output, hours=0.003, *more):
    parser = argparse.ArgumentParser()
    add_train_arguments(parser)
    plain = ["--data", str(data), "--output", str(output), "--hours", str(hours), "--network", "tiny", *more]
    return parser.parse_args(plain)


def test_a_run_learns_saves_and_goes_on(small_set, tmp_path):
    first = Trainer(arguments(small_set, tmp_path))
    first.train()
    line = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert line["step"] == first.step > 3 and set(line["validation"]["hippocampus"]) == {"coarse", "fine"}
    assert 0.2 < line["learning"] < 1
    second = Trainer(arguments(small_set, tmp_path, hours=0.004))
    assert second.step == first.step and second.seconds == pytest.approx(first.seconds)
    for a, b in zip(first.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(a, b)
    started = time.monotonic()
    second.train()
    assert second.step > first.step and time.monotonic() - started < 20
    assert load_network(tmp_path / "average.safetensors").config.name == "tiny"


def test_a_run_begins_with_what_an_earlier_network_learned(small_set, tmp_path):
    network = build("tiny", seed=5)
    save_network(network, tmp_path / "earlier.safetensors", dtype=torch.float32)
    start = ["--from", str(tmp_path / "earlier.safetensors")]
    trainer = Trainer(arguments(small_set, tmp_path / "run", 0.003, *start))
    for key, weights in network.state_dict().items():
        assert torch.equal(trainer.network.state_dict()[key], weights), key
        assert torch.equal(trainer.average.state_dict()[key], weights), key

    save_network(build("mass-tiny"), tmp_path / "other.safetensors")
    with pytest.raises(IrisError, match=r"other\.safetensors' is a network of another kind than 'tiny'"):
        Trainer(arguments(small_set, tmp_path / "other", 0.003, "--from", str(tmp_path / "other.safetensors")))


def test_a_task_is_learned_from_another_view_and_not_from_ones_own():
    """The loss of a view hangs on the mask of its teacher."""
    network = build("tiny", seed=1).train()
    images = torch.randn(2, 1, 32, 32, 32)
    masks = torch.zeros(2, 1, 32, 32, 32)
    masks[0, :, :16], masks[1, :, 16:] = 1, 1
    swapped = episode_loss(network, images, masks, torch.tensor([[1], [0]]))
    own = episode_loss(network, images, masks, torch.tensor([[0], [1]]))
    assert not torch.isclose(swapped, own)
    swapped.backward()
    missing = [n for n, p in network.named_parameters() if p.grad is None]
    assert not missing, f"parameters that never learn: {missing}"


def test_what_is_found_where_nothing_is_costs_the_more_the_more_it_is():
    """Against what the class measures in the other view; the paper's Dice alone is 0 from the first voxels on."""
    masks = torch.zeros(2, 1, 16, 16, 16)
    masks[0, :, :8] = 1
    losses = []
    for filled in (0, 1, 4, 8):
        logits = torch.full(masks.shape, -20.0)
        logits[0, :, :8], logits[1, :, :filled] = 20, 20
        losses.append(float(segmentation_loss(logits, masks) - 20 * filled / 16 / 2))
    assert losses[0] < 1e-3 and losses[3] == pytest.approx(0.25, abs=1e-2)
    assert losses[1] == pytest.approx(1 / 9 / 2, abs=1e-2) and losses[2] == pytest.approx(1 / 3 / 2, abs=1e-2)


def test_losses_and_schedule():
    masks = torch.zeros(1, 2, 8, 8, 8)
    masks[:, :, :4] = 1
    perfect, wrong = (masks * 2 - 1) * 20, (1 - masks * 2) * 20
    assert float(segmentation_loss(perfect, masks)) < 1e-3 < 1 < float(segmentation_loss(wrong, masks))
    assert float(hard_dice(perfect, masks).min()) == pytest.approx(1.0)
    assert soft_dice(masks, masks).shape == (1, 2)
    rates = [schedule(p, 5000) for p in (0.0, 0.3, 0.6, 0.9, 1.0)]
    assert schedule(0.0, 0) < rates[0] == 1.0 and rates == sorted(rates, reverse=True) and rates[-1] == 0.01


class StopsAtTen(Trainer):
    def _learn(self, *given):
        loss = super()._learn(*given)
        self._stopping = self.step == 10
        return loss


def test_a_run_that_stopped_goes_on_as_if_it_had_not(small_set, tmp_path):
    straight = Trainer(arguments(small_set, tmp_path / "straight", 1, "--steps", "20"))
    straight.train()
    StopsAtTen(arguments(small_set, tmp_path / "halves", 1, "--steps", "20")).train()
    second = Trainer(arguments(small_set, tmp_path / "halves", 1, "--steps", "20"))
    assert second.step == 10
    second.train()
    assert second.step == straight.step == 20
    for name in ("network", "average"):
        whole, halves = getattr(straight, name).state_dict(), getattr(second, name).state_dict()
        assert all(torch.equal(whole[key], halves[key]) for key in whole), name


# The second process begins late, so that its own clock would call for a checkpoint at another step than the first's.
LATE_AND_OFTEN = """
import os, sys, time
from IrisSegmentLib.cli import main
from IrisSegmentLib.training import loop
loop.CHECKPOINT_SECONDS, read = 1.0, loop.read_cases
def late(*given):
    time.sleep(1.5 * int(os.environ["RANK"]))
    return read(*given)
loop.read_cases = late
sys.exit(main())
"""


def test_two_processes_learn_from_the_mean_of_their_episodes(small_set, tmp_path):
    steps = 3
    (tmp_path / "train.py").write_text(LATE_AND_OFTEN)
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone",
        str(tmp_path / "train.py"), "train", "--data", str(small_set), "--output", str(tmp_path / "two"),
        "--network", "tiny", "--steps", str(steps),
    ]  # fmt: skip
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, cwd=root, check=False,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "2 processes" in done.stdout and len((tmp_path / "two" / "log.jsonl").read_text().splitlines()) > 1
    two = torch.load(tmp_path / "two" / "checkpoint.pt", weights_only=True)
    one = Trainer(arguments(small_set, tmp_path / "one", 1, "--steps", str(steps)))
    episodes = Episodes(read_cases(small_set, "train"), 0)
    for step in range(steps):
        pair = [episodes.draw(2 * step, step), episodes.draw(2 * step + 1, step)]
        loss = sum(one.lesson(e.images, e.masks, e.teachers(step), False) for e in pair) / 2
        one.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(one.network.parameters(), 1.0)
        for group in one.optimizer.param_groups:
            group["lr"] = 1.5e-3 * schedule(step / steps, step)
        one.optimizer.step()
    start = build("tiny").state_dict()
    moves = [
        torch.cat([(state[key] - start[key]).flatten() for key in start])
        for state in (one.network.state_dict(), two["network"])
    ]
    assert torch.cosine_similarity(moves[0], moves[1], dim=0) > 0.97


def test_tokens_alone_means_that_the_decoder_hears_nothing_of_the_affinity():
    network = build("tiny", seed=1).train()
    images, masks = torch.randn(2, 1, 32, 32, 32), torch.zeros(2, 1, 32, 32, 32)
    masks[:, :, :16] = 1
    for alone in (False, True):
        network.zero_grad()
        episode_loss(network, images, masks, torch.tensor([[1], [0]]), alone).backward()
        assert bool(network.decoder.carried.weight.grad.any()) is not alone
        assert network.affinity.middle.weight.grad.any(), "and still the affinity learns"


def test_two_teachers_are_read_together_as_a_preset_of_two_references_is():
    network, teachers = build("tiny", seed=1), torch.tensor([[1, 2], [0, 2], [1, 0]])
    images, masks = torch.randn(3, 1, 32, 32, 32), (torch.rand(3, 2, 32, 32, 32) > 0.7).float()
    with torch.no_grad():
        known = [network.encode(images[n : n + 1], masks[n]) for n in range(3)]
        presets = [joined([known[t] for t in pair]) for pair in teachers.tolist()]
        logits = torch.stack([network.segment(images[n : n + 1], p) for n, p in enumerate(presets)])
        features = [network.encoder(images[n : n + 1]) for n in range(3)]
        carried = [network.carry(f, p.keys[None], p.values[None]) for f, p in zip(features, presets, strict=True)]
        expected = segmentation_loss(logits, masks) + 0.3 * carried_loss(torch.cat(carried), masks)
        assert torch.isclose(episode_loss(network, images, masks, teachers), expected, rtol=1e-4)
