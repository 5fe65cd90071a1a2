"""The arguments of the verbs over archives, apart from the work so that asking for help needs no torch."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_batch_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `irissegment batch`."""
    parser.add_argument(
        "--data", type=Path, required=True,
        help="a folder of scans or DICOM series, a BIDS tree, or a CSV or Parquet file with columns case,image",
    )  # fmt: skip
    parser.add_argument("--only", metavar="PATTERN", help="only files of that name, as '*_T1w.nii.gz' (default: all)")
    _add_task(parser)
    add_place_arguments(parser)


def add_watch_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `irissegment watch`."""
    parser.add_argument("folder", type=Path, help="where new scans, or folders of DICOM series, arrive")
    parser.add_argument("--only", metavar="PATTERN", help="only files of that name, as 'CT*.nii.gz' (default: all)")
    _add_task(parser)
    add_place_arguments(parser)


def add_place_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the work is done."""
    parser.add_argument(
        "--cluster", metavar="local|ADDRESS",
        help="on Ray: 'local' starts it for this run on this machine, an address joins one (default: without Ray)",
    )  # fmt: skip
    parser.add_argument("--actors", type=int, metavar="N", help="of a cluster (default: as many as GPUs or CPUs allow)")
    parser.add_argument("--threads", type=int, metavar="N", help="of each actor (default: 1; without Ray: all)")


def _add_task(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preset", type=Path, required=True, help="a preset, made by `encode`, by `tune` or in Slicer")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR",
        help="gets CASE.seg.nrrd for each, results.parquet and report.html; an earlier run there goes on",
    )  # fmt: skip
    parser.add_argument("--dicom", action="store_true", help="write CASE.dcm, a DICOM SEG; scans must be DICOM series")
