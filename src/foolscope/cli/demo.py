"""`foolscope demo`: the main job on embedded data, in under a minute."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from foolscope.cli import console
from foolscope.cli.options import Folder, Json


def demo(out: Folder = None, json: Json = False) -> None:
    """Audit LeNet on embedded digits, with and without JPEG, and write the report."""
    from foolscope.cli.audit import run_audit

    console.say("Attacking LeNet on 256 embedded digits, plain and behind JPEG ...")
    run_audit(
        "lenet",
        "digits",
        out or Path("foolscope-reports") / "demo",
        json=json,
        attacks=["fgsm", "fgm", "pgd"],
        defenses=["jpeg:quality=50"],
        limit=256,
    )
    console.say(f"Fool a network yourself, in the browser: {_program()} serve")


def _program() -> str:
    """How the program was called: by its name, or by its path where the shell would not find it."""
    called = Path(sys.argv[0])
    if called.stem != "foolscope" or shutil.which("foolscope"):
        return "foolscope"
    return os.path.relpath(called)
