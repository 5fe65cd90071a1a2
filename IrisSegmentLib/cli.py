"""The command line: the module's verbs over files and folders, without Slicer."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from . import __version__
from .errors import IrisError
from .evaluation.reproduce.arguments import add_reproduce_arguments
from .training.arguments import add_train_arguments

EXAMPLES = """\
examples:
  irissegment encode --image a.nii.gz --segmentation a.seg.nrrd --output hippocampus.iris
  irissegment segment --preset hippocampus.iris --image b.nii.gz c.nii.gz --output results/
  irissegment evaluate --data sets/hippocampus --split test --strategy one-shot --json report.json
  irissegment reproduce figure5 --data sets --output reproduced/

Images and segmentations are NIfTI, NRRD or MetaImage files; .seg.nrrd keeps names, colors and terminology.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 done, 2 bad input (one sentence on standard error), 130 interrupted."""
    # Threads that spin while they wait would starve the rest of a small machine. Read when torch is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except IrisError as error:
        print(f"irissegment: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nirissegment: stopped; nothing half-written was left.", file=sys.stderr)
        return 130
    return 0


class Bar:
    """A progress bar with time left on standard error; silent when that is not a terminal."""

    def __init__(self, whole: str) -> None:
        self._whole, self._started = whole, time.monotonic()

    def __call__(self, fraction: float, text: str) -> None:
        if not sys.stderr.isatty():
            return
        passed = time.monotonic() - self._started
        left = f", {passed * (1 - fraction) / fraction:.0f} s left" if 0.02 < fraction < 1 else ""
        filled = int(24 * fraction)
        line = f"{self._whole} [{'#' * filled}{'.' * (24 - filled)}] {fraction:4.0%}{left}  {text}"
        print(f"\r{line[:118]:<118}", end="\n" if fraction >= 1 else "", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="irissegment",
        description="Segment medical volumes by example: mark one scan, segment all the others.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"irissegment {__version__}")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    encode = verbs.add_parser("encode", help="learn a task from one marked scan and keep it as a preset")
    encode.add_argument("--image", type=Path, required=True, help="the scan")
    encode.add_argument("--segmentation", type=Path, required=True, help="its segmentation, on the same voxels")
    encode.add_argument("--label", type=int, nargs="+", help="learn only these label values (default: all)")
    encode.add_argument("--name", help="what to call the preset (default: the name of its file)")
    encode.add_argument("--output", type=Path, required=True, metavar="PRESET", help="the preset file, NAME.iris")
    encode.set_defaults(run=_encode)

    segment = verbs.add_parser("segment", help="segment scans with a preset")
    segment.add_argument("--preset", type=Path, required=True, help="a preset, made by `encode` or in Slicer")
    segment.add_argument("--image", type=Path, nargs="+", required=True, help="the scans")
    segment.add_argument(
        "--output", type=Path, required=True, metavar="FILE|DIR",
        help="for one scan, the file to write; else a folder, which gets NAME.seg.nrrd for each scan",
    )  # fmt: skip
    segment.set_defaults(run=_segment)

    evaluate = verbs.add_parser("evaluate", help="measure Dice and distances over a labelled set; resumes with --json")
    evaluate.add_argument("--data", type=Path, required=True, help="a folder with a dataset.json, or a folder of such")
    evaluate.add_argument("--split", default="test", help="which cases are targets: train, val or test (default: test)")
    evaluate.add_argument("--strategy", default="one-shot", help="one-shot or ensemble (default: one-shot)")
    evaluate.add_argument("--seed", type=int, default=0, help="draws the references (default: 0)")
    evaluate.add_argument("--limit", type=int, help="only the first cases of the split")
    evaluate.add_argument("--tolerance", type=float, default=2.0, metavar="MM", help="of the surface Dice (default: 2)")
    evaluate.add_argument("--json", type=Path, help="write every number here; an interrupted run goes on")
    evaluate.set_defaults(run=_evaluate)

    train = verbs.add_parser("train", help="train a network, or go on where a run stopped")
    add_train_arguments(train)
    train.set_defaults(run=_train)

    reproduce = verbs.add_parser("reproduce", help="make a table or figure of the paper again, at our scale")
    add_reproduce_arguments(reproduce)
    reproduce.set_defaults(run=_reproduce)

    for verb in (encode, segment, evaluate, reproduce):
        verb.add_argument("--network", type=Path, metavar="FILE", help="a network file (default: the bundled one)")
        verb.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"], help="(default: auto)")
    return parser


def _encode(options: argparse.Namespace) -> None:
    from .context.preset import EXTENSION
    from .engine import Engine, Progress
    from .imaging.files import read_segmentation, read_volume, stem_of

    _must_be_folder(options.output.parent)
    image = read_volume(options.image)
    segmentation = read_segmentation(options.segmentation)
    if options.label:
        wanted = [n for n, s in enumerate(segmentation.segments) if s.label in options.label]
        missing = sorted(set(options.label) - {segmentation.segments[n].label for n in wanted})
        if missing:
            raise IrisError(f"'{options.segmentation.name}' has no label {', '.join(map(str, missing))}.")
        segmentation = segmentation.only(wanted)
    engine = Engine(options.network, options.device)
    name = options.name or stem_of(options.output).removesuffix(EXTENSION)
    preset = engine.encode(image, segmentation, name=name, progress=Progress(Bar("Encode")))
    preset.save(options.output)
    print(f"{options.output}: {', '.join(s.name for s in preset.segments)}")


def _segment(options: argparse.Namespace) -> None:
    from .context.preset import Preset
    from .engine import Engine, Progress
    from .imaging.files import EXTENSIONS, read_volume, stem_of, write_segmentation

    single = options.output.name.lower().endswith(EXTENSIONS)
    if single and len(options.image) > 1:
        raise IrisError(f"Several scans cannot go into the one file '{options.output.name}'; give a folder.")
    _must_be_folder(options.output.parent)
    missing = [str(path) for path in options.image if not path.is_file()]
    if missing:
        raise IrisError(f"There is no file '{missing[0]}'; check its name and folder.")
    outputs = [options.output if single else options.output / f"{stem_of(path)}.seg.nrrd" for path in options.image]
    if len(set(outputs)) < len(outputs):
        raise IrisError("Two of the scans have the same name, so one result would replace the other; rename one.")
    preset = Preset.load(options.preset)
    engine = Engine(options.network, options.device)
    engine.check(preset)
    bar, count = Bar("Segment"), len(outputs)
    for n, (path, output) in enumerate(zip(options.image, outputs, strict=True)):
        progress = Progress(partial(_show_part, bar, n, count))
        result = engine.segment(read_volume(path), preset, progress=progress)
        if not single:
            options.output.mkdir(exist_ok=True)
        write_segmentation(result.segmentation, output)
        found = ", ".join(
            f"{s.name} {ml:.1f} mL" for s, ml in zip(preset.segments, result.volumes_ml, strict=True)
        )
        print(f"{output}: {found}")


def _show_part(bar: Bar, number: int, count: int, fraction: float, text: str) -> None:
    bar((number + fraction) / count, text)


def _evaluate(options: argparse.Namespace) -> None:
    from .context.preset import write_whole
    from .engine import Engine
    from .evaluation.dataset import find_sets
    from .evaluation.evaluate import STRATEGIES, evaluate, run_of
    from .evaluation.finished import Finished
    from .evaluation.report import LEGEND, overall, table

    if options.strategy not in STRATEGIES:
        raise IrisError(f"There is no strategy '{options.strategy}'; choose one of {', '.join(STRATEGIES)}.")
    if options.tolerance < 0:
        raise IrisError("The tolerance of the surface Dice is a distance in mm; give 0 or more.")
    if options.json is not None:
        _must_be_folder(options.json.parent)
    sets = find_sets(options.data)
    engine = Engine(options.network, options.device)
    beside = None if options.json is None else options.json.with_name(f"{options.json.name}.partial")
    finished = Finished(beside, run_of(engine, options.split, options.strategy, options.seed, None, options.tolerance))
    if len(finished):
        print(f"Going on after {len(finished)} finished cases.")
    reports = []
    for labelled in sets:
        report = evaluate(
            engine, labelled, options.split, options.strategy, seed=options.seed, limit=options.limit,
            tolerance_mm=options.tolerance, finished=finished, show=Bar("Evaluate"),
        )  # fmt: skip
        reports.append(report)
        print(
            f"{labelled.name}: Dice {report['mean_dice']:.3f} over {len(report['per_case'])} cases "
            f"(copying the mask: {report['copy_dice']:.3f}), {report['seconds_per_target']:.2f} s a target\n"
            f"{table(report)}\n"
        )
    print(LEGEND)
    if options.json is not None:
        whole = reports[0] if len(reports) == 1 else {"sets": {r["set"]: r for r in reports}, **overall(reports)}
        write_whole(options.json, json.dumps(whole, indent=1).encode())
        finished.remove()


def _train(options: argparse.Namespace) -> None:
    from .evaluation.dataset import find_sets
    from .training.loop import run

    find_sets(options.data)  # a folder without sets is refused before anything is made
    run(options)


def _reproduce(options: argparse.Namespace) -> None:
    from .evaluation.reproduce.request import Request, reproduce

    request = Request(
        options.data, options.output, options.network, options.device, options.limit, options.hours,
        options.configuration, options.seed, bar=Bar,
    )  # fmt: skip
    reproduce(options.result, request)


def _must_be_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise IrisError(f"The folder '{folder}' does not exist; make it first.")


if __name__ == "__main__":
    sys.exit(main())
