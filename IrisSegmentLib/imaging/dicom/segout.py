"""A segmentation as DICOM SEG, on the very slices of its scan, by highdicom.

Who the patient is, and which study, is copied from the scan's files, as DICOM wants it; nothing of that is made up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import __version__
from ...errors import IrisError
from ..volume import Segment, Segmentation
from .codes import concept, lab_of, terms_of
from .grid import carried, tilt
from .headers import library, quiet, read_header
from .series import Series

PRODUCT = "IrisSegment"
MUST_BE = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
MAY_BE_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
LONGEST = 64  # letters of a name in DICOM
AFTER = 1000  # what the series number of a segmentation lies above that of its scan


@dataclass(frozen=True)
class Maker:
    """What made a segmentation, to be written into it.

    :param network: hash of the network.
    :param preset: name of the preset.
    """

    network: str
    preset: str


def segmentation_object(
    segmentation: Segmentation, source: Path | Sequence[Path], name: str, maker: Maker | None
) -> Any:
    """A DICOM SEG as highdicom's data set, ready to be saved.

    :param source: the scan, as `chosen` takes it.
    :param name: what to call the scan when something is wrong with it.
    :param maker: None when a person made it, or nobody knows.
    :raises IrisError: when the segmentation does not lie on the scan, or the scan's files lack what DICOM wants.
    """
    hd = library("highdicom")
    series = Series.open(source, name)
    layers = carried(segmentation.layers, segmentation.affine, series.affine, series.shape)
    kept = 0 if layers is None else np.count_nonzero(layers)
    # On a straight grid nothing may be lost; what lies beside a tilted one was never seen.
    if layers is None or (tilt(series.affine) is None and kept != np.count_nonzero(segmentation.layers)):
        raise IrisError(
            f"'{segmentation.name}' does not lie on the slices of '{name}'; give the scan that it was made on, or "
            "write .seg.nrrd."
        )
    if not segmentation.segments:
        raise IrisError(f"The segmentation '{segmentation.name}' is empty; draw at least one segment in it.")
    headers = _headers(series)
    number = int(headers[0].get("SeriesNumber") or 0)
    about = "" if maker is None else f"preset {maker.preset}"
    try:
        with quiet():
            made = hd.seg.Segmentation(
                source_images=headers[:1] if series.slices[0].frame is not None else headers,
                further_source_images=headers[1:] if series.slices[0].frame is not None else None,
                pixel_array=_pictures(layers, segmentation.segments),
                omit_empty_frames=bool(kept),
                segmentation_type="BINARY",
                segment_descriptions=[_described(s, n + 1, maker) for n, s in enumerate(segmentation.segments)],
                series_instance_uid=library("pydicom.uid").generate_uid(prefix=None),
                sop_instance_uid=library("pydicom.uid").generate_uid(prefix=None),
                series_number=max(number, 0) + AFTER,
                instance_number=1,
                manufacturer=PRODUCT,
                manufacturer_model_name=PRODUCT,
                software_versions=__version__,
                device_serial_number=_words(maker.network if maker else __version__),
                content_label="SEGMENTATION",
                content_description=_words(about) or None,
                series_description=_words(f"{PRODUCT}: {about}" if about else PRODUCT),
                plane_positions=[hd.PlanePositionSequence("PATIENT", s.position) for s in series.slices],
                specific_character_set="ISO_IR 192",
            )
    except (AttributeError, ValueError, TypeError, KeyError) as error:  # which headers of strangers lead it to
        raise IrisError(f"The headers of '{name}' lack what a DICOM SEG needs; write .seg.nrrd instead.") from error
    made.ContentCreatorName = None  # must be there, and may be empty
    if series.slices[0].frame is not None:
        _only_frames(made, {(s.uid, s.frame + 1) for s in series.slices if s.frame is not None})
    return made


def _headers(series: Series) -> list[Any]:
    """The full headers of the scan's files in the order of its slices, with what highdicom needs at its place."""
    headers = [read_header(path) for path in dict.fromkeys(s.path for s in series.slices)]
    first = series.slices[0]
    between = float(np.abs(np.linalg.det(series.affine[:3, :3]))) / float(np.prod(first.spacing or 1.0))
    for data in headers:
        missing = next((keyword for keyword in MUST_BE if not data.get(keyword)), None)
        if missing is not None:
            raise IrisError(f"'{series.name}' has no {missing}, which a DICOM SEG must name; write .seg.nrrd instead.")
        for keyword in MAY_BE_EMPTY:
            if not _sound(data, keyword):
                setattr(data, keyword, None)
        # That of the first slice for all: the last digits may differ, which highdicom takes for another orientation.
        place = data
        if first.frame is not None:
            shared = (data.get("SharedFunctionalGroupsSequence") or [_item()])[0]
            orientation, measures = _item(), _item()
            shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
            data.SharedFunctionalGroupsSequence = [shared]
            orientation.ImageOrientationPatient = list(first.axes or ())
            place = measures
            place.PixelSpacing = list(first.spacing or ())[::-1]
        else:
            place.ImageOrientationPatient = headers[0].ImageOrientationPatient
        place.SpacingBetweenSlices = float(f"{between:.6g}")
        if not place.get("SliceThickness"):
            place.SliceThickness = float(f"{between:.6g}")
    return headers


