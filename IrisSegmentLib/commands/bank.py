"""Classes of labelled sets, averaged, to be segmented with no reference."""

from __future__ import annotations

import argparse
from pathlib import Path

from .bar import Bar
from .shared import Verbs, add_engine_arguments, must_be_folder


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser("bank", help="average the classes of labelled sets, to segment them with no reference")
    parser.add_argument("--data", type=Path, required=True, help="a folder with a dataset.json, or a folder of such")
    parser.add_argument("--split", default="train", help="which cases (default: train)")
    parser.add_argument(
        "--output", type=Path, metavar="BANK",
        help="the bank's file, NAME.irisbank (default: beside the network, named by the network's hash)",
    )  # fmt: skip
    add_engine_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from ..context.bank import MemoryBank, bank_name
    from ..engine import Engine
    from ..evaluation.dataset import find_sets
    from ..evaluation.strategies import learned
    from ..imaging.window import PREPROCESSING
    from ..network import bundled_weights

    sets = find_sets(options.data)
    engine = Engine(options.network, options.device)
    output = options.output or (options.network or bundled_weights()).parent / bank_name(engine.network.hash)
    must_be_folder(output.parent)
    averages = {s.name: learned(engine, s, s.split(options.split), Bar("Bank")) for s in sets}
    presets = {name: average.preset(name) for name, average in averages.items()}
    MemoryBank(engine.network.hash, PREPROCESSING, presets).save(output)
    for name, preset in presets.items():
        print(f"{output}: {name}: {', '.join(s.name for s in preset.segments)}")
