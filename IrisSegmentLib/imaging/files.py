"""Scans and segmentations from files and back, by SimpleITK, and DICOM. A file appears whole or not at all."""

from __future__ import annotations

import colorsys
import math
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..errors import IrisError
from .dicom.choice import frame_of
from .dicom.headers import is_dicom, library, quiet
from .headers import stored_bytes
from .volume import Segment, Segmentation, Volume, label_counts

if TYPE_CHECKING:
    from .dicom.segout import Maker

_LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
FORMATS = {
    ".nii.gz": "NiftiImageIO", ".nii": "NiftiImageIO", ".seg.nrrd": "NrrdImageIO", ".nrrd": "NrrdImageIO",
    ".nhdr": "NrrdImageIO", ".mha": "MetaImageIO", ".mhd": "MetaImageIO",
}  # fmt: skip
EXTENSIONS = tuple(FORMATS)
DICOM = ".dcm"  # what a DICOM SEG is written as
Scan = str | Path | Sequence[Path]
LARGEST = 16 * 2**30  # bytes of a scan's voxels
DENSEST = 1100  # no gzip stream holds more bytes per byte


def stem_of(path: Path) -> str:
    """The file's name without its (possibly double) extension: ``scan.nii.gz`` is ``scan``."""
    name = Path(path).name
    for extension in EXTENSIONS:
        if name.lower().endswith(extension):
            return name[: -len(extension)]
    return Path(path).stem


def name_of(scan: Scan) -> str:
    """What a scan is called after its file, its folder, or the folder of its files; ``cine#3`` is ``cine_3``."""
    if not isinstance(scan, str | Path):
        return scan[0].resolve().parent.name
    path, frame = frame_of(Path(scan))
    name = path.resolve().name if path.is_dir() else stem_of(path)
    return name if frame is None else f"{name}_{frame}"


def read_volume(path: Scan) -> Volume:
    """Read one scan.

    :param path: an image file; or of a DICOM series its folder, one of its files, or all of them. ``PATH#N`` is the
        N-th volume of a 4D DICOM series.
    :raises IrisError: when the file is missing, unreadable, or not one 3D scan of single numbers; when the folder holds
        several series, or slices that do not make a volume.
    """
    path = _dicom(path)
    if not isinstance(path, Path) or _is_dicom(path):
        from .dicom.series import Series

        return Series.open(path, name_of(path)).volume()
    image = _read(path)
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise IrisError(f"'{path.name}' has several values per voxel (color or vectors); choose one channel of it.")
    return Volume(_to_ijk(image), _affine(image), stem_of(path))


def write_volume(volume: Volume, path: str | Path) -> None:
    """Write one scan; the format follows the file's extension."""
    _write(_to_image(volume.array, volume.affine), Path(path))


def read_segmentation(
    path: str | Path, labels: Mapping[int, str] | None = None, image: Volume | None = None
) -> Segmentation:
    """Read a segmentation with its names, colors and terminology where the file has them.

    :param labels: names by label value for a plain label map; only these labels become segments. Default: every
        label that occurs, named ``Segment_N``.
    :param image: the scan that it belongs to. An RTSTRUCT needs it; of a DICOM SEG the slices with no mark are missing
        without it; other files do not look at it.
    :raises IrisError: when the file is missing or unreadable, is not a label map, or holds no segment.
    """
    path = Path(path)
    if _is_dicom(path):
        from .dicom.segmentations import read_dicom_segmentation

        found = read_dicom_segmentation(path, name_of(path), image, default_color)
        return _checked(found, labels, path)
    stored = _read(path)
    layers = sitk.GetArrayFromImage(stored)
    if layers.ndim == 3:
        layers = layers[..., None]
    layers = np.ascontiguousarray(layers.transpose(3, 2, 1, 0))
    if not np.issubdtype(layers.dtype, np.integer):
        if not np.array_equal(layers, np.rint(layers)):
            raise IrisError(
                f"'{path.name}' is not a segmentation: it holds values that are not whole numbers; choose another."
            )
        layers = np.rint(layers)
    if layers.min() < 0 or layers.max() > 65535:
        raise IrisError(f"'{path.name}' is not a segmentation: its values are outside 0 to 65535; choose another.")
    layers = layers.astype(np.uint8 if layers.max() < 256 else np.uint16)
    segments = _segments_of_header(stored) or _segments_of_labels(layers, labels)
    return _checked(Segmentation(layers, _affine(stored), segments, stem_of(path)), labels, path)


def _checked(found: Segmentation, labels: Mapping[int, str] | None, path: Path) -> Segmentation:
    if labels is not None:
        found = found.only(n for n, s in enumerate(found.segments) if s.label in labels)
    if not found.segments:
        raise IrisError(f"The segmentation '{path.name}' is empty; draw at least one segment in it.")
    return found


