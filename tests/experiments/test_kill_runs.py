"""kill -9 of runs with two workers: a few of the kills of tools/kill_runs.py."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from tests.support import ROOT

TOOL = runpy.run_path(str(ROOT / "tools" / "kill_runs.py"))


def test_killed_runs_end_with_the_same_bits_and_begin_nothing_again(tmp_path: Path) -> None:
    outcome = TOOL["torment"](tmp_path, kills=3, radii=4, seed=0)
    assert outcome.kills == 3
    assert outcome.again <= 3 * TOOL["WORKERS"]


def test_a_difference_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = TOOL["RUN"].replace("sys.argv[3]", 'sys.argv[3] if folder.name == "whole" else "0.1"')
    monkeypatch.setitem(TOOL["torment"].__globals__, "RUN", other)
    with pytest.raises(SystemExit, match="run 0 ended with 0 and other findings"):
        TOOL["torment"](tmp_path, kills=1, radii=1, seed=0)
