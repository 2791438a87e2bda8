"""The program, in an empty current folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.running import Program
from tests.experiments.networks import weights_file


@pytest.fixture
def program(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return Program(capsys)


@pytest.fixture
def net(tmp_path: Path) -> str:
    """A trained LeNet as a spec."""
    return weights_file(tmp_path)
