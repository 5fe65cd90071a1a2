"""Faults in the scene, through the real panel: what a person does while volumes are learned from and segmented."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import radiologist
import SlicerRuntime
from faults.judging import HANG, START, Outcome, hashes, patience, unhelpful, workers

from IrisSegmentLib.network import build, save_network

CASES = ("035", "038")
REFERENCE = "023"


class SceneWorld:
    """A scene with a reference, a segmentation that a person drew, and two targets that come and go with each fault."""

    def __init__(self, folder: Path) -> None:
        self.errors: list[str] = []
        before = sys.excepthook

        def note(kind, error, trace):  # Qt's slots have nobody else to tell
            self.errors.append(f"{kind.__name__}: {error}")
            before(kind, error, trace)

        sys.excepthook = note
        app = SlicerRuntime.start()
        self.files = Path(app.slicerUserSettingsFilePath).parent / "files"
        self.files.mkdir(exist_ok=True)
        for case in (REFERENCE, *CASES):
            for what in ("image", "label"):
                name = f"hippocampus_{case}_{what}.nii.gz"
                content = (radiologist.ROOT / "Resources" / "SampleCases" / "hippocampus" / name).read_bytes()
                (self.files / name).write_bytes(content)
        self.kept = hashes(self.files)
        network = folder / "scene.safetensors"
        save_network(build("tiny"), network)
        self.panel = SlicerRuntime.loadModule(radiologist.ROOT / "IrisSegment" / "IrisSegment.py")
        from IrisSegmentLib.slicer import settings

        settings.useNetwork(network, "tiny")
        self._build()
        self.panel.ui.encodeButton.click()
        assert self._wait(START), "the first click hung"
        (preset,) = self.panel.logic.presets
        self.learned = _tokens(preset)
        self.right = {}
        targets = self._targets()
        self._segment(targets)
        for case, node in targets.items():
            self.right[case] = self._found(node)
            assert self.right[case] is not None, self.panel.ui.statusLabel.text
        self._tidy(targets)
        self.kinds: dict[str, Callable[[random.Random], Outcome]] = {
            name: lambda drawn, fault=fault: self.make(fault, drawn)
            for name, fault in {
                "scene closed": close_scene, "another scene loaded": load_another, "target deleted": delete_target,
                "target renamed": rename_target, "target edited": edit_target, "target moved": move_target,
                "target's transform deleted": delete_transform, "target's image replaced": replace_image,
                "result edited in a rerun": edit_result, "result deleted in a rerun": delete_result,
                "reference deleted": delete_reference, "worker killed in Slicer": kill_worker,
                "stopped by Cancel": press_cancel,
            }.items()
        } | {
            "destination deleted": lambda drawn: self.make(delete_destination, drawn, into=True),
            "destination edited": lambda drawn: self.make(edit_destination, drawn, into=True),
            "destination moved": lambda drawn: self.make(move_destination, drawn, into=True),
            "reference edited while learned": lambda drawn: self.learn(edit_reference, drawn),
            "segment edited while learned": lambda drawn: self.learn(edit_segment, drawn),
            "reference deleted while learned": lambda drawn: self.learn(delete_reference, drawn),
            "scene closed while learned": lambda drawn: self.learn(close_scene, drawn),
        }  # fmt: skip

    def make(self, fault: Callable, drawn: random.Random, into: bool = False) -> Outcome:
        """One fault while two targets are segmented (one into a person's segmentation), and the next click."""
        import slicer

        targets = self._targets()
        if fault is delete_transform:
            self._under_transform(targets)
        if fault in (edit_result, delete_result):  # there is one already
            self._segment(targets)
        destination = self._destination(targets) if into else None
        wanted = list(targets.values())[: 1 if into else 2]
        self._start(wanted, destination)
        self._some_moment(drawn)
        ended = {case: self._state(node) in ("done",) for case, node in targets.items()}
        other = self._others(targets)
        changed = fault(self, drawn, targets)  # the cases that are not as they were, or None: all is gone
        outcome = self._end()
        if changed is None:
            if fault is close_scene and (left := slicer.util.getNodesByClass("vtkMRMLSegmentationNode")):
                outcome.wrong.append(f"results in a scene that is empty: {[n.GetName() for n in left]}")
        else:
            outcome.wrong += self._harm(other)
            for case, node in targets.items():
                found = self._found(node) if _there(node) and not into and fault is not edit_result else None
                if case in changed and not ended[case] and found is not None and fault not in (delete_result,):
                    outcome.wrong.append("a target that was changed got a result")
                lies = slice(-1) if case in changed else slice(None)  # what was there already is not moved along
                if found is not None and not _equal(found[lies], self.right[case][lies]):
                    outcome.wrong.append("a wrong result")
        return self._next(outcome, targets)

    def learn(self, fault: Callable, drawn: random.Random) -> Outcome:
        """One fault while the reference is learned from, and the next click."""
        self._fill()
        ui, count = self.panel.ui, len(self.panel.logic.presets)
        ui.encodeButton.click()
        self._some_moment(drawn, 0.3)
        fault(self, drawn, {})
        outcome = self._end()
        for preset in self.panel.logic.presets[count:]:
            if _tokens(preset) != self.learned:
                outcome.wrong.append("a preset of a scan that was half changed")
        for preset in self.panel.logic.presets[1:]:
            self.panel.logic.shelf.remove(preset)
        self.panel.presets.show(select=self.panel.logic.presets[0])
        self._clear()  # the reference is not what it was
        return self._next(outcome, {})

    def close(self) -> list[str]:
        import slicer

        running = self._pid()
        self.panel.cleanup()
        slicer.mrmlScene.Clear(False)
        until = time.monotonic() + patience(HANG)
        while running and Path(f"/proc/{running}").exists() and time.monotonic() < until:
            SlicerRuntime.processEvents(0.05)
        return ["an orphan of the panel"] if running and Path(f"/proc/{running}").exists() else []

    def _fill(self) -> None:
        """A scene as a person has it, unless it is there."""
        import slicer

        if not slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
            self._build()

    def _build(self) -> None:
        import slicer

        self.reference = self._load(REFERENCE, "Reference")
        self.marked = radiologist.mark(REFERENCE)
        self.drawn = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Drawn")
        self.drawn.SetReferenceImageGeometryParameterFromVolumeNode(self.reference)
        self._draw(self.drawn, self.reference, "mine", slice(5, 20))
        radiologist.choose(self.panel, self.reference, self.marked)

    def _load(self, case: str, name: str):
        import slicer

        path = self.files / f"hippocampus_{case}_image.nii.gz"
        return slicer.modules.volumes.logic().AddArchetypeVolume(str(path), name, 0)

    def _draw(self, node, volume, name: str, where: slice) -> None:
        import slicer

        segmentID = node.GetSegmentation().AddEmptySegment("", name)
        block = np.zeros(slicer.util.arrayFromVolume(volume).shape, np.uint8)
        block[where, where, where] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(block, node, segmentID, volume)

    def _targets(self) -> dict[str, object]:
        self._fill()
        targets = {case: self._load(case, f"Target {case}") for case in CASES}
        SlicerRuntime.processEvents(0.02)
        return targets

    def _under_transform(self, targets) -> None:
        import slicer

        for node in targets.values():
            transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Moved")
            node.SetAndObserveTransformNodeID(transform.GetID())

    def _destination(self, targets):
        import slicer

        volume = targets[CASES[0]]
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Destination")
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        self._draw(node, volume, radiologist.NAMES[0], slice(3, 9))
        return node

    def _start(self, nodes, destination=None) -> None:
        panel = self.panel
        panel.ui.destinationSelector.setCurrentNode(destination)
        panel.targets.tickOnly(nodes)
        SlicerRuntime.processEvents(0.02)
        assert panel.ui.segmentButton.enabled, panel.ui.segmentButton.toolTip
        panel.ui.segmentButton.click()

    def _segment(self, targets) -> None:
        self._start(list(targets.values()))
        assert self._wait(START), "it hung"

    def _some_moment(self, drawn: random.Random, longest: float = 1.0) -> None:
        seconds = drawn.choice([0.0, drawn.uniform(0, longest), drawn.uniform(0, longest)])
        until = time.monotonic() + seconds
        while self.panel.logic.busy and time.monotonic() < until:
            SlicerRuntime.processEvents(0.002)

    def _wait(self, seconds: float) -> bool:
        until = time.monotonic() + patience(seconds)
        while self.panel.logic.busy and time.monotonic() < until:
            SlicerRuntime.processEvents(0.01)
        SlicerRuntime.processEvents(0.05)
        return not self.panel.logic.busy

    def _end(self) -> Outcome:
        """What became of the work that was hit, and what a person can read of it."""
        pid, started, wrong = self._pid(), time.monotonic(), []
        if not self._wait(HANG + START):
            wrong.append("it hung")
        elif self._pid() == pid and time.monotonic() - started > patience(HANG):
            wrong.append(f"it took {time.monotonic() - started:.0f} s to end")
        states = {state for state, words in self.panel.targets._run.values()}
        said = [words for state, words in self.panel.targets._run.values() if state == "failed"]
        status = self.panel.ui.statusLabel.text
        if said and said[0] not in status:
            wrong.append(f"the panel does not say it: {status!r}")
        failures = self.panel.progress.failures
        said = list(dict.fromkeys([*said, *[s for s in failures if "volumes segmented" not in s]]))
        failures.clear()
        self.panel.ui.destinationSelector.setCurrentNode(None)
        ended = next((s for s in ("failed", "cancelled", "done") if s in states), "stopped")
        return Outcome(ended, said, wrong + unhelpful(said))

    def _next(self, outcome: Outcome, targets) -> Outcome:
        """The next click, on a volume that nothing happened to; then all is tidied up."""
        fresh = self._targets()
        self._start([fresh[CASES[0]]])
        if not self._wait(START):
            outcome.wrong.append("the next click hung")
        found = self._found(fresh[CASES[0]])
        if found is None:
            outcome.wrong.append(f"the next click gave nothing: {self.panel.ui.statusLabel.text}")
        elif not _equal(found, self.right[CASES[0]]):
            outcome.wrong.append("the next click gave another answer")
        if hashes(self.files) != self.kept:
            outcome.wrong.append("a file was changed")
        session = self.panel.logic._session
        session._client._mover.submit(lambda: None).result(patience(HANG))
        folder = session._client._exchange._path
        if left := [p.name for p in folder.glob("*")] if folder else []:
            outcome.wrong.append(f"left behind: {left}")
        until = time.monotonic() + patience(HANG)
        while (orphans := workers(folder) - {self._pid()}) and time.monotonic() < until:
            SlicerRuntime.processEvents(0.02)
        if orphans:
            outcome.wrong.append(f"{len(orphans)} orphans")
        self._tidy({**fresh})
        self._tidy(targets)
        outcome.wrong += [f"in the log: {error}" for error in self.errors]
        self.errors.clear()
        self.panel.progress.failures.clear()
        return outcome

    def _pid(self) -> int:
        session = self.panel.logic._session
        process = session._transport._process if session is not None else None
        return process.processId() if process is not None else 0

    def _state(self, node) -> str:
        return self.panel.targets._run.get(node.GetID(), ("", ""))[0]

    def _tidy(self, targets) -> None:
        """Away with targets, results and transforms; the person's own stays."""
        import slicer

        own = {self.reference, self.marked, self.drawn}
        if not _there(self.reference):  # of another scene
            self._clear()
            return
        for kind in ("vtkMRMLSegmentationNode", "vtkMRMLScalarVolumeNode", "vtkMRMLLinearTransformNode"):
            for node in slicer.util.getNodesByClass(kind):
                if node not in own:
                    slicer.mrmlScene.RemoveNode(node)
        SlicerRuntime.processEvents(0.02)

    def _clear(self) -> None:
        import slicer

        slicer.mrmlScene.Clear(False)
        SlicerRuntime.processEvents(0.02)

    def _found(self, node) -> list | None:
        """The voxels of a volume's latest result, with the transform that it lies under, or None."""
        from IrisSegmentLib.slicer.results import resultsOf

        nodes = resultsOf(self.panel.logic.presets[0].name, node)
        if not nodes:
            return None
        return [
            *radiologist.voxels(nodes[-1]), np.array(nodes[-1].GetTransformNodeID() == node.GetTransformNodeID())
        ]

    def _others(self, targets) -> dict[str, object]:
        """Everything that no one asked to be changed."""
        return {
            "the reference": _image(self.reference), "what was marked": _segments(self.marked),
            "what was drawn": _segments(self.drawn),
            **{case: _image(node) for case, node in targets.items()},
        }  # fmt: skip

    def _harm(self, before: dict[str, object]) -> list[str]:
        """What changed, though neither we nor the fault of the hour had any business there."""
        now, nodes = {}, {"the reference": self.reference, "what was marked": self.marked, "what was drawn": self.drawn}
        for name, node in nodes.items():
            if _there(node):
                now[name] = _image(node) if name == "the reference" else _segments(node)
        return [f"{name} was harmed" for name in now if not _equal(before[name], now[name])]


def _there(node) -> bool:
    return node is not None and node.GetScene() is not None


def _image(node) -> list:
    import slicer

    words = f"{node.GetName()} {node.GetTransformNodeID()}"
    return [slicer.util.arrayFromVolume(node).copy(), np.array(words)]


def _segments(node) -> list:
    segmentation = node.GetSegmentation()
    words = [(segmentation.GetSegment(i).GetName(), segmentation.GetSegment(i).GetColor())
             for i in segmentation.GetSegmentIDs()]  # fmt: skip
    return [np.array(str(words)), *(voxels.copy() for voxels in radiologist.voxels(node))]


def _equal(a: list, b: list) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def _tokens(preset) -> bytes:
    """All that a preset learned."""
    found = []
    for level in sorted(preset.references[-1].levels):
        found += [tokens.numpy().tobytes() for tokens in preset.references[-1].levels[level].tokens]
    return b"".join(found)


def close_scene(world: SceneWorld, drawn: random.Random, targets) -> None:
    world._clear()


def load_another(world: SceneWorld, drawn: random.Random, targets) -> None:
    """Closed, and volumes of the next scene have the IDs of the old ones at once."""
    import slicer

    slicer.mrmlScene.Clear(False)
    world._build()
    for case in CASES:
        world._load(case, f"Other {case}")


def delete_target(world: SceneWorld, drawn: random.Random, targets) -> set[str]:
    import slicer

    case = drawn.choice(CASES)
    slicer.mrmlScene.RemoveNode(targets[case])
    return {case}


def rename_target(world: SceneWorld, drawn: random.Random, targets) -> set[str]:
    """The result is still right: a name is no voxel."""
    targets[drawn.choice(CASES)].SetName("another name")
    return set()


def edit_target(world: SceneWorld, drawn: random.Random, targets) -> set[str]:
    import slicer

    case = drawn.choice(CASES)
    slicer.util.arrayFromVolume(targets[case])[:, :, drawn.randrange(8)] = 0
    slicer.util.arrayFromVolumeModified(targets[case])
    return {case}


def replace_image(world: SceneWorld, drawn: random.Random, targets) -> set[str]:
    """By a smaller one: what a crop in place does."""
    import slicer

    case = drawn.choice(CASES)
    small = slicer.util.arrayFromVolume(targets[case])[:10, :12, :14].copy()
    slicer.util.updateVolumeFromArray(targets[case], small)
    return {case}


def move_target(world: SceneWorld, drawn: random.Random, targets) -> set[str]:
    import slicer

    case = drawn.choice(CASES)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Moved")
    targets[case].SetAndObserveTransformNodeID(transform.GetID())
    return {case}


def delete_transform(world: SceneWorld, drawn: random.Random, targets) -> set[str]:
    import slicer

    case = drawn.choice(CASES)
    slicer.mrmlScene.RemoveNode(targets[case].GetParentTransformNode())
    return {case}


def edit_result(world: SceneWorld, drawn: random.Random, targets) -> set[str]:
    """A person draws in the earlier result: it must stay, whatever the rerun brings."""
    import slicer

    from IrisSegmentLib.slicer.results import resultsOf

    case = drawn.choice(CASES)
    (node,) = resultsOf(world.panel.logic.presets[0].name, targets[case])
    world._draw(node, targets[case], "mine as well", slice(2, 5))
    segmentID = node.GetSegmentation().GetSegmentIDs()[0]
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentID, targets[case]).copy()
    mask[:3, :3, :3] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, segmentID, targets[case])
    before = _segments(node)
    world._wait(START)
    if not _there(node) or not _equal(_segments(node), before):
        world.errors.append("a person's edit was lost")
    return set()


