"""`foolscope experiments`, `run` and `report`."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from foolscope.experiments.catalog import EXPERIMENTS
from foolscope.experiments.running import Estimate, Planned
from tests.cli.running import Program

DIGITS = ("--data", "digits", "--limit", 4, "--set")
ASKED = ("run", "jpeg-levels", "--data", "digits", "--limit", 3, "--set", "qualities=10,90", "--set", "shown=1")


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("FOOLSCOPE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    yield


@pytest.fixture
def program(capsys: pytest.CaptureFixture[str]) -> Program:
    return Program(capsys)


def test_the_catalog_is_listed(program: Program) -> None:
    outcome = program("experiments")
    assert outcome.code == 0
    for name in EXPERIMENTS:
        assert f"  {name} " in outcome.out
    assert [record["name"] for record in program("experiments", "--json").json["experiments"]] == list(EXPERIMENTS)


def test_one_experiment_is_shown(program: Program) -> None:
    outcome = program("experiments", "jpeg-epsilon")
    assert "seed: Fig. 11. Fig. 11 shows of MNIST that JPEG restores" in outcome.out
    assert "differences: The attack is oblivious here as there" in outcome.out
    assert "10,30,50,75,90" in outcome.out
    record = program("experiments", "jpeg-epsilon", "--json").json
    assert {setting["name"] for setting in record["settings"]} == {"eps", "qualities", "models"}


def test_a_run_writes_its_folder_and_goes_on(program: Program, tmp_path: Path) -> None:
    dry = program(*ASKED, "--dry-run")
    assert dry.out.splitlines()[0] == "0 of 1 cells done, 1 to do"
    assert "unknown: cells of this kind were never computed here" in dry.out
    assert not (tmp_path / "foolscope-runs").exists()
    first = program(*ASKED)
    assert first.code == 0
    assert "jpeg-levels on digits (3 of 500 images): a preview" in first.out
    assert "From quality 90 to 10 the PSNR falls" in first.out
    assert "1 cells computed, 0 from the store" in first.err
    folder = tmp_path / "foolscope-runs" / "jpeg-levels-digits-preview"
    assert f"Report: {folder / 'report.html'}" in first.err
    assert {path.name for path in (folder / "figures").iterdir()} == {
        "levels.svg", "levels.png", "size-and-psnr.svg", "size-and-psnr.png",
    }  # fmt: skip
    with (folder / "data" / "table-levels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["quality"] for row in rows] == ["10", "90"]
    assert float(rows[0]["bytes low"]) <= float(rows[0]["bytes"]) <= float(rows[0]["bytes high"])
    assert program(*ASKED, "--dry-run", "--json").json["to_do"] == 0
    again = program(*ASKED, "--json")
    assert "0 cells computed, 1 from the store" in again.err
    assert again.json == json.loads((folder / "run.json").read_text())
    assert again.json["about"]["command"] == (
        "foolscope run jpeg-levels --data digits --set qualities=10,90 --set shown=1 --limit 3"
    )


def test_an_estimate_tells_the_cells_that_it_leaves_out(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    estimate = Estimate(cells=20, done=5, failed=0, seconds=35.2, size=300_000, unknown_cells=12)
    monkeypatch.setattr(Planned, "estimate", lambda planned: estimate)
    more = ", and 12 cells of kinds that were never computed here"
    assert program(*ASKED, "--dry-run").out.splitlines()[1:] == [
        f"time: about 35 s with one worker{more}", f"disk: about 0.3 MB{more}",
    ]  # fmt: skip
    assert program(*ASKED, "--dry-run", "--json").json["unknown_cells"] == 12
    estimate = replace(estimate, unknown_cells=1)
    assert ", and 1 cell of a kind that was never computed here" in program(*ASKED, "--dry-run").out
    estimate = replace(estimate, unknown_cells=0)
    assert program(*ASKED, "--dry-run").out.splitlines()[1] == "time: about 35 s with one worker"


def test_a_run_in_the_folder_of_another_leaves_none_of_its_files(program: Program, tmp_path: Path) -> None:
    program(*ASKED, "--out", "here")
    (tmp_path / "here" / "figures" / "own.svg").touch()
    program("run", "dataset-overview", "--data", "digits", "--limit", 8, "--out", "other")
    program("run", "dataset-overview", "--data", "digits", "--limit", 8, "--out", "here")

    def files(folder: str) -> set[str]:
        return {str(path.relative_to(tmp_path / folder)) for path in (tmp_path / folder).rglob("*") if path.is_file()}

    assert files("here") == files("other") | {"figures/own.svg"}


def test_a_report_is_drawn_again_from_the_store(program: Program, tmp_path: Path) -> None:
    program(*ASKED, "--out", "here")
    page = (tmp_path / "here" / "report.html").read_bytes()
    (tmp_path / "here" / "report.html").unlink()
    assert program("report", "here").code == 0
    assert (tmp_path / "here" / "report.html").read_bytes() == page
    for cell in (tmp_path / "home" / "store").glob("??/*"):
        cell.rename(tmp_path / cell.name)
    assert "a cell of kind jpeg-levels is not in the store" in program.fails("report", "here")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "jpeg-level"), "unknown experiment 'jpeg-level'. Did you mean jpeg-levels"),
        (("experiments", "nothing-like-it"), "'foolscope experiments' lists all."),
        (("run", "jpeg-levels", "--data", "digits", "--set", "quality=3"), "Did you mean qualities?"),
        (("run", "jpeg-levels", "--data", "digits", "--set", "qualities"), "is not KEY=VALUE, as in eps=0.1,0.2."),
        (("run", "jpeg-epsilon", "--data", "digits", "--set", "eps=much"), "eps: 'much' is not a number or a fraction"),
        (("run", "jpeg-carlini-wagner", *DIGITS, "attack=fgsm"), "fgsm has no parameter 'kappa'."),
        (("run", "adaptive-jpeg", *DIGITS, "attack=cw"), "cw has no parameter 'eps'."),
        (("run", "leaderboard", *DIGITS, "attacks=cw:steps=3"), "'foolscope attacks cw' lists all."),
        (("run", "leaderboard", *DIGITS, "eps=0"), "eps must hold a radius above 0, got 0."),
        (("run", "leaderboard", *DIGITS, "eps=0.01,0.02"), "the leaderboard has one radius: name one eps"),
        (("run", "adaptive-jpeg", *DIGITS, "attack=fgm"), "fgm is measured in l2 here, and linf is asked for."),
        (("run", "jpeg-accuracy", *DIGITS, "attack=pgd:norm=l2"), "pgd is measured in l2 here, and linf is asked for."),
        (("run", "masking", *DIGITS, "nearest=ddn"), "ddn is measured in l2 here, and linf is asked for."),
        (("run", "attack-noise", *DIGITS, "target=8"), "source and target must be two classes, got 8 for both."),
        (("run", "large-images", "--data", "digits"), "large-images is about images of 64 x 64 pixels and more"),
        (("run", "jpeg-epsilon", *DIGITS, "eps=0"), "eps must hold a radius above 0, got 0."),
        (("run", "jpeg-accuracy", *DIGITS, "eps=0"), "eps must hold a radius above 0, got 0."),
        (("run", "overfitting", *DIGITS, "eps=0"), "eps must hold a radius above 0, got 0."),
        (("run", "adaptive-jpeg", *DIGITS, "eps=0,0"), "eps must hold a radius above 0, got 0,0."),
        (("run", "jpeg-epsilon", *DIGITS, "qualities=0,50"), "jpeg: quality must be between 1 and 100, got 0."),
        (("run", "jpeg-levels", *DIGITS, "qualities=101"), "jpeg: quality must be between 1 and 100, got 101."),
        (("run", "transfer-function-jpeg", *DIGITS, "qualities=0"), "jpeg: quality must be between 1 and 100, got 0."),
        (("run", "jpeg-epsilon", *DIGITS, "models=cifar-cnn:weights=cifar10"), "takes images of 3 x 32 x 32"),
        (("run", "jpeg-levels", "--data", "digit"), "unknown data set 'digit'. Did you mean digits?"),
        ((*ASKED, "--jobs", "many"), "--jobs: 'many' is neither a number of processes nor ray or ray:ADDRESS."),
        (
            ("report", "nowhere"),
            "nowhere holds no run: 'foolscope run NAME --out nowhere' makes one, "
            "and the same command goes on with a run that was stopped.",
        ),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    program: Program, tmp_path: Path, arguments: tuple[object, ...], message: str
) -> None:
    assert message in program.fails(*arguments)
    assert not list((tmp_path / "home" / "store").glob("??/*")), "no cell is computed before"


def test_a_store_of_a_newer_schema_is_refused_by_whatever_looks_at_it(program: Program, tmp_path: Path) -> None:
    program(*ASKED, "--out", "here")
    place = tmp_path / "home" / "store" / "store.json"
    place.write_text('{"schema": 999}')
    audit = ("audit", "lenet", "--data", "digits", "--attacks", "fgsm", "--eps", 0.1, "--limit", 8)
    for command in ((*ASKED, "--dry-run"), ASKED, ("report", "here"), audit, (*audit, "--dry-run")):
        assert "update foolscope or set FOOLSCOPE_HOME to another folder." in program.fails(*command)
    assert json.loads(place.read_text()) == {"schema": 999}


def test_a_folder_that_cannot_be_written_is_told_before_the_work(program: Program, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "is a file, not a folder: name another --out" in program.fails(*ASKED, "--out", "file")
    assert not (tmp_path / "home" / "store").exists()
