"""Whatever arrives in a folder is segmented."""

from __future__ import annotations

import argparse

from ..batch.arguments import add_watch_arguments
from .bar import Bar
from .shared import Verbs, add_engine_arguments


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser("watch", help="segment whatever arrives in a folder")
    add_watch_arguments(parser)
    add_engine_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from ..batch.watch import watch

    watch(options, Bar("Watch"))
