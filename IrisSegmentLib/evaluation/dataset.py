"""A labelled set: a folder with `dataset.json` and, per case, `CASE_image.nii.gz` and `CASE_label.nii.gz`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ..errors import IrisError
from ..imaging.files import read_segmentation, read_volume
from ..imaging.volume import Segmentation, Volume


@dataclass(frozen=True)
class LabelledSet:
    """
    :param classes: names by label value.
    :param cases: case names by split (train, val, test).
    """

    folder: Path
    name: str
    modality: str
    classes: dict[int, str]
    cases: dict[str, list[str]]

    @classmethod
    def read(cls, folder: str | Path) -> LabelledSet:
        """:raises IrisError: when there is no usable `dataset.json`, or the set has no images."""
        folder = Path(folder)
        path = folder / "dataset.json"
        if not path.is_file():
            raise IrisError(f"'{folder}' is not a labelled set: it has no dataset.json; choose another.")
        try:
            words = json.loads(path.read_text())
            classes = {int(k): str(v) for k, v in words["classes"].items()}
            cases = {str(split): [str(c) for c in names] for split, names in words["cases"].items()}
            if any(Path(case).name != case or case == ".." for names in cases.values() for case in names):
                raise ValueError("a case outside the folder")
            return cls(folder, str(words["name"]), str(words.get("modality", "")), classes, cases)
        except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            raise IrisError(f"'{path}' does not name classes and cases as a labelled set must; correct it.") from error

    def split(self, name: str) -> list[str]:
        """:raises IrisError: for a split that the set does not have."""
        if not self.cases.get(name):
            raise IrisError(f"'{self.name}' has no '{name}' cases; it has {', '.join(self.cases)}.")
        return self.cases[name]

    def paths(self, case: str) -> tuple[Path, Path]:
        """Of its image and of its label."""
        return self.folder / f"{case}_image.nii.gz", self.folder / f"{case}_label.nii.gz"

    def image(self, case: str) -> Volume:
        return read_volume(self.paths(case)[0])

    def label(self, case: str) -> Segmentation:
        """The segments that the case has, named by the set."""
        return read_segmentation(self.paths(case)[1], self.classes)


def find_sets(data: str | Path) -> list[LabelledSet]:
    """The set of a folder, or all sets in its subfolders that have images.

    :raises IrisError: when there is none.
    """
    data = Path(data)
    if (data / "dataset.json").is_file():
        return [LabelledSet.read(data)]
    sets = []
    for path in sorted(data.glob("*/dataset.json")):
        if any(path.parent.glob("*_image.nii.gz")):
            sets.append(LabelledSet.read(path.parent))
    if not sets:
        raise IrisError(f"No labelled set was found in '{data}'; give a folder that holds a dataset.json.")
    return sets
