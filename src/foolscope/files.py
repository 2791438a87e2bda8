"""Where files live, and how they are written: whole or not at all.

`FOOLSCOPE_HOME` (default: the platform's cache folder) holds downloads, decoded data, trainings and results.
`FOOLSCOPE_DATA`, if set, is a folder that is looked into before anything is downloaded.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from foolscope.errors import MissingError, StorageError


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


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it into place at the end, or remove it after an exception.

    Raises `StorageError` where the disk is full or the place cannot be written.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def storage_error(path: Path, error: OSError) -> StorageError:
    """The one line for a write that failed."""
    if error.errno == errno.ENOSPC:
        return StorageError(f"no space left to write {path}; nothing was changed there.")
    return StorageError(f"cannot write {path}: {error.strerror or error}.")


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
