"""A run's folder: what an earlier run left there goes, what is not its own stays."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foolscope.experiments.findings import Animation, Chart, Figure, Findings, Line, Picture, Pictures, Table
from foolscope.experiments.running import Asked, RunResult, plan
from foolscope.experiments.store import Store
from foolscope.report.gallery import write_run

CURVES = Figure(
    name="curves", caption="c", content=(Chart(title="t", lines=(Line("a", [0, 1], [0, 1]),), x="x", y="y"),)
)
PICTURE = Figure(
    name="picture", caption="c", content=Pictures(columns=("p",), rows=(("", (Picture(np.ones((1, 2, 2))),)),))
)
MOVIE = Animation(name="movie", caption="c", frames=(CURVES,))
NUMBERS = Table(name="numbers", caption="c", columns=("a", "b"), rows=((1, 2),))
PLAIN = {"report.html", "run.json"}
DRAWN = {"figures/curves.svg", "figures/curves.png", "data/curves.csv", "data/curves.parquet"}


@pytest.fixture
def result(tmp_path: Path) -> RunResult:
    asked = Asked(name="dataset-overview", data="digits", settings={}, limit=4)
    planned = plan(asked, store=Store(tmp_path / "store"))
    return RunResult(
        asked=asked, experiment=planned.experiment, sample=planned.sample, findings=Findings(told=("told",)),
        is_preview=True, computed=0, reused=0, seconds=0.0,
    )  # fmt: skip


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_files_of_an_earlier_run_are_removed_and_no_others(result: RunResult, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shown = Findings(told=(), figures=(CURVES, PICTURE), tables=(NUMBERS,), animations=(MOVIE,))
    write_run(replace(result, findings=shown), folder)
    assert files(folder) == PLAIN | DRAWN | {
        "figures/picture.svg", "figures/picture.png", "figures/movie.gif", "data/table-numbers.csv",
        "data/table-numbers.parquet",
    }  # fmt: skip
    own = {"figures/movie.svg", "figures/own.png", "data/numbers.csv", "curves.svg"}
    for name in own:
        (folder / name).touch()
    write_run(replace(result, findings=Findings(told=(), figures=(CURVES,))), folder)
    assert files(folder) == PLAIN | DRAWN | own
    write_run(replace(result, findings=Findings(told=(), figures=(replace(PICTURE, name="curves"),))), folder)
    assert files(folder) == PLAIN | own | {"figures/curves.svg", "figures/curves.png"}


@pytest.mark.parametrize(
    "damage",
    [
        {"schema": "another/1"}, {"schema": None}, {"figures": ["curves", "../own"]}, {"figures": ["curves", 1]},
        {"figures": "curves"}, {"tables": None}, {"tables": {"/own": 1}}, {"animations": {"curves": 1}},
    ],
)  # fmt: skip
def test_a_damaged_description_of_an_earlier_run_removes_nothing(
    result: RunResult, tmp_path: Path, damage: dict[str, object]
) -> None:
    write_run(replace(result, findings=Findings(told=(), figures=(CURVES,))), tmp_path / "run")
    (tmp_path / "run" / "own.svg").touch()
    path = tmp_path / "run" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    write_run(result, tmp_path / "run")
    assert files(tmp_path / "run") == PLAIN | DRAWN | {"own.svg"}
    assert json.loads(path.read_text())["figures"] == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_what_is_no_description_is_written_over(result: RunResult, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_bytes(content)
    write_run(result, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["animations"] == []


def test_a_description_without_animations_is_an_older_one(result: RunResult, tmp_path: Path) -> None:
    write_run(replace(result, findings=Findings(told=(), figures=(CURVES,))), tmp_path / "run")
    path = tmp_path / "run" / "run.json"
    content = json.loads(path.read_text())
    del content["animations"]
    path.write_text(json.dumps(content))
    write_run(result, tmp_path / "run")
    assert files(tmp_path / "run") == PLAIN
