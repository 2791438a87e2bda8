"""Work through the missing cells of a run: what can be begun is leased and started, what is finished is stored.

A cell is begun once what it needs is done and no other process holds its lease.  One that fails keeps its error, and
the others go on; one whose worker is lost is begun again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foolscope.errors import FoolscopeError
from foolscope.experiments.executors import Answer, Executor
from foolscope.experiments.experiment import Arrays, Library, Work
from foolscope.experiments.lease import Leases
from foolscope.experiments.store import Store, cell_key
from foolscope.files import write_json

_LOST_AT_MOST = 2
"""So many times a cell is begun again whose worker was lost."""

_POLL = 0.5

_RATES_SECONDS = 10.0
"""What a kill takes of the rates at most."""

_MOST = 1e30
"""No sum of passes, seconds, cells or bytes is larger; NaN is not smaller either."""


@dataclass(frozen=True, kw_only=True)
class RunProgress:
    """Where a run stands, in cells and in passes over an image; `seconds_left` is None as long as nobody knows."""

    label: str
    done: int
    cells: int
    reused: int
    failed: int
    passes: float
    total_passes: float
    seconds_left: float | None


RunWatch = Callable[[RunProgress], None]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Seconds of one worker and bytes of cells, without `unknown_cells`; None where all of them are unknown."""

    seconds: float | None
    size: int | None
    unknown_cells: int


class Rates:
    """Seconds and bytes that cells of each kind have taken: sums over all that were computed, `rates.json`.

    A file that is damaged costs an estimate and nothing else: what is no rate in it is left out.
    """

    def __init__(self, root: Path) -> None:
        self.path = root / "rates.json"
        try:
            found = json.loads(self.path.read_text())
        except (OSError, ValueError, RecursionError):
            found = None
        entries = found.items() if isinstance(found, dict) else ()
        self.sums: dict[str, list[float]] = {key: [*sums] for key, sums in entries if _is_rate(sums)}

    def add(self, work: Work, seconds: float, size: int) -> None:
        """Count a finished cell."""
        sums = self.sums.setdefault(_rate_key(work), [0.0] * 4)
        for place, value in enumerate((work.cost, seconds, 1, size)):
            sums[place] += value

    def of(self, works: Sequence[Work]) -> Cost:
        """What these cells will take; unknown are those of a kind that was never done on the data.

        A network that the kind has not met counts as the average of those that it has.
        """
        seconds, size, unknown = 0.0, 0.0, 0
        for work in works:
            sums = self._sums(work)
            if sums is None:
                unknown += 1
                continue
            seconds += work.cost * sums[1] / sums[0]
            size += sums[3] / sums[2]
        if works and unknown == len(works):
            return Cost(seconds=None, size=None, unknown_cells=unknown)
        return Cost(seconds=seconds, size=round(size), unknown_cells=unknown)

    def _sums(self, work: Work) -> list[float] | None:
        if exact := self.sums.get(_rate_key(work)):
            return exact
        like = [sums for key, sums in self.sums.items() if _is_of(key, work)]
        return [sum(column) for column in zip(*like, strict=True)] or None

    def save(self) -> None:
        """Keep the sums; another process's of the same time may be lost, which makes an estimate no worse."""
        write_json(self.path, self.sums)


def _is_rate(sums: Any) -> bool:
    """Whether it is passes, seconds, cells and bytes, and can be divided by passes and by cells."""
    return (
        isinstance(sums, list)
        and [type(value) in (int, float) and 0 <= value < _MOST for value in sums] == [True] * 4
        and sums[0] > 0
        and sums[2] >= 1
    )


def _rate_key(work: Work) -> str:
    return f"{work.kind} {work.model or ''} {work.images.data}".strip()


def _is_of(key: str, work: Work) -> bool:
    """Whether a rate is one of the work's kind and data, with whatever network."""
    return key.startswith(f"{work.kind} ") and key.endswith(f" {work.images.data}")


