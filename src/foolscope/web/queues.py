"""Bounded queues that are fair between clients, and the two ways to work through them.

Whoever waits is served in turns, one request of each client after the other; where the queue is full, the client with
the most requests in it loses its newest to one that has fewer.  So one client can neither hold up nor shut out another.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from foolscope.models.engine import chunk_size
from foolscope.web.problems import BusyError, GoneError

T = TypeVar("T")

_LARGEST_BATCH = 32
_LONGEST_WAIT = 30.0
"""Seconds that what is asked for may be expected to wait behind what waits already."""


class FairQueue(Generic[T]):
    """At most `capacity` items of any number of clients."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._turns: dict[str, deque[T]] = {}  # the first client is the next to be served

    def __len__(self) -> int:
        return sum(map(len, self._turns.values()))

    def push(self, client: str, item: T) -> T | None:
        """Add an item, and return one that lost its place to it: another client's, or where it has none, itself."""
        if len(self) >= self._capacity:
            largest = max(self._turns, key=lambda name: len(self._turns[name]))
            if len(self._turns[largest]) <= len(self._turns.get(client, ())) + 1:
                return item
            lost = self._turns[largest].pop()
        else:
            lost = None
        self._turns.setdefault(client, deque()).append(item)
        return lost

    def ahead(self, client: str) -> int:
        """How many items have their turn before one that this client would add, at most."""
        own = len(self._turns.get(client, ()))
        return own + sum(min(len(items), own + 1) for name, items in self._turns.items() if name != client)

    def pop(self) -> T:
        """The next item; its client goes to the end of the line."""
        client = next(iter(self._turns))
        items = self._turns.pop(client)
        item = items.popleft()
        if items:
            self._turns[client] = items
        return item

    def pop_while(self, fits: Callable[[T], bool], most: int) -> list[T]:
        """The next items up to `most`, as long as `fits` says yes to them."""
        taken: list[T] = []
        while self._turns and len(taken) < most and fits(next(iter(self._turns.values()))[0]):
            taken.append(self.pop())
        return taken


@dataclass(eq=False)
class _Asked:
    """An image (C, H, W) whose logits are wanted."""

    image: Tensor
    answer: asyncio.Future[Tensor]

    def goes_with(self, other: _Asked) -> bool:
        """Whether both fit into one batch."""
        return self.image.shape == other.image.shape


class Batcher:
    """Runs a network on single images of many callers, together those that wait at the same time.

    `run` takes (N, C, H, W) to (N, K), in one of `executor`'s threads.
    """

    def __init__(self, run: Callable[[Tensor], Tensor], executor: Executor, capacity: int) -> None:
        self._run, self._executor = run, executor
        self._queue: FairQueue[_Asked] = FairQueue(capacity)
        self._rate = _Rate()
        self._worker: asyncio.Task[None] | None = None

    async def logits(self, image: Tensor, client: str) -> Tensor:
        """The logits (K,) of one image (C, H, W).  Raises `BusyError`, and what `run` raises."""
        _check_wait(self._queue, client, self._rate.seconds)
        asked = _Asked(image, asyncio.get_running_loop().create_future())
        if (lost := self._queue.push(client, asked)) is not None and not lost.answer.done():
            lost.answer.set_exception(_busy(len(self._queue), self._rate))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await asked.answer

    async def _work(self) -> None:
        while len(self._queue):
            first = self._queue.pop()
            most = min(_LARGEST_BATCH, chunk_size(first.image[None]))
            more = self._queue.pop_while(first.goes_with, most - 1)
            batch = [asked for asked in (first, *more) if not asked.answer.done()]  # some callers have left
            if batch:
                await self._answer(batch)

    async def _answer(self, batch: Sequence[_Asked]) -> None:
        images, begun = torch.stack([asked.image for asked in batch]), time.perf_counter()
        try:
            logits = await asyncio.get_running_loop().run_in_executor(self._executor, self._run, images)
        except Exception as error:
            for asked in batch:
                if not asked.answer.done():
                    asked.answer.set_exception(error)
            return
        self._rate.add(len(batch), time.perf_counter() - begun)
        for asked, row in zip(batch, logits, strict=True):
            if not asked.answer.done():
                asked.answer.set_result(row)


@dataclass(eq=False)
class _Job:
    """Work that waits for its turn; `stop` tells it that its caller has left."""

    begin: asyncio.Future[None]
    stop: threading.Event = field(default_factory=threading.Event)


class Lane:
    """So many threads that do one piece of work after the other, each with so many threads of torch's."""

    def __init__(self, name: str, capacity: int, threads: int = 1, torch_threads: int | None = None) -> None:
        self._queue: FairQueue[_Job] = FairQueue(capacity)
        self._executor = workers(name, threads, torch_threads)
        self._rate = _Rate()
        self._free = self._threads = threads

    async def run(self, work: Callable[[threading.Event], T], client: str, gone: asyncio.Future[None]) -> T:
        """What `work` returns, when it is its turn.

        Its event is set where `gone` is done first: then the caller has left, and the work should stop.
        Raises `BusyError` where too much is waiting, `GoneError` where the caller left, and what `work` raises.
        """
        _check_wait(self._queue, client, self._rate.seconds / self._threads)
        loop = asyncio.get_running_loop()
        job = _Job(loop.create_future())
        gone.add_done_callback(lambda _: job.stop.set())
        if (lost := self._queue.push(client, job)) is not None and not lost.begin.done():
            lost.begin.set_exception(_busy(len(self._queue), self._rate))
        self._next()
        try:
            await asyncio.wait({job.begin, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not job.begin.done():
                raise GoneError("the caller left.")
            job.begin.result()
            begun = time.perf_counter()
            try:
                return await loop.run_in_executor(self._executor, work, job.stop)
            finally:
                self._rate.add(1, time.perf_counter() - begun)
        finally:
            job.stop.set()
            had_its_turn = job.begin.done() and not job.begin.cancelled() and job.begin.exception() is None
            if had_its_turn:
                self._free += 1
                self._next()
            else:
                job.begin.cancel()

    def close(self) -> None:
        """Let the threads end after what they do now."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _next(self) -> None:
        """Let the next pieces of work begin, as far as there are threads for them."""
        while self._free and len(self._queue):
            job = self._queue.pop()
            if not job.begin.done():
                self._free -= 1
                job.begin.set_result(None)


def workers(name: str, threads: int, torch_threads: int | None = None) -> ThreadPoolExecutor:
    """Threads that run torch with so many of its own threads each, by default as many as it takes everywhere else.

    Said for each thread: otherwise torch would begin it with what was said last for any.
    """
    count = torch_threads or torch.get_num_threads()
    return ThreadPoolExecutor(threads, name, initializer=torch.set_num_threads, initargs=(count,))


class _Rate:
    """Seconds that one item takes, as a running mean."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def add(self, items: int, seconds: float) -> None:
        """Items that were worked through."""
        self.seconds += (0.2 if self.seconds else 1.0) * (seconds / items - self.seconds)


def _check_wait(queue: FairQueue[Any], client: str, seconds: float) -> None:
    """Raise `BusyError` where one more of this client's items, of so many seconds each, would wait too long."""
    wait = queue.ahead(client) * seconds
    if wait > _LONGEST_WAIT:
        line = f"too much at once: {len(queue)} requests are waiting, this one for about {wait:.0f} s."
        raise BusyError(line, math.ceil(wait - _LONGEST_WAIT))


def _busy(waiting: int, rate: _Rate) -> BusyError:
    return BusyError(f"too much at once: {waiting} requests are waiting.", math.ceil(waiting * rate.seconds))
