"""A small curve as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import qt

WIDTH, HEIGHT, EDGE, DOT = 240, 56, 6, 3  # pixels


def curvePixmap(values: Sequence[float], palette: qt.QPalette) -> qt.QPixmap:
    """Values from left to right as a line, the highest marked; in the colors of the panel, dark or light.

    :param values: at least two.
    """
    pixmap = qt.QPixmap(WIDTH, HEIGHT)
    pixmap.fill(palette.color(qt.QPalette.Base))
    painter = qt.QPainter(pixmap)
    painter.setRenderHint(qt.QPainter.Antialiasing)
    places = [_place(n, value, values) for n, value in enumerate(values)]
    painter.setPen(qt.QPen(palette.color(qt.QPalette.Highlight), 2))
    for one, next_ in pairwise(places):
        painter.drawLine(one, next_)
    painter.setBrush(palette.color(qt.QPalette.Highlight))
    painter.drawEllipse(places[max(range(len(values)), key=lambda n: values[n])], DOT, DOT)
    painter.end()
    return pixmap


def _place(number: int, value: float, values: Sequence[float]) -> qt.QPoint:
    low, high = min(values), max(values)
    right = EDGE + (WIDTH - 2 * EDGE) * number / (len(values) - 1)
    up = (HEIGHT - 2 * EDGE) * ((value - low) / (high - low) if high > low else 0.5)
    return qt.QPoint(round(right), round(HEIGHT - EDGE - up))
