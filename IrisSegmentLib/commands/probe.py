"""What changed scans, or scans without the object, do to results."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .bar import Bar
from .shared import Verbs, add_engine_arguments, must_be_folder


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser("probe", help="measure what changed scans, or scans without the object, do to results")
    parser.add_argument("--data", type=Path, required=True, help="a folder of labelled sets")
    parser.add_argument("--split", default="test", help="which cases are targets (default: test)")
    parser.add_argument("--limit", type=int, help="only the first cases of the split")
    parser.add_argument("--json", type=Path, help="write every number here")
    add_engine_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from ..context.preset import write_whole
    from ..engine import Engine
    from ..evaluation.dataset import find_sets
    from ..evaluation.probes import probe, table
    from ..training.episodes import ELSEWHERE

    if options.json is not None:
        must_be_folder(options.json.parent)
    sets = {s.folder.name: s for s in find_sets(options.data)}
    engine, results = Engine(options.network, options.device), []
    for name, labelled in sets.items():
        others = [sets[other] for other in ELSEWHERE.get(name, ()) if other in sets]
        results.append(probe(engine, labelled, others, options.split, limit=options.limit, show=Bar("Probe")))
    print(table(results))
    if options.json is not None:
        write_whole(options.json, json.dumps({r["set"]: r for r in results}, indent=1).encode())
