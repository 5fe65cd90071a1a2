"""How far a network is to be believed: what its own cases, and scans without the object, have shown."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

ALIKE = 0.9  # a likeness from which on it makes no difference
AGREED = 0.75  # what stands for an agreement that is not known: a usual one
AGAIN = 0.85  # what stands for what is not known to be found again at home, likewise; less is unfamiliar
SURE = 0.5  # a presence from which on it makes no difference
LEAST_UNFAMILIAR = 0.15  # `Presence.least` of what is unfamiliar, at most: there all signs are weak
FOREIGN = -2.5  # log odds of a presence where one scan is CT and the other is not: about one such in a dozen shows it


@dataclass(frozen=True)
class Signs:
    """What speaks for the answer of one class, each 0..1; None where it is not known.

    :param promised: the Dice of the soft answer with its own hard one; 0 when nothing was found.
    :param likeness: cosine between how what was found and what was marked look to the network in the whole scan, the
        mean over the classes of the preset that were found.
    :param brought: Dice of the marks that the affinity brings from the reference with what was found (last look).
    :param returned: Dice of what was found, brought back to the reference by the same affinity, with what was marked
        (last look), and the mean of it over the classes that were found, half each: a scan that shows none of the
        others hardly shows this one. returned_wide: the same in the whole scan.
    :param foreign: the target is CT and the reference is not, or the other way round.
    :param again: Dice of what the preset finds in its references' own scans (`Preset.found_again`).
    """

    promised: float
    likeness: float | None = None
    brought: float | None = None
    returned: float | None = None
    returned_wide: float | None = None
    foreign: bool = False
    again: float | None = None


@dataclass(frozen=True)
class Presence:
    """
    How likely the object is in the scan at all, where as many scans have it as have it not: the logistic function of
    ``offset + likeness * l + returned * r + returned_wide * w``, and of `FOREIGN` where that holds. A scan without the
    object gives answers as sure as any, but mostly of another look, and not the way back to what was marked.

    :param least: presence below which a class is left empty; of what is unfamiliar, `LEAST_UNFAMILIAR` if that is less.
    """

    offset: float
    likeness: float
    returned: float
    returned_wide: float
    least: float

    def of(self, signs: Signs) -> float:
        """0..1; 1 where it cannot be told."""
        if signs.likeness is None or signs.returned is None or signs.returned_wide is None:
            return 1.0
        odds = self.offset + self.likeness * signs.likeness + FOREIGN * signs.foreign
        odds += self.returned * signs.returned + self.returned_wide * signs.returned_wide
        return 1 / (1 + math.exp(-max(-50.0, min(50.0, odds))))

    def denied(self, signs: Signs) -> bool:
        """Whether the class is better left empty."""
        familiar = signs.again is None or signs.again >= AGAIN
        return self.of(signs) < (self.least if familiar else min(self.least, LEAST_UNFAMILIAR))


@dataclass(frozen=True)
class Trust:
    """
    The Dice to expect is ``offset + promised * p + likeness * min(l, ALIKE) + brought * b + again * a``, times what the
    presence falls short of `SURE`.

    Files from before there were `Presence`, ``brought`` and ``again`` have fewer numbers.

    Example::

        trust = Trust(offset=-1.2, promised=1.8, brought=0.5)
        trust.expected(Signs(0.95, brought=0.8)), trust.expected(Signs(0.9, brought=0.3))     # 0.91 and 0.57
    """

    offset: float = 0.0
    promised: float = 1.0
    likeness: float = 0.0
    brought: float = 0.0
    presence: Presence | None = None
    again: float = 0.0

    def expected(self, signs: Signs) -> float:
        """The Dice to expect, 0..1; 0 where nothing was found. What is not known is taken as good."""
        if signs.promised <= 0:
            return 0.0
        alike = ALIKE if signs.likeness is None else min(signs.likeness, ALIKE)
        agreed = AGREED if signs.brought is None else signs.brought
        again = AGAIN if signs.again is None else signs.again
        dice = self.offset + self.promised * signs.promised + self.likeness * alike + self.brought * agreed
        dice += self.again * again
        there = 1.0 if self.presence is None else min(1.0, self.presence.of(signs) / SURE)
        return max(0.01, min(1.0, dice) * there)

    def none_there(self, signs: Signs) -> bool:
        """Whether something was found that is hardly what was marked: then nothing is better."""
        return self.presence is not None and signs.promised > 0 and self.presence.denied(signs)

    def to_json(self) -> str:
        return json.dumps({name: value for name, value in asdict(self).items() if value is not None})

    @classmethod
    def from_json(cls, words: str) -> Trust:
        """:raises ValueError: for what is not finite numbers by these names (also TypeError, AttributeError)."""
        values = json.loads(words)
        presence = values.pop("presence", None)
        return cls(**_finite(values), presence=None if presence is None else Presence(**_finite(presence)))


def together(returned: Sequence[float | None], found: Sequence[bool]) -> list[float | None]:
    """What came back of each class, half of it the mean over the classes that were found."""
    known = [r for r, yes in zip(returned, found, strict=True) if yes and r is not None]
    return [(r + sum(known) / len(known)) / 2 if known and r is not None else r for r in returned]


def _finite(words: dict[str, Any]) -> dict[str, float]:
    values = {name: float(v) for name, v in words.items()}
    if not all(math.isfinite(v) for v in values.values()):
        raise ValueError("not finite")
    return values
