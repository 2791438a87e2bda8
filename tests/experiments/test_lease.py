"""Leases: one holder at a time, whatever becomes of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from foolscope import files
from foolscope.errors import StorageError
from foolscope.experiments import lease
from foolscope.experiments.lease import STALE, Leases

HOLDER = f"""
import importlib.util, sys, time
from pathlib import Path
spec = importlib.util.spec_from_file_location("lease", {lease.__file__!r})  # without the package, which needs torch
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
leases = module.Leases(Path(sys.argv[1]))
print(leases.take("cell"), flush=True)
time.sleep(60)
"""


def test_a_lease_has_one_holder_and_can_be_given_back(tmp_path: Path) -> None:
    with Leases(tmp_path) as first, Leases(tmp_path) as second:
        assert first.take("cell")
        assert not second.take("cell")
        assert not first.take("cell")
        assert second.take("another")
        first.give_back("cell")
        assert second.take("cell")
    assert list((tmp_path / "leases").iterdir()) == []


def test_closing_gives_all_back(tmp_path: Path) -> None:
    with Leases(tmp_path) as first:
        assert all(first.take(key) for key in "abc")
    with Leases(tmp_path) as second:
        assert all(second.take(key) for key in "abc")


def test_many_takers_and_one_gets_it(tmp_path: Path) -> None:
    """Takers that come while a lease is given back and taken again: never are there two holders."""
    holders: list[int] = []

    def work(number: int) -> int:
        taken = 0
        with Leases(tmp_path) as leases:
            for _ in range(50):
                if leases.take("cell"):
                    holders.append(number)
                    assert holders == [number]
                    taken += 1
                    holders.remove(number)
                    leases.give_back("cell")
        return taken

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(4))) > 0


def test_a_killed_holder_blocks_nobody(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "True"
        with Leases(tmp_path) as leases:
            assert not leases.take("cell")
            holder.send_signal(signal.SIGKILL)
            holder.wait()
            assert (tmp_path / "leases" / "cell").is_file()
            assert leases.take("cell")


def test_another_machine_holds_its_lease_as_long_as_it_touches_it(tmp_path: Path) -> None:
    path = tmp_path / "leases" / "cell"
    path.parent.mkdir()
    path.write_text(json.dumps({"machine": "another one", "process": 1}))
    with Leases(tmp_path) as leases:
        assert not leases.take("cell")
        given_up = time.time() - STALE - 1
        os.utime(path, (given_up, given_up))
        assert leases.take("cell")
        assert json.loads(path.read_text())["process"] == os.getpid()


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_lease_that_was_never_written_is_free(tmp_path: Path, content: str) -> None:
    path = tmp_path / "leases" / "cell"
    path.parent.mkdir()
    path.write_text(content)
    with Leases(tmp_path) as leases:
        assert leases.take("cell")


def test_the_holder_touches_its_leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT", 0.01)
    with Leases(tmp_path) as leases:
        assert leases.take("cell")
        path = tmp_path / "leases" / "cell"
        os.utime(path, (1, 1))
        for _ in range(1000):
            if path.stat().st_mtime > 1:
                return
            time.sleep(0.01)
        raise AssertionError("it was not touched")


def test_without_locks_the_touch_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, and on network file systems that know no locks."""
    monkeypatch.setattr(files, "fcntl", None)
    with Leases(tmp_path) as first, Leases(tmp_path) as second:
        assert first.take("cell")
        assert not second.take("cell")
        os.utime(tmp_path / "leases" / "cell", (1, 1))
        assert second.take("cell")


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "leases").write_text("a file")
    with Leases(tmp_path) as leases, pytest.raises(StorageError, match=r"cannot write .*leases/cell: "):
        leases.take("cell")