def write_segmentation(
    segmentation: Segmentation, path: str | Path, source: Scan | None = None, maker: Maker | None = None
) -> None:
    """Write a segmentation. ``.seg.nrrd`` and ``.dcm`` keep names, colors, terminology and overlaps; ``.nrrd`` and
    NIfTI hold one layer of labels.

    :param source: the DICOM series that it lies on, as `read_volume` takes it; only ``.dcm`` needs it.
    :param maker: what made it; only ``.dcm`` keeps that. Default: a person.
    :raises IrisError: when segments overlap and the format has one layer only, or ``.dcm`` is wanted for a scan that is
        not DICOM; or when the file cannot be written.
    """
    writer(segmentation, path, source, maker)()


def writer(
    segmentation: Segmentation, path: str | Path, source: Scan | None = None, maker: Maker | None = None
) -> Callable[[], None]:
    """What writes a segmentation, as `write_segmentation` does: all but the disk can fail before.

    :raises IrisError: when segments overlap and the format has one layer only, or ``.dcm`` is wanted for a scan that is
        not DICOM.
    """
    path = Path(path)
    if path.name.lower().endswith(DICOM):
        return _dicom_writer(segmentation, path, source, maker)
    layers = segmentation.layers
    if path.name.lower().endswith(".seg.nrrd"):
        if len(layers) == 1:
            image = _to_image(layers[0], segmentation.affine)
        else:
            vector = np.ascontiguousarray(layers.transpose(3, 2, 1, 0))
            image = sitk.GetImageFromArray(vector, isVector=True)
            _set_geometry(image, segmentation.affine)
        _set_header(image, segmentation)
    elif len(layers) > 1:
        raise IrisError(f"Segments of '{segmentation.name}' overlap, which '{path.name}' cannot hold; use .seg.nrrd.")
    else:
        image = _to_image(layers[0], segmentation.affine)
    return partial(_write, image, path)


def default_color(index: int) -> tuple[float, float, float]:
    """A color that differs from its neighbors in the list: hues a golden angle apart."""
    return tuple(round(c, 4) for c in colorsys.hsv_to_rgb((0.02 + 0.61803 * index) % 1.0, 0.65, 0.9))  # type: ignore


def _read(path: Path) -> sitk.Image:
    if not path.exists():
        raise IrisError(f"There is no file '{path}'; check its name and folder.")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    # The format that the name says, and no other: some can be made to read any file of the machine.
    reader.SetImageIO(next((f for ending, f in FORMATS.items() if path.name.lower().endswith(ending)), ""))
    try:
        stored = stored_bytes(path)
        reader.ReadImageInformation()
        _check_claim(reader, stored, path)
        image = reader.Execute()
    except (RuntimeError, OSError, MemoryError) as error:
        raise IrisError(
            f"'{path}' could not be read as an image; it is damaged or of another kind; choose another."
        ) from error
    if image.GetDimension() == 4 and image.GetSize()[3] == 1:
        image = image[:, :, :, 0]
    if image.GetDimension() != 3:
        raise IrisError(f"'{path.name}' has {image.GetDimension()} dimensions; choose one 3D frame of it.")
    return image


def _check_claim(reader: sitk.ImageFileReader, stored: int, path: Path) -> None:
    """
    :raises IrisError: when a header claims more voxels than the file can hold, before room is made for them.
    """
    bits = re.search(r"(\d+)-bit", sitk.GetPixelIDValueAsString(reader.GetPixelID()))
    number = int(bits.group(1)) // 8 if bits else 8
    claimed = math.prod(reader.GetSize()) * reader.GetNumberOfComponents() * number
    if claimed > LARGEST:
        raise IrisError(f"'{path.name}' claims {claimed / 2**30:,.0f} GB of voxels; crop it to the part that matters.")
    if claimed > DENSEST * stored + 2**16:
        raise IrisError(f"'{path.name}' claims more voxels than the file can hold; it is damaged, so get it again.")


def _dicom(scan: Scan) -> Path | Sequence[Path]:
    return Path(scan) if isinstance(scan, str | Path) else scan


def _is_dicom(path: Path) -> bool:
    path, frame = frame_of(path)
    return frame is not None or path.is_dir() or (not path.name.lower().endswith(EXTENSIONS) and is_dicom(path))


def check_dicom(path: Path, source: Scan | None) -> Path | Sequence[Path]:
    """The scan of a DICOM SEG that is to be written.

    :raises IrisError: when it is not DICOM, or what writes DICOM SEG is not installed.
    """
    scan = None if source is None else _dicom(source)
    if scan is None or (isinstance(scan, Path) and not _is_dicom(scan)):
        raise IrisError(f"'{path.name}' would be a DICOM SEG, which only a DICOM series can have; write .seg.nrrd.")
    library("highdicom")
    return scan


def _dicom_writer(
    segmentation: Segmentation, path: Path, source: Scan | None, maker: Maker | None
) -> Callable[[], None]:
    from .dicom.segout import segmentation_object

    scan = check_dicom(path, source)
    made = segmentation_object(segmentation, scan, name_of(scan), maker)

    def write() -> None:
        with quiet():
            _appear(path, DICOM, lambda temporary: made.save_as(temporary, enforce_file_format=True))

    return write


