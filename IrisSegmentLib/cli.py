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
from typing import Any

from . import __version__
from .errors import IrisError
from .training.arguments import add_train_arguments

EXAMPLES = """\
examples:
  irissegment encode --image a.nii.gz --segmentation a.seg.nrrd --output hippocampus.iris
  irissegment segment --preset hippocampus.iris --image b.nii.gz c.nii.gz --output results/
  irissegment evaluate --data sets/hippocampus --split test --strategy one-shot --json report.json

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

    evaluate = verbs.add_parser("evaluate", help="measure Dice over a labelled set")
    evaluate.add_argument("--data", type=Path, required=True, help="a folder with a dataset.json, or a folder of such")
    evaluate.add_argument("--split", default="test", help="which cases are targets: train, val or test (default: test)")
    evaluate.add_argument("--strategy", default="one-shot", help="one-shot or ensemble (default: one-shot)")
    evaluate.add_argument("--seed", type=int, default=0, help="draws the references (default: 0)")
    evaluate.add_argument("--limit", type=int, help="only the first cases of the split")
    evaluate.add_argument("--json", type=Path, help="write every number here")
    evaluate.set_defaults(run=_evaluate)

    benchmark = verbs.add_parser("benchmark", help="measure time, memory and what the hardware could do")
    benchmark.add_argument("--config", metavar="NAME", help="a configuration with random weights, not a network file")
    benchmark.add_argument("--size", type=int, default=128, help="voxels along each axis of a scan (default: 128)")
    benchmark.add_argument("--json", type=Path, help="write every number here")
    benchmark.set_defaults(run=_benchmark)

    train = verbs.add_parser("train", help="train a network, or go on where a run stopped")
    add_train_arguments(train)
    train.set_defaults(run=_train)

    for verb in (encode, segment, evaluate, benchmark):
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
    from .evaluation.evaluate import STRATEGIES, evaluate

    if options.strategy not in STRATEGIES:
        raise IrisError(f"There is no strategy '{options.strategy}'; choose one of {', '.join(STRATEGIES)}.")
    if options.json is not None:
        _must_be_folder(options.json.parent)
    sets = find_sets(options.data)
    engine = Engine(options.network, options.device)
    reports = []
    for labelled in sets:
        report = evaluate(
            engine, labelled, options.split, options.strategy, seed=options.seed, limit=options.limit,
            show=Bar("Evaluate"),
        )  # fmt: skip
        reports.append(report)
        print(
            f"{labelled.name}: Dice {report['mean_dice']:.3f} over {len(report['per_case'])} cases "
            f"(copying the mask: {report['copy_dice']:.3f}), {report['seconds_per_target']:.2f} s a target"
        )
        for name, score in report["per_class"].items():
            print(f"  {name}: {score:.3f} (copying: {report['copy_per_class'][name]:.3f})")
    if options.json is not None:
        whole = reports[0] if len(reports) == 1 else {"sets": {r["set"]: r for r in reports}, **_overall(reports)}
        write_whole(options.json, json.dumps(whole, indent=1).encode())


def _overall(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """The fields of a single report, over several sets."""
    mean = sum(float(r["mean_dice"]) for r in reports) / len(reports)
    seconds = sum(float(r["seconds_per_target"]) for r in reports) / len(reports)
    merged = {
        key: {f"{r['set']}/{name}": value for r in reports for name, value in r[key].items()}
        for key in ("per_class", "per_case", "references")
    }
    first = reports[0]
    same = {key: first[key] for key in ("split", "strategy", "seed", "network", "device")}
    return {"mean_dice": mean, "seconds_per_target": seconds, **merged, **same}


def _benchmark(options: argparse.Namespace) -> None:
    from .context.preset import write_whole
    from .engine.device import choose_device
    from .evaluation.benchmark import benchmark
    from .network import CONFIGS

    if options.config is not None and options.config not in CONFIGS:
        raise IrisError(f"There is no configuration '{options.config}'; choose one of {', '.join(CONFIGS)}.")
    if options.config is not None and options.network is not None:
        raise IrisError("A network file and a configuration were both given; choose one.")
    if options.size < 32 or options.size % 16:
        raise IrisError(f"A scan of {options.size} voxels cannot be measured; choose a multiple of 16 from 32 on.")
    if options.json is not None:
        _must_be_folder(options.json.parent)
    result = benchmark(options.config or options.network, choose_device(options.device), options.size)
    print(result.table())
    if options.json is not None:
        write_whole(options.json, result.to_json().encode())


def _train(options: argparse.Namespace) -> None:
    from .evaluation.dataset import find_sets
    from .training.loop import run

    find_sets(options.data)  # a folder without sets is refused before anything is made
    run(options)


def _must_be_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise IrisError(f"The folder '{folder}' does not exist; make it first.")


if __name__ == "__main__":
    sys.exit(main())
