"""A map to explore: one HTML file that needs nothing from elsewhere, SVG drawn by its own few lines of script."""

from __future__ import annotations

import json

Point = tuple[str, str, str, str, float, float]  # set, class, case, split, x, y


def page(title: str, points: list[Point], colors: dict[str, str], notes: list[str]) -> str:
    """Hover a point for its set, class and case; click a set to hide it; drag and wheel to move and zoom.

    :param colors: by set.
    """
    words = {"points": points, "colors": colors}
    # "</" would end the script early, whatever a set or a case is called.
    data = json.dumps(words).replace("</", "<\\/")
    return _PAGE.replace("@TITLE", _escaped(title)).replace("@NOTES", "<br>".join(map(_escaped, notes))).replace(
        "@DATA", data
    )


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>@TITLE</title>
<style>
  body { font: 14px system-ui, sans-serif; margin: 16px; color: #222; }
  h1 { font-size: 18px; margin: 0 0 8px; }
  #sets button { border: 1px solid #ccc; background: #fff; border-radius: 4px; margin: 0 6px 6px 0; padding: 3px 8px; }
  #sets button[aria-pressed=false] { opacity: .35; }
  svg { border: 1px solid #ddd; width: 100%; height: 70vh; cursor: grab; touch-action: none; }
  #said { min-height: 1.4em; font-variant-numeric: tabular-nums; }
  footer { color: #555; font-size: 12px; margin-top: 8px; }
</style>
<h1>@TITLE</h1>
<div id="sets"></div>
<div id="said" aria-live="polite">Point at a dot: its class is lit up. Filled: test. Hollow: train.</div>
<svg id="map" role="img" aria-label="@TITLE"></svg>
<footer>@NOTES</footer>
<script>
const {points, colors} = @DATA;
const svg = document.getElementById("map"), said = document.getElementById("said"), hidden = new Set();
const xs = points.map(p => p[4]), ys = points.map(p => -p[5]);
const side = Math.max(Math.max(...xs) - Math.min(...xs), Math.max(...ys) - Math.min(...ys)) || 1;
let view = {x: Math.min(...xs) - side * .05, y: Math.min(...ys) - side * .05, w: side * 1.1, h: side * 1.1};
const dots = points.map((p, n) => {
  const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  dot.setAttribute("cx", p[4]); dot.setAttribute("cy", -p[5]);
  dot.setAttribute("stroke", colors[p[0]]);
  dot.setAttribute("fill", p[3] === "train" ? "#ffffff" : colors[p[0]]);
  dot.addEventListener("pointerenter", () => tell(p));
  dot.addEventListener("pointerleave", () => tell(null));
  svg.appendChild(dot);
  return dot;
});
function tell(over) {
  points.forEach((p, n) => {
    const same = over && p[0] === over[0] && p[1] === over[1];
    dots[n].style.opacity = !over || same ? 1 : .15;
  });
  if (over) said.textContent = `${over[1]} \u00b7 ${over[0]} \u00b7 ${over[2]} (${over[3]})`;
}
function place() {
  svg.setAttribute("viewBox", `${view.x} ${view.y} ${view.w} ${view.h}`);
  for (const dot of dots) { dot.setAttribute("r", view.w * .006); dot.setAttribute("stroke-width", view.w * .002); }
}
for (const name of Object.keys(colors)) {
  const button = document.createElement("button");
  button.textContent = name; button.style.color = colors[name]; button.setAttribute("aria-pressed", "true");
  button.onclick = () => {
    hidden.has(name) ? hidden.delete(name) : hidden.add(name);
    button.setAttribute("aria-pressed", String(!hidden.has(name)));
    points.forEach((p, n) => dots[n].style.display = hidden.has(p[0]) ? "none" : "");
  };
  document.getElementById("sets").appendChild(button);
}
svg.addEventListener("wheel", event => {
  event.preventDefault();
  const box = svg.getBoundingClientRect(), by = event.deltaY > 0 ? 1.15 : 1 / 1.15;
  const u = (event.clientX - box.left) / box.width, v = (event.clientY - box.top) / box.height;
  view = {x: view.x + view.w * u * (1 - by), y: view.y + view.h * v * (1 - by), w: view.w * by, h: view.h * by};
  place();
}, {passive: false});
let from = null;
svg.addEventListener("pointerdown", event => { from = [event.clientX, event.clientY]; });
addEventListener("pointerup", () => { from = null; });
addEventListener("pointermove", event => {
  if (!from) return;
  const box = svg.getBoundingClientRect(), scale = Math.max(view.w / box.width, view.h / box.height);
  view.x -= (event.clientX - from[0]) * scale; view.y -= (event.clientY - from[1]) * scale;
  from = [event.clientX, event.clientY];
  place();
});
place();
</script>
</html>
"""
