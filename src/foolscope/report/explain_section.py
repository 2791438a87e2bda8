"""One method's part of a page: what is told, its figures, and its measures as a table."""

from __future__ import annotations

import base64
import io

import numpy as np

from foolscope.report.closing import linked
from foolscope.report.explain_figures import Chart, on_page
from foolscope.report.explain_parts import Measure, Part
from foolscope.report.explain_slider import slider
from foolscope.report.figures import Styles
from foolscope.report.markup import Html, folded, join, tag
from foolscope.report.tables import row, table
from foolscope.report.words import NONE, number


def section(part: Part, styles: Styles) -> list[Html]:
    """Everything of the part but its title."""
    told = [tag("p", linked(paragraph)) for paragraph in part.told]
    leafed = [slider(part.slider, styles)] if part.slider else []
    shown = [_chart(chart, styles) for chart in part.charts]
    moving = [folded("Animation over the qualities", [_animation(content)]) for content in part.animations.values()]
    return [*told, *leafed, *shown, *moving, *([_measures(part)] if part.measures else [])]


def _chart(chart: Chart, styles: Styles) -> Html:
    drawn = on_page(chart, styles)
    return folded("Channel by channel", [drawn]) if chart.name.endswith("channels") else drawn


def _animation(content: bytes) -> Html:
    """The animation; its last frame alone for those who asked their system for less motion."""
    from PIL import Image

    still = io.BytesIO()
    with Image.open(io.BytesIO(content)) as frames:
        frames.seek(frames.n_frames - 1)  # type: ignore[attr-defined]
        frames.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(still, "PNG", optimize=True)
    told = "The same plane of frequencies at one quality after the other."
    picture = tag(
        "picture",
        tag("source", srcset=_source("png", still.getvalue()), media="(prefers-reduced-motion: reduce)"),
        tag("img", src=_source("gif", content), alt=told, width=430),
    )
    return tag("figure", picture, class_="strip")


def _source(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _measures(part: Part) -> Html:
    has_null = any(measure.null is not None for measure in part.measures)
    heads = ["Measure", "Value", *(["Null level"] if has_null else [])]
    rows = [_measure_row(measure, has_null) for measure in part.measures]
    return table("Measures; intervals are those of 95 % over the images", heads, [rows], "dense")


def _measure_row(measure: Measure, has_null: bool) -> Html:
    ends = [end for end in (measure.low, measure.high) if end is not None and np.isfinite(end)]
    small = tag("span", f"[{number(ends[0])},\u00a0{number(ends[1])}]", class_="interval") if len(ends) == 2 else ""
    cells: list[Html | str] = [join((number(measure.value), " ", small) if small else (number(measure.value),))]
    if has_null:
        cells.append(NONE if measure.null is None else number(measure.null))
    return row(measure.what, cells)
