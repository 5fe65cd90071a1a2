"""How long a network takes on this machine, how much memory, and how much of what the hardware can do it reaches.

Table 3 of the paper: 10 targets, 15 classes and one reference of 128^3 voxels, with 2.0 s and 7.4 GB on an A100.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ..errors import IrisError
from ..network import CONFIGS, Iris, Precision, TaskEmbeddings, build, load_network
from .memory import peak_mb
from .timing import conv_peak, seconds

TARGETS, CLASSES = 10, 15  # of Table 3


@dataclass(frozen=True)
class Benchmark:
    """
    :param encode_s, segment_s: one class, one scan; the best of several.
    :param encode_by_classes_s, segment_by_classes_s: the same by the number of classes.
    :param classes_15_over_1: how much longer 15 classes take than one, for encode and for segment.
    :param table3_s: 10 targets x 15 classes x 1 reference, one after the other.
    :param peak_memory_mb: of Table 3's work in a process of its own, with what torch itself takes; on CUDA of the
        arrays on the card.
    :param gflop: of segmenting one target with one class: 2 for each product that is summed.
    :param conv_peak_gflops: what the best 3x3x3 convolution reaches here; ``conv_peak_share`` is the part of it that
        segmenting one target with one class reaches.
    :param cost_s: what one more of each costs: seconds = fixed + reference * references + target * targets
        + class_of_target * classes * targets, fitted over ``cost_runs``.
    :param cost_error: largest relative distance of a run from that fit.
    """

    network: str
    device: str
    precision: str
    threads: int
    size: int
    encode_s: float
    segment_s: float
    encode_by_classes_s: dict[int, float]
    segment_by_classes_s: dict[int, float]
    classes_15_over_1: dict[str, float]
    table3_s: float
    peak_memory_mb: float
    gflop: float
    conv_peak_gflops: float
    conv_peak_share: float
    cost_s: dict[str, float]
    cost_error: float
    cost_runs: list[dict[str, float]] = field(default_factory=list)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    def table(self) -> str:
        """For reading."""
        ratio, cost = self.classes_15_over_1, self.cost_s
        lines = [
            f"{self.network} at {self.size}^3 on {self.device}, {self.precision}, {self.threads} threads",
            "classes          " + "".join(f"{k:>9}" for k in self.encode_by_classes_s),
            "encode, s        " + "".join(f"{s:>9.3f}" for s in self.encode_by_classes_s.values()),
            "segment, s       " + "".join(f"{s:>9.3f}" for s in self.segment_by_classes_s.values()),
            f"15 classes / 1    encode {ratio['encode']:.2f}, segment {ratio['segment']:.2f}",
            f"Table 3           {self.table3_s:.2f} s, peak memory {self.peak_memory_mb:.0f} MB "
            "(paper, 69.4 M parameters on an A100: 2.0 s, 7.4 GB)",
            f"one target        {self.gflop:.0f} GFLOP, {self.gflop / self.segment_s:.0f} GFLOP/s: "
            f"{self.conv_peak_share:.0%} of this machine's best convolution ({self.conv_peak_gflops:.0f})",
            f"seconds           {cost['fixed']:.3f} + {cost['reference']:.3f} x references + {cost['target']:.3f} x "
            f"targets + {cost['class_of_target']:.4f} x classes x targets (off by at most {self.cost_error:.0%})",
        ]
        return "\n".join(lines)


class Bench:
    """A network with scans of noise and masks of boxes: what they show has no part in the time.

    :param size: voxels along each axis of every scan.
    """

    def __init__(self, network: Iris, device: torch.device, size: int) -> None:
        self.network, self.device, self.size = network.to(device).requires_grad_(False), device, size
        self.precision = Precision.of(device)
        self.image = torch.randn(1, 1, size, size, size, generator=torch.Generator().manual_seed(0)).to(device)

    def masks(self, classes: int) -> Tensor:
        """Boxes a quarter as wide as the scan, (K, D, H, W)."""
        masks = torch.zeros(classes, self.size, self.size, self.size)
        quarter = self.size // 4
        for mask, corner in zip(masks, np.random.default_rng(0).integers(0, 3 * quarter, (classes, 3)), strict=True):
            d, h, w = corner.tolist()
            mask[d : d + quarter, h : h + quarter, w : w + quarter] = 1
        return masks.to(self.device)

    def encode(self, classes: int) -> TaskEmbeddings:
        with torch.inference_mode(), self.precision.autocast():
            return self.network.encode(self.image, self.masks(classes))

    def gflop(self) -> float:
        """Of one target and one class, counted as in training: fused operators would pass uncounted."""
        with torch.enable_grad():
            embeddings = self.network.encode(self.image, self.masks(1))
            with FlopCounterMode(display=False) as counter:
                self.network.segment(self.image, embeddings)
        return counter.get_total_flops() / 1e9

    def work(self, references: int, targets: int, classes: int) -> None:
        """Encode so many references, then segment so many targets with the last one."""
        masks = self.masks(classes)
        with torch.inference_mode(), self.precision.autocast():
            for _ in range(references):
                embeddings = self.network.encode(self.image, masks)
            for _ in range(targets):
                self.network.segment(self.image, embeddings).float().cpu()


def benchmark(
    network: Path | str | None, device: torch.device, size: int = 128, classes: tuple[int, ...] = (1, 5, 15, 40)
) -> Benchmark:
    """
    :param network: a network file, the name of a configuration (random weights), or ``None`` for the bundled one.
    :param size: voxels along each axis of a scan, a multiple of 16.
    :param classes: the numbers of classes to time; 1 and 15 are among them.
    :raises IrisError: for a file that is no network, or a process that ran out of memory.
    """
    bench = Bench(_open(network), device, size)
    gflop = bench.gflop()
    bench.precision.prepare(bench.network)
    encode, segment = {}, {}
    with torch.inference_mode(), bench.precision.autocast():
        for k in classes:
            masks, embeddings = bench.masks(k), bench.encode(k)
            encode[k] = seconds(lambda m=masks: bench.network.encode(bench.image, m), device)  # type: ignore[misc]
            segment[k] = seconds(lambda e=embeddings: bench.network.segment(bench.image, e), device)  # type: ignore[misc]
    table3 = seconds(lambda: bench.work(1, TARGETS, CLASSES), device, repeats=2)
    cost, error, runs = _fit(bench)
    peak = conv_peak(bench.precision)
    return Benchmark(
        network=bench.network.config.name,
        device=_name_of(device),
        precision=bench.precision.name,
        threads=torch.get_num_threads(),
        size=size,
        encode_s=encode[1],
        segment_s=segment[1],
        encode_by_classes_s=encode,
        segment_by_classes_s=segment,
        classes_15_over_1={"encode": encode[15] / encode[1], "segment": segment[15] / segment[1]},
        table3_s=table3,
        peak_memory_mb=peak_memory_mb(network, device, size, 1, TARGETS, CLASSES),
        gflop=gflop,
        conv_peak_gflops=peak,
        conv_peak_share=gflop / segment[1] / peak,
        cost_s=cost,
        cost_error=error,
        cost_runs=runs,
    )


def peak_memory_mb(
    network: Path | str | None, device: torch.device, size: int, references: int, targets: int, classes: int
) -> float:
    """Peak memory of such work in a fresh process, which nothing that ran here before can have raised.

    :raises IrisError: when that process dies, as it does where memory runs out.
    """
    wish = [str(network or ""), device.type, *map(str, (size, references, targets, classes))]
    child = subprocess.run([sys.executable, "-m", __name__, *wish], capture_output=True, text=True)
    if child.returncode != 0:
        raise IrisError("The process that measures memory ended early; close other programs or choose a smaller size.")
    return float(child.stdout)


def _fit(bench: Bench) -> tuple[dict[str, float], float, list[dict[str, float]]]:
    """Least squares of relative distances over runs that vary references, targets and classes."""
    runs = []
    for r, t, k in ((1, 1, 1), (3, 1, 1), (1, 3, 1), (1, 1, 8), (3, 3, 1), (1, 3, 8), (3, 3, 8), (3, 1, 8)):
        taken = seconds(lambda r=r, t=t, k=k: bench.work(r, t, k), bench.device, repeats=3)  # type: ignore[misc]
        runs.append({"references": r, "targets": t, "classes": k, "seconds": taken})
    terms = np.array([[1, x["references"], x["targets"], x["classes"] * x["targets"]] for x in runs])
    taken_s = np.array([x["seconds"] for x in runs])
    found = np.linalg.lstsq(terms / taken_s[:, None], np.ones(len(runs)), rcond=None)[0]
    error = float(np.abs(terms @ found / taken_s - 1).max())
    names = ("fixed", "reference", "target", "class_of_target")
    return dict(zip(names, map(float, found), strict=True)), error, runs


def _open(network: Path | str | None) -> Iris:
    return build(network) if isinstance(network, str) and network in CONFIGS else load_network(network)


def _name_of(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _measure_memory(wish: list[str]) -> float:
    network, device = wish[0] or None, torch.device(wish[1])
    size, references, targets, classes = map(int, wish[2:])
    bench = Bench(_open(network), device, size)
    bench.precision.prepare(bench.network)
    bench.work(references, targets, classes)
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return peak_mb()  # refused on Windows, as any process that fails


if __name__ == "__main__":
    print(_measure_memory(sys.argv[1:]))
