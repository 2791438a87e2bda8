"""`evolve`: the front on stdout, a result folder, and a kill -9 that loses nothing."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.running import Program
from tests.experiments.evolving import pictures
from tests.support import ROOT

MODEL = "py:tests.experiments.evolving:brightness"
OTHER = "py:tests.experiments.evolving:reddish"
SMALL = ("--filters", 2, "--population", 4, "--epochs", 1, "--batch", 12, "--images", 24, "--held-out", 20)
DETECTOR = ("--detector", "fs:squeezers=bits:depth=2")


@pytest.fixture
def data(tmp_path: Path) -> str:
    return pictures(tmp_path / "pictures")


def test_prints_the_front_and_writes_the_folder(program: Program, data: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    outcome = program("evolve", MODEL, "--data", data, *SMALL, *DETECTOR, "--transfer", OTHER, "--out", out)
    assert outcome.code == 0
    assert outcome.err.endswith(f"Report: {out / 'report.html'}\n")
    content = json.loads((out / "evolution.json").read_text())
    assert sorted(path.name for path in out.iterdir()) == [
        "chains", "contact-sheet.png", "evolution.json", "report.html", "search.json"
    ]  # fmt: skip
    lines = [re.split(r"  +", line.strip()) for line in outcome.out.splitlines()]
    for place, found in enumerate(content["front"], start=1):
        seen, other = found["judged"]
        shares = [f"{100 * part['value']:.1f}" for part in (seen["asr"], seen["asr_clean"], seen["detection"])]
        linf = f"{found['distances']['linf']['value']:.3f}"
        assert [str(place), *shares, linf, f"{100 * other['asr']['value']:.1f}"] in [line[:6] for line in lines]
    assert {line[0] for line in lines} >= {"AGV-A", "AGV-B"}


def test_json_is_the_folders_and_its_command_repeats_it(
    program: Program, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = (*SMALL, "--also", OTHER, "--seed", 3, "--max-linf", 0.4, "--several", "mean", "--against", "prediction")
    first = program("evolve", MODEL, "--data", data, *options, "--json", "--out", tmp_path / "a")
    assert first.json == json.loads((tmp_path / "a" / "evolution.json").read_text())
    assert first.json["about"]["settings"]["max_linf"] == 0.4
    monkeypatch.setenv("FOOLSCOPE_HOME", str(tmp_path / "home"))
    told = shlex.split(first.json["about"]["command"])
    assert told[:2] == ["foolscope", "evolve"]
    assert program(*told[1:], "--json", "--out", tmp_path / "b").json == first.json


def test_a_kill_loses_nothing(data: str, tmp_path: Path) -> None:
    command = ["evolve", MODEL, "--data", data, *map(str, SMALL), "--epochs", "6", *DETECTOR]

    def started(name: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "FOOLSCOPE_HOME": str(tmp_path / f"{name}-home")}
        arguments = [sys.executable, "-m", "foolscope", *command, "--out", str(tmp_path / name)]
        return subprocess.Popen(
            arguments, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    killed, saved = started("killed"), tmp_path / "killed" / "search.json"
    end = time.monotonic() + 120
    while not saved.exists() and killed.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    killed.kill()
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    steps = len(json.loads(saved.read_text())["state"]["history"])
    assert not (tmp_path / "killed" / "report.html").exists()
    results = []
    for name in ("killed", "whole"):
        child = started(name)
        out, err = child.communicate(timeout=180)
        assert child.returncode == 0, err
        results.append((out, json.loads((tmp_path / name / "evolution.json").read_text())))
    assert results[0] == results[1]
    assert 1 <= steps < len(results[0][1]["history"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--filters", 0), "agv: filters must be between 1 and 10, got 0."),
        (("--strategy", "random"), "agv: strategy must be one of"),
        (("--detector", "fq"), "unknown detector 'fq'. Did you mean fs?"),
        (("--pool", "juno,lork"), "unknown filter 'lork'. Did you mean lark?"),
    ],
)
def test_wrong_options_are_told_in_one_line(
    program: Program, data: str, options: tuple[object, ...], message: str
) -> None:
    assert message in program.fails("evolve", MODEL, "--data", data, *SMALL, *options)
