"""New scans of a folder in, results out: for scanners and PACS exports.

The folder is listed again and again: that also works on network shares, which tell of no new files. All that is known
lies in the output folder, so a watch that was ended, however it ended, goes on with what came meanwhile.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from ..errors import IrisError
from .batch import Run, Show, stopped_when_told
from .cases import Case, scans_in, twins_in
from .identity import stamp_of
from .outcome import DONE

EVERY = 2.0  # seconds between looks
SETTLED = 5.0  # seconds that a file must not have changed: it may still be on its way
AT_ONCE = 100  # cases before the table and the page are written again


def watch(options: argparse.Namespace, show: Show) -> None:
    """`irissegment watch`; ends by Ctrl-C or a signal to end.

    :raises IrisError: when it cannot begin or go on.
    """
    folder = options.folder.absolute()
    if not folder.is_dir():
        raise IrisError(f"There is no folder '{options.folder}' to watch; make it first.")
    if options.output.absolute() == folder:
        raise IrisError("Results cannot go into the folder that is watched; choose another for --output.")
    run = Run(options)
    arriving: dict[Path, tuple[str, float]] = {}
    with stopped_when_told(), run.records.held(), run.place as place:
        print(f"Watching {folder}; Ctrl-C ends it.", flush=True)
        while True:
            ripe = settled(folder, options.only, arriving, time.monotonic())
            new = [case for case in ripe if not run.records.tried(case, run.task)][:AT_ONCE]
            if new:
                for outcome in run.do(new, place, show):
                    words = f"set aside: {outcome.reason}" if outcome.state != DONE else _found(outcome.volumes_ml, run)
                    print(f"{outcome.case}: {words}", flush=True)
                run.publish(run.records.all(run.task))
            else:
                time.sleep(EVERY)


def settled(folder: Path, only: str | None, arriving: dict[Path, tuple[str, float]], now: float) -> list[Case]:
    """Cases of a folder that have not changed for a while.

    :param arriving: what earlier looks saw, by path: its stamp, and since when it has that; is brought up to date.
    :param now: in seconds.
    """
    cases = list(scans_in(folder, only))
    doubles = {second.image for _, second in twins_in(cases)}  # of one name: the first has it
    seen = {case.image: stamp_of(case.image) for case in cases if case.image not in doubles}
    for path in [path for path in arriving if path not in seen]:
        del arriving[path]
    for path, stamp in seen.items():
        if path not in arriving or arriving[path][0] != stamp:
            arriving[path] = stamp, now
    return [case for case in cases if case.image in arriving and now - arriving[case.image][1] >= SETTLED]


def _found(volumes_ml: tuple[float, ...], run: Run) -> str:
    names = (segment.name for segment in run.preset.segments)
    return ", ".join(f"{name} {ml:.1f} mL" for name, ml in zip(names, volumes_ml, strict=True))
