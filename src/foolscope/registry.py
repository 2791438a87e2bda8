"""Names to things, with errors that show the spelling that would have worked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TypeVar

from foolscope.errors import SpecError, nearest

T = TypeVar("T")


class Registry(Mapping[str, T]):
    """An immutable mapping whose missing keys raise a `SpecError` that names the nearest ones.

    `kind` is the singular noun of what is listed ("attack"), `listing` the command that lists all.
    """

    def __init__(self, kind: str, listing: str, entries: Mapping[str, T]) -> None:
        self.kind = kind
        self.listing = listing
        self._entries = MappingProxyType(dict(entries))

    def __getitem__(self, name: str) -> T:
        try:
            return self._entries[name]
        except KeyError:
            raise SpecError(
                f"unknown {self.kind} '{name}'.{nearest(name, self._entries)} '{self.listing}' lists all."
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