def delete_result(world: SceneWorld, drawn: random.Random, targets) -> set[str]:
    import slicer

    from IrisSegmentLib.slicer.results import resultsOf

    for node in resultsOf(world.panel.logic.presets[0].name, targets[drawn.choice(CASES)]):
        slicer.mrmlScene.RemoveNode(node)
    return set()


def delete_reference(world: SceneWorld, drawn: random.Random, targets) -> None:
    """With what was marked in it: the work that runs needs neither."""
    import slicer

    for node in drawn.choice([[world.reference], [world.marked], [world.reference, world.marked]]):
        slicer.mrmlScene.RemoveNode(node)
    SlicerRuntime.processEvents(0.02)
    return None


def kill_worker(world: SceneWorld, drawn: random.Random, targets) -> set[str]:
    if world._pid():
        os.kill(world._pid(), signal.SIGKILL)
    return set()


def press_cancel(world: SceneWorld, drawn: random.Random, targets) -> set[str]:
    world.panel.ui.cancelButton.click()
    return set()


def _destination(targets):
    import slicer

    return next(n for n in slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if n.GetName() == "Destination")


def delete_destination(world: SceneWorld, drawn: random.Random, targets) -> set[str]:
    import slicer

    slicer.mrmlScene.RemoveNode(_destination(targets))
    return set()


