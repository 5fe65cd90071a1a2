"""A network is trained."""

from __future__ import annotations

import argparse

from ..training.arguments import add_train_arguments
from .shared import Verbs


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser("train", help="train a network, or go on where a run stopped")
    add_train_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from ..evaluation.dataset import find_sets
    from ..training.loop import run

    find_sets(options.data)  # a folder without sets is refused before anything is made
    run(options)
