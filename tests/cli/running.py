"""Run the program inside the test's process."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any

import pytest

from foolscope.cli import main


@dataclass(frozen=True)
class Outcome:
    """What the program printed and its exit code."""

    code: object
    out: str
    err: str

    @property
    def json(self) -> Any:
        """stdout as JSON."""
        return json.loads(self.out)


class Program:
    """The command line: call it with arguments."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *arguments: object) -> Outcome:
        self.capsys.readouterr()
        logger = logging.getLogger("foolscope")
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        logger.handlers.clear()  # they write to this call's stderr
        out, err = self.capsys.readouterr()
        return Outcome(left.value.code, out, err)

    def fails(self, *arguments: object) -> str:
        """The one line of an error: exit code 2, nothing on stdout."""
        outcome = self(*arguments)
        assert outcome.code == 2
        assert outcome.out == ""
        lines = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, outcome.err
        assert "Traceback" not in outcome.err
        assert outcome.err.endswith(f"{lines[0]}\n")
        return lines[0].removeprefix("error: ")
