"""What changed scans, or scans without the object, do to results."""

from __future__ import annotations

import argparse

from .bar import Bar
from .shared import Verbs, add_engine_arguments, add_measuring_arguments, check_report, write_report


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser("probe", help="measure what changed scans, or scans without the object, do to results")
    add_measuring_arguments(parser)
    add_engine_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from ..engine import Engine
    from ..evaluation.dataset import find_sets
    from ..evaluation.probes import probe, table
    from ..training.episodes import ELSEWHERE

    check_report(options.json)
    sets = {s.folder.name: s for s in find_sets(options.data)}
    engine, results = Engine(options.network, options.device), []
    for name, labelled in sets.items():
        others = [sets[other] for other in ELSEWHERE.get(name, ()) if other in sets]
        results.append(probe(engine, labelled, others, options.split, limit=options.limit, show=Bar("Probe")))
    print(table(results))
    write_report(options.json, {r["set"]: r for r in results})
