"""Words and colors of a segment, as Slicer writes them and as DICOM does: coded concepts and CIELab."""

from __future__ import annotations

from typing import Any, NamedTuple

from .headers import library

CATEGORIES, ANATOMY = "Segmentation category and type - DICOM master list", "Anatomic codes - DICOM master list"


class Code(NamedTuple):
    scheme: str
    value: str
    meaning: str


class Terms(NamedTuple):
    """What a segment shows, and where: a terminology entry of Slicer without the names of its lists."""

    category: Code
    kind: Code
    modifier: Code | None = None
    region: Code | None = None
    region_modifier: Code | None = None


TISSUE = Code("SCT", "85756007", "Tissue")
DEFAULT = Terms(TISSUE, TISSUE)  # Slicer's own, for a segment of which nothing is known


def terms_of(entry: str) -> Terms:
    """The codes of Slicer's serialised terminology entry, ``list~category~type~modifier~list~region~modifier`` with
    each code ``scheme^value^meaning``; `DEFAULT` when it is empty or damaged.

    Example::

        terms_of("...~SCT^123037004^Anatomical Structure~SCT^78277001^Hippocampus~^^~...~^^~^^").kind.meaning
    """
    _, category, kind, modifier, _, region, region_modifier = (entry.split("~") + [""] * 7)[:7]
    first, second = _code(category), _code(kind)
    if first is None or second is None:
        return DEFAULT
    where = _code(region)
    return Terms(first, second, _code(modifier), where, _code(region_modifier) if where else None)


def entry_of(terms: Terms) -> str:
    """The other way round."""
    category, kind, modifier, region, region_modifier = ("^".join(c or ("", "", "")) for c in terms)
    return "~".join([CATEGORIES, category, kind, modifier, ANATOMY, region, region_modifier])


def _code(words: str) -> Code | None:
    parts = [part.strip() for part in words.split("^")]
    sound = len(parts) == 3 and all(parts) and "\\" not in words and words.isprintable()
    return Code(*parts) if sound and max(map(len, parts)) <= 64 and len(parts[0]) <= 16 else None


def concept(code: Code) -> Any:
    """As an item of a DICOM code sequence."""
    return library("highdicom").sr.CodedConcept(code.value, code.scheme, code.meaning)


def code_in(item: Any, sequence: str) -> Code | None:
    """The code of a sequence of an item, None when it has none."""
    found = item.get(sequence)
    if not found:
        return None
    value = found[0].get("CodeValue") or found[0].get("LongCodeValue") or found[0].get("URNCodeValue") or ""
    parts = [str(found[0].get("CodingSchemeDesignator") or ""), str(value), str(found[0].get("CodeMeaning") or "")]
    return _code("^".join(part.replace("^", " ").replace("~", " ") for part in parts))


def lab_of(color: tuple[float, float, float]) -> Any:
    """A color 0..1 as highdicom's CIELab."""
    return library("highdicom").color.CIELabColor.from_rgb(*(round(255 * c) for c in color))


def rgb_of(values: Any) -> tuple[float, float, float]:
    """A color 0..1 from the three numbers that DICOM keeps of its CIELab."""
    lab = library("highdicom").color.CIELabColor.from_dicom_value(tuple(int(v) for v in values))
    red, green, blue = (round(c / 255, 4) for c in lab.to_rgb(clip=True))
    return red, green, blue
