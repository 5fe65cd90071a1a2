"""How the scene says what this module has made, and of what. Imports nothing heavy: the panel reads it early."""

from __future__ import annotations

import uuid

import slicer
import vtk

TAG = "IrisSegment."  # what a segment's own tags of this module begin with
TARGET_ROLE = TAG + "target"  # from a result to its volume
DOUBT_ROLE = TAG + "doubt"  # from a result to the map of its doubt
SESSION = uuid.uuid4().hex[:8]  # times of data are comparable within one only


def voxelTime(segmentationNode: slicer.vtkMRMLSegmentationNode) -> str:
    """Changes whenever any voxel may have been changed; never the same in two sessions."""
    segmentation = segmentationNode.GetSegmentation()
    segments = [segmentation.GetSegment(segmentID) for segmentID in segmentation.GetSegmentIDs()]
    labelmaps = [segment.GetRepresentation("Binary labelmap") for segment in segments]
    return f"{SESSION} {[labelmap.GetMTime() for labelmap in labelmaps if labelmap is not None]}"


def tagOf(segment: slicer.vtkSegment, key: str) -> str:
    """A segment's tag of this module; empty when it has none."""
    value = vtk.reference("")
    return str(value) if segment.GetTag(TAG + key, value) else ""
