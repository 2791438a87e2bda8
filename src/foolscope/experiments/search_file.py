"""A search's state between two steps, in its result folder: so that the same command goes on after a kill."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from foolscope.attacks.agv import Evaluator, Search, Settings
from foolscope.errors import CorruptError, InputError
from foolscope.files import canonical_json, write_json

NAME = "search.json"


def save_search(folder: Path, search: Search, models: Sequence[str]) -> None:
    """Write the state, whole or not at all.  `models` are the digests of the models that are searched against.

    Raises `InputError` where another search has written there since.
    """
    path, content = folder / NAME, {"models": list(models), "state": search.state()}
    if path.exists() and _identity(json.loads(path.read_text("utf-8"))) != _identity(content):
        raise InputError(f"{path}: another search writes into this folder: name another one with --out.")
    write_json(path, content)


def _identity(content: dict[str, Any]) -> list[Any]:
    """What tells searches apart."""
    state = content["state"]
    return [content["models"], state["seed"], state["evaluator"], json.loads(canonical_json(state["settings"]))]


def load_search(
    folder: Path | None, models: Sequence[str], settings: Settings, evaluator: Evaluator, seed: int
) -> Search:
    """The search that `folder` has, or a new one where it has none.

    Raises `InputError` where the saved search is another one, naming the first difference, and `CorruptError` where
    the file is damaged.
    """
    path = None if folder is None else folder / NAME
    if path is None or not path.exists():
        return Search(settings, evaluator, seed=seed)
    try:
        content = json.loads(path.read_text("utf-8"))
        known, state = content["models"], content["state"]
        saved_seed = state["seed"]
        if known == list(models) and saved_seed == seed:
            return Search.restore(settings, evaluator, state)
    except InputError as error:
        raise InputError(f"{path}: {error} Name another folder with --out, or remove the file.") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError, CorruptError):
        raise CorruptError(f"{path}: damaged; remove it to search anew.") from None
    difference = f"has seed={saved_seed}, not seed={seed}" if known == list(models) else "was against other models"
    raise InputError(f"{path}: the saved search {difference}. Name another folder with --out, or remove the file.")
