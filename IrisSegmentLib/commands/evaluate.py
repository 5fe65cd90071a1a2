"""Dice and distances over labelled sets."""

from __future__ import annotations

import argparse

from ..errors import IrisError
from .bar import Bar
from .shared import STRATEGIES, Verbs, add_engine_arguments, add_measuring_arguments, check_report, write_report


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser("evaluate", help="measure Dice and distances over a labelled set; resumes with --json")
    add_measuring_arguments(parser)
    parser.add_argument("--strategy", default="one-shot", help=f"{STRATEGIES} (default: one-shot)")
    parser.add_argument("--seed", type=int, default=0, help="draws the references (default: 0)")
    parser.add_argument("--references", type=int, metavar="N", help="a target (default: as the strategy is for)")
    parser.add_argument("--tolerance", type=float, default=2.0, metavar="MM", help="of the surface Dice (default: 2)")
    add_engine_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from ..engine import Engine
    from ..engine.strategies import check_strategy
    from ..evaluation.dataset import find_sets
    from ..evaluation.evaluate import evaluate, run_of
    from ..evaluation.finished import Finished
    from ..evaluation.report import LEGEND, overall, table, trust

    check_strategy(options.strategy)
    if options.references is not None and options.references < 1:
        raise IrisError("A strategy needs a reference; give --references 1 or more.")
    if options.tolerance < 0:
        raise IrisError("The tolerance of the surface Dice is a distance in mm; give 0 or more.")
    check_report(options.json)
    sets = find_sets(options.data)
    engine = Engine(options.network, options.device)
    beside = None if options.json is None else options.json.with_name(f"{options.json.name}.partial")
    asked = run_of(engine, options.split, options.strategy, options.seed, options.references, options.tolerance)
    finished = Finished(beside, asked)
    if len(finished):
        print(f"Going on after {len(finished)} finished cases.")
    reports = []
    for labelled in sets:
        report = evaluate(
            engine, labelled, options.split, options.strategy, seed=options.seed, limit=options.limit,
            references=options.references, tolerance_mm=options.tolerance, finished=finished, show=Bar("Evaluate"),
        )  # fmt: skip
        reports.append(report)
        print(
            f"{labelled.name}: Dice {report['mean_dice']:.3f} over {len(report['per_case'])} cases "
            f"(copying the mask: {report['copy_dice']:.3f}), {report['seconds_per_target']:.2f} s a target\n"
            f"{table(report)}\n"
        )
    print(LEGEND)
    whole = reports[0] if len(reports) == 1 else {"sets": {r["set"]: r for r in reports}, **overall(reports)}
    whole["trust"] = trust(whole)
    print("confidence against true Dice: rank correlation {spearman:.2f}, off by {error:.3f}".format(**whole["trust"]))
    write_report(options.json, whole)
    finished.remove()
