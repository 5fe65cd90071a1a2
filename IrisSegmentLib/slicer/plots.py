"""Points of several kinds in Slicer's own plot view."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import slicer
import vtk

SIGNAL = "dataSelected(vtkStringArray*,vtkCollection*)"
CHART_NAME = "Map of Iris presets"
MARKERS = (
    slicer.vtkMRMLPlotSeriesNode.MarkerStyleCircle,
    slicer.vtkMRMLPlotSeriesNode.MarkerStyleSquare,
    slicer.vtkMRMLPlotSeriesNode.MarkerStyleDiamond,
    slicer.vtkMRMLPlotSeriesNode.MarkerStyleCross,
    slicer.vtkMRMLPlotSeriesNode.MarkerStylePlus,
)


@dataclass(frozen=True)
class Series:
    """
    :param marker: number of its marker; color: red, green, blue in 0..1.
    :param points: x, y and a label each.
    """

    name: str
    color: tuple[float, float, float]
    marker: int
    points: Sequence[tuple[float, float, str]]


def showChart(series: Sequence[Series], title: str) -> slicer.vtkMRMLPlotChartNode:
    """Draw them in the chart of that name; what it showed before is removed."""
    chart = slicer.mrmlScene.GetFirstNode(CHART_NAME, "vtkMRMLPlotChartNode")
    chart = chart or slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", CHART_NAME)
    _removeSeries(chart)
    chart.SetTitle(title)
    chart.SetXAxisTitle("")
    chart.SetYAxisTitle("")
    chart.SetLegendVisibility(True)
    for one in series:
        chart.AddAndObservePlotSeriesNodeID(_newSeries(one).GetID())
    if hasattr(slicer.modules, "plots"):
        slicer.modules.plots.logic().ShowChartInLayout(chart)
    return chart


def onPointClicked(slot: Callable[[str, int], None]) -> list[Callable[[], None]]:
    """Call ``slot`` with a series' node ID and a point's number when one is clicked in any plot view that there is;
    returns what ends that again."""
    layouts = slicer.app.layoutManager()
    views = [layouts.plotWidget(n).plotView() for n in range(layouts.plotViewCount)] if layouts is not None else []

    def clicked(series: vtk.vtkStringArray, points: vtk.vtkCollection) -> None:
        selected(series, points, slot)

    for view in views:
        view.connect(SIGNAL, clicked)
    return [partial(view.disconnect, SIGNAL, clicked) for view in views]


def selected(series: vtk.vtkStringArray, points: vtk.vtkCollection, slot: Callable[[str, int], None]) -> None:
    """What a plot view tells of a click: series' IDs, and for each the numbers of its points."""
    for place in range(series.GetNumberOfValues()):
        numbers = points.GetItemAsObject(place)
        if numbers is not None and numbers.GetNumberOfValues():
            slot(series.GetValue(place), numbers.GetValue(0))
            return


def _newSeries(series: Series) -> slicer.vtkMRMLPlotSeriesNode:
    table = slicer.vtkMRMLTableNode()
    table.SetName(f"{series.name} places")
    table.SetHideFromEditors(True)
    table.SetSaveWithScene(False)
    slicer.mrmlScene.AddNode(table)
    for column, kind in enumerate((vtk.vtkDoubleArray, vtk.vtkDoubleArray, vtk.vtkStringArray)):
        values = kind()
        values.SetName(("x", "y", "label")[column])
        for point in series.points:
            values.InsertNextValue(point[column])
        table.AddColumn(values)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", series.name)
    node.SetSaveWithScene(False)
    node.SetAndObserveTableNodeID(table.GetID())
    node.SetXColumnName("x")
    node.SetYColumnName("y")
    node.SetLabelColumnName("label")
    node.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
    node.SetLineStyle(slicer.vtkMRMLPlotSeriesNode.LineStyleNone)
    node.SetMarkerStyle(MARKERS[series.marker % len(MARKERS)])
    node.SetMarkerSize(9)
    node.SetColor(*series.color)
    return node


def _removeSeries(chart: slicer.vtkMRMLPlotChartNode) -> None:
    nodes = [chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes())]
    chart.RemoveAllPlotSeriesNodeIDs()
    for node in nodes:
        table = node.GetTableNode()
        slicer.mrmlScene.RemoveNode(node)
        if table is not None:
            slicer.mrmlScene.RemoveNode(table)
