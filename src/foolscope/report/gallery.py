"""The page of an experiment, with its figures as SVG and PNG and the numbers behind them as CSV and Parquet.

All is made of an experiment's findings, which are read from the store; nothing is computed here.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from foolscope.experiments.findings import Animation, Compared, Figure, Findings, Table, Value
from foolscope.experiments.running import RunResult
from foolscope.files import replacing, write_bytes, write_json
from foolscope.measure import Mean, Proportion
from foolscope.report.closing import linked
from foolscope.report.explain_figures import gif_file, on_page, png_file, svg_file
from foolscope.report.figures import Styles
from foolscope.report.gallery_drawing import chart, numbers
from foolscope.report.html import document
from foolscope.report.markup import Html, tag
from foolscope.report.tables import row, share, table
from foolscope.report.words import NONE, counted, number

SCHEMA = "foolscope-run/1"

_NAME = re.compile(r"[A-Za-z0-9_=.-]+")
"""A name that cannot lead out of its folder."""

_FRAME = 480.0
"""Width of an animation in pixels at natural size."""


def write_run(result: RunResult, folder: Path | str) -> Path:
    """Write `report.html`, `run.json`, `figures/` and `data/` into `folder` and return the page's path.

    Each file is written whole or not at all.  Those that an earlier run's `run.json` names, and that this run does not
    write, are removed.  Raises `StorageError`.
    """
    folder = Path(folder)
    findings = result.findings
    data: list[str] = []
    for figure in findings.figures:
        drawn = chart(figure)
        write_bytes(folder / "figures" / f"{figure.name}.svg", svg_file(drawn))
        write_bytes(folder / "figures" / f"{figure.name}.png", png_file(drawn))
        if (columns := numbers(figure)) is not None:
            data.append(figure.name)
            _write_data(folder / "data" / figure.name, *columns)
    for animation in findings.animations:
        write_bytes(folder / "figures" / f"{animation.name}.gif", _gif(animation))
    for one in findings.tables:
        data.append(f"table-{one.name}")
        _write_data(folder / "data" / f"table-{one.name}", *_flat(one))
    content = run_json(result)
    for path in _earlier_files(folder) - _files(folder, content["figures"], content["animations"], data):
        with suppress(OSError):
            path.unlink()
    write_json(folder / "run.json", content)
    path = folder / "report.html"
    write_bytes(path, run_page(result).encode())
    return path


def run_json(result: RunResult) -> dict[str, Any]:
    """What was run, and what it showed, without the figures."""
    return {
        "schema": SCHEMA,
        "asked": asdict(result.asked),
        "about": result.about(),
        "told": list(result.findings.told),
        "compared": [
            {"what": c.what, "seed": c.seed, "ours": _json(c.ours), "why": c.why} for c in result.findings.compared
        ],
        "tables": {
            one.name: {"columns": list(one.columns), "rows": [[_json(value) for value in line] for line in one.rows]}
            for one in result.findings.tables
        },
        "figures": [figure.name for figure in result.findings.figures],
        "animations": [animation.name for animation in result.findings.animations],
    }


def _files(folder: Path, figures: Iterable[str], animations: Iterable[str], data: Iterable[str]) -> set[Path]:
    """The files of a run's figures, animations and data of these names."""
    return {
        *(folder / "figures" / f"{name}.{kind}" for name in figures for kind in ("svg", "png")),
        *(folder / "figures" / f"{name}.gif" for name in animations),
        *(folder / "data" / f"{name}.{kind}" for name in data for kind in ("csv", "parquet")),
    }


def _earlier_files(folder: Path) -> set[Path]:
    """The files that the `run.json` in a folder names; none where it is damaged or not of a run."""
    try:
        content = json.loads((folder / "run.json").read_bytes())
        lists = content["figures"], list(content["tables"]), content.get("animations", [])
        is_ours = content["schema"] == SCHEMA and all(isinstance(names, list) for names in lists)
        if not is_ours or not all(_NAME.fullmatch(name) for names in lists for name in names):
            return set()
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return set()
    figures, tables, animations = lists
    return _files(folder, figures, animations, [*figures, *(f"table-{name}" for name in tables)])