def _write(image: sitk.Image, path: Path) -> None:
    extension = path.name[len(stem_of(path)) :].lower()
    if extension not in EXTENSIONS:
        raise IrisError(f"'{path.name}' has an unknown image extension; use one of {', '.join(EXTENSIONS)}.")
    _appear(path, extension, lambda temporary: sitk.WriteImage(image, temporary, useCompression=True))


def _appear(path: Path, extension: str, write: Callable[[str], None]) -> None:
    """Write beside, then rename, so that a reader never sees half a file."""
    if not path.parent.is_dir():
        raise IrisError(f"The folder '{path.parent}' does not exist; make it first.")
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".iris-", suffix=extension)
        os.close(handle)
    except OSError as error:
        raise IrisError(f"The folder '{path.parent}' cannot be written to ({error.strerror}); try another.") from error
    try:
        write(temporary)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        raise IrisError(f"'{path}' could not be written; is the disk full or the file in use?") from error
    finally:
        Path(temporary).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _to_ijk(image: sitk.Image) -> NDArray:
    return sitk.GetArrayFromImage(image).transpose(2, 1, 0)


def _affine(image: sitk.Image) -> NDArray[np.float64]:
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return _LPS_RAS @ affine


def _to_image(array: NDArray, affine: NDArray[np.float64]) -> sitk.Image:
    if array.dtype == np.bool_ or array.dtype == np.float16:
        array = array.astype(np.uint8 if array.dtype == np.bool_ else np.float32)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    _set_geometry(image, affine)
    return image


def _set_geometry(image: sitk.Image, affine: NDArray[np.float64]) -> None:
    lps = _LPS_RAS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())


def _segments_of_labels(layers: NDArray, labels: Mapping[int, str] | None) -> tuple[Segment, ...]:
    if len(layers) != 1:
        raise IrisError("A file with several layers but no segment names is not a segmentation this program can read.")
    present = [int(v) for v in np.flatnonzero(label_counts(layers[0])) if v > 0]
    values = present if labels is None else [v for v in labels if v in present]
    names = labels or {}
    return tuple(
        Segment(names.get(v, f"Segment_{v}"), default_color(n), label=v) for n, v in enumerate(values)
    )


def _segments_of_header(image: sitk.Image) -> tuple[Segment, ...]:
    """Segments as Slicer writes them into a .seg.nrrd header (Segment0_Name, Segment0_Color, ...)."""
    found: list[Segment] = []
    keys = set(image.GetMetaDataKeys())
    numbers = sorted(int(m.group(1)) for k in keys if (m := re.fullmatch(r"Segment(\d+)_ID", k)))
    for number in numbers:
        def field(name: str, default: str, number: int = number) -> str:
            key = f"Segment{number}_{name}"
            return image.GetMetaData(key) if key in keys else default

        tags = dict(t.split(":", 1) for t in field("Tags", "").split("|") if ":" in t)
        try:
            red, green, blue = (min(max(float(c), 0.0), 1.0) for c in field("Color", "0.5 0.5 0.5").split())
            layer, label = int(field("Layer", "0")), int(field("LabelValue", "1"))
        except ValueError as error:
            raise IrisError("A segment in the file's header has a color or label that is not a number.") from error
        if not 0 < label <= 65535:
            raise IrisError("A segment in the file's header has a label outside 1 to 65535.")
        color = red, green, blue
        if not all(map(math.isfinite, color)) or not 0 <= layer < image.GetNumberOfComponentsPerPixel():
            raise IrisError("A segment in the file's header names a color or layer that the file does not have.")
        found.append(Segment(field("Name", f"Segment_{number}"), color, tags.get("TerminologyEntry", ""), layer, label))
    return tuple(found)


def _set_header(image: sitk.Image, segmentation: Segmentation) -> None:
    image.SetMetaData("Segmentation_MasterRepresentation", "Binary labelmap")
    image.SetMetaData("Segmentation_ContainedRepresentationNames", "Binary labelmap|")
    image.SetMetaData("Segmentation_ReferenceImageExtentOffset", "0 0 0")
    for number, segment in enumerate(segmentation.segments):
        box = segmentation.boxes[number]
        extent = [v for side in box for v in (side.start, side.stop - 1)]
        values = {
            "ID": f"Segment_{number + 1}",
            "Name": segment.name,
            "NameAutoGenerated": "0",
            "Color": " ".join(f"{c:g}" for c in segment.color),
            "ColorAutoGenerated": "0",
            "Layer": str(segment.layer),
            "LabelValue": str(segment.label),
            "Extent": " ".join(map(str, extent)),
            "Tags": f"TerminologyEntry:{segment.terminology}|" if segment.terminology else "|",
        }
        for key, value in values.items():
            image.SetMetaData(f"Segment{number}_{key}", value)
