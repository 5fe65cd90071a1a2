"""Segment by example: mark one volume, encode it, segment the others. The work happens in IrisSegmentLib."""

import importlib.util
import logging
import sys
import time
from pathlib import Path

import ctk  # noqa: F401  (the panel's .ui file needs its widgets registered)
import qt
import slicer
import vtk
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
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
        self.parent.dependencies = []
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
        slicer.app.connect("startupCompleted()", registerSampleData)


def resourcesFolder() -> Path:
    """The extension's Resources: beside the module once installed, beside its folder in a source tree."""
    here = Path(__file__).resolve().parent
    places = (here / "Resources", here.parent / "Resources")
    return next((place for place in places if (place / "SampleCases").is_dir()), places[0])


def registerSampleData():
    """Offer the bundled sample cases in the Sample Data module."""
    try:
        import SampleData
    except ModuleNotFoundError:  # a Slicer without that module loses the samples only
        return
    cases = resourcesFolder() / "SampleCases" / "hippocampus"
    for path in sorted(cases.glob("*_image.nii.gz")):
        name = path.name.removesuffix("_image.nii.gz")
        label = path.with_name(f"{name}_label.nii.gz")
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category="IrisSegment",
            sampleName=name,
            uris=[path.as_uri(), label.as_uri()],
            fileNames=[path.name, label.name],
            nodeNames=[name, f"{name} manual"],
            loadFileTypes=["VolumeFile", "SegmentationFile"],
        )


@parameterNodeWrapper
class IrisSegmentParameterNode:
    """
    What a person chose in this scene.

    referenceVolume - The marked volume.
    referenceSegmentation - What is marked in it.
    presetName - What the learned task is called; empty for the segmentation's name.
    """

    referenceVolume: vtkMRMLScalarVolumeNode
    referenceSegmentation: vtkMRMLSegmentationNode
    presetName: str = ""


class IrisSegmentWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    VOLUME, STATE, RESULT = range(3)  # columns of the target table

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        self._observedSegmentation = None
        self._rows = {}  # target volume ID: (state, words)
        self._unticked = set()
        self._workTime, self._fetchTime = _TimeLeft(), _TimeLeft()
        self._consent = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/IrisSegment.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = IrisSegmentLogic()
        self._setUpTargetsTable()
        self._setUpDevices()

        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndImportEvent):
            self.addObserver(scene, event, self._onSceneChanged)

        self.ui.encodeButton.connect("clicked(bool)", self.onEncode)
        self.ui.segmentButton.connect("clicked(bool)", self.onSegmentAll)
        self.ui.cancelButton.connect("clicked(bool)", self.onCancel)
        self.ui.publicNetworkButton.connect("clicked(bool)", self.onGetPublicNetwork)
        self.ui.otherNetworkButton.connect("clicked(bool)", self.onUseAnotherNetwork)
        self.ui.bundledNetworkButton.connect("clicked(bool)", self.onUseBundledNetwork)
        self.ui.removeDownloadsButton.connect("clicked(bool)", self.onRemoveDownloads)
        self.ui.loadPresetButton.connect("clicked(bool)", self.onLoadPreset)
        self.ui.savePresetButton.connect("clicked(bool)", self.onSavePreset)
        self.ui.removePresetButton.connect("clicked(bool)", self.onRemovePreset)
        self.ui.addReferenceButton.connect("clicked(bool)", self.onAddReference)
        self.ui.presetsList.connect("currentRowChanged(int)", self._onPresetSelected)
        self.ui.referencesList.connect("itemChanged(QListWidgetItem*)", self._onReferenceTicked)
        self.ui.segmentsList.connect("itemChanged(QListWidgetItem*)", self._updateButtons)
        self.ui.targetsTable.connect("itemChanged(QTableWidgetItem*)", self._onTargetTicked)
        self.initializeParameterNode()
        self._showTargets()
        self._showPresets()
        self._showNetwork()

    def _setUpDevices(self):
        from IrisSegmentLib.slicer import settings

        names = {"auto": _("Automatic"), "cpu": _("Processor (CPU)"), "cuda": _("Graphics card (CUDA)")}
        for device in settings.DEVICES:
            self.ui.deviceBox.addItem(names[device], device)
        self.ui.deviceBox.setCurrentIndex(settings.DEVICES.index(settings.device()))
        self.ui.deviceBox.connect("currentIndexChanged(int)", lambda row: settings.useDevice(settings.DEVICES[row]))

    def _setUpTargetsTable(self):
        table = self.ui.targetsTable
        table.setColumnCount(3)
        table.setHorizontalHeaderLabels([_("Volume"), _("State"), _("Result")])
        table.verticalHeader().hide()
        header = table.horizontalHeader()
        header.setSectionResizeMode(self.VOLUME, qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(self.STATE, qt.QHeaderView.ResizeToContents)
        header.setStretchLastSection(True)
        table.setWordWrap(True)

    # Life of the panel

    def cleanup(self):
        self.removeObservers()
        self.logic.close()

    def enter(self):
        self.initializeParameterNode()

    def exit(self):
        self.setParameterNode(None)

    def onReload(self):
        self.logic.close()
        for name in [n for n in sys.modules if n == "IrisSegmentLib" or n.startswith("IrisSegmentLib.")]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def onSceneStartClose(self, caller=None, event=None):
        self.logic.cancel()
        self.setParameterNode(None)

    def onSceneEndClose(self, caller=None, event=None):
        self._rows.clear()
        self._unticked.clear()
        if self.parent.isEntered:
            self.initializeParameterNode()
        self._showTargets()

    def initializeParameterNode(self):
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, parameterNode):
        if self._parameterNode:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParametersChanged)
        self._parameterNode = parameterNode
        if self._parameterNode:
            self._parameterNodeGuiTag = self._parameterNode.connectGui(self.ui)
            self.addObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParametersChanged)
        self._onParametersChanged()

    # What the panel shows

    def _onSceneChanged(self, caller=None, event=None):
        # Nodes come by the dozen when a study is loaded: show them once, when that is over.
        qt.QTimer.singleShot(0, self._showTargets)

    def _onParametersChanged(self, caller=None, event=None):
        segmentation = self._parameterNode.referenceSegmentation if self._parameterNode else None
        if segmentation is not self._observedSegmentation:
            if self._observedSegmentation is not None:
                self.removeObservers(self._showSegments)
            self._observedSegmentation = segmentation
            if segmentation is not None:
                for event in (slicer.vtkSegmentation.SegmentAdded, slicer.vtkSegmentation.SegmentRemoved):
                    self.addObserver(segmentation, event, self._showSegments)
            self._showSegments()
        self._showTargets()

    def _showSegments(self, caller=None, event=None):
        items = self.ui.segmentsList
        items.blockSignals(True)
        items.clear()
        node = self._observedSegmentation
        for segmentID in node.GetSegmentation().GetSegmentIDs() if node else ():
            segment = node.GetSegmentation().GetSegment(segmentID)
            item = qt.QListWidgetItem(_colorIcon(segment.GetColor()), segment.GetName())
            item.setData(qt.Qt.UserRole, segmentID)
            item.setCheckState(qt.Qt.Checked)
            items.addItem(item)
        items.blockSignals(False)
        self._updateButtons()

    def _showTargets(self):
        table = self.ui.targetsTable
        table.blockSignals(True)
        volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        volumes = [v for v in volumes if v.GetClassName() == "vtkMRMLScalarVolumeNode" and not v.GetHideFromEditors()]
        reference = self._parameterNode.referenceVolume if self._parameterNode else None
        table.setRowCount(len(volumes))
        for row, volume in enumerate(volumes):
            state, words = self._rows.get(volume.GetID(), ("", ""))
            name = qt.QTableWidgetItem(volume.GetName())
            name.setData(qt.Qt.UserRole, volume.GetID())
            ticked = volume is not reference and volume.GetID() not in self._unticked
            name.setCheckState(qt.Qt.Checked if ticked else qt.Qt.Unchecked)
            table.setItem(row, self.VOLUME, name)
            shown = _("reference") if volume is reference and not state else _STATES.get(state, state)
            table.setItem(row, self.STATE, qt.QTableWidgetItem(shown))
            result = qt.QTableWidgetItem(words)
            result.setToolTip(words)
            table.setItem(row, self.RESULT, result)
        table.blockSignals(False)
        self._updateButtons()

    def _showPresets(self, select=None):
        items = self.ui.presetsList
        items.blockSignals(True)
        items.clear()
        for preset in self.logic.presets:
            items.addItem(preset.name)
        items.blockSignals(False)
        items.setCurrentRow(len(self.logic.presets) - 1 if select is None else select)
        self._onPresetSelected()

    def _onPresetSelected(self, row=None):
        preset = self.currentPreset()
        if preset is None:
            self.ui.presetLabel.text = _("No preset yet: encode a reference or load a preset.")
        else:
            names = ", ".join(segment.name for segment in preset.segments)
            self.ui.presetLabel.text = _("Finds: {segments}").format(segments=names)
        self._showReferences()
        self._updateButtons()

    def _showReferences(self):
        items, preset = self.ui.referencesList, self.currentPreset()
        items.blockSignals(True)
        items.clear()
        for number, reference in enumerate(preset.references if preset else ()):
            volume = self.logic.volumeNameOf(reference)
            words = _("Reference {number}: {volume}") if volume else _("Reference {number}")
            item = qt.QListWidgetItem(words.format(number=number + 1, volume=volume))
            item.setCheckState(qt.Qt.Checked if reference.enabled else qt.Qt.Unchecked)
            items.addItem(item)
        items.blockSignals(False)

    def _onReferenceTicked(self, item):
        row = self.ui.referencesList.row(item)
        self.logic.switchReference(self.currentPreset(), row, item.checkState() == qt.Qt.Checked)
        self._updateButtons()

    def _onTargetTicked(self, item=None):
        for row in range(self.ui.targetsTable.rowCount):
            cell = self.ui.targetsTable.item(row, self.VOLUME)
            if cell is not None:
                change = self._unticked.discard if cell.checkState() == qt.Qt.Checked else self._unticked.add
                change(cell.data(qt.Qt.UserRole))
        self._updateButtons()

    def _updateButtons(self, *unused):
        """Every button says why it is disabled."""
        parameters, busy = self._parameterNode, self.logic.busy
        encode = [
            (busy, _("Wait for the running work, or cancel it.")),
            (not parameters or not parameters.referenceVolume, _("Choose the reference volume.")),
            (not parameters or not parameters.referenceSegmentation, _("Choose the reference segmentation.")),
            (not self.tickedSegments(), _("Tick at least one segment.")),
        ]
        _enable(self.ui.encodeButton, encode, _("Learn the ticked segments from the reference."))
        preset = self.currentPreset()
        add = [(preset is None, _("Encode a first reference or load a preset.")), *encode]
        tip = _("Learn from the reference volume above too: the selected preset then knows one more patient.")
        _enable(self.ui.addReferenceButton, add, tip)
        self.ui.referencesList.enabled = not busy
        segment = [
            (busy, _("Wait for the running work, or cancel it.")),
            (preset is None, _("Encode a reference or load a preset first.")),
            (preset is not None and not any(r.enabled for r in preset.references), _("Tick one of its references.")),
            (not self.tickedTargets(), _("Tick at least one target volume.")),
        ]
        _enable(self.ui.segmentButton, segment, _("Segment every ticked volume with the selected preset."))
        none = [(preset is None, _("There is no preset yet."))]
        _enable(self.ui.savePresetButton, none, _("Save the selected preset to a file; it holds no image."))
        _enable(self.ui.removePresetButton, none, _("Remove the selected preset from this list; files stay."))
        self._updateNetworkButtons(busy)

    def _updateNetworkButtons(self, busy):
        from IrisSegmentLib.slicer import settings

        fetching = self.logic.fetching
        _enable(self.ui.cancelButton, [(not busy and not fetching, _("Nothing is running."))], _("Stop it."))
        running = [(busy or fetching, _("Wait for the running work, or cancel it."))]
        tip = _("Download the large network of the method's authors, for computers with a graphics card.")
        _enable(self.ui.publicNetworkButton, running, tip)
        _enable(self.ui.otherNetworkButton, running, _("Use a network from a file."))
        bundled = [*running, (settings.network() is None, _("The bundled network is in use."))]
        _enable(self.ui.bundledNetworkButton, bundled, _("Go back to the network that came with the extension."))
        downloads = [*running, (not settings.hasDownloads(), _("Nothing was downloaded."))]
        _enable(self.ui.removeDownloadsButton, downloads, _("Remove downloaded networks from this computer."))

    def _showNetwork(self):
        from IrisSegmentLib.slicer import settings

        self.ui.networkLabel.text = _("Network in use: {network}").format(
            network=settings.networkWords() or _("bundled, small, for any computer")
        )
        self.ui.networkLabel.toolTip = str(settings.network() or "")
        self._updateButtons()

    def currentPreset(self):
        row = self.ui.presetsList.currentRow
        return self.logic.presets[row] if 0 <= row < len(self.logic.presets) else None

    def tickedSegments(self):
        items = [self.ui.segmentsList.item(n) for n in range(self.ui.segmentsList.count)]
        return [i.data(qt.Qt.UserRole) for i in items if i.checkState() == qt.Qt.Checked]

    def tickedTargets(self):
        cells = [self.ui.targetsTable.item(row, self.VOLUME) for row in range(self.ui.targetsTable.rowCount)]
        ticked = [c.data(qt.Qt.UserRole) for c in cells if c is not None and c.checkState() == qt.Qt.Checked]
        nodes = [slicer.mrmlScene.GetNodeByID(nodeID) for nodeID in ticked]
        return [node for node in nodes if node is not None]

    # What the buttons do

    def onEncode(self):
        parameters = self._parameterNode
        name = parameters.presetName.strip() or parameters.referenceSegmentation.GetName()
        self._begin()
        with self._errorsInWords():
            self.logic.encode(
                parameters.referenceVolume, parameters.referenceSegmentation, self.tickedSegments(), name,
                self._onProgress, self._onEncoded, self._onFailed,
            )  # fmt: skip
        self._updateButtons()

    def _onEncoded(self, preset):
        self._showPresets()
        self._end(_("The preset '{name}' is ready: tick targets and click Segment all.").format(name=preset.name))

    def onAddReference(self):
        parameters = self._parameterNode
        self._begin()
        with self._errorsInWords():
            self.logic.addReference(
                self.currentPreset(), parameters.referenceVolume, parameters.referenceSegmentation,
                self.tickedSegments(), self._onProgress, self._onReferenceAdded, self._onFailed,
            )  # fmt: skip
        self._updateButtons()

    def _onReferenceAdded(self, preset):
        self._showPresets(select=self.logic.rowOf(preset))
        words = _("The preset '{name}' now knows {count} references.")
        self._end(words.format(name=preset.name, count=len(preset.references)))

    def onSegmentAll(self):
        targets = self.tickedTargets()
        self._begin()
        self._done, self._count = 0, len(targets)
        with self._errorsInWords():
            self.logic.segmentAll(self.currentPreset(), targets, self._onTarget, self._onAllSegmented)
        self._updateButtons()

    def _onTarget(self, volumeID, state, fraction, words):
        if state == "running":
            self._onProgress((self._done + fraction) / max(1, self._count), words)
            words = ""
        elif state != "waiting":
            self._done += 1
        self._rows[volumeID] = (state, words)
        for row in range(self.ui.targetsTable.rowCount):
            if self.ui.targetsTable.item(row, self.VOLUME).data(qt.Qt.UserRole) == volumeID:
                self.ui.targetsTable.item(row, self.STATE).setText(_STATES.get(state, state))
                self.ui.targetsTable.item(row, self.RESULT).setText(words)
                self.ui.targetsTable.item(row, self.RESULT).setToolTip(words)

    def _onAllSegmented(self):
        states = [state for state, words in self._rows.values()]
        words = _("{done} of {count} volumes segmented.").format(done=states.count("done"), count=self._count)
        failures = [words for state, words in self._rows.values() if state == "failed"]
        self._end(" ".join([words, *failures[:1]]))

    def onCancel(self):
        if self.logic.busy:
            self.logic.cancel()
        else:
            self.logic.cancelFetching()
        self._end(_("Stopped."))

    def onGetPublicNetwork(self):
        with self._errorsInWords():
            self.logic.ensurePackages()
            from IrisSegmentLib.slicer.consent import ConsentDialog

            self._consent = ConsentDialog(self.fetchNetwork)
            self._consent.show()

    def onUseAnotherNetwork(self):
        path = qt.QFileDialog.getOpenFileName(None, _("Use another network"), "", _NETWORK_FILES)
        if isinstance(path, (tuple, list)):
            path = path[0]
        if path:
            self.fetchNetwork(path)

    def fetchNetwork(self, source, checksum=""):
        """Get a network from a web address or a file, and use it from then on."""
        self._fetchTime = _TimeLeft()
        self.ui.progressBar.value = 0
        self.ui.statusLabel.text = _("Starting...")
        with self._errorsInWords():
            self.logic.fetchNetwork(source, checksum, self._onFetching, self._onNetworkReady, self._onFailed)
        self._updateButtons()

    def _onFetching(self, fraction, words):
        if not self.logic.busy:  # scans that are segmented meanwhile have the bar
            self._tell(fraction, words, self._fetchTime)

    def _onNetworkReady(self, found):
        from IrisSegmentLib.slicer import settings

        words = _("{name}, {count} million parameters").format(
            name=found.path.stem, count=round(found.parameters / 1e6)
        )
        settings.useNetwork(found.path, words)
        self._showNetwork()
        checksum = found.source_sha256
        grouped = " ".join(checksum[n : n + 8] for n in range(0, len(checksum), 8))
        words = _("The network '{name}' is in use. SHA-256: {checksum}")
        self._end(words.format(name=found.path.stem, checksum=grouped))

    def onUseBundledNetwork(self):
        from IrisSegmentLib.slicer import settings

        settings.useNetwork(None)
        self._showNetwork()
        self._end(_("The bundled network is in use."))

    def onRemoveDownloads(self):
        if slicer.util.confirmOkCancelDisplay(_("Remove the downloaded networks from this computer? Presets stay.")):
            self.removeDownloads()

    def removeDownloads(self):
        from IrisSegmentLib.slicer import settings

        with self._errorsInWords():
            self.logic.close()  # a running worker may hold the file
            settings.removeDownloads()
            self._showNetwork()
            self._end(_("The downloaded files are removed."))

    def onLoadPreset(self):
        path = qt.QFileDialog.getOpenFileName(None, _("Load preset"), str(self.logic.presetFolder()), _PRESET_FILES)
        if isinstance(path, (tuple, list)):  # newer Qt bindings give the filter as well
            path = path[0]
        if path:
            self.loadPreset(path)

    def loadPreset(self, path):
        with self._errorsInWords():
            preset = self.logic.loadPreset(path)
            self._showPresets()
            self._end(_("The preset '{name}' is loaded.").format(name=preset.name))

    def onSavePreset(self):
        suggestion = self.logic.presetFolder() / f"{self.logic.fileStem(self.currentPreset())}.iris"
        path = qt.QFileDialog.getSaveFileName(None, _("Save preset"), str(suggestion), _PRESET_FILES)
        if isinstance(path, (tuple, list)):
            path = path[0]
        if path:
            self.savePreset(path)

    def savePreset(self, path):
        with self._errorsInWords():
            self.logic.savePreset(self.currentPreset(), path)
            self._end(_("The preset is saved as {path}.").format(path=path))

    def onRemovePreset(self):
        self.logic.removePreset(self.currentPreset())
        self._showPresets()

    # How work is told of

    def _begin(self):
        self._workTime = _TimeLeft()
        self.ui.progressBar.value = 0
        self.ui.statusLabel.text = _("Starting...")

    def _onProgress(self, fraction, words):
        self._tell(fraction, words, self._workTime)

    def _tell(self, fraction, words, timeLeft):
        self.ui.progressBar.value = int(100 * fraction)
        left = timeLeft.seconds(fraction)
        if left is not None and left >= 1:
            words = _("{words}, {time} left").format(words=words, time=_inWords(left))
        self.ui.statusLabel.text = words
        self.ui.cancelButton.enabled = True

    def _onFailed(self, sentence):
        self._end(sentence or _("Stopped."))

    def _end(self, words):
        self.ui.statusLabel.text = words
        self.ui.progressBar.value = 0 if self.logic.busy else self.ui.progressBar.value
        self._updateButtons()

    def _errorsInWords(self):
        return _ErrorsInWords(self._onFailed)


