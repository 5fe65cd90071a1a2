"""DICOM series, multi-frame files and contours, made from the arrays that a test has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    RTStructureSetStorage,
    generate_uid,
)

CLASSES = {"CT": CTImageStorage, "MR": MRImageStorage, "PT": PositronEmissionTomographyImageStorage}
LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def series_header(modality: str = "MR", patient: str = "Doe^Jane", frame: str | None = None) -> Dataset:
    """What all slices of a series share."""
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 100"
    data.PatientName, data.PatientID, data.PatientBirthDate, data.PatientSex = patient, "4711", "19700101", "F"
    data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(), generate_uid()
    data.FrameOfReferenceUID = frame or generate_uid()
    data.StudyDate, data.StudyTime, data.StudyID, data.AccessionNumber = "20240102", "030405", "S1", "A1"
    data.ReferringPhysicianName, data.PositionReferenceIndicator = "", ""
    data.SeriesNumber, data.SeriesDescription, data.Modality = 3, f"{modality} sample", modality
    data.SOPClassUID, data.ImageType = CLASSES[modality], ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.Manufacturer, data.SliceThickness = "Nobody", 1.0
    return data


def write_series(
    folder: Path, array: np.ndarray, affine: np.ndarray, header: Dataset | None = None,
    change: Callable[[Dataset, int], Any] = lambda data, k: None,
) -> list[Path]:
    """One file per slice of an array (I, J, K) of 16-bit numbers with its affine (index to RAS, right-handed, may be
    sheared); returns the files, from slice to slice.

    :param change: of a slice's data set and its number, before it is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    header, lps, files = header or series_header(), LPS_RAS @ affine, []
    for k in range(array.shape[2]):
        data = Dataset()
        data.update(header)
        data.SOPInstanceUID, data.InstanceNumber = generate_uid(), k + 1
        data.ImagePositionPatient = _texts(lps[:3] @ [0, 0, k, 1])
        data.ImageOrientationPatient, data.PixelSpacing = _plane(lps)
        _set_pixels(data, array[:, :, k].T)
        change(data, k)
        files.append(folder / f"IM{k:04d}.dcm")
        save(data, files[-1])
    return files


def write_multiframe(
    path: Path, arrays: Sequence[np.ndarray], affine: np.ndarray, header: Dataset | None = None,
    rescale: Callable[[int], tuple[float, float]] = lambda frame: (1, 0), order: Sequence[int] | None = None,
) -> None:
    """Arrays (I, J, K) of several times in one enhanced MR file.

    :param rescale: slope and intercept of each frame.
    :param order: of the frames in the file; default: time by time, slice by slice.
    """
    lps, data = LPS_RAS @ affine, Dataset()
    data.update(header or series_header())
    data.SOPClassUID, data.SOPInstanceUID, data.InstanceNumber = EnhancedMRImageStorage, generate_uid(), 1
    shared, plane, measures = Dataset(), Dataset(), Dataset()
    plane.ImageOrientationPatient, measures.PixelSpacing = _plane(lps)
    measures.SliceThickness = measures.SpacingBetweenSlices = float(np.linalg.norm(lps[:3, 2]))
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [plane], [measures]
    groups, pictures = [], []
    for time, array in enumerate(arrays):
        for k in range(array.shape[2]):
            group, position, content, values = Dataset(), Dataset(), Dataset(), Dataset()
            position.ImagePositionPatient = _texts(lps[:3] @ [0, 0, k, 1])
            content.TemporalPositionIndex, content.StackID, content.InStackPositionNumber = time + 1, "1", k + 1
            slope, intercept = rescale(len(groups))
            values.RescaleSlope, values.RescaleIntercept, values.RescaleType = f"{slope:g}", f"{intercept:g}", "US"
            group.PlanePositionSequence, group.FrameContentSequence = [position], [content]
            group.PixelValueTransformationSequence = [values]
            groups.append(group)
            pictures.append(array[:, :, k].T)
    order = range(len(groups)) if order is None else order
    data.NumberOfFrames = len(groups)
    data.SharedFunctionalGroupsSequence = [shared]
    data.PerFrameFunctionalGroupsSequence = [groups[n] for n in order]
    _set_pixels(data, np.stack([pictures[n] for n in order]))
    save(data, path)


def write_contours(
    path: Path, regions: dict[str, list[np.ndarray]], colors: dict[str, tuple[int, int, int]] | None = None,
    kind: str = "CLOSED_PLANAR",
) -> None:
    """Contours (points, 3) in LPS, in mm, by the name of their region, as an RTSTRUCT."""
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = RTStructureSetStorage, generate_uid(), "RTSTRUCT"
    data.PatientName, data.StructureSetROISequence, data.ROIContourSequence = "Doe^Jane", [], []
    for number, (name, contours) in enumerate(regions.items(), 5):
        roi, item = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name
        item.ReferencedROINumber, item.ContourSequence = number, []
        if colors is not None:
            item.ROIDisplayColor = list(colors[name])
        for points in contours:
            contour = Dataset()
            contour.ContourGeometricType, contour.NumberOfContourPoints = kind, len(points)
            contour.ContourData = _texts(points.ravel())
            item.ContourSequence.append(contour)
        data.StructureSetROISequence.append(roi)
        data.ROIContourSequence.append(item)
    save(data, path)


def save(data: Dataset, path: Path) -> None:
    if not hasattr(data, "file_meta"):
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.save_as(path, enforce_file_format=True)


def _plane(lps: np.ndarray) -> tuple[list[str], list[str]]:
    """Orientation and pixel spacing as DICOM writes them."""
    spacing = np.linalg.norm(lps[:3, :2], axis=0)
    return _texts((lps[:3, :2] / spacing).T.ravel()), _texts(spacing[::-1])


def _texts(numbers: Sequence[float] | np.ndarray) -> list[str]:
    """As DICOM keeps numbers: at most 16 letters."""
    return [f"{number:.10g}"[:16] for number in numbers]


def _set_pixels(data: Dataset, pixels: np.ndarray) -> None:
    """
    :param pixels: (..., J, I)
    """
    data.Rows, data.Columns = pixels.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.PixelData = np.ascontiguousarray(pixels).astype(pixels.dtype.newbyteorder("<")).tobytes()
