"""Long work in processes of its own, known by folders, so that no restart of the server loses it.

A job is a folder under `FOOLSCOPE_HOME/web/jobs`:

    job.json        what was asked for
    state.json      how far it is; written by the job's process alone, once it runs
    events.jsonl    what happened; the events' ids are places in this file
    alive           locked by the job's process, by the system itself: who can lock it knows that there is none
    cancel          asks the process to stop
    report/         what came out

A job whose state says that it runs while nobody holds its lock was interrupted, by a kill of whatever process.  Every
kind of job keeps finished work on the run store, so that the same job started again does only what is missing.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from foolscope.errors import CorruptError
from foolscope.files import storage_error, write_json
from foolscope.web.problems import BusyError, ConflictError, NotFoundError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

UNFINISHED = ("queued", "running")
_STATES = (*UNFINISHED, "done", "failed", "cancelled", "interrupted")
_ID = re.compile(r"[0-9a-f]{20}")
_MOST = 1000
_STOP_SECONDS = 10.0
_LOCK_TRIES = 20


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job as it is now.  `page` says whether there is a report to open."""

    id: str
    kind: str
    title: str
    created: str
    asked: dict[str, Any]
    state: str
    ended: str | None
    error: str | None
    progress: dict[str, Any] | None
    page: bool
    reproduce: dict[str, Any] | None


class JobFolder:
    """One job's folder, as the server and the job's process see it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def id(self) -> str:
        """The job's id."""
        return self.path.name

    @property
    def report(self) -> Path:
        """Where its report goes."""
        return self.path / "report"

    def asked(self) -> dict[str, Any]:
        """What was asked for: kind, title, time and parameters.  Raises `CorruptError`."""
        content = _read(self.path / "job.json")
        texts = all(isinstance(content.get(name), str) for name in ("kind", "title", "created"))
        again = isinstance(content.get("reproduce"), dict | None)
        if not texts or not again or not isinstance(content.get("asked"), dict):
            raise _damaged(self.path / "job.json")
        return content

    def state(self) -> dict[str, Any]:
        """What its process wrote last.  Raises `CorruptError`."""
        content = _read(self.path / "state.json")
        texts = all(isinstance(content.get(name, 0), str | None) for name in ("ended", "error"))
        if content.get("state") not in _STATES or not texts or not isinstance(content.get("progress", 0), dict | None):
            raise _damaged(self.path / "state.json")
        return content

    def set_state(self, name: str, *, error: str | None = None, progress: Mapping[str, Any] | None = None) -> None:
        """Write the state, and tell those who listen where it is another than before.

        The progress that was written last stays where there is none now.
        """
        before = self.state() if (self.path / "state.json").exists() else {"state": None, "progress": None}
        content = {
            "state": name,
            "ended": None if name in UNFINISHED else _now(),
            "error": error,
            "progress": dict(progress) if progress else before["progress"],
        }
        write_json(self.path / "state.json", content)
        if before["state"] != name:
            self.tell("state", {})

    def tell(self, event: str, data: Mapping[str, Any]) -> None:
        """Append an event."""
        line = json.dumps({"event": event, "data": dict(data)}) + "\n"
        with (self.path / "events.jsonl").open("ab") as file:
            file.write(line.encode())

    def events(self, place: int) -> list[tuple[int, str, dict[str, Any]]]:
        """The events after `place`: the place after each, its name and its data.  A line half written waits."""
        try:
            with (self.path / "events.jsonl").open("rb") as file:
                if place > os.fstat(file.fileno()).st_size:  # of another life of this id
                    place = 0
                file.seek(place)
                content = file.read()
        except FileNotFoundError:
            return []
        found = []
        for line in content.splitlines(keepends=True):
            place += len(line)
            if line.endswith(b"\n"):
                with suppress(ValueError, TypeError, KeyError):
                    entry = json.loads(line)
                    found.append((place, str(entry["event"]), dict(entry["data"])))
        return found

    def end(self) -> int:
        """The place after the last event."""
        with suppress(OSError):
            return (self.path / "events.jsonl").stat().st_size
        return 0

    @property
    def cancel(self) -> Path:
        """The file that asks the process to stop."""
        return self.path / "cancel"

    def try_lock(self, *, shared: bool = False) -> IO[bytes] | None:
        """The job's lock, or None where its process holds it; `shared` for those who only look whether it is held.

        On a system without such locks it is always free.
        Raises `FileNotFoundError` where the job is gone, and for those who look where it was never locked.
        """
        file = (self.path / "alive").open("rb" if shared else "ab")
        if fcntl is not None:
            try:
                fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                return None
        return file

    def is_alive(self) -> bool:
        """Whether a process holds its lock, on a system with such locks."""
        try:
            lock = self.try_lock(shared=True)
        except OSError:  # deleted in between, or never started
            return False
        if lock is not None:
            lock.close()
        return lock is None