class _TimeLeft:
    """Reckons from the first share that was told: a download may go on at half."""

    def __init__(self):
        self._first = None

    def seconds(self, fraction):
        """How long it will still take, or None while nobody can say."""
        now = time.monotonic()
        if self._first is None:
            self._first = (now, fraction)
        began, first = self._first
        if fraction - first < 0.02:
            return None
        return (now - began) * (1 - fraction) / (fraction - first)


class _ErrorsInWords:
    """Bad input becomes a sentence in the panel; programming errors stay loud."""

    def __init__(self, show):
        self._show = show

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        from IrisSegmentLib.errors import IrisError

        if isinstance(error, IrisError):
            logging.info("IrisSegment: %s", error)
            self._show(str(error))
            return True
        return False


_PRESET_FILES = _("Iris presets (*.iris)")
_NETWORK_FILES = _("Networks (*.safetensors *.pth)")
_STATES = {
    "": "",
    "waiting": _("waiting"),
    "running": _("running"),
    "done": _("done"),
    "failed": _("failed"),
    "cancelled": _("stopped"),
}


def _inWords(seconds):
    if seconds < 90:
        return _("{count} s").format(count=round(seconds))
    return _("{count} min").format(count=round(seconds / 60))


def _enable(button, obstacles, tip):
    """Enable a button unless something is in the way, and say which."""
    obstacle = next((words for inTheWay, words in obstacles if inTheWay), None)
    button.enabled = obstacle is None
    button.toolTip = tip if obstacle is None else obstacle


