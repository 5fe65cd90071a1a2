"""How one case went: a row of the results."""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass, replace
from typing import Any

from .cases import Case

DONE, ASIDE = "done", "set aside"


@dataclass(frozen=True)
class Outcome:
    """
    :param image: where the scan lay; stamp: how its file looked then (`identity.stamp_of`).
    :param task: `identity.task_hash`; identity: `identity.identity`, empty when the scan could not be read.
    :param state: ``done`` or ``set aside``; reason: why it was set aside, in a sentence.
    :param result: sha256 of the file that was written for the case, empty when none was.
    :param segments, confidence, volumes_ml: per segment: its name, the Dice to expect (0..1), mL.
    :param notes: per segment, what else a person should know of it, in a sentence; mostly none.
    :param seconds: of computing.
    :param picture: of the result, PNG; empty when it is not at hand.
    """

    case: str
    image: str
    stamp: str
    task: str
    state: str
    reason: str = ""
    identity: str = ""
    result: str = ""
    segments: tuple[str, ...] = ()
    confidence: tuple[float, ...] = ()
    volumes_ml: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    picture: bytes = b""

    @classmethod
    def aside(cls, case: Case, stamp: str, task: str, reason: str) -> Outcome:
        return cls(case.name, str(case.image), stamp, task, ASIDE, reason)

    @property
    def worst(self) -> float:
        """The least confidence of its segments."""
        return min(self.confidence, default=0.0)

    def bare(self) -> Outcome:
        """Without the picture, which thousands would fill the memory with."""
        return replace(self, picture=b"")

    def words(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "picture": base64.b64encode(self.picture).decode()}

    @classmethod
    def of_words(cls, words: dict[str, Any]) -> Outcome:
        """:raises ValueError: when they are not what `words` gives (or a TypeError or KeyError)."""
        lists = {name: tuple(words[name]) for name in ("segments", "confidence", "volumes_ml")}
        lists["notes"] = tuple(words.get("notes", ("",) * len(lists["segments"])))  # none in records of before
        return cls(**{**words, **lists, "picture": base64.b64decode(words["picture"])})
