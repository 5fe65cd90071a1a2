"""IrisSegment's plain-Python library: segment medical volumes by example, with or without 3D Slicer."""

__version__ = "0.1.0"
