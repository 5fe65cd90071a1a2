"""A whole archive is segmented with a preset."""

from __future__ import annotations

import argparse

from ..batch.arguments import add_batch_arguments
from .bar import Bar
from .shared import Verbs, add_engine_arguments


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser("batch", help="segment a whole archive with a preset, on one machine or on a cluster")
    add_batch_arguments(parser)
    add_engine_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from ..batch.batch import batch

    batch(options, Bar("Batch"))
