"""Leases: who computes a cell, so that processes that share a store never compute the same one twice.

A lease is the file `<root>/leases/<cell>`, held by an advisory lock that the system lets go of with the process, so a
holder that is killed, `kill -9` included, blocks nobody.  For other machines on the same network folder, whose locks
may not be seen here, the holder also touches the file every few seconds: such a lease counts as given up once it has
not been touched for `STALE` seconds.  Where two machines take over the same stale lease at the same moment, both
compute, and the store keeps the first result: leases save work, the store alone keeps results right.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from foolscope.files import has_locks, storage_error, try_lock

BEAT = 5.0
"""Seconds between two touches of the leases that a process holds."""

STALE = 60.0
"""Seconds without a touch after which a lease of another machine counts as given up."""

_MACHINE = platform.node()


class Leases:
    """The leases that this process holds on one store.  To be closed at the end, which gives all of them back."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "leases"
        self._held: dict[str, IO[bytes]] = {}
        self._guard = threading.Lock()
        self._closed = threading.Event()
        self._beating: threading.Thread | None = None

    def __enter__(self) -> Leases:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def take(self, key: str) -> bool:
        """Try to get the lease of a cell: False where another process holds it.  Raises `StorageError`."""
        path = self.folder / key
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = self._opened(path)
        except OSError as error:
            raise storage_error(path, error) from error
        if file is None:
            return False
        with self._guard:
            self._held[key] = file
            if self._beating is None:
                self._beating = threading.Thread(target=self._beat, name="foolscope-leases", daemon=True)
                self._beating.start()
        return True

    def give_back(self, key: str) -> None:
        """Let go of a lease that this process holds."""
        with self._guard:
            file = self._held.pop(key)
        with suppress(OSError):  # taken over, or the folder is gone
            if _is_at(file, self.folder / key):
                (self.folder / key).unlink()
        file.close()

    def close(self) -> None:
        """Give all leases back."""
        self._closed.set()
        for key in list(self._held):
            self.give_back(key)

    def _opened(self, path: Path) -> IO[bytes] | None:
        """The locked file of a lease that is free or given up, with our name in it; None of one that is held."""
        while True:
            file = path.open("a+b")
            locked = try_lock(file)
            if not locked and locked is not None:
                file.close()
                return None
            if not _is_at(file, path):  # its holder has just given it back: the file is no longer there
                file.close()
                continue
            if self._is_held_elsewhere(file):
                file.close()
                return None
            file.truncate(0)
            file.write(json.dumps({"machine": _MACHINE, "process": os.getpid()}).encode())
            file.flush()
            return file

    def _is_held_elsewhere(self, file: IO[bytes]) -> bool:
        """Whether a machine whose locks we may not see, or a process on a system without locks, still touches it."""
        file.seek(0)
        try:
            machine = json.loads(file.read())["machine"]
        except (ValueError, KeyError, TypeError):  # new, or its holder was killed before it could write
            return False
        if machine == _MACHINE and has_locks():
            return False
        return time.time() - os.fstat(file.fileno()).st_mtime < STALE

    def _beat(self) -> None:
        while not self._closed.wait(BEAT):
            with self._guard:
                for file in self._held.values():
                    with suppress(OSError):
                        os.utime(file.fileno())


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Whether an open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
