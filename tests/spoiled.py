"""A folder full of damaged things, and what an error must leave as it was."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.cli.running import Program

MODULE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, change):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.change = nn.Linear(784, 10), change

    def forward(self, x):
        return self.change(self.layer(x.flatten(1)))


def nans():
    return Net(lambda logits: logits * float("nan"))


def images():
    return nn.Conv2d(1, 10, 3)


def color():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 26 * 26, 10))


def three():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 3))


def detached():
    return Net(lambda logits: logits.detach())


def number():
    return 3


def fails():
    raise ValueError("no luck")


def soft():
    return Net(lambda logits: logits.softmax(1))
"""


def prepared(capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """The program in a folder with damaged things, and an empty home."""
    here = folder / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("FOOLSCOPE_HOME", str(folder / "home"))
    monkeypatch.delenv("FOOLSCOPE_DATA", raising=False)
    monkeypatch.delitem(sys.modules, "nets", raising=False)
    Path("nets.py").write_text(MODULE)
    Path("text").write_text("hello")
    Path("empty").mkdir()
    return Program(capsys)


def unchanged(program: Program, *arguments: object) -> str:
    """The error's line; asserts that no file was left behind, here or in the home."""
    folders = [Path(), Path(os.environ["FOOLSCOPE_HOME"])]

    def files() -> list[Path]:
        found = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        return sorted(path for path in found if "__pycache__" not in path.parts and "digests" not in path.parts)

    before = files()
    message = program.fails(*arguments)
    assert files() == before
    return message


def audit(model: str, data: str = "digits", *more: str) -> list[str]:
    return ["audit", model, "--data", data, "--attacks", "fgsm", "--eps", "0.1", "--limit", "8", *more]


def unchanged_but_decoded(program: Program, *arguments: object) -> str:
    message = program.fails(*arguments)
    assert not Path("foolscope-reports").exists()
    assert not list(Path(os.environ["FOOLSCOPE_HOME"]).glob("store/**/*"))
    return message
