"""What was asked of a reproduction, and what every one of them hands back: a table, numbers, and a picture."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ...context.preset import write_whole
from ...engine import Engine
from ...errors import IrisError
from ..dataset import LabelledSet, find_sets
from .arguments import RESULTS

Show = Callable[[float, str], None]


@dataclass(frozen=True)
class Request:
    """
    :param output: the folder for everything that is made; made when it does not exist.
    :param network: a network file; the bundled one by default.
    :param limit: only the first cases of each set.
    :param hours: for each network that is trained for a comparison; 0 trains none.
    :param configuration: which network the variants vary.
    :param bar: makes a progress bar of a name.
    """

    data: Path
    output: Path
    network: Path | None = None
    device: str = "auto"
    limit: int | None = None
    hours: float = 0.25
    configuration: str = "small"
    seed: int = 0
    split: str = "test"
    bar: Callable[[str], Show] = field(default=lambda name: lambda fraction, text: None)

    @cached_property
    def engine(self) -> Engine:
        return Engine(self.network, self.device)

    @property
    def limited(self) -> str:
        """For a picture's words: nothing, or that not every case was measured."""
        return f", the first {self.limit} of each set" if self.limit else ""

    @cached_property
    def sets(self) -> list[LabelledSet]:
        """:raises IrisError: when there is none."""
        return find_sets(self.data)


@dataclass(frozen=True)
class Facts:
    """What every picture says of how it was made.

    :param network: hash of the network, or words where several were trained; their hashes are among the numbers.
    :param split: empty where only time was measured; cases: how many targets were measured.
    :param budget: what each trained variant got, where any was trained.
    :param short: what was shorter here than in the paper.
    """

    network: str
    split: str
    cases: int
    seed: int
    drawn: str = "references drawn"
    budget: str = ""
    short: str = ""

    def lines(self) -> list[str]:
        network = self.network[:12] if len(self.network) == 64 else self.network
        drawn = f"{self.split} split, {self.cases} cases; {self.drawn} by seed {self.seed}"
        made = f"Network {network}; {drawn if self.split else f'timing only, {self.cases} targets'}."
        return [line for line in (made, self.budget, self.short) if line]


def reproduce(name: str, request: Request) -> None:
    """Make one result, or all that can be made.

    :raises IrisError: when a result lacks what it needs; of ``all``, such a result is left out with a sentence.
    """
    if any(importlib.util.find_spec(n) is None for n in ("matplotlib", "sklearn", "scipy")):
        raise IrisError("Pictures need more libraries; get them with: pip install matplotlib scikit-learn scipy.")
    if request.sets:  # a folder without sets is refused before anything is made
        try:
            request.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            words = f"The folder '{request.output}' cannot be made ({error.strerror}); choose another."
            raise IrisError(words) from error
    if name != "all":
        _make(name, request)
        return
    for each in RESULTS:
        try:
            _make(each, request)
        except IrisError as error:
            print(f"{each} was left out: {error}")


def keep(request: Request, name: str, facts: Facts, numbers: Any) -> None:
    """Write the numbers behind a picture beside it, with what they hang on."""
    words = {"result": name, "facts": vars(facts), "numbers": numbers}
    write_whole(request.output / f"{name}.json", json.dumps(words, indent=1).encode())


def _make(name: str, request: Request) -> None:
    print(f"== {name}: {RESULTS[name]}")
    importlib.import_module(f".{name}", __package__).make(request)