def _colorIcon(color):
    pixmap = qt.QPixmap(14, 14)
    pixmap.fill(qt.QColor.fromRgbF(*color))
    return qt.QIcon(pixmap)


class IrisSegmentLogic(ScriptedLoadableModuleLogic):
    """The module's verbs without its panel.

    Example::

        logic = IrisSegmentLogic()
        logic.encode(volumeNode, segmentationNode, segmentIDs, "hippocampus", onProgress, onDone, onError)
        logic.segmentAll(logic.presets[0], volumeNodes, onTarget, onFinished)
    """

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        self.presets = []
        self._session, self._sessionSettings = None, None
        self._fetcher = None
        self._volumeNames = []  # pairs of a reference's embeddings and a volume's name: for this run only, never saved

    def getParameterNode(self):
        return IrisSegmentParameterNode(super().getParameterNode())

    @property
    def busy(self):
        return self._session is not None and self._session.busy

    def encode(self, volumeNode, segmentationNode, segmentIDs, name, onProgress, onDone, onError):
        """Learn a preset in the background; it joins `presets` before ``onDone(preset)``.

        :raises IrisError: at once, for a reference that cannot be learned from, or when packages are declined.
        """

        def done(preset):
            self.presets.append(preset)
            self._volumeNames.append((preset.references[0].levels, volumeName))
            onDone(preset)

        volumeName = volumeNode.GetName()
        return self._ready().encode(volumeNode, segmentationNode, segmentIDs, name, onProgress, done, onError)

    def addReference(self, preset, volumeNode, segmentationNode, segmentIDs, onProgress, onDone, onError):
        """Learn one more reference of a preset in the background; the grown preset takes its place in `presets` before
        ``onDone(preset)``.

        :raises IrisError: at once, when the segments are not those of the preset, and as `encode`.
        """
        segmentIDs = self._inPresetOrder(preset, segmentationNode, segmentIDs)
        volumeName = volumeNode.GetName()

        def done(added):
            if added.network != preset.network:
                onError(
                    f"The preset '{preset.name}' was made by another network than the one in use; "
                    "encode the reference as a new preset, or choose the network that made it."
                )
                return
            grown = preset.with_reference(added)
            self._volumeNames.append((added.references[0].levels, volumeName))
            row = self.rowOf(preset)
            if row is None:  # it was removed from the list meanwhile
                self.presets.append(grown)
            else:
                self.presets[row] = grown
            onDone(grown)

        return self._ready().encode(volumeNode, segmentationNode, segmentIDs, preset.name, onProgress, done, onError)

    def _inPresetOrder(self, preset, segmentationNode, segmentIDs):
        from IrisSegmentLib.errors import IrisError

        segmentation = segmentationNode.GetSegmentation()
        byName = {segmentation.GetSegment(segmentID).GetName(): segmentID for segmentID in segmentIDs}
        wanted = [segment.name for segment in preset.segments]
        if len(segmentIDs) != len(wanted) or set(byName) != set(wanted):
            raise IrisError(
                f"The preset '{preset.name}' knows other segments than those ticked; "
                f"tick these and no others: {', '.join(wanted)}."
            )
        return [byName[name] for name in wanted]

    def switchReference(self, preset, number, enabled):
        """Switch one reference of a preset off or on; the changed preset takes its place in `presets`."""
        self.presets[self.rowOf(preset)] = preset.with_enabled(number, enabled)

    def volumeNameOf(self, reference):
        """The volume that a reference was learned from in this run; empty for a loaded preset, which holds no names."""
        return next((name for levels, name in self._volumeNames if levels is reference.levels), "")

    def rowOf(self, preset):
        """Where this very preset is in `presets`, or None."""
        return next((row for row, other in enumerate(self.presets) if other is preset), None)

    def removePreset(self, preset):
        del self.presets[self.rowOf(preset)]

    def segmentAll(self, preset, volumeNodes, onTarget, onFinished):
        """Segment volumes in the background: ``onTarget(volumeID, state, fraction, words)`` as they fare."""
        self._ready().segmentAll(preset, volumeNodes, onTarget, onFinished)

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
        """:raises IrisError: when the file is missing, damaged or no preset."""
        from IrisSegmentLib.context.preset import Preset

        preset = Preset.load(path)
        self.presets.append(preset)
        return preset

    def presetFolder(self):
        """Where presets are kept: in the person's own settings folder, which survives upgrades."""
        from IrisSegmentLib.slicer.settings import personalFolder

        folder = personalFolder() / "Presets"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def fileStem(self, preset):
        from IrisSegmentLib.context.library import safe_stem

        return safe_stem(preset.name)

    def ensurePackages(self):
        """:raises IrisError: when what computing needs is not there and the person declines to install it."""
        from IrisSegmentLib.slicer.install import ensurePackages

        ensurePackages(Path(__file__).parent / "Resources" / "requirements.txt")

    def _ready(self):
        """The session, with its packages there and its worker on call; a new one when the settings were changed."""
        from IrisSegmentLib.slicer import settings

        wanted = (settings.network(), settings.device())
        if self._session is not None and not self._session.busy and self._sessionSettings != wanted:
            self._session.close()
            self._session = None
        if self._session is None:
            self.ensurePackages()
            from IrisSegmentLib.slicer.session import Session

            self._session, self._sessionSettings = Session(*wanted), wanted
        return self._session


