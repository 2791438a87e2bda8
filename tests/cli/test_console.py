"""Progress: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import re
import threading
import time

import pytest

from foolscope.cli import console
from foolscope.cli.console import progress_line


def test_where_there_is_no_terminal_progress_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_TOLD_EVERY", 0.01)
    said = threading.Event()

    def say(text: str) -> None:
        print(text)
        said.set()

    monkeypatch.setattr(console, "say", say)
    with console.progress() as shown:
        task = shown.add_task("preparing", total=None)
        shown.update(task, description="predict lenet (3 of 40)", completed=3, total=40)
        said.clear()
        assert said.wait(30)
    before = threading.active_count()
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"predict lenet \(3 of 40\): 8 %, 0 s(, about \d+ s left)?", lines[-1])
    time.sleep(0.05)
    assert capsys.readouterr().out == "", "it ends with the work"
    assert threading.active_count() == before


def test_a_line_of_progress() -> None:
    assert progress_line("training lenet (3 of 40)", 12.4, 90.2, 640.0) == (
        "training lenet (3 of 40): 12 %, 90 s, about 640 s left"
    )
    assert progress_line("preparing", 0, 31, None) == "preparing: 0 %, 31 s"
