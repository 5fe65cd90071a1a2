"""Segment by example: mark one volume, encode it, segment the others. The work happens in IrisSegmentLib."""

import importlib.util
import sys
from pathlib import Path

import ctk  # noqa: F401  (the panel's .ui file needs its widgets registered)
import qt
import slicer
import vtk
from slicer import vtkMRMLMarkupsROINode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class IrisSegment(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Iris Segment")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.contributors = ["The IrisSegment team"]
        self.parent.helpText = _(
            "Mark one volume with a segmentation, click Encode reference, tick other volumes, click Segment all. "
            "The learned task can be saved as a preset and used later without the reference."
        )
        self.parent.acknowledgementText = _(
            "The method is Iris, by Gao and others: Show and Segment: Universal Medical Image Segmentation via "
            "In-Context Learning, CVPR 2025. For research; not for clinical decisions."
        )
        # From a source tree the library lies beside this module's folder, which Slicer does not look into.
        if importlib.util.find_spec("IrisSegmentLib") is None:
            sys.path.append(str(Path(__file__).resolve().parents[1]))
        from IrisSegmentLib.slicer.startup import register

        slicer.app.connect("startupCompleted()", lambda: register(Path(__file__).resolve().parent))


@parameterNodeWrapper
class IrisSegmentParameterNode:
    """
    What a person chose in this scene.

    referenceVolume - The marked volume.
    referenceSegmentation - What is marked in it.
    presetName - What the learned task is called; empty for the segmentation's name.
    region - Outside of it nothing is segmented.
    destination - The segmentation to add results to; none for a new one each.
    """

    referenceVolume: vtkMRMLScalarVolumeNode
    referenceSegmentation: vtkMRMLSegmentationNode
    presetName: str = ""
    region: vtkMRMLMarkupsROINode
    destination: vtkMRMLSegmentationNode


class IrisSegmentWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Puts the panel together from its sections (IrisSegmentLib/slicer/panels) and follows the scene's life."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = self._soon = self._ahead = self._parameterNode = self._parameterNodeGuiTag = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/IrisSegment.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = IrisSegmentLogic()
        self._setUpSections()

        # Nodes come by the dozen when a study is loaded: show them once, when that is over.
        self._soon = qt.QTimer()
        self._soon.setSingleShot(True)
        self._soon.setInterval(0)
        self._soon.connect("timeout()", self.targets.show)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndImportEvent):
            self.addObserver(scene, event, self._onSceneChanged)
        self.initializeParameterNode()
        self.presets.show()
        self.network.show()
        from IrisSegmentLib.slicer.ahead import Ahead

        self._ahead = Ahead()

    def _setUpSections(self):
        from IrisSegmentLib.slicer.panels.atlas import AtlasPanel
        from IrisSegmentLib.slicer.panels.diagnostics import DiagnosticsPanel
        from IrisSegmentLib.slicer.panels.drop import DropFilter
        from IrisSegmentLib.slicer.panels.fit import FitPanel
        from IrisSegmentLib.slicer.panels.learn import LearnPanel
        from IrisSegmentLib.slicer.panels.library import LibraryPanel
        from IrisSegmentLib.slicer.panels.network import NetworkPanel
        from IrisSegmentLib.slicer.panels.presets import PresetsPanel
        from IrisSegmentLib.slicer.panels.progress import ProgressPanel
        from IrisSegmentLib.slicer.panels.reference import ReferencePanel
        from IrisSegmentLib.slicer.panels.review import ReviewPanel
        from IrisSegmentLib.slicer.panels.strategy import StrategyPanel
        from IrisSegmentLib.slicer.panels.targets import TargetsPanel

        ui, logic, changed, part = self.ui, self.logic, self._updateButtons, slicer.util.childWidgetVariables
        self.progress = ProgressPanel(part(ui.progressSection), logic, changed)
        self.reference = ReferencePanel(
            part(ui.referenceSection), logic, self.progress, lambda preset: self.presets.show(), changed
        )
        self.presets = PresetsPanel(part(ui.presetsSection), logic, logic.shelf, self.progress, self.reference, changed)
        self.strategy = StrategyPanel(part(ui.advancedSection), changed)
        self.targets = TargetsPanel(
            part(ui.targetsSection), logic, self.progress, self.presets.current, lambda: self.reference.volume,
            self.strategy.wish, changed,
        )  # fmt: skip
        self.review = ReviewPanel(part(ui.reviewSection), self.progress, changed)
        self.learn = LearnPanel(
            part(ui.learnSection), logic, self.progress, self.review, self.presets, self._segmentOnly, changed
        )
        self.library = LibraryPanel(part(ui.librarySection), logic, logic.shelf, self.progress, self.presets, changed)
        self.atlas = AtlasPanel(part(ui.mapSection), self.progress, self.presets, self.library, changed)
        self.fit = FitPanel(part(ui.presetsSection), self.presets.current, self.targets.ticked)
        self.dropFilter = DropFilter(self.parent, self.library.take)
        self.diagnostics = DiagnosticsPanel(part(ui.advancedSection), self.progress)
        logic.onNote = self.progress.note
        self.network = NetworkPanel(part(ui.advancedSection), logic, self.progress, changed)
        self.sections = (
            self.reference, self.presets, self.strategy, self.targets, self.progress, self.review, self.learn,
            self.library, self.atlas, self.fit, self.network,
        )  # fmt: skip

    def _updateButtons(self):
        self.review.show()
        for section in self.sections:
            section.updateButtons()

    def segmentWith(self, choice, nodes):
        """Segment volumes or sequences, and no others, with a preset that was chosen elsewhere in Slicer."""
        with self.progress.errorsInWords():
            self.presets.show(select=choice.preset(self.logic))
            self._segmentOnly(nodes)

    def _segmentOnly(self, nodes):
        self.targets.tickOnly(nodes)
        self.targets.segmentAll()

    # Life of the panel

    def enter(self):
        self.initializeParameterNode()

    def exit(self):
        # Work goes on and tells of itself in the hidden panel, so nothing is cleared; enter() shows what changed.
        self._disconnectParameterNode()

    def cleanup(self):
        self.logic.close()  # what runs says that it is stopped while there still is a panel to say it in
        self._disconnectParameterNode()
        self.removeObservers()
        for section in (self.reference, self.review, self.fit, self.atlas):
            section.close()
        self._soon.stop()
        self._ahead.close()

    def onReload(self):
        presets = self.logic.shelf.pack()  # the classes that they are of are about to go
        self.logic.close()
        for name in [n for n in sys.modules if n == "IrisSegmentLib" or n.startswith("IrisSegmentLib.")]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)
        fresh = slicer.modules.IrisSegmentWidget
        fresh.logic.shelf.unpack(presets)
        fresh.presets.show()

    def onSceneStartClose(self, caller=None, event=None):
        self.logic.cancel()
        self.setParameterNode(None)

    def onSceneEndClose(self, caller=None, event=None):
        for section in (self.targets, self.learn, self.atlas):
            section.forget()
        if self.parent.isEntered:
            self.initializeParameterNode()
        self.targets.show()

    def _onSceneChanged(self, caller=None, event=None):
        self._soon.start()

    def initializeParameterNode(self):
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, parameterNode):
        self._disconnectParameterNode()
        self._parameterNode = parameterNode
        if parameterNode is not None:
            self._parameterNodeGuiTag = parameterNode.connectGui(self.ui)
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParametersChanged)
        self._onParametersChanged()

    def _disconnectParameterNode(self):
        if self._parameterNodeGuiTag is not None:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self._parameterNodeGuiTag = None
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParametersChanged)

    def _onParametersChanged(self, caller=None, event=None):
        self.reference.show(self._parameterNode)
        self.targets.show()


