"""The command line: the module's verbs over files and folders, without Slicer."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from . import __version__
from .batch.arguments import add_batch_arguments, add_place_arguments, add_watch_arguments
from .errors import IrisError
from .evaluation.reproduce.arguments import add_reproduce_arguments
from .server.arguments import add_serve_arguments, add_server_arguments
from .training.arguments import add_train_arguments

if TYPE_CHECKING:
    from .engine import Engine
    from .engine.served import ServedEngine

STRATEGIES = "one-shot, ensemble, memory-bank, object-retrieval, image-retrieval or tuning"
EXAMPLES = """\
examples:
  irissegment encode --image a.nii.gz --segmentation a.seg.nrrd --output hippocampus.iris
  irissegment segment --preset hippocampus.iris --image b.nii.gz c.nii.gz --output results/
  irissegment pool --data sets/hippocampus --output hippocampus.irispool
  irissegment segment --pool hippocampus.irispool --strategy object-retrieval --image b.nii.gz --output b.seg.nrrd
  irissegment batch --preset hippocampus.iris --data archive/ --output results/ --cluster local
  irissegment evaluate --data sets/hippocampus --split test --strategy one-shot --json report.json
  irissegment reproduce figure5 --data sets --output reproduced/
  irissegment segment --preset liver.iris --image b.nii.gz --output b.seg.nrrd --server https://gpu.example:8765