class Jobs:
    """All jobs, and the processes of those that this server started.  Safe between threads and processes."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._lock, self._asking = threading.Lock(), threading.Lock()

    def submit(
        self, kind: str, title: str, asked: Mapping[str, Any], reproduce: Mapping[str, Any] | None = None
    ) -> Job:
        """Start a job; `reproduce` is kept beside what was asked.

        Raises `BusyError` where too many wait or run, `ConflictError` where too many are kept, `StorageError`.
        """
        with self._alone():
            jobs = self.listed()
            self._check_room(jobs)
            if len(jobs) >= _MOST:
                raise ConflictError(f"{_MOST:,} jobs are kept already: delete some.")
            newest = max((int(job.id[:12], 16) for job in jobs), default=0)
            moment = max(time.time_ns() // 1_000_000, newest + 1)  # ids are in the order of asking, which is the turns'
            folder = JobFolder(self._folder / f"{moment:012x}{uuid.uuid4().hex[:8]}")
            try:
                folder.path.mkdir(parents=True)
                content = {"kind": kind, "title": title, "created": _now(), "asked": dict(asked)}
                again = {"reproduce": dict(reproduce) if reproduce else None}
                write_json(folder.path / "job.json", content | again)
                self._start(folder)
            except OSError as error:
                raise storage_error(folder.path, error) from error
            return self.get(folder.id)

    def listed(self) -> list[Job]:
        """All jobs, newest first.  Folders that cannot be read are left out."""
        for name, process in list(self._processes.items()):
            if process.poll() is not None:
                self._reap(name)
        found = []
        for path in sorted(self._folder.glob("*/job.json"), reverse=True):
            with suppress(NotFoundError, CorruptError):
                found.append(self.get(path.parent.name))
        return found

    def get(self, name: str) -> Job:
        """The job with this id.  Raises `NotFoundError`."""
        folder = self.folder(name)
        about, state = folder.asked(), folder.state()
        shown = state["state"]
        if shown in UNFINISHED and not self._alive(folder):
            state = folder.state()  # it may have ended since
            shown = "interrupted" if state["state"] in UNFINISHED else state["state"]
        return Job(
            id=folder.id,
            kind=about["kind"],
            title=about["title"],
            created=about["created"],
            asked=about["asked"],
            state=shown,
            ended=state["ended"],
            error=state["error"],
            progress=state["progress"],
            reproduce=about.get("reproduce"),
            page=shown == "done" and (folder.report / "report.html").is_file(),
        )

    def folder(self, name: str) -> JobFolder:
        """The folder of the job with this id.  Raises `NotFoundError`."""
        path = self._folder / name
        if not _ID.fullmatch(name) or not (path / "job.json").is_file():
            raise NotFoundError(f"there is no job '{name[:80]}': GET /api/v1/jobs lists all.")
        return JobFolder(path)

    def cancel(self, name: str) -> Job:
        """Ask a job to stop.  Raises `NotFoundError`, and `ConflictError` where it is finished."""
        job, folder = self.get(name), self.folder(name)
        if job.state not in UNFINISHED:
            raise ConflictError(f"job {name} is {job.state}: there is nothing to cancel.")
        folder.cancel.touch()
        return self.get(name)

    def resume(self, name: str) -> Job:
        """Start a stopped job again.

        Raises `NotFoundError`, `ConflictError` where it runs or is done, `BusyError` where too many wait or run.
        """
        with self._alone():
            job, folder = self.get(name), self.folder(name)
            if job.state in (*UNFINISHED, "done"):
                raise ConflictError(f"job {name} is {job.state}: there is nothing to resume.")
            self._check_room(self.listed())
            self._start(folder)
            return self.get(name)

    def delete(self, name: str) -> None:
        """Forget a job and its report.  Raises `NotFoundError`, and `ConflictError` where it runs."""
        folder = self.folder(name)
        with _locked(folder, "runs: cancel it first"):
            shutil.rmtree(folder.path, ignore_errors=True)
        self._reap(name)

    def stop(self) -> None:
        """Let the processes of this server's jobs end; their jobs are interrupted and can be resumed."""
        with self._lock:
            processes = list(self._processes.values())
        for process in processes:
            _let_end(process)
        deadline = time.monotonic() + _STOP_SECONDS
        for process in processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _check_room(self, jobs: Sequence[Job]) -> None:
        """Raise `BusyError` where of these jobs so many wait or run that no other may start."""
        if sum(job.state in UNFINISHED for job in jobs) >= self._limit:
            raise BusyError(f"{self._limit} jobs wait or run already: cancel one, or wait.", seconds=60)

    def _start(self, folder: JobFolder) -> None:
        """Start the job's process, which inherits its lock: at no time does the job seem dead."""
        with _locked(folder, "runs already") as lock:
            self._reap(folder.id)
            folder.cancel.unlink(missing_ok=True)
            folder.set_state("queued")
            command = (sys.executable, "-m", "foolscope.web.job_worker", str(folder.path))
            descriptors = (lock.fileno(),) if fcntl is not None else ()
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=descriptors)
        with self._lock:
            self._processes[folder.id] = process

    def _reap(self, name: str) -> None:
        """Forget the process of a job that has ended, or is about to: its lock was free."""
        with self._lock:
            process = self._processes.pop(name, None)
        if process is not None:
            _let_end(process)
            process.wait(_STOP_SECONDS)

    def _alive(self, folder: JobFolder) -> bool:
        if fcntl is None:
            process = self._processes.get(folder.id)
            return process is not None and process.poll() is None
        return folder.is_alive()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Alone among this process' threads and, where the system has such locks, all servers on this home."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = (self._folder / ".lock").open("ab")
        except OSError as error:
            raise storage_error(self._folder, error) from error
        with self._asking, lock:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _let_end(process: subprocess.Popen[bytes]) -> None:
    """Close a process' stdin, at whose end it ends."""
    assert process.stdin
    process.stdin.close()