def move_destination(world: SceneWorld, drawn: random.Random, targets) -> set[str]:
    """Under another transform than the volume: its drawing must stay."""
    import slicer

    node = _destination(targets)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Moved")
    drawing = radiologist.voxels(node)[0].copy()
    node.SetAndObserveTransformNodeID(transform.GetID())
    world._wait(START)
    if not np.array_equal(radiologist.voxels(node)[0], drawing):
        world.errors.append("a person's drawing was lost")
    return set()


def edit_destination(world: SceneWorld, drawn: random.Random, targets) -> set[str]:
    """A person draws on in it, adds to it and renames in it: all of that must be there afterwards."""
    import slicer

    node, volume = _destination(targets), targets[CASES[0]]
    world._draw(node, volume, radiologist.NAMES[1], slice(10, 15))
    segmentation = node.GetSegmentation()
    own = [segmentation.GetSegmentIDs()[0], segmentation.GetSegmentIDs()[-1]]
    segmentation.GetSegment(own[0]).SetName("renamed")

    def masks():
        return [slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentID, volume).copy() for segmentID in own]

    before = masks()
    world._wait(START)
    if not _equal(masks(), before) or segmentation.GetSegment(own[0]).GetName() != "renamed":
        world.errors.append("a person's drawing was lost")
    return set()


def edit_reference(world: SceneWorld, drawn: random.Random, targets) -> None:
    import slicer

    slicer.util.arrayFromVolume(world.reference)[:, :, 5:25] = 0
    slicer.util.arrayFromVolumeModified(world.reference)


def edit_segment(world: SceneWorld, drawn: random.Random, targets) -> None:
    import slicer

    segmentation = world.marked.GetSegmentation()
    if drawn.random() < 0.5:
        segmentation.RemoveSegment(segmentation.GetSegmentIDs()[0])
        return
    segmentID = segmentation.GetSegmentIDs()[0]
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(world.marked, segmentID, world.reference).copy()
    mask[:8] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, world.marked, segmentID, world.reference)
