"""Executors: equal bits wherever cells are computed, and nothing lost with a worker."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from foolscope.errors import MissingError, ParameterError, SpecError
from foolscope.experiments import executors
from foolscope.experiments.executors import LOST, Answer, Executor, Processes, Serial, answered, executor
from foolscope.experiments.experiment import Arrays, Images, Library, Work
from foolscope.experiments.running import Asked, plan, run_planned
from foolscope.experiments.store import Store

ASKED = Asked(name="jpeg-epsilon", data="digits", settings={"eps": "0.1,0.2", "qualities": "50"}, limit=24)
WORK = Work(
    kind="under-attack", images=Images(data="digits", end=8), model="lenet",
    options={"attack": "pgd:eps=0.1,steps=3", "source": "", "victims": ["", "jpeg"], "seed": 3, "keep": 8},
)  # fmt: skip


def same(first: Arrays, second: Arrays) -> bool:
    return list(first) == list(second) and all(np.array_equal(first[name], second[name]) for name in first)


def test_processes_give_the_bits_of_one_and_lose_nothing_with_a_worker() -> None:
    serial = answered(WORK, (), Library())
    assert serial.arrays is not None
    broken = Work(kind="under-attack", images=WORK.images, model="lenet", options={"attack": "nothing"})
    with Processes(1) as processes:
        processes.start(WORK, ())
        (answer,) = processes.collect(None)
        assert answer.work == WORK
        assert answer.arrays is not None
        assert same(answer.arrays, serial.arrays)
        assert answer.seconds > 0
        processes.start(broken, ())
        (answer,) = processes.collect(None)
        assert answer.arrays is None
        assert "unknown attack 'nothing'" in str(answer.error) or "KeyError" in str(answer.error)
        (worker,) = processes._pool._processes.values()
        processes.start(WORK, ())
        os.kill(int(worker.pid or 0), signal.SIGKILL)
        (answer,) = processes.collect(None)
        assert answer.lost or answer.arrays is not None  # it may have been finished just before
        processes.start(WORK, ())
        answers: list[Answer] = []
        while not answers:
            answers = processes.collect(None)
        assert answers[0].lost or same(answers[0].arrays or {}, serial.arrays)


RUN = """
import sys
from pathlib import Path
from foolscope.experiments.running import Asked, plan, run_planned
from foolscope.experiments.store import Store
if __name__ == "__main__":
    asked = Asked(name="jpeg-epsilon", data="digits", settings={"eps": "0.1,0.2", "qualities": "50"}, limit=24)
    run_planned(plan(asked, store=Store(Path(sys.argv[1]))), jobs=2)
"""


def is_alive(process: str) -> bool:
    """Whether a process still runs; one that has ended and that nobody asked for its result does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="worker processes are found in /proc")
def test_a_run_that_is_killed_leaves_no_workers_and_goes_on(tmp_path: Path) -> None:
    script, undisturbed = tmp_path / "script.py", plan(ASKED, store=Store(tmp_path / "a"))
    script.write_text(RUN)
    disturbed = plan(ASKED, store=Store(tmp_path / "b"))
    with subprocess.Popen([sys.executable, script, disturbed.store.root]) as running:
        workers: list[str] = []
        while running.poll() is None and not (workers and any(disturbed.store.root.glob("leases/*"))):
            children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
            workers = children.read_text().split() if children.is_file() else []
            time.sleep(0.02)
        running.send_signal(signal.SIGKILL)
    for _ in range(1000):
        if not any(map(is_alive, workers)):
            break
        time.sleep(0.02)
    assert workers
    assert not any(map(is_alive, workers))
    first, second = run_planned(undisturbed, jobs=1), run_planned(disturbed, jobs=1)
    assert second.findings == first.findings
    assert list(disturbed.store.root.glob("leases/*")) == []


class Losing(Executor):
    """Loses every worker the first `times` times."""

    workers = 3

    def __init__(self, times: int) -> None:
        self.times = times
        self.inner = Serial(Library())
        self.lost: list[Work] = []

    def start(self, work: Work, needed: Sequence[Arrays]) -> None:
        if self.times:
            self.times -= 1
            self.lost.append(work)
        else:
            self.inner.start(work, needed)

    def collect(self, seconds: float | None) -> list[Answer]:
        lost, self.lost = self.lost, []
        return [*(Answer(work, error=LOST, lost=True) for work in lost), *self.inner.collect(seconds)]


def test_lost_cells_are_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed, disturbed = (plan(ASKED, store=Store(tmp_path / name)) for name in "ab")
    first = run_planned(undisturbed, jobs=1)
    monkeypatch.setattr("foolscope.experiments.running.executor", lambda *given: Losing(4))
    second = run_planned(disturbed)
    assert second.findings == first.findings
    assert second.computed == first.computed == 3
    for work in undisturbed.works:
        spec = undisturbed.library.spec(work)
        cells = [store.load(spec) for store in (undisturbed.store, disturbed.store)]
        assert cells[0] is not None
        assert cells[1] is not None
        assert same(cells[0].arrays, cells[1].arrays)


def test_a_cell_that_loses_every_worker_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foolscope.experiments.running.executor", lambda *given: Losing(1000))
    with pytest.raises(Exception, match=f"3 of 3 cells failed, first one of kind predict: {LOST}"):
        run_planned(plan(ASKED, store=Store(tmp_path)))


def test_the_executor_follows_work_and_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    class Made(Serial):
        def __init__(self, workers: int, offline: bool) -> None:
            made.append(workers)

    monkeypatch.setattr(executors, "Processes", Made)
    monkeypatch.setattr(executors, "cores", lambda: 4)
    light, heavy = WORK, replace(WORK, cost=1e8 / (28 * 28))
    for jobs, works, workers in (
        (None, [light] * 1000, 1), (None, [heavy] * 2, 2), (None, [replace(heavy, cost=1e9)], 1),
        (None, [replace(heavy, cost=1e9)] * 3, 3), (None, [heavy] * 1000, 4), (1, [heavy] * 9, 1), ("3", [light], 3),
    ):  # fmt: skip
        made.clear()
        executor(jobs, works, Library())
        assert (made or [1]) == [workers]


@pytest.mark.parametrize(
    ("jobs", "error", "message"),
    [
        ("0", ParameterError, "--jobs must be at least 1, got 0."),
        (-1, ParameterError, "--jobs must be at least 1, got -1."),
        ("many", SpecError, "--jobs: 'many' is neither a number of processes nor ray or ray:ADDRESS."),
    ],
)
def test_jobs_that_cannot_be(jobs: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        executor(jobs, [WORK], Library())
    assert str(raised.value) == message


def test_ray_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingError) as raised:
        executor("ray", [WORK], Library())
    assert str(raised.value) == "--jobs ray needs Ray: pip install 'foolscope[ray]'."


def test_a_cluster_that_is_not_there_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens at a port that was free a moment ago; Ray is not asked."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False))
    with pytest.raises(MissingError) as raised:
        executor(f"ray:{address}", [WORK], Library())
    assert re.fullmatch(
        rf"no Ray cluster answers at '{address}' \(.+\): 'ray start --head' starts one\.", str(raised.value)
    )


def test_there_is_at_least_one_core() -> None:
    assert executors.cores() >= 1
