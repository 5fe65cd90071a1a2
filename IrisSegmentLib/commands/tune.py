"""A preset is tuned to segmented scans."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import IrisError
from .bar import Bar
from .shared import Verbs, add_engine_arguments, must_be_folder


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser("tune", help="tune a preset to segmented scans; kept only if scans held back gain by it")
    parser.add_argument("--preset", type=Path, required=True, help="the preset")
    parser.add_argument("--image", type=Path, nargs="+", required=True, help="two scans or more")
    parser.add_argument("--segmentation", type=Path, nargs="+", required=True, help="their segmentations, in order")
    parser.add_argument("--steps", type=int, default=60, help="at most (default: 60)")
    parser.add_argument("--output", type=Path, required=True, metavar="PRESET", help="the tuned preset, NAME.iris")
    add_engine_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from ..context.preset import Preset
    from ..engine import Engine, Progress
    from ..imaging.files import read_segmentation, read_volume

    must_be_folder(options.output.parent)
    if len(options.image) != len(options.segmentation):
        raise IrisError(
            f"There are {len(options.image)} scans but {len(options.segmentation)} segmentations; give one for each."
        )
    preset = Preset.load(options.preset)
    images = [read_volume(image) for image in options.image]
    pairs = [(i, read_segmentation(path, image=i)) for i, path in zip(images, options.segmentation, strict=True)]
    engine = Engine(options.network, options.device)
    tuned, outcome = engine.tune(preset, pairs, steps=options.steps, progress=Progress(Bar("Tune")))
    tuned.save(options.output)
    print(f"{options.output}: {outcome.words}")
