"""The arguments of a training run, apart from the loop so that asking for help needs no torch."""

from __future__ import annotations

import argparse
from pathlib import Path

from .mixture import KINDS, MADE, SHARES


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `irissegment train`."""
    parser.add_argument("--data", type=Path, required=True, help="folder of labelled sets, each with a dataset.json")
    parser.add_argument("--output", type=Path, required=True, help="checkpoints; an earlier run there goes on")
    parser.add_argument("--hours", type=float, default=2.0, help="length of the whole run, resumed parts counted")
    parser.add_argument("--steps", type=int, help="length of the whole run in steps instead: exactly repeatable")
    parser.add_argument("--network", default="small", help="configuration (default: small)")
    parser.add_argument(
        "--from", type=Path, dest="start", metavar="FILE",
        help="network file whose weights a new run begins with (default: random)",
    )  # fmt: skip
    parser.add_argument("--sets", nargs="+", help="train on these sets only (default: all)")
    parser.add_argument(
        "--without", nargs="+", default=[], choices=KINDS, metavar="KIND",
        help=f"leave out tasks, to learn what they are worth: {', '.join((*MADE, *SHARES))}, or a set",
    )  # fmt: skip
    parser.add_argument(
        "--rough", type=float, default=0.0, metavar="SHARE",
        help="first share of the run, 0 to 1, that looks by two thirds of the cells: three steps in the time of one, "
        "for a network that knows nothing yet (default: 0)",
    )  # fmt: skip
    parser.add_argument("--rate", type=float, default=1.5e-3, help="peak learning rate")
    parser.add_argument("--seed", type=int, default=0)
