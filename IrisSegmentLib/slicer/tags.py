"""How the scene says what this module has made, and of what. Imports nothing heavy: the panel reads it early."""

from __future__ import annotations

import slicer
import vtk

TAG = "IrisSegment."  # what a segment's own tags of this module begin with
TARGET_ROLE = TAG + "target"  # from a result to its volume
DOUBT_ROLE = TAG + "doubt"  # from a result to the map of its doubt


def tagOf(segment: slicer.vtkSegment, key: str) -> str:
    """A segment's tag of this module; empty when it has none."""
    value = vtk.reference("")
    return str(value) if segment.GetTag(TAG + key, value) else ""
