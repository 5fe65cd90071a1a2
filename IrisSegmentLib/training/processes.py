"""The processes that train together: this one alone, or as many as torch's launcher started, on one machine or many."""

from __future__ import annotations

import os

import torch
from lightning_fabric import Fabric


def join_processes() -> Fabric:
    """Fabric over the processes that `torchrun` started, or over this one.

    Example::

        torchrun --nproc-per-node 2 -m IrisSegmentLib train --data sets --output runs/small
    """
    everywhere = int(os.environ.get("WORLD_SIZE", here()))
    fabric = Fabric(
        accelerator="cuda" if torch.cuda.is_available() else "cpu",
        strategy="ddp" if everywhere > 1 else "auto",
        devices=here(),
        num_nodes=everywhere // here(),
    )
    fabric.launch()
    return fabric


def here() -> int:
    """How many of them are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))
