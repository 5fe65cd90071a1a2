"""The demo's report: one page that needs nothing beside it, with pictures from Slicer's own slice views."""

from __future__ import annotations

import base64
import html
import tempfile
from pathlib import Path

SIZE = (300, 300)
ORIENTATIONS = ("Axial", "Sagittal", "Coronal")
_views: dict = {}

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem;
       color: #1c2733; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; }
td, th { padding: .25rem .8rem; border-bottom: 1px solid #d5dde5; text-align: left; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.row { display: flex; gap: .5rem; align-items: center; margin: .4rem 0; } .row b { width: 6.5rem; }
.row img { width: 280px; height: 280px; background: #000; } .key { display: inline-block; width: .8em; height: .8em; }
"""


def pictures(volume, result, manual):
    """Rows of pictures through the middle of what was found: the result, and the manual label where there is one.

    :return: list of (words, [png bytes for each orientation]).
    """
    center = _center(result)
    rows = [("Result" if manual is not None else "Reference", result)]
    if manual is not None:
        rows.append(("Manual label", manual))
    return [(words, [_picture(volume, node, o, center) for o in ORIENTATIONS]) for words, node in rows]


def write(output: Path, rows, figures, seconds: float) -> Path:
    """Write the page; returns its path."""
    table = "".join(
        f"<tr><td>{html.escape(task)}</td><td>{html.escape(case)}</td><td>{html.escape(name)}</td>"
        f"<td class=n>{score:.2f}</td><td class=n>{found:.1f}</td><td class=n>{drawn:.1f}</td>"
        f"<td class=n>{took:.2f}</td></tr>"
        for task, case, name, score, found, drawn, took in rows
    )
    shown = "".join(
        f"<h2>{html.escape(title)}</h2>"
        + "".join(
            f"<div class=row><b>{words}</b>"
            + "".join(_image(o, png) for o, png in zip(ORIENTATIONS, images, strict=True))
            + "</div>"
            for words, images in parts
        )
        for title, parts in figures
    )
    page = output / "report.html"
    page.write_text(
        f"<!doctype html><meta charset=utf-8><title>IrisSegment demo</title><style>{STYLE}</style>"
        "<h1>IrisSegment: one patient marked, the others segmented</h1>"
        "<p>Each task was learned from one reference. The other patients were segmented with it: whole scans, no "
        "hints. Dice is the agreement with the manual label: 1 is perfect, 0 is none. The network never saw these "
        "patients. "
        f"Everything here took {seconds:.0f} seconds.</p>"
        "<table><tr><th>Task<th>Target<th>Segment<th class=n>Dice<th class=n>Volume (mL)<th class=n>Manual (mL)"
        f"<th class=n>Seconds</tr>{table}</table>"
        f"<p>Views are {', '.join(o.lower() for o in ORIENTATIONS)}, through the middle of what was found.</p>{shown}"
        "<p>For research only; not for clinical decisions.</p>"
    )
    return page


def _picture(volume, segmentation, orientation: str, center) -> bytes:
    from SlicerRuntime.views import SliceView

    if orientation not in _views:
        _views[orientation] = SliceView(f"Demo{orientation}", orientation, SIZE)
    view = _views[orientation]
    view.show(volume, {segmentation}, center)
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        view.save(file.name)
        return Path(file.name).read_bytes()


def _center(segmentation) -> tuple[float, float, float]:
    bounds = [0.0] * 6
    segmentation.GetRASBounds(bounds)
    return tuple((bounds[2 * n] + bounds[2 * n + 1]) / 2 for n in range(3))  # type: ignore[return-value]


def _image(orientation: str, png: bytes) -> str:
    data = base64.b64encode(png).decode()
    return f'<img alt="{orientation}" title="{orientation}" src="data:image/png;base64,{data}">'
