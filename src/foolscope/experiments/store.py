"""The run store: finished work in folders named by what decides it.

A cell is one folder, `<root>/<first two digits>/<SHA-256 of the canonical JSON of its spec>/`, with `cell.json` (spec,
info, the arrays' digest) and `arrays.npz`.  It is written in a part of the root (see `files`) and moved into place:
present means done.  A cell whose content does not match its digest is set aside, and so is to be computed again.

What failed leaves `<root>/failed/<cell>.json`, which stands in nobody's way: it tells what happened until the cell is
done.  `<root>/store.json` says by which schema the store is written; a newer one is refused.
"""

from __future__ import annotations

import json
import logging
import uuid
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foolscope.errors import StorageError
from foolscope.experiments.provenance import versions
from foolscope.files import canonical_json, digest, file_digest, settle, storage_error, unfinished, write_json

SCHEMA = 1
"""Raised when what a cell holds changes its meaning; cells of other schemas are never looked at."""

_log = logging.getLogger("foolscope")

_DAMAGE = (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)
"""What reading a cell raises whose content is not what was written."""

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Cell:
    """One finished piece of work: `spec` decides it, `arrays` are its result, `info` what it cost."""

    spec: dict[str, Any]
    arrays: dict[str, NDArray[Any]]
    info: dict[str, Any]


def cell_key(spec: Mapping[str, Any]) -> str:
    """The name of the cell of `spec`: 64 hexadecimal digits.  With other versions of what computes it is another."""
    return digest(canonical_json({"schema": SCHEMA, "versions": versions(), **spec}))


class Store:
    """Cells under one folder.  Several processes may use it at once; the first to finish a cell keeps it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, spec: Mapping[str, Any]) -> Path:
        """Where the cell of `spec` lies once it is done."""
        key = cell_key(spec)
        return self.root / key[:2] / key

    def __contains__(self, spec: Mapping[str, Any]) -> bool:
        folder = self.path(spec)
        try:
            return (folder / "cell.json").is_file()
        except OSError as error:
            raise _cannot_read(folder, error) from error

    def load(self, spec: Mapping[str, Any]) -> Cell | None:
        """The finished cell, or None.  A damaged one is set aside beside the store and counts as not done.

        Raises `StorageError` where the disk does not let it be read, which says nothing about the cell.
        """
        folder = self.path(spec)
        try:
            if not folder.is_dir():
                return None
            content = json.loads((folder / "cell.json").read_text())
            if cell_key(content["spec"]) != folder.name:
                raise ValueError("it is another one's")
            if content["digest"] != file_digest(folder / "arrays.npz"):
                raise ValueError("its digest does not match")
            with np.load(folder / "arrays.npz", allow_pickle=False) as file:
                return Cell(content["spec"], {name: file[name] for name in file.files}, content["info"])
        except (FileNotFoundError, IsADirectoryError, *_DAMAGE) as error:
            self._set_aside(folder, error)
            return None
        except OSError as error:
            raise _cannot_read(folder, error) from error

    def save(self, spec: Mapping[str, Any], arrays: Arrays, info: Mapping[str, Any]) -> None:
        """Write a cell, whole or not at all.  Raises `StorageError`."""
        folder = self.path(spec)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with unfinished(self.root) as part:
                np.savez(part / "arrays.npz", allow_pickle=False, **dict(arrays))
                content = {"spec": dict(spec), "info": dict(info), "digest": file_digest(part / "arrays.npz")}
                (part / "cell.json").write_text(json.dumps(content, indent=1))
                try:
                    settle(part, folder)
                except OSError:
                    if not folder.is_dir():  # another process was first: its cell is as good
                        raise
        except OSError as error:
            raise storage_error(folder, error) from error

    def check(self) -> None:
        """Raise `StorageError` where the store is kept by a newer schema than this version knows; writes nothing."""
        schema = self._schema()
        if isinstance(schema, int) and schema > SCHEMA:
            advice = "update foolscope or set FOOLSCOPE_HOME to another folder"
            raise StorageError(f"{self.root} is kept by schema {schema}, this version knows {SCHEMA}: {advice}.")

    def open(self) -> None:
        """`check` the store, and write into it by which schema it is kept.

        Raises `StorageError` as `check`, and where the store cannot be written.
        """
        self.check()
        if self._schema() != SCHEMA:
            place = self.root / "store.json"
            if place.exists():
                _log.warning("%s says no schema: it is written anew", place)
            write_json(place, {"schema": SCHEMA})

    def save_failure(self, spec: Mapping[str, Any], message: str) -> None:
        """Keep why a cell could not be computed.  Raises `StorageError`."""
        write_json(self._failure(spec), {"spec": dict(spec), "error": message})

    def failure(self, spec: Mapping[str, Any]) -> str | None:
        """Why a cell could not be computed the last time it was tried, or None."""
        try:
            return str(json.loads(self._failure(spec).read_text())["error"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def forget_failure(self, spec: Mapping[str, Any]) -> None:
        """The cell is done: why it once failed is of no interest any more."""
        self._failure(spec).unlink(missing_ok=True)

    def size(self, spec: Mapping[str, Any]) -> int:
        """Bytes that a finished cell takes on disk; 0 of one that is not there."""
        try:
            return sum(file.stat().st_size for file in self.path(spec).iterdir())
        except OSError:
            return 0

    def _schema(self) -> Any:
        """What the store says that it is kept by; None where it says nothing that can be read."""
        try:
            return json.loads((self.root / "store.json").read_text())["schema"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def _failure(self, spec: Mapping[str, Any]) -> Path:
        return self.root / "failed" / f"{cell_key(spec)}.json"

    def _set_aside(self, folder: Path, error: Exception) -> None:
        place = self.root / "damaged" / f"{folder.name}-{uuid.uuid4().hex[:8]}"
        _log.warning("damaged result %s (%s): set aside in %s", folder.name[:12], error, place)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(place)
        except FileNotFoundError:
            pass  # another process was first
        except OSError as failure:
            raise StorageError(f"cannot set the damaged result {folder} aside: {failure}.") from failure


def _cannot_read(folder: Path, error: OSError) -> StorageError:
    """The one line for a cell that the disk does not let be read, which says nothing about what it holds."""
    return StorageError(f"cannot read {folder}: {error.strerror or error}; nothing was changed there.")
