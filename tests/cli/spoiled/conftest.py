"""The program in a folder full of damaged things, and an empty home."""

from __future__ import annotations

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


def number():
    return 3


def fails():
    raise ValueError("no luck")


def soft():
    return Net(lambda logits: logits.softmax(1))
"""


@pytest.fixture
def program(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("FOOLSCOPE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("FOOLSCOPE_DATA", raising=False)
    monkeypatch.delitem(sys.modules, "nets", raising=False)
    Path("nets.py").write_text(MODULE)
    Path("text").write_text("hello")
    Path("empty").mkdir()
    return Program(capsys)
