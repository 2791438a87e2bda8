"""The report on explanations: one page that needs no other file, its figures beside it, and the numbers as JSON."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foolscope.files import write_bytes, write_json
from foolscope.report.explain_figures import png_file, svg_file
from foolscope.report.explain_parts import Part, Subject, as_json
from foolscope.report.explain_section import section
from foolscope.report.explain_slider import SCRIPT
from foolscope.report.figures import Styles
from foolscope.report.html import document
from foolscope.report.markup import Html, join, tag
from foolscope.report.words import NONE, counted, listed

SCHEMA = "foolscope-explanation/1"
_NAMED = 6

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
            "file": subject.files[index] if subject.files else None,
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
        tag("p", _facts(about, subject), class_="facts"),
    )
    sections = [tag("section", tag("h2", part.title), *section(part, styles)) for part in parts]
    closing = {
        "How to repeat this": [tag("pre", tag("code", about["command"]), class_="wrap")] if about["command"] else [],
        "What was used": [_pairs(_provenance(about, subject), "pairs")],
        "What the words mean": [_pairs(TERMS, "terms")],
    }
    ending = [tag("section", tag("h2", name), *inside) for name, inside in closing.items() if inside]
    main = tag("main", *sections, *ending)
    script = SCRIPT if any(part.slider for part in parts) else ""
    return document(f"{title}: explanation", (header, main), styles, about["versions"]["foolscope"], script)


def _facts(about: dict[str, Any], subject: Subject) -> Html:
    data = about["data"]
    if subject.files:
        lines = [f"{counted(data['images'], 'image')}: {_few(subject.files)}"]
    else:
        lines = [f"{counted(data['images'], 'image')} of {data['spec']}, {data['split']}"]
    if about["attack"]:
        lines.append(f"attack: {about['attack']}, which changed {counted(about['moved'], 'image')}")
    if about["defense"]:
        lines.append(f"behind {about['defense']}, which is part of the network that is explained and attacked")
    return join(lines, tag("br"))


def _few(names: Sequence[str]) -> str:
    """'a.png, b.png and 3 more'."""
    more = len(names) - _NAMED
    return listed(names) if more <= 0 else f"{', '.join(names[:_NAMED])} and {more:,} more"


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