class IrisSegmentTest(ScriptedLoadableModuleTest):
    """Reload and Test: the sample cases, one marked, one segmented."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.test_sampleCases()

    def test_sampleCases(self):
        cases = sorted((resourcesFolder() / "SampleCases" / "hippocampus").glob("*_image.nii.gz"))[:2]
        volumes = [slicer.util.loadVolume(str(path)) for path in cases]
        label = str(cases[0]).replace("_image", "_label")
        segmentation = slicer.util.loadSegmentation(label)
        logic = IrisSegmentLogic()
        outcome = {}
        try:
            logic.encode(
                volumes[0], segmentation, list(segmentation.GetSegmentation().GetSegmentIDs()), "test",
                lambda *_: None, lambda preset: outcome.update(preset=preset),
                lambda words: outcome.update(error=words),
            )  # fmt: skip
            self._waitFor(lambda: outcome)
            self.assertIn("preset", outcome, outcome.get("error"))
            logic.segmentAll(
                outcome["preset"], volumes[1:], lambda volumeID, state, *_: outcome.update({volumeID: state}),
                lambda: outcome.update(finished=True),
            )  # fmt: skip
            self._waitFor(lambda: "finished" in outcome)
            self.assertEqual(outcome[volumes[1].GetID()], "done")
        finally:
            logic.close()
        self.delayDisplay("Test passed")

    def _waitFor(self, happened, seconds=120):
        until = time.monotonic() + seconds
        while not happened() and time.monotonic() < until:
            slicer.app.processEvents()
            time.sleep(0.005)
