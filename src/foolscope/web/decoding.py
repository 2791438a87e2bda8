"""Uploaded files are decoded in a process of their own, which may take so much time and memory and no more.

A decoder is a C library that reads what strangers send: one that hangs or crashes takes this process with it, which is
started again, and nothing else.  The other side of the pipe is `decode_worker`.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foolscope.errors import CorruptError
from foolscope.web.problems import BusyError
from foolscope.web.queues import FairQueue

_WAITING = 16
_LENGTH = struct.Struct(">Q")


@dataclass(frozen=True)
class Decoded:
    """An uploaded image: uint8 (H, W, C), C 1 or 3, and what was done to it, a phrase each."""

    pixels: NDArray[np.uint8]
    notes: tuple[str, ...]


class Decoder:
    """Decodes one file at a time.  `side` is the longer side that larger images are scaled down to."""

    def __init__(self, side: int, seconds: float) -> None:
        self._side, self._seconds = side, seconds
        self._lock = asyncio.Lock()
        self._queue: FairQueue[asyncio.Future[None]] = FairQueue(_WAITING)
        self._is_free = True
        self._process: asyncio.subprocess.Process | None = None

    async def decode(self, content: bytes, client: str) -> Decoded:
        """The image in the bytes of a client's file, when it is its turn.

        Raises `CorruptError` where it is none that is taken, is damaged, too large, or takes too long; `BusyError`
        where too many are waiting.
        """
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if (lost := self._queue.push(client, turn)) is not None and not lost.done():
            lost.set_exception(BusyError("too many uploads are being decoded: try again.", seconds=2))
        self._next()
        try:
            await turn
            async with self._lock:
                return await self._decode(content)
        finally:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._is_free = True
                self._next()

    def _next(self) -> None:
        """Let the next file be decoded, if none is."""
        while self._is_free and len(self._queue):
            turn = self._queue.pop()
            if not turn.done():  # some callers have left
                self._is_free = False
                turn.set_result(None)

    async def start(self) -> None:
        """Start the process, so that the first upload need not wait for it."""
        async with self._lock:
            await self._started()

    async def stop(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()

    async def _decode(self, content: bytes) -> Decoded:
        process = await self._started()
        answered = False
        try:
            async with asyncio.timeout(self._seconds):
                answer, pixels = await _exchange(process, content)
            answered = True
        except TimeoutError:
            raise CorruptError(f"image: takes more than {self._seconds:g} s to decode.") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            raise CorruptError("image: damaged in a way that its decoder does not survive.") from None
        finally:
            if not answered:  # also where the caller went away: the next answer would be another's
                await self.stop()
        if "error" in answer:
            raise CorruptError(answer["error"])
        shape = answer["shape"]
        return Decoded(np.frombuffer(pixels, np.uint8).reshape(shape), tuple(answer["notes"]))

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            pipe = asyncio.subprocess.PIPE
            command = (sys.executable, "-m", "foolscope.web.decode_worker", str(self._side))
            self._process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
            await _read(self._process)  # it is ready
        return self._process


async def _exchange(process: asyncio.subprocess.Process, content: bytes) -> tuple[dict[str, Any], bytes]:
    assert process.stdin
    process.stdin.write(_LENGTH.pack(len(content)))
    process.stdin.write(content)
    await process.stdin.drain()
    return json.loads(await _read(process)), await _read(process)


async def _read(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout
    (length,) = _LENGTH.unpack(await process.stdout.readexactly(_LENGTH.size))
    return await process.stdout.readexactly(length)
