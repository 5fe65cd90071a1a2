"""Scans are segmented with a preset, a pool or a memory bank."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from ..errors import IrisError
from ..server.arguments import add_server_arguments
from .bar import Bar
from .shared import STRATEGIES, Verbs, add_engine_arguments, engine_of, must_be_folder


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser("segment", help="segment scans with a preset, or with a pool of references")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--preset", type=Path, help="a preset, made by `encode`, by `tune` or in Slicer")
    source.add_argument("--pool", type=Path, help="a pool of references, made by `pool`")
    source.add_argument("--bank", type=Path, help="a memory bank of classes that were seen before, made by `bank`")
    parser.add_argument("--strategy", help=f"{STRATEGIES} (default: what the source is for)")
    parser.add_argument("--segment", nargs="+", metavar="NAME", help="of a pool or bank, only these (default: all)")
    parser.add_argument("--references", type=int, metavar="N", help="of a pool, how many per segment (default: 3)")
    parser.add_argument("--seed", type=int, default=0, help="of a pool, draws what is drawn at random (default: 0)")
    parser.add_argument("--image", type=Path, nargs="+", required=True, help="the scans")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE|DIR",
        help="for one scan, the file to write; else a folder, which gets NAME.seg.nrrd for each scan",
    )  # fmt: skip
    add_server_arguments(parser)
    add_engine_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from ..context.bank import MemoryBank
    from ..context.pool import Pool
    from ..context.preset import Preset
    from ..engine import Progress
    from ..engine.strategies import check_strategy
    from ..imaging.dicom.choice import frame_of, gathered
    from ..imaging.dicom.segout import Maker
    from ..imaging.files import DICOM, EXTENSIONS, check_dicom, name_of, read_volume, write_segmentation

    single = options.output.name.lower().endswith((*EXTENSIONS, DICOM))
    missing = [str(path) for path in options.image if not frame_of(path)[0].exists()]
    if missing:
        raise IrisError(f"There is no file '{missing[0]}'; check its name and folder.")
    scans = gathered(options.image)
    if single and len(scans) > 1:
        raise IrisError(f"Several scans cannot go into the one file '{options.output.name}'; give a folder.")
    must_be_folder(options.output.parent)
    if options.output.name.lower().endswith(DICOM):
        check_dicom(options.output, scans[0])
    outputs = [options.output if single else options.output / f"{name_of(scan)}.seg.nrrd" for scan in scans]
    if len(set(outputs)) < len(outputs):
        raise IrisError("Two of the scans have the same name, so one result would replace the other; rename one.")
    if options.strategy:
        check_strategy(options.strategy)
    source: Preset | Pool | MemoryBank
    if options.preset:
        source, usual = Preset.load(options.preset), "ensemble"
    elif options.pool:
        source, usual = Pool.load(options.pool), "object-retrieval"
    else:
        source, usual = MemoryBank.load(options.bank), "memory-bank"
    share = 0.5 if options.pool else 0.0  # of a target's time
    engine = engine_of(options)
    engine.check(source)
    bar, count = Bar("Segment"), len(outputs)
    for n, (scan, output) in enumerate(zip(scans, outputs, strict=True)):
        progress, image = Progress(partial(_show_part, bar, n, count)), read_volume(scan)
        preset = engine.choose(
            source, options.strategy or usual, image=image, segments=options.segment, count=options.references,
            seed=options.seed, progress=progress.part(0.0, share),
        )  # fmt: skip
        result = engine.segment(image, preset, progress=progress.part(share, 1.0))
        if not single:
            options.output.mkdir(exist_ok=True)
        write_segmentation(result.segmentation, output, scan, Maker(preset.network, preset.name))
        found = ", ".join(f"{s.name} {ml:.1f} mL" for s, ml in zip(preset.segments, result.volumes_ml, strict=True))
        print(f"{output}: {found}")
        for n, segment in enumerate(preset.segments):
            if result.words(n):
                print(f"  {segment.name}: {result.words(n)}")


def _show_part(bar: Bar, number: int, count: int, fraction: float, text: str) -> None:
    bar((number + fraction) / count, text)
