"""Seeded faults around the whole program: each must end in one sentence, harm nothing, and the next click must work.

    python Testing/faults/bench.py 1000 [SEED] [WORLD:KIND]      (make faults N=1000)

Three worlds take turns: the worker process, the files that a person keeps, and the scene with the real panel. Prints,
by kind, how many faults were made, how the work that they hit ended, and what was found wrong; ends with 1 when
anything was. Times are those of a machine that has nothing else to do: on a busy one as many times longer as processes
wait for each core.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from faults.judging import ALONE, Outcome, go_alone

Show = Callable[[str], None]


def run(count: int, seed: int, show: Show, only: str = "") -> int:
    """Make so many faults; returns how many found something wrong.

    :param only: a world (library, worker, scene), a colon, and what the names of its kinds contain.
    """
    made: Counter[str] = Counter()
    bad: Counter[str] = Counter()
    ends: dict[str, Counter[str]] = {}
    sentences: Counter[str] = Counter()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="iris-faults-", ignore_cleanup_errors=True) as folder:
        world_wanted, _, kind_wanted = only.partition(":")
        worlds = list(_worlds(Path(folder), show, world_wanted))
        kinds = {name: kind for world in worlds for name, kind in world.kinds.items() if kind_wanted in name}
        order = list(kinds)
        for number in range(count):
            drawn = random.Random(f"{seed} {number}")
            kind = order[number % len(order)]
            started = time.monotonic()
            try:
                outcome: Outcome = kinds[kind](drawn)
            except KeyboardInterrupt:
                show(f"stopped after {number} of {count} faults")
                break
            except Exception as error:
                outcome = Outcome("broken", wrong=[f"{type(error).__name__}: {error}", traceback.format_exc(-3)])
            made[kind] += 1
            ends.setdefault(kind, Counter())[outcome.ended] += 1
            sentences.update(outcome.said)
            if outcome.wrong:
                bad[kind] += 1
                seconds = time.monotonic() - started
                show(f"fault {number} of seed {seed}, {kind}, {seconds:.0f} s: {'; '.join(outcome.wrong)} "
                     f"(it ended {outcome.ended}, and said {outcome.said})")  # fmt: skip
            if number % 100 == 99:
                show(f"{number + 1} faults, {sum(bad.values())} wrong, {time.monotonic() - began:.0f} s")
        for world in reversed(worlds):  # the panel has its worker in the temporary folder that the one before made
            for wrong in world.close():
                bad["the end"] += 1
                show(f"at the end: {wrong}")
    for kind in [*made, *(["the end"] if bad["the end"] else [])]:
        ended = ", ".join(f"{n} {how}" for how, n in sorted(ends.get(kind, Counter()).items()))
        show(f"{kind:34} {made[kind]:5} made {bad[kind]:5} wrong   {ended}")
    show(f"{sum(made.values())} faults of {len(made)} kinds, {sum(bad.values())} wrong, {len(sentences)} sentences")
    return sum(bad.values())


def _worlds(folder: Path, show: Show, wanted: str):
    from faults.libraryfaults import LibraryWorld
    from faults.workerfaults import WorkerWorld

    for name in ("library", "worker", "scene"):
        (folder / name).mkdir()
    if wanted in ("", "library"):
        yield LibraryWorld(folder / "library")
    if wanted in ("", "worker"):
        yield WorkerWorld(folder / "worker")
    if wanted not in ("", "scene"):
        return
    try:
        from faults.scenefaults import SceneWorld
    except ImportError as error:
        show(f"no scene here ({error.name})")
    else:
        yield SceneWorld(folder / "scene")


def main() -> int:
    go_alone()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stopped early, it still reports
    given = [argument for argument in sys.argv[1:] if argument != ALONE]
    count, seed, only = [*given, *("1000", "0", "")[len(given) :]]
    return 1 if run(int(count), int(seed), lambda line: print(line, flush=True), only) else 0


if __name__ == "__main__":
    sys.exit(main())
