"""From a run's checkpoint to the bundled network: `python -m IrisSegmentLib.training.publish RUN OUTPUT`.

With `--calibration REPORT PROBES`, reports of `irissegment evaluate --split val` and `irissegment probe --split val` on
a file that this made without them, the network also knows how far it is to be believed, and when to leave a class
empty. RUN may also be a network file, whose weights then stay as they are: what it knew of itself is replaced, or
without `--calibration` forgotten. `--mean FILE` gives the mean of its weights and of those of another network file that
it went on from: such a mean often does better than either.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from scipy.optimize import minimize

from ..errors import IrisError
from ..network import build, save_network
from ..network.trust import AGAIN, FOREIGN, Presence, Signs, Trust
from ..network.weights import load_network
from .checkpoints import CHECKPOINT, read_checkpoint

LEAST = 0.5  # presence below which a class is left empty: below what any rightly found one had in validation
FOUND = 0.3  # Dice below which what was found is not what is there
RESTRAINT = 1e-3  # of the presence's weights: a few targets without the object must not tell them apart for certain


class Known(NamedTuple):
    """What validation showed of one class of one target; without the object, ``dice`` is 0."""

    set: str
    signs: Signs
    dice: float


def publish(
    run: Path, output: Path, network: str = "small", trust: Trust | None = None, mean: Path | None = None
) -> None:
    """Write the averaged weights of a run, or the weights of a network file, with its length in the header.

    :param mean: another network file, each of whose weights counts half.
    :raises IrisError: for a file that is no network, one of another configuration, or a folder without a run.
    """
    if run.is_file():
        averaged = load_network(run)
        with safe_open(run, "pt") as file:
            notes = {k: v for k, v in file.metadata().items() if k not in ("config", "trust")}
    else:
        state = read_checkpoint(run / CHECKPOINT)
        if state is None:
            raise IrisError(f"There is no run in '{run}'; choose the folder that `irissegment train` wrote to.")
        averaged = build(network)
        averaged.load_state_dict(state["average"])
        notes = {"steps": str(state["step"]), "hours": f"{state['seconds'] / 3600:.2f}"}
    if mean is not None:
        other = load_network(mean)
        if other.config != averaged.config:
            raise IrisError(f"'{mean}' is a network of another kind than '{run}'; choose one that it went on from.")
        for own, theirs in zip(averaged.state_dict().values(), other.state_dict().values(), strict=True):
            own.lerp_(theirs, 0.5)
    if trust is not None:
        notes["trust"] = trust.to_json()
    save_network(averaged, output, notes)


def there(report: dict[str, Any]) -> list[Known]:
    """The classes that a report of `irissegment evaluate` says something was found of."""
    return [
        Known(name, signs, score)
        for name, of_set in report["sets"].items()
        for case, scores in of_set["per_case"].items()
        for segment, score in scores.items()
        if (signs := Signs(**of_set["signs"][case][segment])).promised > 0
    ]


def absent(probes: dict[str, Any]) -> list[Known]:
    """The same of the targets without the object in a report of `irissegment probe`."""
    return [
        Known(name, signs, 0.0)
        for name, of_set in probes.items()
        for target in of_set["absent"]["per_target"]
        for words in target["signs"]
        if (signs := Signs(**words)).promised > 0
    ]


def regions(probes: dict[str, Any]) -> list[Known]:
    """The same of the regions that no label names."""
    return [
        Known(f"{name}, regions", signs, target["dice"])
        for name, of_set in probes.items()
        for target in of_set.get("unnamed", ())
        if (signs := Signs(**target["signs"])).promised > 0
    ]


def calibrated(report: dict[str, Any], probes: dict[str, Any]) -> Trust:
    """What the cases of a report and the regions and the scans without the object of probes show, all of a network that
    nothing was known of: of the Dice, least squares over what is there; of the presence, a logistic regression of what
    was found and is there and of what was found and is not, as if there were as many of each. Every set counts the
    same, and so do its regions. Classes of which nothing was found tell nothing."""
    right = [k for k in (*there(report), *regions(probes)) if k.signs.brought is not None]
    offset, promised, brought, again = _line(right)
    wrong = [k for k in absent(probes) if _looks(k)]
    line = _logistic([k for k in right if _looks(k) and k.dice >= FOUND], wrong)
    presence = Presence(line[0], line[1], line[2], line[3], LEAST)
    return Trust(offset, promised, brought=brought, presence=presence, again=again)


def lost(report: dict[str, Any], trust: Trust) -> dict[str, float]:
    """Points of mean Dice that each set of a report loses by what is left empty, 0..100."""
    found = there(report)
    counts = {name: sum(len(s) for s in of_set["per_case"].values()) for name, of_set in report["sets"].items()}
    gone = {name: sum(k.dice for k in found if k.set == name and trust.none_there(k.signs)) for name in counts}
    return {name: 100 * gone[name] / counts[name] for name in counts}


def _looks(known: Known) -> bool:
    return None not in (known.signs.likeness, known.signs.returned, known.signs.returned_wide)


def _weights(known: list[Known]) -> NDArray[np.float64]:
    """The same for every set, 1 in all."""
    sets = [k.set for k in known]
    return np.array([1 / sets.count(name) for name in sets]) / len(set(sets))


def _line(known: list[Known]) -> list[float]:
    signs = [k.signs for k in known]
    again = [AGAIN if s.again is None else s.again for s in signs]
    rows = np.array([(1.0, s.promised, s.brought, a) for s, a in zip(signs, again, strict=True)], np.float64)
    root = np.sqrt(_weights(known))
    line, *_ = np.linalg.lstsq(root[:, None] * rows, root * np.array([k.dice for k in known]), rcond=None)
    return [round(float(v), 4) for v in line]


def _logistic(right: list[Known], wrong: list[Known]) -> list[float]:
    rows = np.array(
        [(1.0, k.signs.likeness, k.signs.returned, k.signs.returned_wide) for k in (*right, *wrong)], np.float64
    )
    foreign = np.array([FOREIGN * k.signs.foreign for k in (*right, *wrong)])
    weights = np.concatenate([_weights(right), _weights(wrong)]) / 2
    is_there = np.arange(len(rows)) < len(right)

    def loss(line: NDArray[np.float64]) -> float:
        odds = rows @ line + foreign
        held = RESTRAINT / 2 * float((line[1:] ** 2).sum())
        return float((weights * (np.logaddexp(0, odds) - is_there * odds)).sum()) + held

    return [round(float(v), 4) for v in minimize(loss, np.zeros(rows.shape[1]), method="BFGS").x]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write a run's averaged weights as a network file.")
    parser.add_argument("run", type=Path, help="a run's folder, or a network file")
    parser.add_argument("output", type=Path)
    parser.add_argument("--network", default="small")
    parser.add_argument("--mean", type=Path, metavar="FILE", help="another network file: the mean of both is written")
    parser.add_argument("--calibration", type=Path, nargs=2, metavar=("REPORT", "PROBES"))
    arguments = parser.parse_args()
    known = None
    if arguments.calibration is not None:
        shown, probed = (json.loads(path.read_text()) for path in arguments.calibration)
        known = calibrated(shown, probed)
        print(known)
        for name, points in lost(shown, known).items():
            print(f"{name}: {points:.1f} points of mean Dice are lost by what is left empty")
        kept = sum(not known.none_there(k.signs) for k in absent(probed))
        print(f"without the object: {kept} of {len(absent(probed))} classes that were found stay")
    publish(arguments.run, arguments.output, arguments.network, known, arguments.mean)
