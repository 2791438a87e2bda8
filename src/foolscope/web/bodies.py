"""Reading what requests send: each only as far as its path allows, all together only as far as memory does.

What is too long is read to its end and thrown away, or the sender would see a broken connection instead of the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

from foolscope.web.problems import BusyError, GoneError, MalformedError, TooLargeError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

_JSON_BYTES = 64 << 10
_IMPORT_BYTES = 1 << 20
_FORM_BYTES = 4 << 10  # what a multipart form adds to its file
_DRAINED_BYTES, _SECONDS = 256 << 20, 60.0
_UPLOADS_HELD = 4


class Bodies:
    """The bodies of all requests that are being answered: at most as much as four of the largest uploads."""

    def __init__(self, upload_bytes: int) -> None:
        self._upload_bytes = upload_bytes
        self._held = 0

    @asynccontextmanager
    async def read(self, path: str, declared: str, receive: Receive) -> AsyncIterator[bytes]:
        """The whole body of a request to `path` whose Content-Length is `declared`.

        Raises `TooLargeError` where it is longer than this path's may be, `BusyError` where all bodies together would
        be, `MalformedError` where it comes too slowly, `GoneError` where the caller leaves.
        """
        held = 0

        def hold(count: int) -> bool:
            nonlocal held
            fits = self._held + count <= _UPLOADS_HELD * self._upload_bytes
            if fits:
                held += count
                self._held += count
            return fits

        try:
            yield await self._read(self._limit(path), declared, receive, hold)
        finally:
            self._held -= held

    async def _read(self, limit: int, declared: str, receive: Receive, hold: Callable[[int], bool]) -> bytes:
        size = int(declared[:18]) if declared.isdecimal() else 0
        chunks: list[bytes] = []
        too_large, too_much, total = size > limit, False, 0
        deadline = asyncio.get_running_loop().time() + _SECONDS
        more = True
        while more and total <= _DRAINED_BYTES:
            chunk, more = await _chunk(receive, deadline)
            total += len(chunk)
            too_large = too_large or total > limit
            too_much = too_much or not (too_large or hold(len(chunk)))
            if too_large or too_much:
                chunks.clear()
            else:
                chunks.append(chunk)
        if too_large:
            raise TooLargeError(
                f"the body has {max(size, total):,} bytes, more than the {limit:,} that are allowed here."
            )
        if too_much:
            raise BusyError("too many uploads at once: try again.", seconds=2)
        return b"".join(chunks)

    def _limit(self, path: str) -> int:
        if path == "/api/v1/images":
            return self._upload_bytes + _FORM_BYTES
        return _IMPORT_BYTES if path == "/api/v1/chains/import" else _JSON_BYTES


async def _chunk(receive: Receive, deadline: float) -> tuple[bytes, bool]:
    """The next part of a body, and whether more follows."""
    try:
        async with asyncio.timeout_at(deadline):
            message = await receive()
    except TimeoutError:
        raise MalformedError(f"the body did not arrive within {_SECONDS:g} s.") from None
    if message["type"] == "http.disconnect":
        raise GoneError("the caller left before the body had arrived.")
    return message.get("body", b""), bool(message.get("more_body"))
