"""Every screenshot of the README and the tutorial, made from the real panel: `make screenshots`.

The panel is driven as a person drives it, on the sample cases, with the bundled network, and pictured at 350 pixels
width in Slicer's light and dark colors.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import SlicerRuntime
from radiologist import ROOT, choose, encode, load, mark, segment

SECTIONS = ("reference", "presets", "targets", "progress", "review", "learn", "library", "map", "advanced")
WIDTH = 350  # pixels: as narrow as Slicer's module panel gets
# Roles of a palette: light and dark, as Slicer's two styles have them.
COLORS = {
    "Window": ("#efefef", "#353535"), "WindowText": ("#000000", "#f0f0f0"), "Base": ("#ffffff", "#191919"),
    "AlternateBase": ("#f7f7f7", "#353535"), "Text": ("#000000", "#f0f0f0"), "Button": ("#efefef", "#353535"),
    "ButtonText": ("#000000", "#f0f0f0"), "ToolTipBase": ("#ffffdc", "#353535"), "ToolTipText": ("#000000", "#f0f0f0"),
    "Highlight": ("#308cc6", "#2a82da"), "HighlightedText": ("#ffffff", "#ffffff"), "Link": ("#0000ff", "#6cb2ff"),
    "PlaceholderText": ("#7f7f7f", "#8a8a8a"),
}  # fmt: skip
SCHEMES = {0: "", 1: "-dark"}
FADED = {"WindowText": ("#8c8c8c", "#7a7a7a"), "Text": ("#8c8c8c", "#7a7a7a"), "ButtonText": ("#8c8c8c", "#7a7a7a")}


class Photographer:
    """
    :param folder: where pictures go, as NAME.png in light colors and NAME-dark.png.

    Example::

        photographer.take("panel", widget)
        for number in SCHEMES:
            photographer.paint(number)
            photographer.takeOne("dialog", widgetMadeInTheseColors, number)
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.taken: list[Path] = []

    def take(self, name: str, widget: Any) -> None:
        """A widget as it is now, as high as it wants to be, in both colors."""
        for number in SCHEMES:
            self.paint(number)
            self.takeOne(name, widget, number)

    def takeOne(self, name: str, widget: Any, number: int, width: int = WIDTH) -> None:
        self._fit(widget, width)
        SlicerRuntime.screenshot(widget, self._path(name, number))

    def keep(self, name: str, picture: Any, number: int) -> None:
        """A picture that was put together elsewhere."""
        assert picture.save(str(self._path(name, number)))

    def paint(self, number: int) -> None:
        """Choose the colors."""
        import qt

        palette = qt.QPalette()
        for role, colors in COLORS.items():
            palette.setColor(getattr(qt.QPalette, role), qt.QColor(colors[number]))
        for role, colors in FADED.items():
            palette.setColor(qt.QPalette.Disabled, getattr(qt.QPalette, role), qt.QColor(colors[number]))
        qt.QApplication.setPalette(palette)

    def _path(self, name: str, number: int) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{name}{SCHEMES[number]}.png"
        self.taken.append(path)
        return path

    def _fit(self, widget: Any, width: int) -> None:
        widget.show()
        for _round in range(3):  # what is wrapped wants another height once its width is known
            SlicerRuntime.processEvents(0.03)
            layout = widget.layout()
            height = layout.totalHeightForWidth(width) if layout is not None and layout.hasHeightForWidth() else -1
            widget.resize(width, height if height > 0 else _sizeHint(widget).height())
        assert widget.width == width, f"{widget.name} is {widget.width} wide, not {width}"


