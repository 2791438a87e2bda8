"""The figures of experiments, from data to charts and to rows of numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from foolscope.experiments.findings import Bars, Chart, Figure, Panel, Picture, Pictures, Plane
from foolscope.report import explain_panels as drawn
from foolscope.report.explain_figures import Chart as Drawing
from foolscope.report.explain_pictures import Picture as Pixels
from foolscope.report.explain_pictures import Sheet, image_picture, map_picture, noise_picture


def chart(figure: Figure) -> Drawing:
    """What draws a figure."""
    if isinstance(figure.content, Pictures):
        rows = tuple((told, tuple(_pixels(p) for p in row)) for told, row in figure.content.rows)
        return Sheet(
            columns=figure.content.columns, rows=rows, name=figure.name, label=figure.caption, caption=figure.caption
        )
    panels = tuple(_panel(panel) for panel in figure.content)
    return drawn.Panels(panels=panels, name=figure.name, label=figure.caption, caption=figure.caption)


def _panel(panel: Panel) -> drawn.Panel:
    kinds: dict[type[Panel], type[drawn.Panel]] = {Chart: drawn.Curves, Bars: drawn.Dots, Plane: drawn.Plane}
    return kinds[type(panel)](**vars(panel))


def _pixels(picture: Picture | None) -> Pixels | None:
    if picture is None:
        return None
    make = {"image": image_picture, "noise": noise_picture, "map": map_picture}[picture.kind]
    return make(torch.from_numpy(np.asarray(picture.values, dtype=np.float32)), picture.tells)


def numbers(figure: Figure) -> tuple[list[str], list[list[Any]]] | None:
    """The columns and rows of what a figure's panels show; None of pictures, which are their own data."""
    if isinstance(figure.content, Pictures):
        return None
    rows: list[list[Any]] = []
    for panel in figure.content:
        rows += _rows(panel)
    return ["panel", "series", "x", "y", "value", "low", "high"], rows


def _rows(panel: Panel) -> list[list[Any]]:
    if isinstance(panel, Chart):
        return [
            [panel.title, line.name, float(x), None, _finite(value), _end(line.low, n), _end(line.high, n)]
            for line in panel.lines
            for n, (x, value) in enumerate(zip(line.x, line.y, strict=True))
        ]
    if isinstance(panel, Bars):
        return [
            [panel.title, f"{name}: {category}", None, None, *map(_finite, triple)]
            for name, group in panel.groups
            for category, triple in zip(panel.categories, group, strict=True)
        ]
    return [
        [panel.title, "plane", float(x), float(y), _finite(float(panel.values[i, j])), None, None]
        for i, y in enumerate(panel.vertical)
        for j, x in enumerate(panel.horizontal)
    ]


def _end(values: Any, place: int) -> float | None:
    return None if values is None else _finite(values[place])


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
