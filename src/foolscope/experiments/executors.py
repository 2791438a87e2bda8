"""Where cells are computed: in this process, in several of this machine, or on a Ray cluster.  The bits are equal.

Every cell is computed with one torch thread, because sums over a batch come out different on two: so the cores of a
machine are shared out by running as many cells at once as there are cores.  An executor only computes; the process that
holds it keeps the leases, reads what a cell needs and writes the store, so that a worker that is lost loses only what
it had in hand, and a Ray cluster needs no common folder.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Self

from foolscope.errors import Cancelled, FoolscopeError, MissingError, ParameterError, SpecError
from foolscope.experiments.experiment import Arrays, Library, Work, compute

_log = logging.getLogger("foolscope")

LOST = "its worker was lost"
"""Why a cell has no result where neither it nor its process said anything."""


@dataclass(frozen=True)
class Answer:
    """A finished cell: its arrays and the seconds that it took; or `error`, and whether the worker was lost."""

    work: Work
    arrays: Arrays | None = None
    seconds: float = 0.0
    error: str | None = None
    lost: bool = False


class Executor(ABC):
    """Computes cells, `workers` at a time.  To be closed at the end."""

    workers: int

    @abstractmethod
    def start(self, work: Work, needed: Sequence[Arrays]) -> None:
        """Begin a cell; `needed` are the arrays of what it needs."""

    @abstractmethod
    def collect(self, seconds: float | None) -> list[Answer]:
        """Wait until at least one cell is finished, or for so many seconds."""

    def close(self) -> None:  # noqa: B027 -- there may be nothing to let go of
        """Let go of workers, and of what they have in hand."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


def answered(work: Work, needed: Sequence[Arrays], library: Library) -> Answer:
    """Compute a cell; what goes wrong in it is its answer."""
    begun = time.perf_counter()
    try:
        arrays = compute(work, needed, library)
    except Cancelled:
        raise
    except FoolscopeError as error:
        return Answer(work, error=str(error))
    except Exception as error:  # whatever a network raises: the other cells go on
        place = traceback.extract_tb(error.__traceback__)[-1]
        return Answer(work, error=f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})")
    return Answer(work, arrays, time.perf_counter() - begun)


class Serial(Executor):
    """Cells one after the other, in this process."""

    workers = 1

    def __init__(self, library: Library) -> None:
        self.library = library
        self._done: list[Answer] = []

    def start(self, work: Work, needed: Sequence[Arrays]) -> None:
        self._done.append(answered(work, needed, self.library))

    def collect(self, seconds: float | None) -> list[Answer]:
        done, self._done = self._done, []
        return done


class Processes(Executor):
    """Cells in processes of this machine, which read images and weights themselves and end with this one."""

    def __init__(self, workers: int, offline: bool = False) -> None:
        self.workers = workers
        self.offline = offline
        self._running: dict[Future[Answer], Work] = {}
        self._pool = self._new_pool()

    def start(self, work: Work, needed: Sequence[Arrays]) -> None:
        try:
            future = self._pool.submit(_in_worker, work, list(needed))
        except BrokenProcessPool:  # since the last look: those in hand are told lost by `collect`
            future = Future()
            future.set_exception(BrokenProcessPool())
        self._running[future] = work

    def collect(self, seconds: float | None) -> list[Answer]:
        done, _ = wait(self._running, seconds, FIRST_COMPLETED)
        answers = []
        broken = any(isinstance(future.exception(), BrokenProcessPool) for future in done)
        for future in list(self._running) if broken else done:
            work = self._running.pop(future)
            failure = future.exception(timeout=None)
            if failure is None:
                answers.append(future.result())
            elif isinstance(failure, BrokenProcessPool):
                answers.append(Answer(work, error=LOST, lost=True))
            else:
                answers.append(Answer(work, error=f"{type(failure).__name__}: {failure}"))
        if broken:
            self._pool.shutdown(wait=False)
            self._pool = self._new_pool()
        return answers

    def close(self) -> None:
        processes = list((self._pool._processes or {}).values())
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()

    def _new_pool(self) -> ProcessPoolExecutor:
        import multiprocessing

        context = multiprocessing.get_context("spawn")  # a fork would copy torch's threads, and a lease's lock
        return ProcessPoolExecutor(self.workers, context, _begin_worker, (self.offline,))


_LIBRARY: list[Library] = []
"""The library of a worker process, once it has begun."""