def run_page(result: RunResult) -> str:
    """The page; equal findings give equal bytes."""
    styles, about, told = Styles(), result.about(), result.experiment.told()
    name, data = result.experiment.name, about["data"]
    title = f"{name} on {data['spec']}"
    badge = [tag("p", "Preview: fewer images than the experiment takes", class_="badge")] if result.is_preview else []
    images = f"{counted(data['images'], 'image')} of {data['of']:,} in the {data['split']} split"
    header = tag(
        "header",
        tag("p", f"foolscope experiment, {result.experiment.figure}", class_="eyebrow"),
        tag("h1", title),
        *badge,
        tag("p", images, class_="facts"),
        tag("p", linked(told["what"])),
    )
    sections = {
        "What the seed showed": [tag("p", linked(told["seed"]))],
        "What ours shows": [tag("p", linked(text)) for text in result.findings.told],
        "Where they differ, and why": [tag("p", linked(told["differences"]))],
        "Seed and ours in numbers": [_compared(result.findings.compared)] if result.findings.compared else [],
        "Figures": [
            *(on_page(chart(figure), styles) for figure in result.findings.figures),
            *(_moving(animation) for animation in result.findings.animations),
        ],
        "Numbers": [_table(one) for one in result.findings.tables],
        "How to repeat this": [tag("pre", tag("code", about["command"]), class_="wrap")],
        "What was used": [_provenance(about)],
    }
    parts = [tag("section", tag("h2", head), *inside) for head, inside in sections.items() if inside]
    return document(title, (header, tag("main", *parts)), styles, about["versions"]["foolscope"])


def _compared(rows: Sequence[Compared]) -> Html:
    lines = [row(c.what, [c.seed or NONE, _cell(c.ours), c.why]) for c in rows]
    caption = "What the seed reports, what ours shows, and why they differ"
    return table(caption, ("", "seed", "ours", "why"), [lines], "reasons")


def _table(one: Table) -> Html:
    lines = [row(_text(line[0]), [_cell(value) for value in line[1:]]) for line in one.rows]
    return table(one.caption, one.columns, [lines], "dense")


def _moving(animation: Animation) -> Html:
    source = f"data:image/gif;base64,{base64.b64encode(_gif(animation)).decode()}"
    picture = tag("img", src=source, alt=animation.caption, loading="lazy")
    return tag("figure", picture, tag("figcaption", animation.caption))


def _gif(animation: Animation) -> bytes:
    return gif_file([chart(frame) for frame in animation.frames], _FRAME)


def _provenance(about: dict[str, Any]) -> Html:
    machine = about["machine"]
    entries = {
        "Settings": ", ".join(f"{key} = {value}" for key, value in about["settings"].items()) or NONE,
        "Seed": str(about["seed"]),
        "Data": f"SHA-256 {about['data']['digest']}",
        "Versions": ", ".join(f"{name} {version}" for name, version in about["versions"].items() if version),
        "Machine": f"{machine['system']}, {machine['processor']}",
    }
    if about["data"]["credits"]:
        entries["Pictures"] = "; ".join(about["data"]["credits"])
    pairs = [part for name, text in entries.items() for part in (tag("dt", name), tag("dd", text))]
    return tag("dl", *pairs, class_="pairs")


def _cell(value: Value) -> Html | str:
    return share(value) if isinstance(value, Proportion) else _text(value)


def _text(value: Value) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NONE
    if isinstance(value, Mean):
        known = math.isfinite(value.low) and math.isfinite(value.high)  # not of a single value
        return f"{number(value.value)} [{number(value.low)}, {number(value.high)}]" if known else number(value.value)
    if isinstance(value, float):
        return number(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _json(value: Value) -> Any:
    if isinstance(value, (Proportion, Mean)):
        ends = {"value": _json(value.value), "low": _json(value.low), "high": _json(value.high)}
        return {**ends, **asdict(value)} if isinstance(value, Proportion) else {**ends, "count": value.count}
    return None if isinstance(value, float) and not abs(value) < float("inf") else value


def _flat(one: Table) -> tuple[list[str], list[list[Any]]]:
    """A table with plain cells; intervals become columns of their own."""
    spread = [any(isinstance(line[n], (Proportion, Mean)) for line in one.rows) for n in range(len(one.columns))]
    columns: list[str] = []
    for name, wide in zip(one.columns, spread, strict=True):
        columns += [name, f"{name} low", f"{name} high"] if wide else [name]
    lines = []
    for line in one.rows:
        cells: list[Any] = []
        for value, wide in zip(line, spread, strict=True):
            plain = _json(value)
            ends = [plain["value"], plain["low"], plain["high"]] if isinstance(plain, dict) else [plain, None, None]
            cells += ends if wide else [plain]
        lines.append(cells)
    return columns, lines


def _write_data(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """The same table as CSV and as Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_bytes(path.with_name(f"{path.name}.csv"), buffer.getvalue().encode())
    arrays = [_column([line[place] for line in rows]) for place in range(len(columns))]
    with replacing(path.with_name(f"{path.name}.parquet")) as temporary:
        pq.write_table(pa.table(arrays, names=list(columns)), temporary, compression="zstd")


def _column(values: Sequence[Any]) -> Any:
    """A column of one type; text where numbers and text are mixed."""
    import pyarrow as pa

    kinds = {type(value) for value in values if value is not None}
    return pa.array([None if value is None else str(value) for value in values] if str in kinds else list(values))


__all__ = ["Figure", "Findings", "run_json", "run_page", "write_run"]
