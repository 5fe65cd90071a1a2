"""What happens to a segmentation when its target is not as it should be: turned, larger, in thick slices, or without
the object at all; and when reference and target are alike, but as no training scan is before it is augmented."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..context.preset import Preset
from ..engine import Engine, Result
from ..imaging.orientation import Orientation
from ..imaging.volume import Segment, Segmentation, Volume
from ..training.cases import read_case
from ..training.regions import TOLD, alike
from .dataset import LabelledSet
from .metrics import dice
from .references import References
from .report import aligned, mean_dice

Case = tuple[Volume, Segmentation]
MISPLACED = "reference marked beside the object"
UNNAMED = "a region that no label names"
FALSE_ML = 1.0  # of foreground where there is none, from which on it counts as a false alarm


def turned(image: Volume, truth: Segmentation) -> Case:
    """The patient lies turned by 20 degrees about the axis from feet to head; the grid stays."""
    angle = np.radians(20)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    middle = np.eye(4)
    middle[:3, 3] = (image.affine @ [*(np.array(image.shape) - 1) / 2, 1])[:3]
    index = np.linalg.inv(image.affine) @ middle @ turn @ np.linalg.inv(middle) @ image.affine
    array = _resampled(image.array.astype(np.float32), index, sitk.sitkLinear)
    layers = np.stack([_resampled(layer, index, sitk.sitkNearestNeighbor) for layer in truth.layers])
    return replace(image, array=array), replace(truth, layers=layers)


def scaled(factor: float) -> Callable[[Volume, Segmentation], Case]:
    """The same patient, so many times as large."""

    def change(image: Volume, truth: Segmentation) -> Case:
        affine = image.affine @ np.diag([factor, factor, factor, 1.0])
        return replace(image, affine=affine), replace(truth, affine=affine)

    return change


def thick(image: Volume, truth: Segmentation) -> Case:
    """Four slices along the axis of the coarsest voxels are one; a voxel has the label that most of the four have."""
    axis = int(np.argmax(image.spacing))
    count = image.shape[axis] // 4
    if count < 2:
        return image, truth
    step = np.eye(4)
    step[axis, axis], step[axis, 3] = 4.0, 1.5
    array = _by_four(image.array, axis, count).mean(axis + 1)
    layers = np.stack([np.sort(_by_four(layer, axis, count), axis + 1).take(2, axis + 1) for layer in truth.layers])
    affine = image.affine @ step
    return replace(image, array=array.astype(np.float32), affine=affine), replace(truth, layers=layers, affine=affine)


def inverted(image: Volume, truth: Segmentation) -> Case:
    """Bright is dark."""
    low, high = (float(v) for v in np.percentile(image.array, [0.5, 99.5]))
    return replace(image, array=(low + high - image.array.clip(low, high)).astype(np.float32)), truth


def cut(image: Volume, truth: Segmentation) -> Case:
    """A fifth of the field of view is missing on the side where the object is farther from the border."""
    filled = np.argwhere(np.isin(truth.layers, [s.label for s in truth.segments]).any(0))
    low, high = filled.min(0), np.array(image.shape) - 1 - filled.max(0)
    axis = int(np.argmax(np.maximum(low, high) / image.shape))
    lost, start = image.shape[axis] // 5, np.zeros(3)
    keep = [slice(None)] * 3
    if low[axis] > high[axis]:
        keep[axis], start[axis] = slice(lost, None), lost
    else:
        keep[axis] = slice(None, image.shape[axis] - lost)
    affine = image.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ start
    kept = replace(image, array=image.array[tuple(keep)], affine=affine)
    return kept, replace(truth, layers=truth.layers[(slice(None), *keep)], affine=affine)


def laid_across(image: Volume, truth: Segmentation) -> Case:
    """The patient lies as none does: right is where the front was, the front where the head was."""
    across = np.eye(4)[[1, 2, 0, 3]]
    return replace(image, affine=across @ image.affine), replace(truth, affine=across @ truth.affine)


def cropped(image: Volume, truth: Segmentation) -> Case:
    """Only the box around the object, 1.5 times as wide, is given: nothing has to be found in a whole scan."""
    filled = np.argwhere(np.isin(truth.layers, [s.label for s in truth.segments]).any(0))
    low, high = filled.min(0), filled.max(0) + 1
    rim = np.ceil(0.25 * (high - low)).astype(int)
    low, high = np.maximum(low - rim, 0), np.minimum(high + rim, image.shape)
    keep = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    affine = image.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ low
    kept = replace(image, array=image.array[keep], affine=affine)
    return kept, replace(truth, layers=truth.layers[(slice(None), *keep)], affine=affine)


def beside(marked: Segmentation) -> Segmentation:
    """A reference marked in the wrong place: moved by the object's own length, or as far as the scan lets it, along the
    axis with the most room."""
    filled = np.argwhere(np.isin(marked.layers, [s.label for s in marked.segments]).any(0))
    low, high = filled.min(0), np.array(marked.shape) - 1 - filled.max(0)
    room, length = np.maximum(low, high), np.ptp(filled, axis=0) + 1
    axis = int(np.argmax(room / length))
    by = min(int(length[axis]), int(room[axis])) * (-1 if low[axis] > high[axis] else 1)
    return replace(marked, layers=np.roll(marked.layers, by, axis + 1))


def unnamed(labelled: LabelledSet, reference: str, case: str, seed: int) -> tuple[Segmentation, Segmentation] | None:
    """A region that no label names, in a reference and in a target of a set (`regions.alike`); None where the set's
    labels do not tell where one is, or none was found alike in both."""
    if labelled.folder.name not in TOLD:
        return None
    cases = [read_case(labelled.folder, name) for name in (reference, case)]
    found = alike(cases, 1, np.random.default_rng([seed, *case.encode()]), 100)
    if not found:
        return None
    here, there = (
        Segmentation(
            Orientation.of(label.affine).from_canonical(mask.numpy())[None].astype(np.uint8), label.affine,
            (Segment("region", (1.0, 1.0, 0.0), label=1),), label.name,
        )
        for mask, label in zip(found[0], map(labelled.label, (reference, case)), strict=True)
    )  # fmt: skip
    return here, there


PROBES: dict[str, Callable[[Volume, Segmentation], Case]] = {
    "as it is": lambda image, truth: (image, truth),
    "turned by 20 degrees": turned,
    "a quarter larger": scaled(1.25),
    "a fifth smaller": scaled(0.8),
    "slices four times as thick": thick,
    "contrast inverted": inverted,
    "a fifth of the view missing": cut,
    "cropped around the object": cropped,
}

# Of the reference and of the target alike: what was asked is as well to be seen as before, but not as it was learned.
BOTH: dict[str, Callable[[Volume, Segmentation], Case]] = {
    "contrast inverted in both": inverted,
    "laid across in both": laid_across,
}


def probe(
    engine: Engine,
    labelled: LabelledSet,
    others: list[LabelledSet],
    split: str = "test",
    *,
    seed: int = 0,
    limit: int | None = None,
    show: Callable[[float, str], None] = lambda fraction, text: None,
) -> dict[str, Any]:
    """One-shot Dice of a set's cases as they are and changed, and how often something is found where nothing is.

    :param others: sets that show nothing of this one's classes; their cases are the targets without the object.
    :return: ``dice`` by probe, and ``expected``, the mean confidence; both also for a reference that was changed as the
        target was (`BOTH`), which is still a good one; for one that was marked beside the object (`MISPLACED`), of
        which little of the object should come, and little be promised; and, where the set allows it, for one of what
        no label names (`UNNAMED`), with ``unnamed``, per target its Dice and what the confidence was told from
        (`Signs`). ``absent``: targets without the object, how many of them got more than
        1 mL in all (``false_alarms``), and per target the volume in mL, and per class confidence and what from.
    :raises IrisError: as `LabelledSet.split`.
    """
    known = References(engine, labelled)
    cases = labelled.split(split)[:limit]
    scores: dict[str, dict[str, dict[str, float]]] = {name: {} for name in (*PROBES, *BOTH, MISPLACED, UNNAMED)}
    promised: dict[str, list[float]] = {name: [] for name in scores}

    def look(name: str, case: str, preset: Preset, seen: Volume, masks: Segmentation) -> Result:
        names, result = [s.name for s in preset.segments], engine.segment(seen, preset)
        promised[name].append(float(np.mean(result.confidence)))
        scores[name][case] = {
            s.name: dice(result.segmentation.mask(names.index(s.name)), masks.mask(k))
            for k, s in enumerate(masks.segments)
            if s.name in names and masks.mask(k).any()
        }
        return result

    def marked(scan: Volume, segmentation: Segmentation) -> Preset:
        return engine.encode(scan, segmentation, name=labelled.name)

    regions: list[dict[str, Any]] = []
    for n, case in enumerate(cases):
        show(n / (len(cases) + len(others)), f"{labelled.name}: {case}")
        (reference,) = known.drawn(f"{seed} {case}", 1)
        image, truth = labelled.image(case), labelled.label(case)
        for name, change in PROBES.items():
            look(name, case, known.preset([reference]), *change(image, truth))
        own = labelled.image(reference), labelled.label(reference)
        for name, change in BOTH.items():
            look(name, case, marked(*change(*own)), *change(image, truth))
        look(MISPLACED, case, marked(own[0], beside(own[1])), image, truth)
        region = unnamed(labelled, reference, case, seed)
        if region is not None:
            (signs,) = look(UNNAMED, case, marked(own[0], region[0]), image, region[1]).signs
            (score,) = scores[UNNAMED][case].values()
            regions.append({"case": case, "dice": score, "signs": asdict(signs)})
    absent: list[dict[str, Any]] = []
    ml: list[float] = []
    for n, other in enumerate(others):
        for case in other.split(split)[:limit]:
            show((len(cases) + n) / (len(cases) + len(others)), f"{labelled.name}: none in {case}")
            result = engine.segment(other.image(case), known.preset(known.drawn(f"{seed} {case}", 1)))
            ml.append(sum(result.volumes_ml))
            absent.append({
                "set": other.name, "case": case, "ml": ml[-1], "confidence": result.confidence,
                "signs": [asdict(s) for s in result.signs],
            })  # fmt: skip
    show(1.0, labelled.name)
    return {
        "set": labelled.name,
        "split": split,
        "seed": seed,
        "network": engine.network.hash,
        "dice": {name: mean_dice(per_case) for name, per_case in scores.items() if per_case},
        "expected": {name: float(np.mean(values)) for name, values in promised.items() if values},
        "cases": len(cases),
        "unnamed": regions,
        "absent": {"targets": len(ml), "false_alarms": sum(v > FALSE_ML for v in ml), "per_target": absent},
    }


def table(results: list[dict[str, Any]]) -> str:
    """Results of several sets as lines to read."""
    rows = [["", *(r["set"] for r in results), "mean"]]
    for name in (*PROBES, *BOTH):
        rows.append(_row(name, [r["dice"][name] for r in results]))
    for name in (MISPLACED, UNNAMED):
        rows.append(_row(name, [r["dice"].get(name) for r in results]))
        rows.append(_row("  Dice to expect then", [r["expected"].get(name) for r in results]))
    alarms = [(r["absent"]["false_alarms"], r["absent"]["targets"]) for r in results]
    found, of = (sum(column) for column in zip(*alarms, strict=True))
    rows.append(["object absent: > 1 mL found", *(f"{a} of {b}" for a, b in alarms), f"{found} of {of}"])
    return aligned(rows)


def _row(name: str, values: Sequence[float | None]) -> list[str]:
    known = [v for v in values if v is not None]
    return [name, *("" if v is None else f"{v:.3f}" for v in values), f"{np.mean(known):.3f}" if known else ""]


def _by_four(array: NDArray, axis: int, count: int) -> NDArray:
    whole = array.take(range(4 * count), axis)
    return whole.reshape(*whole.shape[:axis], count, 4, *whole.shape[axis + 1 :])


def _resampled(array: NDArray, index: NDArray, how: int) -> NDArray:
    """The array (I, J, K) at ``index`` (4, 4) of each voxel; beyond it, its lowest number."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))  # index coordinates: unit spacing, no origin
    place = sitk.AffineTransform(3)
    place.SetMatrix(index[:3, :3].ravel().tolist())
    place.SetTranslation(index[:3, 3].tolist())
    return sitk.GetArrayFromImage(sitk.Resample(image, image, place, how, float(array.min()))).T.astype(array.dtype)
