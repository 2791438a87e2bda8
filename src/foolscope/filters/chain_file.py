"""Reading a chain's JSON, whoever wrote it: every error is one line, whatever the text.

Two kinds are understood: foolscope's own, which names the filters, and the files of the thesis on AGV, which number
them (see `thesis`).  Keys that are not needed are refused in the first and ignored in the second.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, NoReturn

from foolscope.errors import CorruptError, nearest
from foolscope.filters.styles import FILTERS, Filter

FORMAT, VERSION = "foolscope-chain", 1

LONGEST = 10
"""Filters of the longest chain."""

MAX_BYTES = 1_000_000
"""Longer texts are refused before they are parsed.  The thesis' files are small but for their pickle."""

_LONGEST_TITLE = 100
_LONGEST_INTEGER = 1000


def write_chain(filters: Sequence[Filter], title: str) -> str:
    """The text of a file of our own."""
    entries = [{"name": item.name, "strength": item.strength, "intensity": item.intensity} for item in filters]
    content = {"format": FORMAT, "version": VERSION, "title": title, "filters": entries}
    return json.dumps(content, indent=2) + "\n"


def read_chain(text: str | bytes, ids: Sequence[str], name: str) -> tuple[list[Filter], str]:
    """The filters and the title in `text`; `ids` are the names that numbers stand for, `name` is for messages.

    Raises `CorruptError` where the text is no chain of 1 to 10 filters, `ParameterError` for parameters beyond the
    filters' own limits.
    """
    content = _loaded(text, name)
    if not isinstance(content, dict) or not isinstance(content.get("filters"), list):
        raise CorruptError(f'{name}: not a chain: expected {{"filters": [...], ...}}.')
    entries = content["filters"]
    if not 1 <= len(entries) <= LONGEST:
        raise CorruptError(f"{name}: a chain has 1 to {LONGEST} filters, this one {len(entries):,}.")
    if "format" not in content:
        pairs = _pairs(content.get("params"), len(entries), name)
        return [_by_id(entry, pair, ids, name) for entry, pair in zip(entries, pairs, strict=True)], ""
    version = content.get("version")
    if content["format"] != FORMAT or type(version) is not int or version != VERSION:  # 1.0 and true equal 1
        found = f"{_shown(content['format'])}, version {_shown(version)}"
        raise CorruptError(f"{name}: this foolscope reads '{FORMAT}', version {VERSION}, not {found}.")
    _known_keys(content, ("format", "version", "title", "filters"), name)
    title = content.get("title", "")
    if not isinstance(title, str) or len(title) > _LONGEST_TITLE or not (title.isprintable()):
        raise CorruptError(f"{name}: a title is one line of at most {_LONGEST_TITLE} characters.")
    return [_by_name(entry, name) for entry in entries], title


def _loaded(text: str | bytes, name: str) -> Any:
    if len(text) > MAX_BYTES:
        raise CorruptError(f"{name}: {len(text):,} bytes are more than a chain needs ({MAX_BYTES:,}).")
    try:
        return json.loads(text, parse_constant=_refused, parse_int=_integer, object_pairs_hook=_unique)
    except RecursionError:
        raise CorruptError(f"{name}: not a chain: nested too deeply.") from None
    except json.JSONDecodeError as error:
        raise CorruptError(f"{name}: not JSON: {error.msg} (line {error.lineno}, column {error.colno}).") from None
    except ValueError as error:  # text that is no UTF-8, and what the hooks refuse
        raise CorruptError(f"{name}: not JSON: {error}.") from None


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


def _integer(text: str) -> int:
    if len(text) > _LONGEST_INTEGER:
        raise ValueError(f"an integer of {len(text):,} characters is too long")
    return int(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise ValueError(f"the key {_shown(key)} is given twice")
        content[key] = value
    return content


def _by_name(entry: Any, name: str) -> Filter:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise CorruptError(
            f'{name}: a filter is {{"name": ..., "strength": ..., "intensity": ...}}, not {_shown(entry)}.'
        )
    _known_keys(entry, ("name", "strength", "intensity"), name)
    known = entry["name"]
    if known not in FILTERS:
        raise CorruptError(f"{name}: unknown filter {_shown(known)}.{nearest(known[:_LONGEST_TITLE], FILTERS)}")
    given = {key: _number(value, key, name) for key, value in entry.items() if key != "name"}
    return FILTERS[known](**given)


def _by_id(number: Any, pair: tuple[Any, Any], ids: Sequence[str], name: str) -> Filter:
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < len(ids):
        numbered = ", ".join(f"{index} {known}" for index, known in enumerate(ids))
        raise CorruptError(f"{name}: unknown filter {_shown(number)}: the thesis has {numbered}.")
    strength, intensity = (
        _number(value, key, name) for value, key in zip(pair, ("strength", "intensity"), strict=True)
    )
    return FILTERS[ids[number]](strength=strength, intensity=intensity)


def _pairs(params: Any, count: int, name: str) -> list[tuple[Any, Any]]:
    """(strength, intensity) of each filter, from [[s, a], ...] or [s, a, s, a, ...]."""
    if isinstance(params, list):
        if len(params) == count and all(isinstance(pair, list) and len(pair) == 2 for pair in params):
            return [(strength, intensity) for strength, intensity in params]
        if len(params) == 2 * count and not any(isinstance(value, list) for value in params):
            return list(zip(params[::2], params[1::2], strict=True))
    raise CorruptError(f'{name}: "params" must be {count} pairs of strength and intensity, nested or in one list.')


def _known_keys(content: dict[str, Any], known: Sequence[str], name: str) -> None:
    for key in content:
        if key not in known:
            raise CorruptError(f"{name}: unknown key {_shown(key)}.{nearest(key[:_LONGEST_TITLE], known)}")


def _number(value: Any, key: str, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CorruptError(f"{name}: {key} must be a number, got {_shown(value)}.")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise CorruptError(f"{name}: {key} is too large a number.")
    return number


def _shown(value: Any) -> str:
    """Any JSON value in a message: on one line, and not at length."""
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
