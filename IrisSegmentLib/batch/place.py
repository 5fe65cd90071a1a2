"""Where the work of a command is done, as its arguments say."""

from __future__ import annotations

import argparse

from ..errors import IrisError
from .cluster import Cluster
from .here import Here
from .work import Place, Work


def place_for(options: argparse.Namespace, work: Work) -> Place:
    """:raises IrisError: for numbers that make no sense, or a package that is missing."""
    for name in ("actors", "threads"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            raise IrisError(f"--{name} must be 1 or more.")
    if options.cluster is None:
        if options.actors is not None:
            raise IrisError("Several actors need a cluster; add --cluster local.")
        return Here(work, options.threads)
    return Cluster(work, options.cluster, options.actors, options.threads or 1, options.device != "cpu")
