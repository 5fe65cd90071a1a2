"""Which sets show the same anatomy, so that what is called unseen was seen nowhere in training."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import IrisError
from ..dataset import LabelledSet
from .request import Request


@dataclass(frozen=True)
class Anatomy:
    """
    :param tested: the sets that show it, to measure on.
    :param left_out: folder names of all sets that show it or part of it: training goes without them.
    """

    name: str
    tested: list[LabelledSet]
    left_out: tuple[str, ...]


# The label maps of whole heads hold the hippocampus and the brainstem: they go wherever either is unseen.
_KNOWN = {
    "heart": (("cardiac_mr", "left_atrium"), ()),
    "hippocampus": (("hippocampus",), ("brain_labels",)),
    "head and neck": (("head_neck_ct",), ("brain_labels",)),
    "tumor": (("sarcoma_ct", "sarcoma_mr", "sarcoma_pet"), ()),
}


def anatomies(request: Request) -> list[Anatomy]:
    """Of the sets that were given; a set that is not known is an anatomy of its own."""
    left = {s.folder.name: s for s in request.sets}
    found = []
    for name, (shown, partly) in _KNOWN.items():
        tested = [left.pop(n) for n in shown if n in left]
        if tested:
            found.append(Anatomy(name, tested, shown + partly))
    return found + [Anatomy(s.name, [s], (n,)) for n, s in left.items()]


def several_anatomies(request: Request) -> list[Anatomy]:
    """As `anatomies`, for what leaves one out.

    :raises IrisError: when there is only one.
    """
    found = anatomies(request)
    if len(found) < 2:
        raise IrisError("What is unseen needs sets of two anatomies at least; give --data with more sets.")
    return found
