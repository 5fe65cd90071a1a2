"""One case: read, segment, write the result and its record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..context.preset import Preset
from ..engine import Engine
from ..errors import IrisError
from ..imaging.dicom.segout import Maker
from ..imaging.files import check_dicom, read_volume, writer
from .cases import Case
from .identity import identity, stamp_of
from .outcome import DONE, Outcome
from .picture import picture_of
from .records import Records


class Segmenting:
    """
    :param preset: as `Preset.to_bytes` gives it; task: its `task_hash`.
    :param network, device: as for `Engine`; output: the folder of results.
    :param dicom: results are DICOM SEG.
    """

    def __init__(
        self, preset: bytes, task: str, network: Path | None, device: str, output: Path, dicom: bool = False
    ) -> None:
        self._preset, self._task, self._network, self._device = preset, task, network, device
        self._dicom, self._records = dicom, Records(output, dicom)

    def prepare(self) -> None:
        self._engine = Engine(self._network, self._device)
        self._made = Preset.from_bytes(self._preset, "the preset")
        self._engine.check(self._made)

    def do(self, case: Case) -> Outcome:
        """:raises IrisError: when the result cannot be written."""
        stamp = stamp_of(case.image)
        try:
            if self._dicom:
                check_dicom(self._records.result(case.name), case.image)
            image = read_volume(case.image)
            content = identity(image, self._task)
            known = self._records.finished_by(case, content)
            if known is None:
                result = self._engine.segment(image, self._made)
                maker = Maker(self._made.network, self._made.name)
                write = writer(result.segmentation, self._records.part(case.name), case.image, maker)
        except IrisError as error:
            return self._records.set_aside(Outcome.aside(case, stamp, self._task, str(error)))
        if known is not None:
            known = replace(known, stamp=stamp, image=str(case.image))
            self._records.put(known)
            return known.bare()
        if self._records.in_the_way(case.name):
            name = self._records.result(case.name).name
            words = f"'{name}' was changed by a person, or is not of a run here; move it away to have it made again."
            return self._records.set_aside(Outcome.aside(case, stamp, self._task, words))
        outcome = Outcome(
            case.name, str(case.image), stamp, self._task, DONE, identity=content,
            segments=tuple(s.name for s in self._made.segments), confidence=result.confidence,
            volumes_ml=result.volumes_ml, notes=tuple(result.words(n) for n in range(len(self._made.segments))),
            seconds=result.seconds, picture=picture_of(image, result.segmentation),
        )  # fmt: skip
        return self._records.keep(outcome, write).bare()
