"""The module's verbs for scripts: they wait for the worker, while the application stays alive."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import slicer

from ..errors import IrisError
from .results import resultsOf
from .wish import Wish

if TYPE_CHECKING:
    from ..context.preset import Preset


class Logic(Protocol):
    """The module's logic."""

    @property
    def busy(self) -> bool: ...
    def encode(self, *arguments: Any) -> object: ...
    def segmentAll(self, *arguments: Any) -> None: ...


def makePreset(
    logic: Logic,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    segmentIDs: Sequence[str],
    name: str,
) -> Preset:
    """:raises IrisError: for a reference that cannot be learned from, or when the work was stopped."""
    presets: list[Preset] = []
    errors: list[str] = []
    logic.encode(volumeNode, segmentationNode, segmentIDs, name, _nothing, presets.append, errors.append)
    _waitUntil(lambda: presets or errors)
    if errors:
        raise IrisError(errors[0] or "The work was stopped.")
    return presets[0]


def process(
    logic: Logic, preset: Preset, nodes: Sequence[slicer.vtkMRMLNode], wish: Wish | None = None
) -> list[slicer.vtkMRMLNode]:
    """The result of each, the latest when there are several; the destination when the wish names one.

    :raises IrisError: when one of them failed or was stopped.
    """
    fates: dict[str, tuple[str, str]] = {}
    finished: list[bool] = []

    def onTarget(nodeID: str, state: str, fraction: float, words: str) -> None:
        fates[nodeID] = (state, words)

    logic.segmentAll(preset, nodes, onTarget, lambda: finished.append(True), wish)
    _waitUntil(lambda: finished)
    for state, words in fates.values():
        if state != "done":
            raise IrisError(words or "The work was stopped.")
    if wish is not None and wish.destination is not None:
        return [wish.destination.node for _node in nodes]
    return [resultsOf(preset.name, node)[-1] for node in nodes]


def _nothing(fraction: float, words: str) -> None:
    """How far it is interests nobody."""


def _waitUntil(happened: Callable[[], Any]) -> None:
    while not happened():
        slicer.app.processEvents()
        time.sleep(0.005)
