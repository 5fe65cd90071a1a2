"""The effect "Iris": one click fills the empty segments of the current segmentation from a preset."""

import os

import qt
import slicer
from SegmentEditorEffects import AbstractScriptedSegmentEditorEffect
from slicer.i18n import tr as _


class SegmentEditorEffect(AbstractScriptedSegmentEditorEffect):
    """Slicer finds the class by its file's name, and loads the file by itself: nothing here is imported relatively."""

    def __init__(self, scriptedEffect):
        scriptedEffect.name = "Iris"
        scriptedEffect.perSegment = False  # all empty segments at once
        scriptedEffect.requireSegments = True
        AbstractScriptedSegmentEditorEffect.__init__(self, scriptedEffect)
        self._choices = []

    def clone(self):
        import qSlicerSegmentationsEditorEffectsPythonQt as effects

        clone = effects.qSlicerSegmentEditorScriptedEffect(None)
        clone.setPythonSource(__file__.replace("\\", "/"))
        return clone

    def icon(self):
        return qt.QIcon(os.path.join(os.path.dirname(__file__), "SegmentEditorEffect.png"))

    def helpText(self):
        return _(
            "Fills empty segments whose names an Iris preset knows. Segments that are not empty stay as they are. "
            "Presets are made in the module Iris Segment."
        )

    def setupOptionsFrame(self):
        self.presetBox = qt.QComboBox()
        self.presetBox.toolTip = _("The preset that knows the segments.")
        self.scriptedEffect.addLabeledOptionsWidget(_("Preset:"), self.presetBox)
        self.fillButton = qt.QPushButton(_("Fill empty segments"))
        self.scriptedEffect.addOptionsWidget(self.fillButton)
        self.statusLabel = qt.QLabel()
        self.statusLabel.wordWrap = True
        self.scriptedEffect.addOptionsWidget(self.statusLabel)
        self.fillButton.connect("clicked(bool)", self.onApply)

    def activate(self):
        """Show the presets that there are now."""
        from IrisSegmentLib.slicer.presetchoice import presetChoices

        self._choices = presetChoices(self._logic())
        self.presetBox.clear()
        for choice in self._choices:
            self.presetBox.addItem(choice.name)
        self.fillButton.enabled = bool(self._choices)
        self.statusLabel.text = "" if self._choices else _("There is no preset yet: make one in Iris Segment.")

    def createCursor(self, widget):
        return slicer.util.mainWindow().cursor

    def onApply(self):
        from IrisSegmentLib.errors import IrisError
        from IrisSegmentLib.slicer.existing import ExistingSegmentation
        from IrisSegmentLib.slicer.wish import Wish

        parameters = self.scriptedEffect.parameterSetNode()
        volume, segmentation = parameters.GetSourceVolumeNode(), parameters.GetSegmentationNode()
        if volume is None:
            self.statusLabel.text = _("Choose a source volume first.")
            return
        destination = ExistingSegmentation(segmentation, self.scriptedEffect.saveStateForUndo)
        try:
            preset = self._choices[self.presetBox.currentIndex].preset(self._logic())
            wish = Wish(destination=destination, onlyEmpty=True)
            self.fillButton.enabled = False
            self._logic().segmentAll(preset, [volume], self._onTarget, self._onFinished, wish)
        except IrisError as error:
            self.statusLabel.text = str(error)
            self._onFinished()

    def _onTarget(self, nodeID, state, fraction, words):
        if state == "running":
            words = _("{words} {percent} %").format(words=words, percent=int(100 * fraction))
        self.statusLabel.text = {"cancelled": _("Stopped."), "done": _("Filled: {words}").format(words=words)}.get(
            state, words
        )

    def _onFinished(self):
        self.fillButton.enabled = True

    def _logic(self):
        return slicer.util.getModuleWidget("IrisSegment").logic
