"""Adds the effect "Iris" to the Segment Editor. Hidden: there is nothing of its own to show."""

import os

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule


class SegmentEditorIris(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Segment Editor Iris")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["IrisSegment", "Segmentations"]
        self.parent.contributors = ["The IrisSegment team"]
        self.parent.hidden = True
        self.parent.helpText = _("Adds an effect to the Segment Editor that fills empty segments from an Iris preset.")
        self.parent.acknowledgementText = _("See the module Iris Segment.")
        slicer.app.connect("startupCompleted()", registerEffect)


def registerEffect():
    """Offer the effect in every Segment Editor."""
    import qSlicerSegmentationsEditorEffectsPythonQt as effects

    effect = effects.qSlicerSegmentEditorScriptedEffect(None)
    path = os.path.join(os.path.dirname(__file__), "SegmentEditorIrisLib", "SegmentEditorEffect.py")
    effect.setPythonSource(path.replace("\\", "/"))
    effect.self().register()
