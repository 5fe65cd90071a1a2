"""DICOM: series in, segmentations in and out. Its libraries are imported where they are needed, not before."""
