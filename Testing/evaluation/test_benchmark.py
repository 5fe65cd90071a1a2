import json

import numpy as np
import pytest
import torch

from IrisSegmentLib.cli import main
from IrisSegmentLib.evaluation.benchmark import Bench, peak_memory_mb
from IrisSegmentLib.network import build

FIELDS = {
    "encode_s", "segment_s", "classes_15_over_1", "table3_s", "peak_memory_mb", "gflop", "conv_peak_share",
    "precision", "device", "cost_s", "cost_error",
}  # fmt: skip


def test_the_command_measures_and_writes_every_number(tmp_path, capsys):
    wish = ["--config", "tiny", "--size", "32", "--device", "cpu", "--json", f"{tmp_path}/b.json"]
    assert main(["benchmark", *wish]) == 0
    found = json.loads((tmp_path / "b.json").read_text())
    assert set(found) >= FIELDS and list(found["segment_by_classes_s"]) == ["1", "5", "15", "40"]
    assert found["gflop"] > 0 and 0 < found["conv_peak_share"] < 1 and found["table3_s"] > found["segment_s"]
    assert found["peak_memory_mb"] > 100, "torch alone takes more"
    assert "tiny at 32^3 on cpu" in capsys.readouterr().out


def test_counted_operations_grow_with_the_voxels():
    small, large = (Bench(build("tiny"), torch.device("cpu"), n).gflop() for n in (32, 64))
    assert large / small == pytest.approx(8, rel=0.2)


def test_every_convolution_is_counted():
    """Those of oneDNN, which inference takes, once were not."""
    bench, done = Bench(build("tiny"), torch.device("cpu"), 32), []
    for module in bench.network.encoder.modules():
        if isinstance(module, torch.nn.Conv3d):
            module.register_forward_hook(lambda m, _, out: done.append(2 * out.numel() * m.weight[0].numel()))
    assert 1e9 * bench.gflop() > sum(done) / 2 > 0, "the encoder ran for the reference too"


def test_what_cannot_be_measured_is_said_in_a_sentence(tmp_path, capsys):
    for wish in (["--size", "40"], ["--config", "huge"], ["--config", "tiny", "--network", "x"]):
        assert main(["benchmark", *wish]) == 2
    assert [line[:12] for line in capsys.readouterr().err.splitlines()] == ["irissegment:"] * 3


def test_encoding_fifteen_classes_at_the_published_size_takes_less_than_3_gb():
    """The paper states 7.4 GB for Table 3."""
    assert peak_memory_mb("paper", torch.device("cpu"), 128, 1, 0, 15) < 3000


def test_a_process_is_not_charged_for_the_memory_of_the_one_that_measures_it():
    """As it was, when the peak came from getrusage, which a process inherits."""
    alone = peak_memory_mb("tiny", torch.device("cpu"), 32, 1, 0, 1)
    held = np.ones(2**28)  # 2 GB
    assert peak_memory_mb("tiny", torch.device("cpu"), 32, 1, 0, 1) < alone + 200 and held[0] == 1
