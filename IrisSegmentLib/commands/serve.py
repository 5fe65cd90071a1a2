"""This computer computes for people at others."""

from __future__ import annotations

import argparse

from ..server.arguments import add_serve_arguments
from .shared import Verbs, add_engine_arguments


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser("serve", help="compute for people at other computers, in Slicer or on the command line")
    add_serve_arguments(parser)
    add_engine_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from ..server.serve import serve

    serve(options)
