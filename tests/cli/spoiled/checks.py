"""Commands that fail, and what an error must leave as it was."""

from __future__ import annotations

import os
from pathlib import Path

from tests.cli.running import Program


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
