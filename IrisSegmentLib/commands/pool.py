"""Many references, encoded once, become a pool."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..batch.arguments import add_place_arguments
from .bar import Bar
from .shared import Verbs, add_engine_arguments, must_be_folder


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser("pool", help="encode many references once, into a pool or to one that is there")
    parser.add_argument(
        "--data", type=Path, required=True,
        help="a folder with a dataset.json, one of NAME_image.EXT and NAME_label.EXT (or NAME.seg.nrrd), a BIDS tree, "
        "or a CSV or Parquet file with columns case,image,segmentation",
    )  # fmt: skip
    parser.add_argument("--split", default="train", help="which cases of a dataset.json (default: train)")
    parser.add_argument("--output", type=Path, required=True, metavar="POOL", help="the pool file, NAME.irispool")
    add_place_arguments(parser)
    add_engine_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from ..batch.cases import Case, find_cases
    from ..batch.pooling import pool
    from ..evaluation.dataset import LabelledSet

    must_be_folder(options.output.parent)
    if (options.data / "dataset.json").is_file():
        labelled = LabelledSet.read(options.data.absolute())
        cases = [Case(c, *labelled.paths(c), labelled.classes) for c in labelled.split(options.split)]
    else:
        cases = find_cases(options.data, segmented=True)
    pool(options, cases, Bar("Pool"))
