"""Saved chains of filters: one JSON file each under `FOOLSCOPE_HOME/chains`, in our own format.

The file's name is the chain's id, which begins with the time it was made, so that chains are listed oldest first.
What is saved, changed or deleted by several requests or processes at once is done one after the other, under a lock
that the system lets go of with its process.
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from foolscope.errors import FoolscopeError, MissingError, ParameterError
from foolscope.files import storage_error, write_bytes
from foolscope.filters import CHAINS, Chain, parse_chain
from foolscope.filters.thesis import IDS
from foolscope.web.logs import LOGGER
from foolscope.web.problems import ConflictError, NotFoundError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

SHIPPED = ("agv-a", "agv-b")
_ID = re.compile(r"[0-9a-f]{20}")
_MOST = 1000
_LONGEST_TITLE = 100


@dataclass(frozen=True)
class Kept:
    """A chain that can be asked for by its id."""

    id: str
    chain: Chain
    saved: bool


class ChainShelf:
    """The shipped chains and those in a folder; safe between threads and processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def listed(self) -> list[Kept]:
        """The shipped chains, then the saved ones, oldest first.  Files that cannot be read are left out."""
        found = [Kept(name, CHAINS[name], saved=False) for name in SHIPPED]
        for path in sorted(self._folder.glob("*.json")):
            try:
                if _ID.fullmatch(path.stem):
                    found.append(self._read(path.stem))
            except NotFoundError:
                continue  # deleted in between
            except FoolscopeError as error:
                LOGGER.warning(str(error))
        return found

    def get(self, name: str) -> Kept:
        """The chain with this id.  Raises `NotFoundError`, and `CorruptError` where its file was damaged."""
        if name in CHAINS:
            return Kept(name, CHAINS[name], saved=False)
        return self._read(name)

    def chain(self, text: str) -> Chain:
        """The chain that an id or a spec stands for.  Raises what `get` and `parse_chain` do."""
        if _ID.fullmatch(text):
            return self.get(text).chain
        return parse_chain(text, allow_extreme=True)

    def add(self, chain: Chain) -> Kept:
        """Save a chain; its title is its spec where it has none.

        Raises `ParameterError` for a title that is none, `ConflictError` where there are too many, `StorageError`.
        """
        kept = Kept(f"{time.time_ns() // 1_000_000:012x}{uuid.uuid4().hex[:8]}", _titled(chain), saved=True)
        with self._changing():
            if len(list(self._folder.glob("*.json"))) >= _MOST:
                raise ConflictError(f"{_MOST:,} chains are saved already: delete some.")
            self._write(kept)
        return kept

    def change(self, name: str, *, title: str | None = None, spec: str | None = None) -> Kept:
        """Give a saved chain another title, other filters, or both.

        Raises `NotFoundError`, `ConflictError` for a shipped one, and what `parse_chain` does.
        """
        self._check_saved(name)
        with self._changing():
            kept = self._read(name)
            chain = kept.chain if spec is None else replace(self.chain(spec), title=kept.chain.title)
            kept = replace(kept, chain=_titled(chain if title is None else replace(chain, title=title)))
            self._write(kept)
        return kept

    def delete(self, name: str) -> None:
        """Forget a saved chain.  Raises `NotFoundError`, and `ConflictError` for a shipped one."""
        self._check_saved(name)
        with self._changing():
            try:
                self._path(name).unlink()
            except FileNotFoundError:
                raise _unknown(name) from None
            except OSError as error:
                raise storage_error(self._path(name), error) from error

    def _check_saved(self, name: str) -> None:
        if name in CHAINS:
            raise ConflictError(f"'{name}' comes with foolscope: save a copy to change it.")
        if not _ID.fullmatch(name):
            raise _unknown(name)

    def _read(self, name: str) -> Kept:
        if not _ID.fullmatch(name):
            raise _unknown(name)
        try:
            content = self._path(name).read_bytes()
        except FileNotFoundError:
            raise _unknown(name) from None
        except OSError as error:
            raise MissingError(f"chain {name} cannot be read: {error.strerror}.") from None
        return Kept(name, Chain.from_json(content, name=f"chain {name}"), saved=True)

    def _write(self, kept: Kept) -> None:
        write_bytes(self._path(kept.id), kept.chain.to_json().encode())

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Alone, among this process' threads and, where the system has such locks, all processes."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = (self._folder / ".lock").open("ab")
        except OSError as error:
            raise storage_error(self._folder, error) from error
        with self._lock, lock:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def to_thesis(chain: Chain) -> str:
    """The chain as a file of the thesis: ids in the thesis' reading, nested pairs.

    Raises `ParameterError` for a filter that the thesis does not have.
    """
    ids = IDS["thesis"]
    for step in chain.filters:
        if step.name not in ids:
            raise ParameterError(f"the thesis has no filter {step.name}: it has {', '.join(ids)}.")
    content = {
        "filters": [ids.index(step.name) for step in chain.filters],
        "params": [[step.strength, step.intensity] for step in chain.filters],
    }
    return json.dumps(content, indent=2) + "\n"


def _titled(chain: Chain) -> Chain:
    """The chain with a title that can be shown.  Raises `ParameterError`."""
    title = chain.title.strip() or chain.spec()[:_LONGEST_TITLE]
    if len(title) > _LONGEST_TITLE or not title.isprintable():
        raise ParameterError(f"a title is one line of at most {_LONGEST_TITLE} characters.")
    return replace(chain, title=title)


def _unknown(name: str) -> NotFoundError:
    return NotFoundError(f"there is no chain '{name[:80]}': GET /api/v1/chains lists all.")