def _locked(folder: JobFolder, otherwise: str) -> IO[bytes]:
    """The job's lock.  Raises `ConflictError` where its process keeps it, `NotFoundError` where the job is gone."""
    for _ in range(_LOCK_TRIES):
        try:
            lock = folder.try_lock()
        except FileNotFoundError:
            raise NotFoundError(f"there is no job '{folder.id}': GET /api/v1/jobs lists all.") from None
        if lock is not None:
            return lock
        time.sleep(0.01)  # it is held for a moment by who looks, and by a process that has written how it ended
    raise ConflictError(f"job {folder.id} {otherwise}.")


def as_json(job: Job) -> dict[str, Any]:
    """A job as the API tells it."""
    content = asdict(job)
    content["page"] = f"/api/v1/reports/{job.id}/report.html" if job.page else None
    return content


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise NotFoundError(f"there is no job '{path.parent.name}': GET /api/v1/jobs lists all.") from None
    except (OSError, ValueError) as error:
        raise CorruptError(f"job {path.parent.name} cannot be read ({error}).") from None
    if not isinstance(content, dict):
        raise _damaged(path)
    return content


def _damaged(path: Path) -> CorruptError:
    return CorruptError(f"job {path.parent.name} cannot be read: its {path.name} is not what this version writes.")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
