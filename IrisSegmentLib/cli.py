"""The command line: one verb per thing a person does."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from . import __version__
from .commands import (
    bank,
    batch,
    benchmark,
    calibration,
    encode,
    evaluate,
    import_public,
    pool,
    probe,
    reproduce,
    rival,
    segment,
    serve,
    train,
    tune,
    watch,
)
from .errors import IrisError

VERBS = (
    encode, segment, pool, batch, watch, serve, tune, bank, evaluate, probe, rival, calibration, benchmark,
    reproduce, train, import_public,
)  # fmt: skip
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="irissegment",
        description="Segment medical volumes by example: mark one scan, segment all the others.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"irissegment {__version__}")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for verb in VERBS:
        verb.add(verbs)
    return parser


if __name__ == "__main__":
    sys.exit(main())