def _sound(data: Any, keyword: str) -> bool:
    """Whether a header says this in the form that DICOM wants; what it does not is left empty."""
    kinds = library("pydicom.valuerep")
    try:
        value = data[keyword].value
        if keyword.endswith(("Date", "Time")) and value:
            (kinds.DA if keyword.endswith("Date") else kinds.TM)(value)
        return keyword != "PatientSex" or value in ("M", "F", "O")
    except (KeyError, ValueError):
        return False


def _item() -> Any:
    return library("pydicom").Dataset()


def _pictures(layers: NDArray, segments: Sequence[Segment]) -> NDArray:
    """What highdicom takes: one label map (K, J, I) of segment numbers, or where segments overlap a stack (K, J, I, S)
    of masks."""
    if len({s.layer for s in segments}) == 1 and len({s.label for s in segments}) == len(segments):
        numbers = np.zeros(max(int(layers.max()), *(s.label for s in segments), 1) + 1, np.uint16)
        for n, segment in enumerate(segments):
            numbers[segment.label] = n + 1
        numbers = numbers.astype(np.uint8) if len(segments) < 256 else numbers
        return numbers[layers[segments[0].layer].transpose(2, 1, 0)]
    return np.stack([layers[s.layer].transpose(2, 1, 0) == s.label for s in segments], axis=-1)


def _described(segment: Segment, number: int, maker: Maker | None) -> Any:
    hd, terms = library("highdicom"), terms_of(segment.terminology)
    algorithm = None
    if maker is not None:
        algorithm = hd.AlgorithmIdentificationSequence(
            name=PRODUCT, family=library("pydicom.sr.codedict").codes.DCM.ArtificialIntelligence, version=__version__,
            parameters={"network": maker.network, "preset": maker.preset},
        )  # fmt: skip
    made = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=_words(segment.name) or f"Segment {number}",
        segmented_property_category=concept(terms.category),
        segmented_property_type=concept(terms.kind),
        algorithm_type="MANUAL" if maker is None else "AUTOMATIC",
        algorithm_identification=algorithm,
        anatomic_regions=None if terms.region is None else [concept(terms.region)],
        display_color=lab_of(segment.color),
    )
    if terms.modifier is not None:
        kind = made.SegmentedPropertyTypeCodeSequence[0]
        kind.SegmentedPropertyTypeModifierCodeSequence = [concept(terms.modifier)]
    if terms.region_modifier is not None:
        made.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [concept(terms.region_modifier)]
    return made


def _words(text: str) -> str:
    """As DICOM takes words: a backslash would end them."""
    return text.replace("\\", "/").replace("\n", " ")[:LONGEST].strip()


def _only_frames(made: Any, wanted: set[tuple[str, int]]) -> None:
    """Of a multi-frame scan, the frames that were looked at: highdicom names all that lie in their places."""
    for frame in made.PerFrameFunctionalGroupsSequence:
        for derivation in frame.get("DerivationImageSequence", ()):
            derivation.SourceImageSequence = [
                s for s in derivation.SourceImageSequence
                if (s.ReferencedSOPInstanceUID, s.get("ReferencedFrameNumber", 0)) in wanted
            ]  # fmt: skip
