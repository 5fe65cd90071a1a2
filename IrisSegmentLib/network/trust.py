"""How far a network is to be believed: what its own cases, and scans without the object, have shown."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass

ALIKE = 0.9  # a likeness from which on it makes no difference


@dataclass(frozen=True)
class Trust:
    """
    The Dice to expect is ``offset + promised * p + likeness * min(l, ALIKE)``, where p is the Dice of the soft answer
    with its own hard one, and l the likeness: the cosine between how what was found and what was marked look to the
    network, mean over what was found. A scan without the object gives answers as sure as any, but mostly of another
    look. No answer is left out for it: a threshold that spared all that was rightly found in validation lost five of
    seven tumors in CT.

    Example::

        trust = Trust(offset=-1.6, promised=1.0, likeness=1.6)
        trust.expected(0.9, 0.95), trust.expected(0.9, 0.7)     # 0.74 and 0.42
    """

    offset: float = 0.0
    promised: float = 1.0
    likeness: float = 0.0

    def expected(self, promised: float, likeness: float | None) -> float:
        """The Dice to expect, 0..1; 0 where nothing was found. A likeness that is not known is taken as good."""
        alike = ALIKE if likeness is None else min(likeness, ALIKE)
        dice = self.offset + self.promised * promised + self.likeness * alike
        return max(0.01, min(1.0, dice)) if promised > 0 else 0.0

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, words: str) -> Trust:
        """:raises ValueError: for what is not finite numbers by these names (also TypeError, AttributeError)."""
        values = {name: float(v) for name, v in json.loads(words).items()}
        if not all(math.isfinite(v) for v in values.values()):
            raise ValueError("not finite")
        return cls(**values)
