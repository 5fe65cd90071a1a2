"""Between Slicer's scene and plain values: the only place that imports slicer, vtk or qt. camelCase, as Slicer is."""
