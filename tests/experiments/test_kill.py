"""kill -9 at any moment, repeat: the results are those of a run that nobody disturbed, and nothing else is left."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.experiments.networks import weights_file
from tests.support import ROOT

DIES = """
import os, signal, sys
from pathlib import Path
import numpy as np
from foolscope.cli import main
from foolscope.experiments.store import Store

moment, at = sys.argv[1], int(sys.argv[2])
savez, save, replace, count = np.savez, Store.save, Path.replace, 0

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def half(path, **arrays):
    global count
    count += 1
    savez(path, **arrays)
    if count == at:
        os.truncate(path, os.path.getsize(path) // 2)
        die()

def then(self, *arguments):
    global count
    save(self, *arguments)
    count += 1
    if count == at:
        die()

def report(self, target):
    if Path(target).name == "report.html":
        die()
    return replace(self, target)

if moment == "writing":
    np.savez = half
elif moment == "after":
    Store.save = then
elif moment == "report":
    Path.replace = report
main(sys.argv[3:])
"""


def without_time(folder: Path) -> tuple[object, str, bytes]:
    content = json.loads((folder / "results.json").read_text())
    del content["timing"]
    page = re.sub(r"\d+(\.\d+)?\N{NO-BREAK SPACE}(ms|s|min|h)\b", "TIME", (folder / "report.html").read_text())
    return content, page, (folder / "results.parquet").read_bytes()


def test_an_audit_that_is_killed_again_and_again_ends_with_the_same_results(tmp_path: Path) -> None:
    command = [
        "audit", weights_file(tmp_path), "--data", "digits", "--limit", "32", "--eps", "0.1:0.4:0.1",
        "--attacks", "fgsm,pgd:steps=10", "--defense", "jpeg:quality=50",
    ]  # fmt: skip

    def started(home: str, *program: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "FOOLSCOPE_HOME": str(tmp_path / home)}
        arguments = [sys.executable, *program, *command, "--out", str(tmp_path / home / "out")]
        return subprocess.Popen(
            arguments, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def cells() -> int:
        return len(list((tmp_path / "killed" / "store").glob("*/*/cell.json")))

    def orphans() -> list[str]:
        """The folders, by name, in which something half-written lies."""
        return [path.parent.name for path in (tmp_path / "killed").rglob(".part-*")]

    first = started("killed", "-m", "foolscope")
    end = time.monotonic() + 120
    while cells() < 2 and first.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    first.kill()
    first.communicate()
    assert first.returncode == -signal.SIGKILL
    assert 2 <= cells() < 34
    for moment, at, left in (("writing", 3, ["store"]), ("after", 4, []), ("report", 0, ["out"])):
        child = started("killed", "-c", DIES, moment, str(at))
        child.communicate(timeout=120)
        assert child.returncode == -signal.SIGKILL, moment
        assert not (tmp_path / "killed" / "out" / "report.html").exists()
        assert orphans() == left, "the next process removes what the one before left where it writes"
    assert cells() == 34
    outputs = {}
    for home in ("killed", "whole"):
        child = started(home, "-m", "foolscope")
        out, err = child.communicate(timeout=120)
        assert child.returncode == 0, err
        outputs[home] = out
    assert outputs["killed"] == outputs["whole"]
    assert "fgsm" in outputs["whole"]
    assert without_time(tmp_path / "killed" / "out") == without_time(tmp_path / "whole" / "out")
    names = sorted(path.name for path in (tmp_path / "killed" / "out").iterdir())
    assert names == ["report.html", "results.json", "results.parquet"]
    assert orphans() == []
