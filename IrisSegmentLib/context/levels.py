"""A reference's embeddings as a file holds them, which become a network's at their first use.

Who only carries a preset, as Slicer does, needs no torch, whose import takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ..network import TaskEmbeddings

LEVELS = ("coarse", "fine")  # the whole reference scan; closer around its segments
Numbers: TypeAlias = Mapping[str, NDArray]  # by name


def alone(segment: int) -> str:
    """The level that looks at one segment alone, by its place in the preset."""
    return f"class{segment}"


def altered(level: str, number: int) -> str:
    """The same level, seen through one of several alterations."""
    return f"{level}~{number}"


def alterations_known(known: Callable[[str], bool]) -> int:
    """Through how many alterations there are levels, where ``known`` says of a level whether it is there."""
    return next(n for n in count() if not known(altered(LEVELS[0], n)))


class Stored(Mapping[str, "TaskEmbeddings"]):
    """
    :param numbers: by level, the float16 arrays ``tokens.0``, ``tokens.1``..., ``keys`` and ``values``, shaped as in
        `TaskEmbeddings`.
    """

    def __init__(self, numbers: Mapping[str, Numbers]) -> None:
        self.numbers = numbers
        self._made: dict[str, TaskEmbeddings] = {}

    def __getitem__(self, level: str) -> TaskEmbeddings:
        if level not in self._made:
            self._made[level] = _made(self.numbers[level])
        return self._made[level]

    def __contains__(self, level: object) -> bool:
        return level in self.numbers

    def __iter__(self) -> Iterator[str]:
        return iter(self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)


def numbers_of(levels: Mapping[str, TaskEmbeddings]) -> dict[str, Numbers]:
    """Of each level, what `Stored` takes."""
    return dict(levels.numbers) if isinstance(levels, Stored) else {name: _numbers(e) for name, e in levels.items()}


def sizes_of(levels: Mapping[str, TaskEmbeddings]) -> set[tuple]:
    """The widths of each level's arrays, which the network that made them gives."""
    if isinstance(levels, Stored):
        widths = [{name: array.shape[1:] for name, array in of.items()} for of in levels.numbers.values()]
    else:
        widths = [{name: t.shape[1:] for name, t in _tensors(e).items()} for e in levels.values()]
    return {tuple((name, tuple(width)) for name, width in of.items() if name != "values") for of in widths}


def levels_of(numbers: Numbers, prefix: str, classes: int, places: int) -> Stored:
    """What a file holds under names that begin with ``prefix``: every level, and through as many alterations as there
    are, every level again.

    :param places: how many of the classes have a place, and so a look of their own: all or none.
    :raises ValueError: when it is not that.
    """
    if places not in (0, classes):
        raise ValueError("places do not fit the segments")
    counts = {level: classes for level in LEVELS} | {alone(n): 1 for n in range(places)}
    through = range(alterations_known(lambda level: f"{prefix}.{level}.tokens.0" in numbers))
    counts |= {altered(level, n): of for n in through for level, of in counts.items()}
    return Stored({level: _checked(numbers, f"{prefix}.{level}", of) for level, of in counts.items()})


def _checked(numbers: Numbers, prefix: str, classes: int) -> Numbers:
    tokens: list[NDArray] = []
    while (key := f"{prefix}.tokens.{len(tokens)}") in numbers:
        tokens.append(numbers[key])
    keys, values = numbers.get(f"{prefix}.keys"), numbers.get(f"{prefix}.values")
    if not tokens or any(t.ndim != 3 or len(t) != classes for t in tokens) or (keys is None) != (values is None):
        raise ValueError("tokens do not fit the segments")
    found = {f"tokens.{n}": t for n, t in enumerate(tokens)}
    if keys is not None and values is not None:
        if keys.ndim != 2 or values.shape != (classes, len(keys), 8):
            raise ValueError("keys and values do not fit")
        found |= {"keys": keys, "values": values}
    if any(a.dtype != np.float16 or a.size == 0 or not np.isfinite(a).all() for a in found.values()):
        raise ValueError("not finite half-precision numbers")
    return found


def _made(numbers: Numbers) -> TaskEmbeddings:
    import torch

    from ..network import TaskEmbeddings

    tensors = {name: torch.from_numpy(array.copy()) for name, array in numbers.items()}  # a file's cannot be written to
    keys, values = tensors.pop("keys", None), tensors.pop("values", None)
    return TaskEmbeddings(tuple(tensors.values()), keys, values)


def _tensors(embeddings: TaskEmbeddings) -> dict:
    found = {f"tokens.{n}": tokens for n, tokens in enumerate(embeddings.tokens)}
    if embeddings.keys is not None and embeddings.values is not None:
        found |= {"keys": embeddings.keys, "values": embeddings.values}
    return found


def _numbers(embeddings: TaskEmbeddings) -> Numbers:
    return {name: t.detach().half().contiguous().cpu().numpy() for name, t in _tensors(embeddings).items()}
