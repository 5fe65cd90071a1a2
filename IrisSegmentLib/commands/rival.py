"""Registration of the reference, on what `evaluate` measures."""

from __future__ import annotations

import argparse

from .bar import Bar
from .shared import Verbs, add_engine_arguments, add_measuring_arguments, check_report, write_report


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser("rival", help="measure registration of the reference on what `evaluate` measures")
    add_measuring_arguments(parser)
    parser.add_argument("--seed", type=int, default=0, help="draws the references, as in `evaluate` (default: 0)")
    add_engine_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from ..engine import Engine
    from ..evaluation.dataset import find_sets
    from ..evaluation.rival import rival, table

    check_report(options.json)
    sets, engine = find_sets(options.data), Engine(options.network, options.device)
    results = []
    for labelled in sets:
        results.append(
            rival(engine, labelled, options.split, seed=options.seed, limit=options.limit, show=Bar("Rival"))
        )
        print(table(results[-1:]), flush=True)
    print(table(results))
    write_report(options.json, {r["set"]: r for r in results})