class IrisSegmentLogic(ScriptedLoadableModuleLogic):
    """The module's verbs without its panel.

    Example::

        logic = IrisSegmentLogic()
        preset = logic.makePreset(volumeNode, segmentationNode, "liver")  # or logic.loadPreset("liver.iris")
        segmentationNodes = logic.process(preset, [otherVolumeNode, anotherVolumeNode])
        logic.savePreset(preset, "liver.iris")
        logic.close()

    `makePreset` and `process` wait, while Slicer stays alive; `encode` and `segmentAll` return at once and call back.
    """

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        from IrisSegmentLib.slicer.shelf import PresetShelf

        self.shelf = PresetShelf()
        self._session = self._sessionSettings = self._fetcher = None
        self.onNote = lambda sentence: None  # told what a person should read, whatever comes of the work

    def getParameterNode(self):
        return IrisSegmentParameterNode(super().getParameterNode())

    @property
    def presets(self):
        return self.shelf.presets

    @property
    def busy(self):
        return self._session is not None and self._session.busy

    @property
    def started(self):
        """Whether the background process is there."""
        return self._session is not None and self._session.started

    def makePreset(self, volumeNode, segmentationNode, name, segmentIDs=None):
        """Learn a preset from a marked volume, of all segments unless told, and wait for it.

        :raises IrisError: for a reference that cannot be learned from, or when packages are declined.
        """
        from IrisSegmentLib.slicer import scripted

        return scripted.makePreset(self, volumeNode, segmentationNode, segmentIDs, name)

    def process(self, preset, nodes, wish=None):
        """Segment volumes and sequences, and wait for it; returns a result node for each, in their order.

        :raises IrisError: when one of them failed; what the others gave is in the scene.
        """
        from IrisSegmentLib.slicer import scripted

        return scripted.process(self, preset, nodes, wish)

    def encode(self, volumeNode, segmentationNode, segmentIDs, name, onProgress, onDone, onError):
        """Learn a preset in the background; it joins `presets` before ``onDone(preset)``.

        :raises IrisError: at once, for a reference that cannot be learned from, or when packages are declined.
        """

        def done(preset):
            self.shelf.put(preset, volumeName)
            onDone(preset)

        volumeName = volumeNode.GetName()
        return self._ready().encode(volumeNode, segmentationNode, segmentIDs, name, onProgress, done, onError)

    def addReference(self, preset, volumeNode, segmentationNode, segmentIDs, onProgress, onDone, onError):
        """Learn one more reference of a preset in the background; the grown preset takes its place in `presets` before
        ``onDone(preset)``. :raises IrisError: at once, when the segments are not those of the preset, and as `encode`.
        """

        def done(grown):
            self.shelf.replace(preset, grown, volumeName)
            onDone(grown)

        volumeName, session = volumeNode.GetName(), self._ready()
        return session.addReference(preset, volumeNode, segmentationNode, segmentIDs, onProgress, done, onError)

    def learn(self, preset, case, cases, onProgress, onCurve, onDone, onError):
        """Learn from a corrected `Case` in the background: as one more reference, or with ``cases`` by tuning to them.
        What became of the preset takes its place in `presets` before ``onDone(learned)``.

        :raises IrisError: at once, for a case that cannot be learned from, or when packages are declined.
        """

        def done(learned):
            self.shelf.replace(preset, learned.preset, volumeName if cases is None else "")
            onDone(learned)

        volumeName = case.volumeNode.GetName()
        self._ready().learn(preset, case, cases, onProgress, onCurve, done, onError)

    def look(self, volumeNode, onProgress, onDone, onError):
        """What a volume looks like to the network, asked likewise: ``onDone(look)``. :raises IrisError: as `encode`."""
        return self._ready().look(volumeNode, onProgress, onDone, onError)

    def describe(self, onDone, onError):
        """Who computes, asked in the background: ``onDone(description)``. :raises IrisError: as `encode`."""
        return self._ready().describe(onDone, onError)

    def segmentAll(self, preset, nodes, onTarget, onFinished, wish=None):
        """Segment volumes, and sequences of volumes, in the background: ``onTarget(nodeID, state, fraction, words)`` as
        they fare. The `wish` says how, and where the results go; by default beside each volume."""
        self._ready().segmentAll(preset, nodes, onTarget, onFinished, wish)

    def cancelTarget(self, nodeID):
        """Stop one target; the others go on."""
        if self._session is not None:
            self._session.cancelTarget(nodeID)

    def cancel(self):
        if self._session is not None:
            self._session.cancel()

    @property
    def fetching(self):
        return self._fetcher is not None and self._fetcher.busy

    def fetchNetwork(self, source, checksum, onProgress, onDone, onError):
        """Get a network from a web address or a file in the background: ``onDone(networkFile)`` when it can be used.

        :raises IrisError: at once, when packages are declined.
        """
        from IrisSegmentLib.slicer import settings

        self.ensurePackages()
        if self._fetcher is None:
            from IrisSegmentLib.slicer.fetch import NetworkFetcher

            self._fetcher = NetworkFetcher()

        def done(found):
            self._sessionSettings = None  # even under the same name it may be another network
            onDone(found)

        self._fetcher.fetch(source, settings.networkFolder(), checksum, onProgress, done, onError)

    def cancelFetching(self):
        if self._fetcher is not None:
            self._fetcher.cancel()

    def close(self):
        """End the worker processes."""
        for worker in (self._session, self._fetcher):
            if worker is not None:
                worker.close()
        self._session = self._fetcher = None

    def savePreset(self, preset, path):
        """:raises IrisError: when the file cannot be written."""
        preset.save(path)

    def loadPreset(self, path):
        """:raises IrisError: when the file is missing, damaged or no preset, or when packages are declined."""
        self.ensurePackages()
        return self.shelf.load(path)

    def ensurePackages(self):
        """:raises IrisError: when what computing needs is not there and the person declines to install it."""
        from IrisSegmentLib.slicer.install import ensurePackages

        ensurePackages(Path(__file__).parent / "Resources" / "requirements.txt")

    def _ready(self):
        """The session, with its packages there and its worker on call; a new one when the settings were changed."""
        from IrisSegmentLib.slicer import settings

        wanted = (settings.network(), settings.device(), settings.server())
        if self._session is not None and not self._session.busy and self._sessionSettings != wanted:
            self._session.close()
            self._session = None
        if self._session is None:
            self.ensurePackages()
            from IrisSegmentLib.slicer.session import Session

            self._session = Session(*wanted, onNote=lambda sentence: self.onNote(sentence))
            self._sessionSettings = wanted
        return self._session


class IrisSegmentTest(ScriptedLoadableModuleTest):
    """Reload and Test: the sample cases, one marked, one segmented."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.test_sampleCases()

    def test_sampleCases(self):
        from IrisSegmentLib.slicer.startup import resourcesFolder

        samples = resourcesFolder(Path(__file__).resolve().parent) / "SampleCases" / "hippocampus"
        cases = sorted(samples.glob("*_image.nii.gz"))[:2]
        volumes = [slicer.util.loadVolume(str(path)) for path in cases]
        label = str(cases[0]).replace("_image", "_label")
        segmentation = slicer.util.loadSegmentation(label)
        logic = IrisSegmentLogic()
        try:
            preset = logic.makePreset(volumes[0], segmentation, "test")
            (result,) = logic.process(preset, volumes[1:])
            self.assertEqual(result.GetSegmentation().GetNumberOfSegments(), 2)
        finally:
            logic.close()
        self.delayDisplay("Test passed")
