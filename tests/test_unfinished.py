"""What a killed process leaves behind is removed; what a running one is writing never is."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import pytest

from foolscope import files
from tests.support import ROOT

WRITER = """
import sys
from pathlib import Path
from foolscope.files import replacing

with replacing(Path(sys.argv[1])) as path:
    path.write_bytes(b"half")
    print("writing", flush=True)
    sys.stdin.read()
    path.write_bytes(b"whole")
"""


def parts(folder: Path) -> list[Path]:
    return list(folder.glob(".part-*"))


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process in the middle of writing the file `result`; it ends the file when its stdin is closed."""
    arguments = [sys.executable, "-c", WRITER, str(tmp_path / "result")]
    with subprocess.Popen(arguments, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "writing\n"
        yield child
        child.kill()


def test_a_part_stays_while_its_process_lives(tmp_path: Path, writer: subprocess.Popen[str]) -> None:
    files.write_bytes(tmp_path / "other", b"")
    assert len(parts(tmp_path)) == 1
    writer.communicate(timeout=60)
    assert writer.returncode == 0
    assert (tmp_path / "result").read_bytes() == b"whole"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "result"]


def test_a_part_goes_when_its_process_was_killed(tmp_path: Path, writer: subprocess.Popen[str]) -> None:
    writer.kill()
    assert writer.wait(timeout=60) == -signal.SIGKILL
    assert len(parts(tmp_path)) == 1
    files.write_bytes(tmp_path / "other", b"")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_a_folder_is_swept_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write_bytes(tmp_path / "first", b"")

    def scanned(self: Path, pattern: str) -> Any:
        raise AssertionError(f"{self} is scanned again")

    monkeypatch.setattr(Path, "glob", scanned)
    files.write_bytes(tmp_path / "second", b"")


def test_writers_that_sweep_at_once_leave_each_other_alone(tmp_path: Path) -> None:
    def write(number: int) -> None:
        files._sweep.cache_clear()
        files.write_bytes(tmp_path / str(number), b"whole")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(400)))
    assert len(list(tmp_path.iterdir())) == 400
    assert all(path.read_bytes() == b"whole" for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("machine", "lock", "days", "removed"),
    [
        ("here", "free", 0, True),
        ("here", "held", 0, False),
        ("here", "held", 30, False),
        ("here", "none", 0.9, False),
        ("here", "none", 1.1, True),
        ("elsewhere", "free", 0.9, False),
        ("elsewhere", "free", 1.1, True),
        ("elsewhere", "held", 30, False),
    ],
)
@pytest.mark.parametrize("touched", [".", "lock", "cell", "cell/arrays.npz"])
def test_the_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, lock: str, days: float, removed: bool, touched: str
) -> None:
    """`days` ago `touched` changed, and everything else long before."""
    part = tmp_path / (f"{files._PART}-abc" if machine == "here" else ".part-elsewhere-abc")
    (part / "cell").mkdir(parents=True)
    (part / "cell" / "arrays.npz").write_bytes(b"half")
    held = (part / "lock").open("wb")
    for path in (part, *part.rglob("*")):
        then = time.time() - 86400 * (days if path == part / touched else 365)
        os.utime(path, (then, then))
    if lock == "held":
        assert files.try_lock(held)
    if lock == "none":
        monkeypatch.setattr(files, "fcntl", None)
    files.write_bytes(tmp_path / "result", b"")
    assert part.exists() is not removed
    assert removed or (part / "cell" / "arrays.npz").read_bytes() == b"half"
    held.close()


def test_a_file_system_without_locks_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(lock: IO[bytes], operation: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refused)
    with files.unfinished(tmp_path) as part:
        files._sweep.cache_clear()
        files.write_bytes(tmp_path / "result", b"whole")
        assert part.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_what_was_killed_before_it_could_lock_is_removed_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    (tmp_path / ".part-abc").mkdir()
    (tmp_path / ".part-mine").mkdir()
    (tmp_path / ".part-mine" / "letter").write_text("dear")
    (tmp_path / ".part-list").write_text("parts")
    files.write_bytes(tmp_path / "result", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".part-list", ".part-mine", "result"]
    assert (tmp_path / ".part-mine" / "letter").read_text() == "dear"


@pytest.mark.parametrize("moment", ["before the lock file", "before the lock", "while it is removed"])
def test_a_sweep_between_making_a_part_and_locking_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The other process is played by what happens inside `mkdtemp` and `flock`, the first time."""
    mkdtemp, take = tempfile.mkdtemp, files.try_lock
    swept: list[str] = []

    def made(**options: Any) -> str:
        name: str = mkdtemp(**options)
        if moment == "before the lock file" and not swept:
            swept.append(name)
            Path(name).rmdir()
        return name

    def taken(lock: IO[bytes]) -> bool | None:
        if moment == "before the lock file" or swept:
            return take(lock)
        swept.append(str(Path(lock.name).parent))
        shutil.rmtree(swept[0])
        return moment == "before the lock"

    monkeypatch.setattr(tempfile, "mkdtemp", made)
    monkeypatch.setattr(files, "try_lock", taken)
    with files.unfinished(tmp_path) as part:
        assert len(swept) == 1
        assert str(part) != swept[0]
        assert parts(tmp_path) == [part]
    assert parts(tmp_path) == []
