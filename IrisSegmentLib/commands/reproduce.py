"""A table or figure of the paper, made again at our scale."""

from __future__ import annotations

import argparse

from ..evaluation.reproduce.arguments import add_reproduce_arguments
from .bar import Bar
from .shared import Verbs, add_engine_arguments


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser("reproduce", help="make a table or figure of the paper again, at our scale")
    add_reproduce_arguments(parser)
    add_engine_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from ..evaluation.reproduce.request import Request, reproduce

    request = Request(
        options.data, options.output, options.network, options.device, options.limit, options.hours,
        options.configuration, options.seed, bar=Bar,
    )  # fmt: skip
    reproduce(options.result, request)
