"""One marked scan becomes a preset."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import IrisError
from ..server.arguments import add_server_arguments
from .bar import Bar
from .shared import Verbs, add_engine_arguments, engine_of, must_be_folder


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser("encode", help="learn a task from one marked scan and keep it as a preset")
    parser.add_argument("--image", type=Path, required=True, help="the scan")
    parser.add_argument("--segmentation", type=Path, required=True, help="its segmentation, on the same voxels")
    parser.add_argument("--label", type=int, nargs="+", help="learn only these label values (default: all)")
    parser.add_argument("--name", help="what to call the preset (default: the name of its file)")
    parser.add_argument("--output", type=Path, required=True, metavar="PRESET", help="the preset file, NAME.iris")
    add_server_arguments(parser)
    add_engine_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from ..context.caution import caution
    from ..context.preset import EXTENSION
    from ..context.privacy import scrubbed
    from ..engine import Progress
    from ..imaging.files import read_segmentation, read_volume, stem_of

    must_be_folder(options.output.parent)
    image = read_volume(options.image)
    segmentation = read_segmentation(options.segmentation, image=image)
    if options.label:
        wanted = [n for n, s in enumerate(segmentation.segments) if s.label in options.label]
        missing = sorted(set(options.label) - {segmentation.segments[n].label for n in wanted})
        if missing:
            there = ", ".join(str(s.label) for s in segmentation.segments)
            absent = ", ".join(map(str, missing))
            raise IrisError(f"'{options.segmentation.name}' has no label {absent}; choose among {there}.")
        segmentation = segmentation.only(wanted)
    engine = engine_of(options)
    name = options.name or stem_of(options.output).removesuffix(EXTENSION)
    preset = engine.encode(image, segmentation, name=name, progress=Progress(Bar("Encode")))
    preset.save(options.output)
    print(f"{options.output}: {', '.join(scrubbed(s.name) for s in preset.segments)}")
    if words := caution(preset):
        print(words)