Images and segmentations are NIfTI, NRRD or MetaImage files; .seg.nrrd keeps names, colors and terminology. An image may
be a DICOM series (its folder, or a file of it; FOLDER#2 is the second volume of a 4D one), a segmentation a DICOM SEG
or an RTSTRUCT; a result that ends with .dcm is a DICOM SEG.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 done, 2 bad input (one sentence on standard error), 130 interrupted."""
    # Threads that spin while they wait would starve the rest of a small machine. Read when torch is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that this terminal cannot show ends nothing
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

    segment = verbs.add_parser("segment", help="segment scans with a preset, or with a pool of references")
    source = segment.add_mutually_exclusive_group(required=True)
    source.add_argument("--preset", type=Path, help="a preset, made by `encode`, by `tune` or in Slicer")
    source.add_argument("--pool", type=Path, help="a pool of references, made by `pool`")
    source.add_argument("--bank", type=Path, help="a memory bank of classes that were seen before, made by `bank`")
    segment.add_argument(
        "--strategy",
        help=f"{STRATEGIES} (default: what the source is for)",
    )  # fmt: skip
    segment.add_argument("--segment", nargs="+", metavar="NAME", help="of a pool or bank, only these (default: all)")
    segment.add_argument("--references", type=int, metavar="N", help="of a pool, how many per segment (default: 3)")
    segment.add_argument("--seed", type=int, default=0, help="of a pool, draws what is drawn at random (default: 0)")
    segment.add_argument("--image", type=Path, nargs="+", required=True, help="the scans")
    segment.add_argument(
        "--output", type=Path, required=True, metavar="FILE|DIR",
        help="for one scan, the file to write; else a folder, which gets NAME.seg.nrrd for each scan",
    )  # fmt: skip
    segment.set_defaults(run=_segment)

    pool = verbs.add_parser("pool", help="encode many references once, into a pool or to one that is there")
    pool.add_argument(
        "--data", type=Path, required=True,
        help="a folder with a dataset.json, one of NAME_image.EXT and NAME_label.EXT (or NAME.seg.nrrd), a BIDS tree, "
        "or a CSV or Parquet file with columns case,image,segmentation",
    )  # fmt: skip
    pool.add_argument("--split", default="train", help="which cases of a dataset.json (default: train)")
    pool.add_argument("--output", type=Path, required=True, metavar="POOL", help="the pool file, NAME.irispool")
    add_place_arguments(pool)
    pool.set_defaults(run=_pool)

    batch = verbs.add_parser("batch", help="segment a whole archive with a preset, on one machine or on a cluster")
    add_batch_arguments(batch)
    batch.set_defaults(run=_batch)

    watch = verbs.add_parser("watch", help="segment whatever arrives in a folder")
    add_watch_arguments(watch)
    watch.set_defaults(run=_watch)

    bank = verbs.add_parser("bank", help="average the classes of labelled sets, to segment them with no reference")
    bank.add_argument("--data", type=Path, required=True, help="a folder with a dataset.json, or a folder of such")
    bank.add_argument("--split", default="train", help="which cases (default: train)")
    bank.add_argument(
        "--output", type=Path, metavar="BANK",
        help="the bank's file, NAME.irisbank (default: beside the network, named by the network's hash)",
    )  # fmt: skip
    bank.set_defaults(run=_bank)

    tune = verbs.add_parser("tune", help="tune a preset to segmented scans; kept only if scans held back gain by it")
    tune.add_argument("--preset", type=Path, required=True, help="the preset")
    tune.add_argument("--image", type=Path, nargs="+", required=True, help="two scans or more")
    tune.add_argument("--segmentation", type=Path, nargs="+", required=True, help="their segmentations, in that order")
    tune.add_argument("--steps", type=int, default=60, help="at most (default: 60)")
    tune.add_argument("--output", type=Path, required=True, metavar="PRESET", help="the tuned preset, NAME.iris")
    tune.set_defaults(run=_tune)

    evaluate = verbs.add_parser("evaluate", help="measure Dice and distances over a labelled set; resumes with --json")
    evaluate.add_argument("--data", type=Path, required=True, help="a folder with a dataset.json, or a folder of such")
    evaluate.add_argument("--split", default="test", help="which cases are targets: train, val or test (default: test)")
    evaluate.add_argument("--strategy", default="one-shot", help=f"{STRATEGIES} (default: one-shot)")
    evaluate.add_argument("--seed", type=int, default=0, help="draws the references (default: 0)")
    evaluate.add_argument("--limit", type=int, help="only the first cases of the split")
    evaluate.add_argument("--references", type=int, metavar="N", help="a target (default: as the strategy is for)")
    evaluate.add_argument("--tolerance", type=float, default=2.0, metavar="MM", help="of the surface Dice (default: 2)")
    evaluate.add_argument("--json", type=Path, help="write every number here; an interrupted run goes on")
    evaluate.set_defaults(run=_evaluate)

    probe = verbs.add_parser("probe", help="measure what changed scans, or scans without the object, do to results")
    probe.add_argument("--data", type=Path, required=True, help="a folder of labelled sets")
    probe.add_argument("--split", default="test", help="which cases are targets (default: test)")
    probe.add_argument("--limit", type=int, help="only the first cases of the split")
    probe.add_argument("--json", type=Path, help="write every number here")
    probe.set_defaults(run=_probe)

    rival = verbs.add_parser("rival", help="measure registration of the reference on what `evaluate` measures")
    rival.add_argument("--data", type=Path, required=True, help="a folder with a dataset.json, or a folder of such")
    rival.add_argument("--split", default="test", help="which cases are targets (default: test)")
    rival.add_argument("--seed", type=int, default=0, help="draws the references, as in `evaluate` (default: 0)")
    rival.add_argument("--limit", type=int, help="only the first cases of the split")
    rival.add_argument("--json", type=Path, help="write every number here")
    rival.set_defaults(run=_rival)

    curve = verbs.add_parser("calibration", help="draw expected against true Dice from a report of `evaluate`")
    curve.add_argument("report", type=Path, help="what `evaluate --json` wrote")
    curve.add_argument("--output", type=Path, required=True, metavar="PICTURE", help="a PNG file")
    curve.set_defaults(run=_calibration)

    benchmark = verbs.add_parser("benchmark", help="measure time, memory and what the hardware could do")
    benchmark.add_argument("--config", metavar="NAME", help="a configuration with random weights, not a network file")
    benchmark.add_argument("--size", type=int, default=128, help="voxels along each axis of a scan (default: 128)")
    benchmark.add_argument("--json", type=Path, help="write every number here")
    benchmark.set_defaults(run=_benchmark)

    train = verbs.add_parser("train", help="train a network, or go on where a run stopped")
    add_train_arguments(train)
    train.set_defaults(run=_train)

    public = verbs.add_parser("import-public", help="make a network file of the authors' public checkpoint")
    public.add_argument("checkpoint", type=Path, help="mass_base.pth, from the authors' page")
    public.add_argument("--output", type=Path, metavar="FILE", help="(default: beside it, NAME.safetensors)")
    public.set_defaults(run=_import_public)

    reproduce = verbs.add_parser("reproduce", help="make a table or figure of the paper again, at our scale")
    add_reproduce_arguments(reproduce)
    reproduce.set_defaults(run=_reproduce)

    serve = verbs.add_parser("serve", help="compute for people at other computers, in Slicer or on the command line")
    add_serve_arguments(serve)
    serve.set_defaults(run=_serve)

    for verb in (encode, segment):
        add_server_arguments(verb)
    for verb in (encode, segment, pool, batch, watch, bank, tune, evaluate, probe, rival, reproduce, benchmark, serve):
        verb.add_argument("--network", type=Path, metavar="FILE", help="a network file (default: the bundled one)")
        verb.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"], help="(default: auto)")
    return parser


def _encode(options: argparse.Namespace) -> None:
    from .context.preset import EXTENSION
    from .context.privacy import scrubbed
    from .engine import Progress
    from .imaging.files import read_segmentation, read_volume, stem_of

    _must_be_folder(options.output.parent)
    image = read_volume(options.image)
    segmentation = read_segmentation(options.segmentation, image=image)
    if options.label:
        wanted = [n for n, s in enumerate(segmentation.segments) if s.label in options.label]
        missing = sorted(set(options.label) - {segmentation.segments[n].label for n in wanted})
        if missing:
            raise IrisError(f"'{options.segmentation.name}' has no label {', '.join(map(str, missing))}.")
        segmentation = segmentation.only(wanted)
    engine = _engine(options)
    name = options.name or stem_of(options.output).removesuffix(EXTENSION)
    preset = engine.encode(image, segmentation, name=name, progress=Progress(Bar("Encode")))
    engine.described(preset, image, segmentation).save(options.output)
    print(f"{options.output}: {', '.join(scrubbed(s.name) for s in preset.segments)}")


def _segment(options: argparse.Namespace) -> None:
    from .context.bank import MemoryBank
    from .context.pool import Pool
    from .context.preset import Preset
    from .engine import Progress
    from .engine.strategies import check_strategy
    from .imaging.dicom.choice import frame_of, gathered
    from .imaging.dicom.segout import Maker
    from .imaging.files import DICOM, EXTENSIONS, check_dicom, name_of, read_volume, write_segmentation

    single = options.output.name.lower().endswith((*EXTENSIONS, DICOM))
    missing = [str(path) for path in options.image if not frame_of(path)[0].exists()]
    if missing:
        raise IrisError(f"There is no file '{missing[0]}'; check its name and folder.")
    scans = gathered(options.image)
    if single and len(scans) > 1:
        raise IrisError(f"Several scans cannot go into the one file '{options.output.name}'; give a folder.")
    _must_be_folder(options.output.parent)
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
    engine = _engine(options)
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
        found = ", ".join(
            f"{s.name} {ml:.1f} mL" for s, ml in zip(preset.segments, result.volumes_ml, strict=True)
        )
        print(f"{output}: {found}")


def _show_part(bar: Bar, number: int, count: int, fraction: float, text: str) -> None:
    bar((number + fraction) / count, text)


def _pool(options: argparse.Namespace) -> None:
    from .batch.cases import Case, find_cases
    from .batch.pooling import pool
    from .evaluation.dataset import LabelledSet

    _must_be_folder(options.output.parent)
    if (options.data / "dataset.json").is_file():
        labelled = LabelledSet.read(options.data.absolute())
        cases = [Case(c, *labelled.paths(c), labelled.classes) for c in labelled.split(options.split)]
    else:
        cases = find_cases(options.data, segmented=True)
    pool(options, cases, Bar("Pool"))


def _batch(options: argparse.Namespace) -> None:
    from .batch.batch import batch

    batch(options, Bar("Batch"))


def _watch(options: argparse.Namespace) -> None:
    from .batch.watch import watch

    watch(options, Bar("Watch"))


def _bank(options: argparse.Namespace) -> None:
    from .context.bank import MemoryBank, bank_name
    from .engine import Engine
    from .evaluation.dataset import find_sets
    from .evaluation.strategies import learned
    from .imaging.window import PREPROCESSING
    from .network import bundled_weights

    sets = find_sets(options.data)
    engine = Engine(options.network, options.device)
    output = options.output or (options.network or bundled_weights()).parent / bank_name(engine.network.hash)
    _must_be_folder(output.parent)
    averages = {s.name: learned(engine, s, s.split(options.split), Bar("Bank")) for s in sets}
    presets = {name: average.preset(name) for name, average in averages.items()}
    MemoryBank(engine.network.hash, PREPROCESSING, presets).save(output)
    for name, preset in presets.items():
        print(f"{output}: {name}: {', '.join(s.name for s in preset.segments)}")


def _tune(options: argparse.Namespace) -> None:
    from .context.preset import Preset
    from .engine import Engine, Progress
    from .imaging.files import read_segmentation, read_volume

    _must_be_folder(options.output.parent)
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


def _evaluate(options: argparse.Namespace) -> None:
    from .context.preset import write_whole
    from .engine import Engine
    from .engine.strategies import check_strategy
    from .evaluation.dataset import find_sets
    from .evaluation.evaluate import evaluate, run_of
    from .evaluation.finished import Finished
    from .evaluation.report import LEGEND, overall, table, trust

    check_strategy(options.strategy)
    if options.references is not None and options.references < 1:
        raise IrisError("A strategy needs a reference; give --references 1 or more.")
    if options.tolerance < 0:
        raise IrisError("The tolerance of the surface Dice is a distance in mm; give 0 or more.")
    if options.json is not None:
        _must_be_folder(options.json.parent)
    sets = find_sets(options.data)
    engine = Engine(options.network, options.device)
    beside = None if options.json is None else options.json.with_name(f"{options.json.name}.partial")
    run = run_of(engine, options.split, options.strategy, options.seed, options.references, options.tolerance)
    finished = Finished(beside, run)
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
    if options.json is not None:
        write_whole(options.json, json.dumps(whole, indent=1).encode())
        finished.remove()


def _probe(options: argparse.Namespace) -> None:
    from .context.preset import write_whole
    from .engine import Engine
    from .evaluation.dataset import find_sets
    from .evaluation.probes import probe, table
    from .training.episodes import ELSEWHERE

    if options.json is not None:
        _must_be_folder(options.json.parent)
    sets = {s.folder.name: s for s in find_sets(options.data)}
    engine, results = Engine(options.network, options.device), []
    for name, labelled in sets.items():
        others = [sets[other] for other in ELSEWHERE.get(name, ()) if other in sets]
        results.append(probe(engine, labelled, others, options.split, limit=options.limit, show=Bar("Probe")))
    print(table(results))
    if options.json is not None:
        write_whole(options.json, json.dumps({r["set"]: r for r in results}, indent=1).encode())


def _rival(options: argparse.Namespace) -> None:
    from .context.preset import write_whole
    from .engine import Engine
    from .evaluation.dataset import find_sets
    from .evaluation.rival import rival, table

    if options.json is not None:
        _must_be_folder(options.json.parent)
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


def _calibration(options: argparse.Namespace) -> None:
    from .evaluation.calibration import draw

    _must_be_folder(options.output.parent)
    draw(options.report, options.output)
    print(options.output)


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


def _import_public(options: argparse.Namespace) -> None:
    from .network.public import import_public
    from .network.weights import file_hash

    output = options.output or options.checkpoint.with_suffix(".safetensors")
    _must_be_folder(output.parent)
    network = import_public(options.checkpoint, output)
    print(f"{output}: {sum(p.numel() for p in network.parameters()):,} parameters ({network.config.name})")
    print(f"sha256 of {options.checkpoint.name}: {file_hash(options.checkpoint)}")
    print(f"sha256 of {output.name}: {file_hash(output)}")
    print(f"Use it with --network {output}; it needs a GPU to be quick.")


def _reproduce(options: argparse.Namespace) -> None:
    from .evaluation.reproduce.request import Request, reproduce

    request = Request(
        options.data, options.output, options.network, options.device, options.limit, options.hours,
        options.configuration, options.seed, bar=Bar,
    )  # fmt: skip
    reproduce(options.result, request)


def _serve(options: argparse.Namespace) -> None:
    from .server.serve import serve

    serve(options)


def _engine(options: argparse.Namespace) -> Engine | ServedEngine:
    """Of this computer, or of the server that was named: naming it is the consent to send scans there."""
    from .engine import Engine

    if options.server is None:
        return Engine(options.network, options.device)
    if options.network is not None or options.device != "auto":
        raise IrisError("A server has a network and a device of its own; leave --network and --device out.")
    from .engine.elsewhere import Server, token_of
    from .engine.served import ServedEngine

    return ServedEngine(Server(options.server, token_of(options.token_file), options.server_certificate))


def _must_be_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise IrisError(f"The folder '{folder}' does not exist; make it first.")


if __name__ == "__main__":
    sys.exit(main())
