"""The arguments of `irissegment reproduce`, apart from the work so that asking for help needs no torch."""

from __future__ import annotations

import argparse
from pathlib import Path

RESULTS = {
    "table1": "sets the network was trained on: one reference, three, and a supervised U-Net per set",
    "table2": "anatomy the network was never trained on, against copying the mask",
    "table3": "time, memory and parameters, from the file that `irissegment benchmark` writes",
    "table4": "what each part of the network is worth",
    "figure4": "strategies against the share of the reference pool",
    "figure5": "a map of task embeddings, as a picture and as a page to explore",
    "figure6": "number of training tasks, number of query tokens",
}


def add_reproduce_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `irissegment reproduce`, without those that every verb has."""
    parser.add_argument(
        "result", choices=[*RESULTS, "all"], metavar="RESULT",
        help="; ".join(f"{name}: {words}" for name, words in RESULTS.items()) + "; all: every one",
    )  # fmt: skip
    parser.add_argument("--data", type=Path, required=True, help="a folder with a dataset.json, or a folder of such")
    parser.add_argument("--output", type=Path, required=True, help="pictures, numbers and trained variants go here")
    parser.add_argument("--limit", type=int, help="only the first cases of each set")
    parser.add_argument(
        "--hours", type=float, default=0.25,
        help="what each network that is trained for a comparison gets; 0 leaves those out (default: 0.25)",
    )  # fmt: skip
    parser.add_argument("--configuration", default="small", help="which network the variants vary (default: small)")
    parser.add_argument("--seed", type=int, default=0, help="draws references and starts training (default: 0)")