class Tour:
    """From loaded sample data to all that the panel can show."""

    def __init__(self, panel: Any, photographer: Photographer) -> None:
        self.panel, self._photographer = panel, photographer

    def run(self) -> None:
        tour = self.mark, self.apply, self.target, self.advanced, self.consent, self.server, self.menu, self.effect
        for step in tour:
            step()

    def take(self, name: str, *sections: str) -> None:
        """The panel with some of its sections open."""
        ui = self.panel.ui
        for section in SECTIONS:
            getattr(ui, f"{section}Section").collapsed = section not in sections
        SlicerRuntime.processEvents(0.1)
        self._photographer.take(name, self.panel.parent)

    def mark(self) -> None:
        cases = {"A": "023", "B": "035", "C": "038", "D": "048"}
        self.volumes = [load(case, f"Patient {name}") for name, case in cases.items()]
        choose(self.panel, self.volumes[0], mark("023"))
        self.take("mark", "reference", "presets")

    def apply(self) -> None:
        encode(self.panel)
        self.panel.ui.segmentButton.click()
        SlicerRuntime.waitFor(lambda: self.panel.ui.progressBar.value > 10, 60)
        self.take("apply", "targets", "progress")
        SlicerRuntime.waitFor(lambda: not self.panel.logic.busy, 60)
        SlicerRuntime.processEvents(0.1)
        self.take("panel", "reference", "presets", "targets", "progress")
        self.take("review", "review", "learn")

    def target(self) -> None:
        import slicer

        region = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Left temporal lobe")
        own = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "My segmentation")
        region.SetCenter(*[sum(pair) / 2 for pair in _pairs(self.volumes[1])])
        region.SetSize(60, 60, 60)
        self.panel.ui.regionSelector.setCurrentNode(region)
        self.panel.ui.destinationSelector.setCurrentNode(own)
        self.panel.ui.targetFilterEdit.text = "patient b"
        segment(self.panel)
        self.take("add", "targets", "progress")
        self.panel.ui.undoAdditionButton.click()
        self.panel.ui.targetFilterEdit.text = ""
        for selector in (self.panel.ui.regionSelector, self.panel.ui.destinationSelector):
            selector.setCurrentNode(None)

    def advanced(self) -> None:
        self.take("advanced", "advanced")

    def consent(self) -> None:
        for number in SCHEMES:
            self._photographer.paint(number)
            self.panel.ui.publicNetworkButton.click()
            self._photographer.takeOne("consent", self.panel.network.consent.dialog, number, 560)
            self.panel.network.consent.declineButton.click()

    def server(self) -> None:
        """What is asked once before anything is sent to another computer."""
        device = self.panel.network.device
        for number in SCHEMES:
            self._photographer.paint(number)
            self.panel.ui.serverButton.click()
            device.consent.address.text = "https://gpu.example:8765"
            self._photographer.takeOne("server", device.consent.dialog, number, 560)
            device.consent.declineButton.click()

    def menu(self) -> None:
        """The menu of a right-click, with what "Segment with Iris" opens beside it."""
        import qt
        import slicer
        from SlicerRuntime.plugins import contextMenu

        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        actions = contextMenu(hierarchy.GetItemByDataNode(self.volumes[1]))
        for number in SCHEMES:
            self._photographer.paint(number)
            menu = qt.QMenu()
            for action in actions:
                menu.addAction(action)
            inner = actions[-1].menu()
            for shown in (menu, inner):
                shown.setPalette(qt.QApplication.palette())
                shown.resize(_sizeHint(shown))
            menu.setActiveAction(actions[-1])
            outer, opened = menu.grab(), inner.grab()
            below = outer.height() - opened.height() // 2 - 12
            picture = qt.QPixmap(outer.width() + opened.width(), max(outer.height(), below + opened.height()))
            picture.fill(qt.QColor(COLORS["Window"][number]))
            painter = qt.QPainter(picture)
            painter.drawPixmap(0, 0, outer)
            painter.drawPixmap(outer.width(), below, opened)
            painter.end()
            inner.hide()
            self._photographer.keep("right-click", picture, number)

    def effect(self) -> None:
        import qSlicerSegmentationsEditorEffectsPythonQt as effects
        import slicer

        SlicerRuntime.loadModule(ROOT / "IrisSegment" / "SegmentEditorIris.py")
        effect = effects.qSlicerSegmentEditorEffectFactory().instance().effects["Iris"]
        editor = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
        own = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
        own.SetReferenceImageGeometryParameterFromVolumeNode(self.volumes[2])
        for name in ("Anterior hippocampus", "Posterior hippocampus"):
            own.GetSegmentation().AddEmptySegment(name, name)
        editor.SetAndObserveSegmentationNode(own)
        editor.SetAndObserveSourceVolumeNode(self.volumes[2])
        effect.open(editor)
        effect.self().fillButton.click()
        SlicerRuntime.waitFor(lambda: not self.panel.logic.busy, 60)
        SlicerRuntime.processEvents(0.1)
        self._photographer.take("effect", effect.frame)


def _sizeHint(widget: Any) -> Any:
    """A property of some widgets, a method of others."""
    return widget.sizeHint() if callable(widget.sizeHint) else widget.sizeHint


def _pairs(volumeNode: Any) -> list[list[float]]:
    bounds = [0.0] * 6
    volumeNode.GetRASBounds(bounds)
    return [bounds[2 * n : 2 * n + 2] for n in range(3)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "Resources" / "Screenshots")
    folder = parser.parse_args().output
    SlicerRuntime.start()
    import qt

    qt.QApplication.setStyle("Fusion")
    qt.QSettings().clear()
    panel = SlicerRuntime.loadModule(ROOT / "IrisSegment" / "IrisSegment.py")
    photographer = Photographer(folder)
    try:
        Tour(panel, photographer).run()
    finally:
        panel.cleanup()
    print(f"{len(photographer.taken)} pictures in {folder}")


if __name__ == "__main__":
    main()
