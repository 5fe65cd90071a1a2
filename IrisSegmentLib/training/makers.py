"""Episodes made ahead by other processes, for a graphics card that would wait for them: one core makes about three a
second, fifteen made 39.

On a processor there is nothing to gain: who makes and who learns would share it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset

from .episodes import Episode, Episodes

AHEAD = 4  # episodes that each maker has ready


class Asked(NamedTuple):
    """What `Episodes.draw` is asked for."""

    number: int
    turn: int
    rough: bool


class _Made(Dataset[Episode]):
    """Episodes as torch's loader wants them: by what they are asked for."""

    def __init__(self, episodes: Episodes) -> None:
        self._episodes = episodes

    def __getitem__(self, asked: Asked) -> Episode:
        return self._episodes.draw(*asked)


def makers_beside(device: torch.device, learners: int) -> int:
    """How many processes make episodes for each of the ``learners`` on this machine; 0: it makes its own."""
    return 0 if device.type == "cpu" else max(1, (os.cpu_count() or 1) // learners - 1)


def made(episodes: Episodes, asked: Iterable[Asked], makers: int) -> Iterator[Episode]:
    """The episodes in the order in which they are asked for, whoever makes them.

    :param asked: may go on for ever; read ``AHEAD`` for each maker before it is needed.

    Example::

        for episode in made(episodes, (Asked(n, n, False) for n in count()), makers=3):
            ...
    """
    if not makers:
        return (episodes.draw(*wanted) for wanted in asked)
    # Forked, so that all share the scans instead of copying them.
    loader = DataLoader(
        _Made(episodes), batch_size=None, sampler=asked, num_workers=makers, prefetch_factor=AHEAD,
        multiprocessing_context="fork",
    )  # fmt: skip
    return iter(loader)
