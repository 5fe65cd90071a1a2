"""One page to leaf through the results of a run, the least certain first; it needs nothing beside it."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Sequence
from pathlib import Path

from ..context.preset import Preset, write_whole
from .outcome import DONE, Outcome
from .results import ordered

NAME = "report.html"
PICTURED = 1000  # cases that get a picture: the least certain; a page of more is slow to open
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #1c2733; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.05rem; margin: 0 0 .3rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; } td, th { padding: .1rem .8rem .1rem 0; text-align: left; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
section { display: flex; gap: 1.2rem; padding: .8rem; border-top: 1px solid #d5dde5; content-visibility: auto;
          contain-intrinsic-size: auto 230px; }
section:target, section:focus { background: #eef4fa; outline: none; }
section p { margin: 0; } img { width: 216px; image-rendering: auto; background: #000; align-self: flex-start; }
.key { display: inline-block; width: .8em; height: .8em; margin-right: .4em; }
.aside { border-left: .3rem solid #c0392b; }
"""
# Arrow keys go from case to case.
SCRIPT = """
addEventListener('keydown', e => {
  const step = {ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1}[e.key];
  if (!step) return;
  const all = [...document.querySelectorAll('section')];
  const next = all[all.indexOf(document.activeElement) + step];
  if (next) { e.preventDefault(); next.focus({preventScroll: true}); next.scrollIntoView({block: 'center'}); }
});
"""


def write_report(
    outcomes: Sequence[Outcome], preset: Preset, folder: Path, picture: Callable[[str], bytes]
) -> None:
    """
    :param picture: of a case, PNG; empty for none.
    :raises IrisError: when the folder cannot be written to.
    """
    rows = ordered(outcomes)
    done = sum(o.state == DONE for o in rows)
    pictured = {o.case for o in [o for o in rows if o.state == DONE][:PICTURED]}
    sections = [_section(o, preset, picture(o.case) if o.case in pictured else b"") for o in rows]
    page = (
        "<!doctype html><html lang=en><meta charset=utf-8><title>IrisSegment results</title>"
        "<meta http-equiv=Content-Security-Policy "
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
        f"<style>{STYLE}</style><h1>{html.escape(preset.name)}: {done} of {len(rows)} cases done</h1>"
        f"<p>The cases that were set aside come first, then the least certain. Arrow keys go from case to case. "
        "Confidence is the Dice to expect: 1 is perfect, 0 is none. "
        f"Pictures are axial, where most was found{', of the first ' + str(PICTURED) if done > PICTURED else ''}.</p>"
        f"{''.join(sections)}<p>For research only; not for clinical decisions.</p><script>{SCRIPT}</script></html>"
    )
    write_whole(folder / NAME, page.encode())


def _section(outcome: Outcome, preset: Preset, picture: bytes) -> str:
    name, where = html.escape(outcome.case), html.escape(outcome.image)
    if outcome.state != DONE:
        return (
            f"<section class=aside tabindex=-1><div><h2>{name}</h2><p>Set aside: {html.escape(outcome.reason)}</p>"
            f"<p><small>{where}</small></p></div></section>"
        )
    shown = ""
    if picture:
        shown = f'<img alt="slice of {name}" src="data:image/png;base64,{base64.b64encode(picture).decode()}">'
    lines = "".join(
        f"<tr><td><span class=key style='background:{_css(segment.color)}'></span>"
        f"{html.escape(segment.name)}<td class=n>{sure:.2f}<td class=n>{volume:.1f}<td>{html.escape(note)}"
        for segment, sure, volume, note in zip(
            preset.segments, outcome.confidence, outcome.volumes_ml, outcome.notes, strict=True
        )
    )
    return (
        f"<section tabindex=-1>{shown}<div><h2>{name}</h2><table><tr><th>Segment<th class=n>Confidence"
        f"<th class=n>Volume (mL){lines}</table><p><small>{where}</small></p></div></section>"
    )


def _css(color: tuple[float, float, float]) -> str:
    return f"rgb({','.join(str(round(255 * c)) for c in color)})"