class Runner:
    """Works through those of `works` that are missing."""

    def __init__(
        self,
        works: Sequence[Work],
        missing: Sequence[Work],
        store: Store,
        library: Library,
        executor: Executor,
        watch: RunWatch | None,
    ) -> None:
        self.store, self.library, self.executor, self.watch = store, library, executor, watch
        self.waiting = dict.fromkeys(missing)
        self.running: set[Work] = set()
        self.cells, self.total_passes = len(works), sum(work.cost for work in works)
        self.reused = self.done = len(works) - len(missing)
        self.passes = self.total_passes - sum(work.cost for work in missing)
        self.begun, self.computed, self.computed_passes = time.perf_counter(), 0, 0.0
        self.failed: dict[Work, str] = {}
        self.lost: dict[Work, int] = {}
        self.rates, self.rates_saved = Rates(self.store.root), self.begun
        self.arrays: dict[Work, Arrays] = {}

    def run(self) -> int:
        """Compute all, and return how many that were.  Raises `FoolscopeError` that names the first that failed."""
        with Leases(self.store.root) as leases:
            self._tell("starting")
            try:
                self._work_through(leases)
            finally:
                if self.computed:
                    self.rates.save()
        if self.failed:
            work, message = next(iter(self.failed.items()))
            count = f"{len(self.failed)} of {self.cells} cells failed"
            advice = "The same command tries them again"
            raise FoolscopeError(f"{count}, first one of kind {work.kind}: {message.rstrip('.')}. {advice}.")
        return self.computed

    def _work_through(self, leases: Leases) -> None:
        while self.waiting or self.running:
            while len(self.running) < self.executor.workers and self._start_one(leases):
                pass
            if self.running:
                for answer in self.executor.collect(_POLL if self.waiting else None):
                    self._finish(answer, leases)
            elif self.waiting:  # others compute what is left, or what it needs
                time.sleep(_POLL)

    def _start_one(self, leases: Leases) -> bool:
        """Begin the first cell that can be begun; False where there is none."""
        for work in list(self.waiting):
            if any(need in self.failed for need in work.needs):
                self.waiting.pop(work)
                self.failed[work] = "a cell that it needs failed"
            elif self._is_done(work):
                self._count(work)
            elif (needed := self._needed(work)) is not None and leases.take(key := self._key(work)):
                if self._is_done(work):  # by another process, just before
                    leases.give_back(key)
                    self._count(work)
                    continue
                self.waiting.pop(work)
                self.running.add(work)
                self._tell(_label(work))
                self.executor.start(work, needed)
                return True
        return False

    def _finish(self, answer: Answer, leases: Leases) -> None:
        work, spec = answer.work, self.library.spec(answer.work)
        self.running.remove(work)
        try:
            if answer.arrays is not None:
                self.store.save(spec, answer.arrays, {"seconds": answer.seconds})
                self.store.forget_failure(spec)
                self.rates.add(work, answer.seconds, self.store.size(spec))
                if time.perf_counter() - self.rates_saved > _RATES_SECONDS:
                    self.rates.save()
                    self.rates_saved = time.perf_counter()
                self.computed += 1
                self.computed_passes += work.cost
                self._count(work)
            elif answer.lost and self.lost.get(work, 0) < _LOST_AT_MOST:
                self.lost[work] = self.lost.get(work, 0) + 1
                self.waiting[work] = None
            else:
                message = answer.error or "it gave nothing"
                self.store.save_failure(spec, message)
                self.failed[work] = message
        finally:
            leases.give_back(self._key(work))
        self._tell(_label(work))

    def _key(self, work: Work) -> str:
        return cell_key(self.library.spec(work))

    def _is_done(self, work: Work) -> bool:
        return self.library.spec(work) in self.store

    def _needed(self, work: Work) -> list[Arrays] | None:
        """The arrays of the cells that a cell needs; None where one is not done.  Damaged ones are computed again."""
        for need in work.needs:
            if need not in self.arrays and need not in self.waiting and need not in self.running:
                cell = self.store.load(self.library.spec(need))
                if cell is None:
                    self.waiting[need] = None
                else:
                    self.arrays[need] = cell.arrays
        return [self.arrays[need] for need in work.needs] if all(n in self.arrays for n in work.needs) else None

    def _count(self, work: Work) -> None:
        self.waiting.pop(work, None)
        self.done += 1
        self.passes += work.cost

    def _tell(self, label: str) -> None:
        if self.watch:
            spent, share = time.perf_counter() - self.begun, self.computed_passes
            left = (self.total_passes - self.passes) * spent / share if share else None
            progress = RunProgress(
                label=label, done=self.done, cells=self.cells, reused=self.reused, failed=len(self.failed),
                passes=self.passes, total_passes=self.total_passes, seconds_left=left,
            )  # fmt: skip
            self.watch(progress)


def _label(work: Work) -> str:
    return " ".join(str(part) for part in (work.kind, work.options.get("attack"), work.model) if part)
