"""Which tasks training asks, and how often; what a run does without, to learn what it is worth."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

SELF = "self"  # views of one scan with a grown mask
INVENTED = "invented"  # patients of an anatomy that no one has
MADE = (SELF, INVENTED)  # tasks of no set
SOURCES = {
    "hippocampus": 0.12, "cardiac_mr": 0.18, "left_atrium": 0.14, "head_neck_ct": 0.24,
    "sarcoma_ct": 0.08, "sarcoma_mr": 0.06, "sarcoma_pet": 0.08, "brain_labels": 0.12, SELF: 0.06, INVENTED: 0.2,
}  # fmt: skip
SHARES = ("regions", "derived", "empty", "contrast", "pose")
KINDS = (*SOURCES, *SHARES)  # what a run can do without


@dataclass(frozen=True)
class Mixture:
    """
    :param sources: what an episode is of: how often each set, and each of `MADE`, in parts of the sum of those at hand.
    :param regions: share of the real episodes that ask for a region that no label names, where labels tell of one.
    :param derived: share of the real episodes that ask for what is made from the labels.
    :param empty: share of the closer looks, and of all looks at invented anatomies, of which one view shows nothing of
        the task: nothing is what must be found in it; empty_whole: of the looks at whole real scans, since it is they
        that say whether there is anything to look closer at.
    :param contrast, pose: shares of the episodes that are given another, alike in all their views.

    Example::

        mixture = Mixture().without(["regions", "self"])
    """

    sources: Mapping[str, float] = field(default_factory=lambda: SOURCES)
    regions: float = 0.35
    derived: float = 0.2
    empty: float = 0.25
    empty_whole: float = 0.6
    contrast: float = 0.25
    pose: float = 0.25

    def without(self, kinds: Collection[str]) -> Mixture:
        """:param kinds: of `KINDS`."""
        none: dict[str, float] = {name: 0.0 for name in SHARES if name in kinds}
        if "empty" in kinds:
            none["empty_whole"] = 0.0
        left = {name: part for name, part in self.sources.items() if name not in kinds}
        return replace(self, sources=left, **none)
