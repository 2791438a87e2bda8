"""The process of one job: waits for its turn, works, and writes down how that ended.

It stops when its job is cancelled, and when its stdin ends, which is when the server that started it is gone.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from foolscope.errors import Cancelled, FoolscopeError
from foolscope.web.job_kinds import KINDS
from foolscope.web.jobs import JobFolder
from foolscope.web.logs import to_stderr

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_LOGGER = logging.getLogger("foolscope.web.job")
_POLL_SECONDS = 0.2
_PROGRESS_SECONDS = 0.4
_PATIENCE_SECONDS = 8.0


def main() -> None:
    """Work on the job whose folder is the only argument."""
    to_stderr()
    folder = JobFolder(Path(sys.argv[1]))
    if hasattr(os, "nice"):
        os.nice(10)  # whoever waits for an answer goes before
    stop = _Stop(folder)
    try:
        with _turn(folder, stop):
            folder.set_state("running")
            about = folder.asked()
            KINDS[about["kind"]].work(folder, about["asked"], _Teller(folder, stop))
        folder.set_state("done")
    except Cancelled:
        folder.set_state(stop.reason or "cancelled")
    except FoolscopeError as error:
        folder.set_state("failed", error=str(error))
    except Exception as error:
        _LOGGER.exception("job %s failed", folder.id)
        folder.set_state("failed", error=f"foolscope failed ({type(error).__name__}); the server's log says why.")
    os._exit(0)  # the thread that reads stdin waits for ever


class _Stop:
    """Looks out for reasons to stop: `reason` is the state that the job will end in."""

    def __init__(self, folder: JobFolder) -> None:
        self.reason: str | None = None
        self._folder = folder
        for watch in (self._watch_server, self._watch_cancel):
            threading.Thread(target=watch, daemon=True).start()

    def check(self) -> None:
        """Raise `Cancelled` where there is a reason."""
        if self.reason:
            raise Cancelled

    def _watch_server(self) -> None:
        sys.stdin.buffer.read()
        self._stop("interrupted")

    def _watch_cancel(self) -> None:
        while not self._folder.cancel.exists():
            time.sleep(_POLL_SECONDS)
        self._stop("cancelled")

    def _stop(self, reason: str) -> None:
        self.reason = self.reason or reason
        time.sleep(_PATIENCE_SECONDS)  # where the work does not look
        self._folder.set_state(self.reason)
        os._exit(1)


class _Teller:
    """Writes progress down, not too often."""

    def __init__(self, folder: JobFolder, stop: _Stop) -> None:
        self._folder, self._stop, self._last = folder, stop, 0.0

    def __call__(self, progress: Mapping[str, Any], *, at_once: bool = False) -> None:
        self._stop.check()
        if at_once or time.monotonic() - self._last > _PROGRESS_SECONDS:
            self._last = time.monotonic()
            self._folder.set_state("running", progress=progress)
            self._folder.tell("progress", {"job": self._folder.id, **progress})


@contextmanager
def _turn(folder: JobFolder, stop: _Stop) -> Iterator[None]:
    """Wait for the one slot for running jobs, of all servers on this home, and hold it."""
    with (folder.path.parent / "slot").open("ab") as slot:
        while fcntl is not None:
            stop.check()
            with suppress(BlockingIOError):
                fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not _is_overtaking(folder):
                    break
                fcntl.flock(slot, fcntl.LOCK_UN)
            time.sleep(_POLL_SECONDS)
        yield


def _is_overtaking(folder: JobFolder) -> bool:
    """Whether a job that was asked for earlier waits for the slot too."""
    for path in sorted(folder.path.parent.glob("*/job.json")):
        other = JobFolder(path.parent)
        if other.id >= folder.id:
            return False
        with suppress(FoolscopeError):  # damaged, or deleted in between
            if other.is_alive() and other.state()["state"] == "queued":
                return True
    return False


if __name__ == "__main__":
    main()
