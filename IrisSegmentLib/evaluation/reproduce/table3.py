"""Table 3: what 10 targets with 15 classes and one reference cost at 128 voxels a side, beside what the paper reports.

The numbers come from the file that `irissegment benchmark` writes. The paper measured on another machine (an A100):
compare within a row, not down a column.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...errors import IrisError
from ..report import aligned
from .picture import COLORS, new_figure, plain, write
from .request import Facts, Request, keep

FIELDS = (
    "encode_s", "segment_s", "classes_15_over_1", "table3_s", "peak_memory_mb", "gflop", "conv_peak_share", "precision",
    "device",
)  # fmt: skip
PAPER = "paper, on an A100"
# method: seconds, GB, million parameters; the paper's Table 3
REPORTED = {
    "UniverSeg, 1 slice": (659.4, 2.1, 1.2),
    "UniverSeg, 128 slices": (1030.2, 12.1, 1.2),
    "SAM-Med2D": (648.4, 1.8, 91.1),
    "SAM-Med3D": (15.2, 2.9, 100.5),
    "Iris (paper)": (2.0, 7.4, 69.4),
}


def make(request: Request) -> None:
    """:raises IrisError: when there is no benchmark to read."""
    words = benchmark(request.output / "benchmark.json")
    config = request.engine.network.config.name
    parameters = sum(p.numel() for p in request.engine.network.parameters()) / 1e6
    ours = f"Iris {config} (here)"
    rows = [[ours, f"{words['table3_s']:.1f}", f"{words['peak_memory_mb'] / 1000:.1f}", f"{parameters:.1f}",
             f"{words['device']}, {words['precision']}"]]  # fmt: skip
    rows += [[n, f"{s:.1f}", f"{gb:.1f}", f"{millions:.1f}", PAPER] for n, (s, gb, millions) in REPORTED.items()]
    print(aligned([["", "seconds", "GB", "M parameters", "on"], *rows]))
    print(
        f"encode {words['encode_s']:.2f} s, segment {words['segment_s']:.2f} s; 15 classes cost "
        f"{words['classes_15_over_1']:.2f} times one; {words['gflop']:.0f} GFLOP; convolutions at "
        f"{100 * words['conv_peak_share']:.0f} % of the machine's peak"
    )
    facts = Facts(
        request.engine.network.hash, "", 10, request.seed,
        budget=f"One reference encoded, 10 targets of 15 classes segmented, 128 voxels a side, on {words['device']} "
        f"({words['precision']}). 15 classes cost {words['classes_15_over_1']:.2f} times one.",
        short="The paper's rows are quoted, not measured here, and from another machine.",
    )  # fmt: skip
    figure = new_figure(7.5, 2.8, "Time for 10 targets, 15 classes, one reference", facts)
    axes = figure.add_subplot()
    seconds = [float(words["table3_s"]), *(s for s, _, _ in REPORTED.values())]
    for n, row in enumerate(rows):
        # Dots and no bars: a logarithmic axis has no zero to start from.
        axes.plot(seconds[n], n, "o", color=COLORS[0] if n == 0 else "#909090", markersize=8)
        axes.text(seconds[n] * 1.3, n, f"{row[1]} s, {row[2]} GB, {row[3]} M parameters", va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [r[0] for r in rows])
    axes.set_xscale("log")
    axes.set_xlim(min(seconds) / 2, max(seconds) * 30)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("seconds (logarithmic); gray: reported by the paper on an A100", fontsize=9)
    plain(axes)
    write(figure, request.output / "table3.png")
    keep(request, "table3", facts, {"here": words, "parameters_m": parameters, "reported": REPORTED})


def benchmark(path: Path) -> dict[str, Any]:
    """What `irissegment benchmark` wrote.

    :raises IrisError: when it is not there, or lacks a number.
    """
    if not path.is_file():
        raise IrisError(f"There is no '{path}'; run 'irissegment benchmark --json {path}' first.")
    try:
        words = json.loads(path.read_text())
        missing = [f for f in FIELDS if f not in words]
    except (ValueError, TypeError) as error:
        raise IrisError(f"'{path}' is not what 'irissegment benchmark' writes; run it again.") from error
    if missing:
        raise IrisError(f"'{path}' lacks {', '.join(missing)}; run 'irissegment benchmark' again.")
    return words