def _begin_worker(offline: bool) -> None:
    """Load the libraries once, and end with the process that started this one, however that ends."""
    import multiprocessing
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told, and ends this one
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    _LIBRARY.append(Library(offline))


def _in_worker(work: Work, needed: list[Arrays]) -> Answer:
    return answered(work, needed, _LIBRARY[0])


class Ray(Executor):
    """Cells as tasks of a Ray cluster: '' is a cluster of this machine, else its address.

    Images and weights travel once, by Ray's object store.  A task whose node is lost is told lost, and begun again
    elsewhere by whoever started it.  Raises `MissingError` where Ray or the cluster is not there.
    """

    def __init__(self, address: str, library: Library) -> None:
        try:
            import ray
        except ImportError:
            raise MissingError("--jobs ray needs Ray: pip install 'foolscope[ray]'.") from None
        self._ray: Any = ray
        self._owns = not ray.is_initialized()
        if self._owns:
            self._connect(address)
        self.workers = max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        self._library = ray.put(library)
        self._task = ray.remote(num_cpus=1, max_retries=0)(_by_ray)
        self._needed: dict[int, Any] = {}
        self._running: dict[Any, Work] = {}

    def _connect(self, address: str) -> None:
        where = {"address": address} if address else {"include_dashboard": False}
        _log.info("%s", f"looking for the Ray cluster at {address}" if address else "starting Ray on this machine")
        try:
            _knock(address)  # Ray itself would try for minutes
            self._ray.init(log_to_driver=False, configure_logging=False, **where)
        except (OSError, ValueError, RuntimeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise MissingError(
                f"no Ray cluster answers at '{address or 'this machine'}' ({reason}): 'ray start --head' starts one."
            ) from None

    def start(self, work: Work, needed: Sequence[Arrays]) -> None:
        references = [self._shared(arrays) for arrays in needed]
        self._running[self._task.remote(self._library, work, *references)] = work

    def collect(self, seconds: float | None) -> list[Answer]:
        done, _ = self._ray.wait(list(self._running), num_returns=1, timeout=seconds)
        answers = []
        for reference in done:
            work = self._running.pop(reference)
            try:
                answers.append(self._ray.get(reference))
            except self._ray.exceptions.RayTaskError as error:
                answers.append(Answer(work, error=str(error.cause)))
            except self._ray.exceptions.RayError:
                answers.append(Answer(work, error=LOST, lost=True))
        return answers

    def close(self) -> None:
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        if self._owns:
            self._ray.shutdown()

    def _shared(self, arrays: Arrays) -> Any:
        """Arrays in the object store, put there once."""
        if id(arrays) not in self._needed:
            self._needed[id(arrays)] = (self._ray.put(arrays), arrays)
        return self._needed[id(arrays)][0]


def _knock(address: str) -> None:
    """Raise `OSError` where nothing listens at HOST:PORT; other addresses are Ray's business."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        with socket.create_connection((host, int(port)), timeout=5):
            pass


def _by_ray(library: Library, work: Work, *needed: Arrays) -> Answer:
    """One cell on a node; the arrays that Ray shares cannot be written, and torch warns of such."""
    return answered(work, [{name: array.copy() for name, array in arrays.items()} for arrays in needed], library)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def executor(jobs: str | int | None, works: Sequence[Work], library: Library) -> Executor:
    """The executor that `--jobs` names: a number of processes, `ray` or `ray:ADDRESS`; None: by the work and the cores.

    Raises `SpecError` and `ParameterError` for what it cannot be, `MissingError` where Ray or its cluster is not there.
    """
    text = str(jobs) if jobs is not None else ""
    if text == "ray" or text.startswith("ray:"):
        return Ray(text.removeprefix("ray").removeprefix(":"), library)
    if not text:
        values = sum(work.cost * library.images(work.images).pixels[0].size for work in works)
        count = min(cores(), len(works), int(values // _WORTHWHILE))
    else:
        try:
            count = int(text)
        except ValueError:
            raise SpecError(f"--jobs: '{text}' is neither a number of processes nor ray or ray:ADDRESS.") from None
        if count < 1:
            raise ParameterError(f"--jobs must be at least 1, got {count}.")
    return Processes(count, library.offline) if count > 1 else Serial(library)


_WORTHWHILE = 1e8
"""Values of images that pass through networks from which on a process is worth the seconds that starting it takes.

LeNet, the fastest of them, takes about 5 s for so many on one core.
"""
