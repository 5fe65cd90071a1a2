"""Registration of the reference, on what `evaluate` measures."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .bar import Bar
from .shared import Verbs, add_engine_arguments, must_be_folder


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser("rival", help="measure registration of the reference on what `evaluate` measures")
    parser.add_argument("--data", type=Path, required=True, help="a folder with a dataset.json, or a folder of such")
    parser.add_argument("--split", default="test", help="which cases are targets (default: test)")
    parser.add_argument("--seed", type=int, default=0, help="draws the references, as in `evaluate` (default: 0)")
    parser.add_argument("--limit", type=int, help="only the first cases of the split")
    parser.add_argument("--json", type=Path, help="write every number here")
    add_engine_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from ..context.preset import write_whole
    from ..engine import Engine
    from ..evaluation.dataset import find_sets
    from ..evaluation.rival import rival, table

    if options.json is not None:
        must_be_folder(options.json.parent)
    sets, engine = find_sets(options.data), Engine(options.network, options.device)
    results = []
    for labelled in sets:
        results.append(
            rival(engine, labelled, options.split, seed=options.seed, limit=options.limit, show=Bar("Rival"))
        )
        print(table(results[-1:]), flush=True)
    print(table(results))
    if options.json is not None:
        write_whole(options.json, json.dumps({r["set"]: r for r in results}, indent=1).encode())
