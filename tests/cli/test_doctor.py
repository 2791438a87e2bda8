"""`doctor`: what is installed, what is at hand, what is wrong."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from foolscope import __version__
from tests.cli.running import Program


def test_tells_versions_devices_folders_and_data(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FOOLSCOPE_DATA", raising=False)
    outcome = program("doctor")
    assert (outcome.code, outcome.err) == (0, "")
    found = program("doctor", "--json").json
    assert found["foolscope"] == __version__
    assert found["problems"] == []
    assert found["folders"]["FOOLSCOPE_DATA"] == "not set"
    assert found["folders"]["free GB"] > 0
    assert found["data sets"]["digits"] == "embedded"
    assert found["data sets"]["cifar10"].startswith(("needs a download of 144 MB", "present"))
    for name in (*found["packages"], *found["folders"], *found["data sets"], "cpu threads", "problems"):
        assert name in outcome.out
    assert found["packages"]["torch"] in outcome.out


def test_a_data_folder_that_is_not_there_is_a_problem(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOOLSCOPE_DATA", "/nowhere/at all")
    outcome = program("doctor", "--json")
    assert outcome.code == 1
    assert outcome.json["problems"] == ["FOOLSCOPE_DATA names '/nowhere/at all', which is no folder."]
    assert "which is no folder" in program("doctor").out


def test_a_package_that_cannot_be_imported_is_a_problem(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def broken(name: str, package: str | None = None) -> ModuleType:
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file")
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", broken)
    outcome = program("doctor", "--json")
    assert outcome.code == 1
    expected = "opencv-python-headless cannot be imported: libGL.so.1: cannot open shared object file"
    assert outcome.json["problems"] == [expected]


def test_a_home_that_cannot_be_written_is_a_problem(
    program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FOOLSCOPE_HOME", str(tmp_path / "file"))
    outcome = program("doctor", "--json")
    assert outcome.code == 1
    assert outcome.json["problems"] == [
        f"cannot write into {tmp_path / 'file'}: {tmp_path / 'file'} is a file, not a folder: set FOOLSCOPE_HOME to a "
        "folder that can be written."
    ]
