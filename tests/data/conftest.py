"""Every test here has a home and a working folder for data of its own, so that nothing was decoded before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv("FOOLSCOPE_HOME", str(folder))
    for variable in ("FOOLSCOPE_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    return folder


@pytest.fixture
def data_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that FOOLSCOPE_DATA names."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("FOOLSCOPE_DATA", str(folder))
    return folder


@pytest.fixture
def real_data(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FOOLSCOPE_DATA as it is, with a home that the tests of a run share: it is decoded once."""
    monkeypatch.setenv("FOOLSCOPE_HOME", str(tmp_path_factory.getbasetemp() / "real-data-home"))
    return Path(os.environ["FOOLSCOPE_DATA"])
