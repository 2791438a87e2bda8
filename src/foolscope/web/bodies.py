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
_DRAINED_BYTES = 256 << 20
_SECONDS, _PAUSE, _BYTES_A_SECOND = 60.0, 10.0, 16 << 10
_UPLOADS_HELD = 4
_JSON_HELD = 16 << 20


class Bodies:
    """The bodies of all requests that are being answered: uploads, and apart from them what is short.

    Uploads are held up to the size of four of the largest, what is short up to 16 MiB; of each, one client has half at
    most.  So neither stalled uploads nor a single client shut anybody out.
    """

    def __init__(self, upload_bytes: int) -> None:
        self._upload_bytes = upload_bytes
        self._uploads = _Room(_UPLOADS_HELD * upload_bytes)
        self._short = _Room(_JSON_HELD)

    @asynccontextmanager
    async def read(self, path: str, client: str, declared: str, receive: Receive) -> AsyncIterator[bytes]:
        """The whole body of a client's request to `path` whose Content-Length is `declared`.

        Raises `TooLargeError` where it is longer than this path's may be, `BusyError` where all bodies together would
        be, `MalformedError` where it comes too slowly, `GoneError` where the caller leaves.
        """
        limit, held = self._limit(path), 0
        room = self._short if limit == _JSON_BYTES else self._uploads

        def hold(count: int) -> bool:
            nonlocal held
            fits = room.take(client, count)
            held += count if fits else 0
            return fits

        try:
            yield await self._read(limit, declared, receive, hold)
        finally:
            room.give_back(client, held)

    async def _read(self, limit: int, declared: str, receive: Receive, hold: Callable[[int], bool]) -> bytes:
        size = int(declared[:18]) if declared.isdecimal() else 0
        chunks: list[bytes] = []
        too_large, too_much, total = size > limit, False, 0
        begun, more = asyncio.get_running_loop().time(), True
        while more and total <= _DRAINED_BYTES:
            chunk, more = await _chunk(receive, begun, total)
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


class _Room:
    """So many bytes for all clients together, and half of them at most for one."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.held: dict[str, int] = {}

    def take(self, client: str, count: int) -> bool:
        """Take so many bytes, if there are."""
        own = self.held.get(client, 0) + count
        fits = own <= self._limit // 2 and sum(self.held.values()) + count <= self._limit
        if fits:
            self.held[client] = own
        return fits

    def give_back(self, client: str, count: int) -> None:
        """Give back what was taken."""
        left = self.held.pop(client, 0) - count
        if left > 0:
            self.held[client] = left


async def _chunk(receive: Receive, begun: float, total: int) -> tuple[bytes, bool]:
    """The next part of a body of which `total` bytes came since `begun`, and whether more follows."""
    now = asyncio.get_running_loop().time()
    deadline = min(begun + _SECONDS, now + _PAUSE, begun + _PAUSE + total / _BYTES_A_SECOND)
    try:
        async with asyncio.timeout_at(deadline):
            message = await receive()
    except TimeoutError:
        line = f"the body comes too slowly: it may take {_SECONDS:g} s in all and pause for {_PAUSE:g} s."
        raise MalformedError(line) from None
    if message["type"] == "http.disconnect":
        raise GoneError("the caller left before the body had arrived.")
    return message.get("body", b""), bool(message.get("more_body"))
