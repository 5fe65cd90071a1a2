"""Expected against true Dice, drawn from a report of `evaluate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from .shared import Verbs, must_be_folder


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser("calibration", help="draw expected against true Dice from a report of `evaluate`")
    parser.add_argument("report", type=Path, help="what `evaluate --json` wrote")
    parser.add_argument("--output", type=Path, required=True, metavar="PICTURE", help="a PNG file")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from ..evaluation.calibration import draw

    must_be_folder(options.output.parent)
    draw(options.report, options.output)
    print(options.output)
