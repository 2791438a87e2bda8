"""The report on explanations: one page that needs no other file, its figures beside it, and the numbers as JSON."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foolscope.files import write_bytes, write_json
from foolscope.report.closing import linked
from foolscope.report.explain_figures import Chart, on_page, png_file, svg_file
from foolscope.report.explain_parts import Measure, Part, Subject, as_json
from foolscope.report.figures import Styles
from foolscope.report.html import document
from foolscope.report.markup import Html, folded, join, tag
from foolscope.report.tables import row, table
from foolscope.report.words import NONE, counted, number

SCHEMA = "foolscope-explanation/1"

TERMS = {
    "Cycles per pixel": "How many times a wave repeats over one pixel. Along an axis an image holds at most 0.5, one "
    "wave over two pixels (Nyquist); along the diagonal up to 0.707.",
    "Logits": "What a network answers before it becomes probabilities. Maps explain logits: near certainty, the slope "
    "of a probability vanishes whatever the image.",
    "Null level": "What the same measure is without the cause in question: under random noise of the same norm, for "
    "pixels in random order, or by chance.",
    "95 % interval": "Wilson's interval (1927) of a share, Student's t of a mean; over the images.",
}


def write_explanation(about: dict[str, Any], subject: Subject, parts: Sequence[Part], folder: Path | str) -> Path:
    """Write `explain.html`, `explain.json`, and every part's figures and arrays into `folder`; return the page's path.

    `about` is what `explain.json` says of itself.  Each file is written whole or not at all.  Raises `StorageError`.
    """
    folder = Path(folder)
    write_json(folder / "explain.json", explanation_json(about, subject, parts))
    for part in parts:
        for name, array in part.arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, array)
            write_bytes(folder / f"{name}.npy", buffer.getvalue())
        for name, content in part.animations.items():
            write_bytes(folder / f"{name}.gif", content)
        for chart in part.charts:
            write_bytes(folder / f"{chart.name}.svg", svg_file(chart))
            if chart.is_picture:
                write_bytes(folder / f"{chart.name}.png", png_file(chart))
    path = folder / "explain.html"
    write_bytes(path, explanation_page(about, subject, parts).encode())
    return path


def explanation_json(about: dict[str, Any], subject: Subject, parts: Sequence[Part]) -> dict[str, Any]:
    """Everything but figures and arrays, as values that JSON can hold."""
    return {
        "schema": SCHEMA,
        "about": about,
        "images": _images_json(subject),
        "methods": {
            part.method: {
                "measures": [as_json(measure) for measure in part.measures],
                "files": sorted(_files(part)),
                **part.data,
            }
            for part in parts
        },
    }


def _images_json(subject: Subject) -> list[dict[str, Any]]:
    data = subject.data
    places = range(len(data)) if data.origin is None else data.origin.tolist()
    return [
        {
            "image": place,
            "class": int(data.labels[index]),
            "prediction": int(subject.predictions[index]),
            "attacked_prediction": None if subject.answers is None else int(subject.answers[index]),
        }
        for index, place in enumerate(places)
    ]


def _files(part: Part) -> list[str]:
    pictures = [f"{chart.name}.{kind}" for chart in part.charts for kind in ("svg", *(["png"] * chart.is_picture))]
    return [*pictures, *(f"{name}.npy" for name in part.arrays), *(f"{name}.gif" for name in part.animations)]


def explanation_page(about: dict[str, Any], subject: Subject, parts: Sequence[Part]) -> str:
    """The whole page; equal findings give equal bytes."""
    styles = Styles()
    title = f"{about['model']['name']} on {about['data']['spec']}"
    header = tag(
        "header",
        tag("p", "foolscope explanation", class_="eyebrow"),
        tag("h1", title),
        tag("p", _facts(about), class_="facts"),
    )
    sections = [tag("section", tag("h2", part.title), *_part(part, styles)) for part in parts]
    closing = {
        "How to repeat this": [tag("pre", tag("code", about["command"]), class_="wrap")] if about["command"] else [],
        "What was used": [_pairs(_provenance(about, subject), "pairs")],
        "What the words mean": [_pairs(TERMS, "terms")],
    }
    ending = [tag("section", tag("h2", name), *inside) for name, inside in closing.items() if inside]
    main = tag("main", *sections, *ending)
    return document(f"{title}: explanation", (header, main), styles, about["versions"]["foolscope"])


def _facts(about: dict[str, Any]) -> Html:
    data = about["data"]
    lines = [f"{counted(data['images'], 'image')} of {data['spec']}, {data['split']}"]
    if about["attack"]:
        lines.append(f"attack: {about['attack']}, which changed {counted(about['moved'], 'image')}")
    if about["defense"]:
        lines.append(f"behind {about['defense']}, which is part of the network that is explained and attacked")
    return join(lines, tag("br"))


def _part(part: Part, styles: Styles) -> list[Html]:
    told = [tag("p", linked(paragraph)) for paragraph in part.told]
    first, rest = part.charts[:2], part.charts[2:]
    shown = [on_page(chart, styles) for chart in first]
    moving = [folded("Animation over the qualities", [_animation(content)]) for content in part.animations.values()]
    return [*told, *shown, *(_folded_chart(chart, styles, part) for chart in rest), *moving, _measures(part)]


def _folded_chart(chart: Chart, styles: Styles, part: Part) -> Html:
    drawn = on_page(chart, styles)
    return folded("Channel by channel", [drawn]) if chart.name.endswith("channels") else drawn


def _animation(content: bytes) -> Html:
    source = f"data:image/gif;base64,{base64.b64encode(content).decode()}"
    told = "The same plane of frequencies at one quality after the other."
    return tag("figure", tag("img", src=source, alt=told, width=430), class_="strip")


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


def _provenance(about: dict[str, Any], subject: Subject) -> dict[str, str]:
    data = about["data"]
    pairs = {
        "Seed": str(about["seed"]),
        "Weights": f"{about['model']['weights'] or NONE}, trained on {about['model']['trained_on'] or 'unknown data'}",
        "Data": f"{data['spec']}, {data['split']}, {data['images']} of {data['of']} images, SHA-256 {data['digest']}",
    }
    if subject.data.credits:
        pairs["Pictures"] = "; ".join(dict.fromkeys(subject.data.credits))
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items() if version)
    return {**pairs, "Versions": versions}


def _pairs(entries: dict[str, str], kind: str) -> Html:
    return tag(
        "dl", *(part for name, text in entries.items() for part in (tag("dt", name), tag("dd", text))), class_=kind
    )
