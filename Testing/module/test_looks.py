"""The panel at its narrowest: nothing wider than it, no text cut off."""

import pytest
import SlicerRuntime
from radiologist import choose, encode, load, mark, segment

WIDTH = 350  # pixels
SECTIONS = ("reference", "presets", "targets", "progress", "review", "learn", "library", "map", "advanced")


def cut(panel):
    """Visible buttons, labels and choices whose text does not fit into them."""
    from PySide6 import QtWidgets

    found = []
    for kind in (QtWidgets.QAbstractButton, QtWidgets.QLabel, QtWidgets.QComboBox):
        for widget in panel.parent.findChildren(kind):
            wrapped = isinstance(widget, QtWidgets.QLabel) and widget.wordWrap
            text = widget.currentText if isinstance(widget, QtWidgets.QComboBox) else widget.text
            needed = widget.fontMetrics().horizontalAdvance(text) + (8 if kind is not QtWidgets.QLabel else 0)
            if widget.isVisible() and not wrapped and needed > widget.width:
                found.append(text)
    return found


@pytest.mark.parametrize("state", ["new", "used"])
def test_nothing_is_cut_off_at_its_narrowest(panel, state):
    if state == "used":
        load("035", "Patient B")
        choose(panel, load("023", "Patient A"), mark("023"))
        encode(panel)
        segment(panel)
    for section in SECTIONS:
        getattr(panel.ui, f"{section}Section").collapsed = False
    panel.parent.show()
    panel.parent.resize(WIDTH, 2600)
    SlicerRuntime.processEvents(0.1)
    assert panel.parent.width == WIDTH and not cut(panel)
    table = panel.ui.targetsTable
    widths = [table.columnWidth(column) for column in range(table.columnCount)]
    assert sum(widths) <= table.width and (state == "new" or widths[panel.targets.RESULT] > 60)
    panel.parent.resize(WIDTH - 60, 2600)
    panel.ui.segmentButton.text = "A text that is much too long for a button in a panel as narrow as this one is"
    SlicerRuntime.processEvents(0.1)
    assert panel.parent.width > WIDTH or cut(panel), "the test sees what it looks for"
