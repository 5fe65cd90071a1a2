"""A whole archive of segmented scans encoded into a pool."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

from ..context.pool import Pool
from ..context.preset import Preset
from ..errors import IrisError
from ..imaging.window import PREPROCESSING
from ..network.weights import bundled_weights, file_hash
from .batch import EVERY, SHARE, stopped_when_told
from .cases import Case
from .encoding import Encoded, Encoding
from .place import place_for
from .work import Failure


def pool(options: argparse.Namespace, cases: Sequence[Case], show: Callable[[float, str], None]) -> None:
    """`irissegment pool`. References are added in the order of the cases, whoever encoded them when: drawing from a
    pool goes by their places.

    :raises IrisError: when it cannot begin or go on; and at its end, when cases were set aside.
    """
    network = (options.network or bundled_weights()).absolute()
    if not network.is_file():
        raise IrisError(f"There is no network file '{network}'; check its name and folder.")
    made = Pool.load(options.output) if options.output.exists() else Pool(file_hash(network), PREPROCESSING)
    known = frozenset(entry.hash for entry in made.entries)
    work = Encoding(network, options.device, made.network, made.preprocessing, known)
    before = saved = len(made)
    answers: dict[str, Encoded | Failure] = {}  # that wait for an earlier case
    aside: list[tuple[str, str]] = []
    waiting, written = list(cases), time.monotonic()
    try:
        with stopped_when_told(), place_for(options, work) as place:
            for n, (case, answer) in enumerate(place.run(cases)):
                answers[case.name] = answer
                while waiting and waiting[0].name in answers:
                    first = waiting.pop(0).name
                    _add(made, first, answers.pop(first), aside)
                show((n + 1) / len(cases), case.name)
                started = time.monotonic()
                if started - written > EVERY and len(made) > saved:
                    made.save(options.output)
                    saved, written = len(made), time.monotonic() + SHARE * (time.monotonic() - started)
    finally:  # what was encoded is kept when the person stops it, and the next call goes on from there
        if len(made) > saved:
            made.save(options.output)
    words = ", ".join(made.segments)
    print(f"{options.output}: {len(made)} references, {len(made) - before} of them new; {words}", flush=True)
    if aside:
        reasons = "; ".join(f"{name} ({why.rstrip('.')})" for name, why in aside[:3])
        raise IrisError(f"{len(aside)} of {len(cases)} cases were set aside: {reasons}; correct them and run again.")


def _add(made: Pool, name: str, answer: Encoded | Failure, aside: list[tuple[str, str]]) -> None:
    if isinstance(answer, Failure):
        aside.append((name, answer.reason))
    elif answer.preset:
        assert answer.classes is not None and answer.scan is not None, "a new reference has them"
        made.add(answer.content, Preset.from_bytes(answer.preset, name), answer.classes, answer.scan)
