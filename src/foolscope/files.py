"""Where files live, whether they may be downloaded, and how they are written: whole or not at all.

`FOOLSCOPE_HOME` (default: the platform's cache folder) holds downloads, decoded data, trainings and results.
`FOOLSCOPE_DATA`, if set, is a folder that is looked into before anything is downloaded; `FOOLSCOPE_OFFLINE` forbids
that.

What is being written lies in a folder `.part-MACHINE-...` beside its place, until it is moved there.  A process that is
killed leaves its part behind, and the next process that writes into the same folder removes it, by this rule: a part
is an orphan where nobody holds the lock on the file `lock` in it, which the system lets go of with the process, and
where it was made on this machine or was left alone for a day.  The day is for other machines on the same network
folder, whose locks may not be seen here, and for systems without such locks.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

from foolscope.errors import MissingError, StorageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_PART = f".part-{re.sub('[^A-Za-z0-9]+', '-', platform.node())[:40]}"
_LOCK = "lock"
_DAY = 24 * 60 * 60

HOME_ADVICE = "set FOOLSCOPE_HOME to a folder that can be written"
"""What to do where `home` is of no use."""


def home() -> Path:
    """The folder for everything that foolscope keeps between runs.  It need not exist yet."""
    if chosen := os.environ.get("FOOLSCOPE_HOME"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "foolscope"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "foolscope"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "foolscope"


def data_folder() -> Path | None:
    """The folder that `FOOLSCOPE_DATA` names, or None.  Raises `MissingError` where it names no folder."""
    chosen = os.environ.get("FOOLSCOPE_DATA")
    if not chosen:
        return None
    folder = Path(chosen).expanduser()
    if not folder.is_dir():
        raise MissingError(f"FOOLSCOPE_DATA names '{chosen}', which is no folder.")
    return folder


def is_offline(offline: bool = False) -> bool:
    """Whether downloads are forbidden, by the argument or by the environment variable `FOOLSCOPE_OFFLINE`."""
    return offline or os.environ.get("FOOLSCOPE_OFFLINE", "0") not in ("", "0")


def check_writable(folder: Path, advice: str) -> None:
    """Raise `StorageError` where no file can be made in `folder`, or where it would be made; leaves nothing there.

    `advice` is the end of the message.  A test by writing, since permissions do not tell of read-only disks and the
    kernel's own folders.
    """
    existing = next((path for path in (folder, *folder.parents) if os.path.lexists(path)), Path())
    if not existing.is_dir():
        raise StorageError(f"cannot write into {folder}: {existing} is a file, not a folder: {advice}.")
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        place, reason = existing.absolute(), (error.strerror or str(error)).lower()
        raise StorageError(
            f"cannot write into {folder}: no file can be made in {place} ({reason}): {advice}."
        ) from None


def check_home() -> None:
    """Raise `StorageError` where `home` cannot be written: before the work, not in its midst."""
    check_writable(home(), HOME_ADVICE)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write to; move what is there to `path` at the end, or remove it after an exception.

    Raises `StorageError` where the disk is full or the place cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished(path.parent) as part:
            yield part / "content"
            # Libraries that write by way of a temporary file of their own leave it readable by its owner alone.
            (part / "content").chmod((part / _LOCK).stat().st_mode)
            (part / "content").replace(path)
    except OSError as error:
        raise storage_error(path, error) from error


@contextmanager
def unfinished(folder: Path) -> Iterator[Path]:
    """Yield a new part in `folder`, and remove at the end what was not moved out of it.

    The first call for a folder removes the orphans there; the module's docstring has the rule.
    """
    _sweep(folder.resolve())
    part, lock = _begin(folder)
    try:
        yield part
    finally:
        lock.close()
        shutil.rmtree(part, ignore_errors=True)


def settle(part: Path, place: Path) -> None:
    """Move a part itself into its place, as a folder.  Raises `OSError`, also where there is one already."""
    mode = stat.S_IMODE((part / _LOCK).stat().st_mode)
    part.chmod(mode | (mode & 0o444) >> 2)  # as readable as any file here: a part is its owner's alone
    part.rename(place)
    (place / _LOCK).unlink()


def _begin(folder: Path) -> tuple[Path, IO[bytes]]:
    """A new part and its lock, which is held until it is closed."""
    while True:
        part = Path(tempfile.mkdtemp(prefix=f"{_PART}-", dir=folder))
        with suppress(FileNotFoundError):  # a sweep came before the lock
            lock = (part / _LOCK).open("xb")
            if try_lock(lock) is not False and (part / _LOCK).exists():
                return part, lock
            lock.close()


def has_locks() -> bool:
    """Whether the system has locks of files that end with the process."""
    return fcntl is not None


def try_lock(lock: IO[bytes]) -> bool | None:
    """Try to lock a file: True, or False where another has it locked, or None where there are no such locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network file systems
        return None
    return True


@cache  # a scan of a large folder before each of many writes would take longer than they do
def _sweep(folder: Path) -> None:
    for part in folder.glob(".part-*"):
        with suppress(OSError):  # another user's, or another process is removing it
            _remove_orphan(part)


def _remove_orphan(part: Path) -> None:
    try:
        lock = (part / _LOCK).open("r+b")
    except FileNotFoundError:  # killed before it could lock: the folder is empty, or is not ours and stays
        part.rmdir()
        return
    with lock:  # held until all is gone, or a process that is about to take its new part's lock would not notice
        free, ours = try_lock(lock), part.name.rpartition("-")[0] == _PART
        if (free and ours) or (free is not False and _idle_seconds(part) > _DAY):
            shutil.rmtree(part, ignore_errors=True)


def _idle_seconds(part: Path) -> float:
    """The time since anything in a part changed."""
    return time.time() - max(path.stat().st_mtime for path in (part, *part.rglob("*")))


def storage_error(path: Path, error: OSError) -> StorageError:
    """The one line for a write that failed."""
    if error.errno == errno.ENOSPC:
        return StorageError(f"no space left to write {path}; nothing was changed there.")
    advice = f": {HOME_ADVICE}" if home() in path.parents else ""
    return StorageError(f"cannot write {path}: {error.strerror or error}{advice}.")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file or nothing."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write readable JSON, whole or not at all.  NaN is refused: JSON has none."""
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def canonical_json(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces; what digests are taken of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(*parts: bytes | str) -> str:
    """SHA-256 over the parts, each preceded by its length, as 64 hexadecimal digits."""
    total = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        total.update(len(content).to_bytes(8, "little"))
        total.update(content)
    return total.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
