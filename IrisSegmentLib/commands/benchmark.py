"""Time, memory and what the hardware could do."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import IrisError
from .shared import Verbs, add_engine_arguments, check_report


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser("benchmark", help="measure time, memory and what the hardware could do")
    parser.add_argument("--config", metavar="NAME", help="a configuration with random weights, not a network file")
    parser.add_argument("--size", type=int, default=128, help="voxels along each axis of a scan (default: 128)")
    parser.add_argument("--json", type=Path, help="write every number here")
    add_engine_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from ..context.preset import write_whole
    from ..engine.device import choose_device
    from ..evaluation.benchmark import benchmark
    from ..network import CONFIGS

    if options.config is not None and options.config not in CONFIGS:
        raise IrisError(f"There is no configuration '{options.config}'; choose one of {', '.join(CONFIGS)}.")
    if options.config is not None and options.network is not None:
        raise IrisError("A network file and a configuration were both given; choose one.")
    if options.size < 32 or options.size % 16:
        raise IrisError(f"A scan of {options.size} voxels cannot be measured; choose a multiple of 16 from 32 on.")
    check_report(options.json)
    result = benchmark(options.config or options.network, choose_device(options.device), options.size)
    print(result.table())
    if options.json is not None:
        write_whole(options.json, result.to_json().encode())
