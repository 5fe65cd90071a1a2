"""The section where a corrected result makes its preset better."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import slicer
from slicer.i18n import tr as _

from ...errors import IrisError
from ..findings import ACCEPTED, Finding
from ..results import isUntouched
from .common import Teller, enable, running
from .curve import curvePixmap

if TYPE_CHECKING:
    from ...context.preset import Preset
    from ..learning import Case, Learned

ENOUGH = 2  # cases that tuning needs
MOST = 5  # that it takes: as many as the paper's, for each is read while Slicer waits


class Learner(Protocol):
    """Who learns from a corrected case."""

    presets: Sequence[Preset]

    @property
    def busy(self) -> bool: ...
    def learn(
        self,
        preset: Preset,
        case: Case,
        cases: Sequence[Case] | None,
        onProgress: Callable[[float, str], None],
        onCurve: Callable[[Sequence[float]], None],
        onDone: Callable[[Learned], None],
        onError: Callable[[str], None],
    ) -> None: ...


class Reviewed(Protocol):
    """Who knows the results: `ReviewPanel`."""

    @property
    def findings(self) -> list[Finding]: ...
    def current(self) -> Finding | None: ...


class Presets(Protocol):
    """Who shows the presets: `PresetsPanel`."""

    def current(self) -> Preset | None: ...
    def show(self, select: Preset | None = None) -> None: ...


class LearnPanel:
    """Add as reference, Tune, what it brought, and the others again.

    :param segmentAgain: called with the volumes to segment with the selected preset.
    :param onChanged: called when something changed that buttons depend on.
    """

    def __init__(
        self,
        ui: Any,
        learner: Learner,
        teller: Teller,
        reviewed: Reviewed,
        presets: Presets,
        segmentAgain: Callable[[list[slicer.vtkMRMLScalarVolumeNode]], None],
        onChanged: Callable[[], None],
    ) -> None:
        self.ui, self._learner, self._teller = ui, learner, teller
        self._reviewed, self._presets, self._segmentAgain, self._onChanged = reviewed, presets, segmentAgain, onChanged
        self._learnedFrom: str | None = None  # node ID of the result that was learned from last
        ui.learnButton.connect("clicked(bool)", lambda: self._learn(tune=False))
        ui.tuneButton.connect("clicked(bool)", lambda: self._learn(tune=True))
        ui.againButton.connect("clicked(bool)", self._again)
        ui.curveLabel.hide()

    def updateButtons(self) -> None:
        finding = self._reviewed.current()
        preset = self._presetOf(finding)
        common = [
            running(self._learner.busy),
            (finding is None, _("Choose a result in the table above.")),
            (preset is None, _("The preset of this result is not in the list; load it first.")),
            (preset is not None and not _isTrusted(finding), _("Correct this result first, or accept it as it is.")),
        ]
        tip = _("Learn the chosen result, as it is now, as one more reference of its preset.")
        enable(self.ui.learnButton, common, tip)
        known = len(self._trusted(preset, finding)) if preset else 0
        few = _("Accept or correct at least two results of this preset first; there are {count}.").format(count=known)
        tip = _("Adjust the preset to the accepted results and the chosen one; kept only if results held back gain.")
        enable(self.ui.tuneButton, [*common, (known < ENOUGH, few)], tip)
        others = self._notAccepted()
        again = [
            running(self._learner.busy),
            (self._learnedFrom is None, _("Learn from a corrected result first.")),
            (not others, _("All other results are accepted.")),
        ]
        words = _("Segment {count} not accepted again") if others else _("Segment the others again")
        self.ui.againButton.text = words.format(count=len(others))
        enable(self.ui.againButton, again, _("Segment with the better preset what is not yet accepted."))

    def forget(self) -> None:
        """The scene was closed."""
        self._learnedFrom = None

    def _presetOf(self, finding: Finding | None) -> Preset | None:
        """The preset that made a result: the selected one if it is of that name."""
        if finding is None:
            return None
        presets = [self._presets.current(), *self._learner.presets]
        return next((p for p in presets if p is not None and p.name == finding.preset), None)

    def _trusted(self, preset: Preset, chosen: Finding) -> list[Finding]:
        """One finding of every result that tuning may believe, the chosen one first: of the others those that are
        accepted as a whole, the least certain first, since there is most to learn from them."""
        byNode: dict[str, list[Finding]] = {}
        for finding in self._reviewed.findings:
            if finding.preset == preset.name:
                byNode.setdefault(finding.nodeID, []).append(finding)
        others = [
            findings[0]
            for nodeID, findings in byNode.items()
            if nodeID != chosen.nodeID and all(f.state == ACCEPTED for f in findings)
        ]
        return [chosen, *others][:MOST]

    def _learn(self, tune: bool) -> None:
        from ..learning import Case

        finding = self._reviewed.current()
        preset = self._presetOf(finding)
        tell = self._teller.begin()
        with self._teller.errorsInWords():
            case = _case(Case, finding, preset)
            cases = [_case(Case, f, preset) for f in self._trusted(preset, finding)] if tune else None
            self._showCurve([])
            self._learner.learn(
                preset, case, cases, tell, self._showCurve,
                lambda learned: self._learned(finding, learned), self._teller.fail,
            )  # fmt: skip

    def _learned(self, finding: Finding, learned: Learned) -> None:
        self._learnedFrom = finding.nodeID
        self._presets.show(select=learned.preset)
        rows = zip(learned.preset.segments, learned.before, learned.after, strict=True)
        parts = [
            _("{segment} {before:.1f} to {after:.1f} %").format(segment=s.name, before=100 * b, after=100 * a)
            for s, b, a in rows
        ]
        words = _("Dice on {target}, before and after: {parts}.").format(target=finding.target, parts=", ".join(parts))
        tuning = _("The preset was {words}").format(words=learned.words) if learned.words else ""
        self.ui.learnLabel.text = f"{words} {tuning}".strip()
        self._showCurve(learned.curve)
        self._teller.end(_("The preset '{name}' has learned.").format(name=learned.preset.name))

    def _showCurve(self, curve: Sequence[float]) -> None:
        """Dice of the results held back while tuning goes on; nothing for fewer than two points."""
        label = self.ui.curveLabel
        label.setVisible(len(curve) > 1)
        if len(curve) > 1:
            label.setPixmap(curvePixmap(curve, label.palette))
            words = _("Dice of the results held back, while tuning goes on: {first:.3f} at first, {best:.3f} at best.")
            label.toolTip = words.format(first=curve[0], best=max(curve))

    def _notAccepted(self) -> list[slicer.vtkMRMLScalarVolumeNode]:
        """Volumes whose result by the same preset waits to be accepted, but for the one that was learned from."""
        preset = self._presets.current()
        found = {
            f.nodeID: f.volumeNode
            for f in self._reviewed.findings
            if preset is not None and f.preset == preset.name and f.state != ACCEPTED and f.nodeID != self._learnedFrom
        }
        return list({volume.GetID(): volume for volume in found.values()}.values())

    def _again(self) -> None:
        self._segmentAgain(self._notAccepted())


def _isTrusted(finding: Finding) -> bool:
    """Whether a person has changed the result or accepted this segment of it: its own answer teaches nothing."""
    return finding.state == ACCEPTED or not isUntouched(finding.node)


def _case(kind: type[Case], finding: Finding, preset: Preset) -> Case:
    """The result of a finding with its preset's segments; what else a person drew into it is left out.

    :raises IrisError: when one of them is missing.
    """
    segmentation = finding.node.GetSegmentation()
    byName = {segmentation.GetSegment(i).GetName(): i for i in segmentation.GetSegmentIDs()}
    missing = [s.name for s in preset.segments if s.name not in byName]
    if missing:
        raise IrisError(f"'{finding.node.GetName()}' has no segment '{missing[0]}' any more; draw or rename it again.")
    return kind(finding.volumeNode, finding.node, [byName[s.name] for s in preset.segments])
