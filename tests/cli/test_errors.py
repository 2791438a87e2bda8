"""Exit codes, tracebacks, and what goes where when something is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from foolscope import __version__
from foolscope.cli.app import app, main
from foolscope.errors import SpecError
from tests.cli.running import Program
from tests.support import ROOT


def started(*arguments: str, stdout: int = subprocess.PIPE, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "foolscope", *arguments],
        stdout=stdout, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}, timeout=120,
    )  # fmt: skip


def test_version_and_help(program: Program) -> None:
    assert program("--version").out == f"{__version__}\n"
    outcome = program("--help")
    assert outcome.code == 0
    for command in app.registered_commands:
        assert command.callback is not None
        assert f"\n  {command.callback.__name__}" in outcome.out


@pytest.mark.parametrize("command", [str(c.callback.__name__) for c in app.registered_commands if c.callback])
def test_every_option_has_its_help(program: Program, command: str) -> None:
    outcome = program(command, "--help")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    options = [line.split() for line in lines if line.strip().startswith("--")]
    assert options
    assert "--json" in outcome.out or command == "serve"
    begin = next(number for number, line in enumerate(lines) if line.startswith("Options:"))
    for number in range(begin + 1, len(lines)):
        if lines[number].strip().startswith("--"):
            following = lines[number + 1] if number + 1 < len(lines) else ""
            words = lines[number].split("  ", 2)[2:] or [following]
            assert words[0].strip(), lines[number]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["audit"], "Missing argument"),
        (["audit", "lenet"], "Missing option '--data'"),
        (["audit", "lenet", "--data", "digits", "--limit", "0"], "Invalid value for '--limit'"),
        (["audit", "lenet", "--data", "digits", "--limit", "ten"], "Invalid value for '--limit'"),
        (["audit", "lenet", "--data", "digits", "--seed", "-1"], "Invalid value for '--seed'"),
        (["audit", "lenet", "--data", "digits", "--seed", str(10**20)], "Invalid value for '--seed'"),
        (["train", "lenet", "--data", "digits", "--seed", str(2**63)], "Invalid value for '--seed'"),
        (["audit", "lenet", "--data", "digits", "--ouch", "x"], "No such option"),
        (["train", "lenet", "--data", "digits", "--epochs", "0"], "Invalid value for '--epochs'"),
    ],
)
def test_wrong_usage_is_2_and_says_where_help_is(program: Program, arguments: list[str], words: str) -> None:
    outcome = program(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert words in outcome.err
    assert "--help' for help." in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("place", [0, 1, 2])
def test_debug_shows_the_traceback_wherever_it_stands(program: Program, place: int) -> None:
    arguments = ["attacks", "pgdd"]
    arguments.insert(place, "--debug")
    with pytest.raises(SpecError, match=r"^unknown attack 'pgdd'"):
        main(arguments)


def test_a_traceback_is_an_exit_code_of_1() -> None:
    done = started("attacks", "pgdd", "--debug")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback (most recent call last)" in done.stderr


def test_an_error_is_one_line_on_stderr() -> None:
    done = started("attacks", "pgdd")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: unknown attack 'pgdd'. Did you mean pgd, apgd, ddn? 'foolscope attacks' lists all.\n"


def test_what_nobody_foresaw_is_1_with_a_traceback(program: Program) -> None:
    Path("broken.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Module):\n    def modules(self):\n        return {}['no']\n\n\n"
        "def build():\n    return Net()\n"
    )
    done = started("audit", "py:broken:build", "--data", "digits", "--limit", "4")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback (most recent call last)" in done.stderr
    assert "KeyError: 'no'" in done.stderr


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    read, write = os.pipe()
    os.close(read)
    done = started("attacks", "--json", stdout=write)
    os.close(write)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_the_module_is_the_program() -> None:
    assert started("--version").stdout == f"{__version__}\n"
    entry = "from foolscope.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", entry, "--version"], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == f"{__version__}\n"
