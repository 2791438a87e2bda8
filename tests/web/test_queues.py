"""Queues: bounded, fair, never without an answer; batches whose answers reach those who asked."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from foolscope.errors import CorruptError
from foolscope.web.decoding import Decoded, Decoder
from foolscope.web.problems import BusyError, GoneError
from foolscope.web.queues import Batcher, FairQueue, Lane
from foolscope.web.settings import Settings
from tests.web.serving import refused, serving


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def within() -> None:
        async with asyncio.timeout(30):
            await scenario()

    asyncio.run(within())


def test_turns_go_round() -> None:
    queue: FairQueue[str] = FairQueue(9)
    for item in ("a1", "a2", "a3", "b1", "c1", "c2"):
        assert queue.push(item[0], item) is None
    assert [queue.pop() for _ in range(6)] == ["a1", "b1", "c1", "a2", "c2", "a3"]
    assert len(queue) == 0


def test_who_is_ahead_of_another() -> None:
    queue: FairQueue[str] = FairQueue(9)
    assert queue.ahead("a") == 0
    for item in ("a1", "a2", "a3", "b1"):
        queue.push(item[0], item)
    assert [queue.ahead(client) for client in "abc"] == [4, 3, 2], "a's own three and b's; b's and two of a's; one each"


def test_a_full_queue_takes_from_who_has_most() -> None:
    queue: FairQueue[str] = FairQueue(3)
    for item in ("a1", "a2", "a3"):
        queue.push("a", item)
    assert queue.push("a", "a4") == "a4", "its own newest"
    assert queue.push("b", "b1") == "a3", "another's place is made"
    assert queue.push("b", "b2") == "b2", "no more than the largest"
    assert [queue.pop() for _ in range(3)] == ["a1", "b1", "a2"]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=60), st.integers(1, 6))
def test_the_queue_is_bounded_and_loses_nothing_silently(steps: list[tuple[str, bool]], capacity: int) -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue(capacity)
    waiting: set[tuple[str, int]] = set()
    for place, (client, pops) in enumerate(steps):
        if pops and len(queue):
            waiting.remove(queue.pop())
            continue
        lost = queue.push(client, (client, place))
        waiting.add((client, place))
        if lost is not None:
            waiting.remove(lost)
        assert len(queue) == len(waiting) <= capacity
    shares = [sum(owner == client for owner, _ in waiting) for client in "abcd"]
    taken = [queue.pop()[0] for _ in range(len(queue))]
    for turn in range(max(shares, default=0)):
        owners = [client for client, share in zip("abcd", shares, strict=True) if share > turn]
        begun = sum(min(share, turn) for share in shares)
        assert sorted(taken[begun : begun + len(owners)]) == owners, "one each before anybody's next"


def test_what_waits_together_is_run_together_and_answered_apart() -> None:
    sizes: list[int] = []

    def network(images: Tensor) -> Tensor:
        sizes.append(len(images))
        time.sleep(0.01)
        return images.flatten(1)[:, :1] * torch.arange(3.0)

    async def scenario() -> None:
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(network, executor, 100)
            images = [torch.full((1, 2, 2), float(place)) for place in range(40)]
            images[7] = torch.full((1, 3, 3), 7.0)
            found = await asyncio.gather(*(batcher.logits(image, str(n)) for n, image in enumerate(images)))
        for place, logits in enumerate(found):
            assert logits.tolist() == [0, place, 2 * place]

    run(scenario)
    assert sum(sizes) == 40
    assert len(sizes) < 10, "in batches"
    assert 1 in sizes, "another shape cannot go along"


def test_a_batch_that_fails_fails_for_those_in_it_alone() -> None:
    def network(images: Tensor) -> Tensor:
        if images.shape[-1] == 3:
            raise ValueError("no such size")
        return images.flatten(1)

    async def scenario() -> None:
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(network, executor, 10)
            asked = [batcher.logits(torch.zeros(1, side, side), "a") for side in (2, 3, 2)]
            found = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(found[1], ValueError)
        assert isinstance(found[0], Tensor)
        assert isinstance(found[2], Tensor)

    run(scenario)


def test_too_many_are_told_when_to_come_again() -> None:
    release = threading.Event()

    def network(images: Tensor) -> Tensor:
        release.wait(20)
        return images.flatten(1)

    async def scenario() -> None:
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(network, executor, 2)
            first = asyncio.create_task(batcher.logits(torch.zeros(1, 1, 1), "a"))
            await asyncio.sleep(0.05)
            asked = [asyncio.create_task(batcher.logits(torch.zeros(1, 1, 1), "a")) for _ in range(3)]
            other = asyncio.create_task(batcher.logits(torch.ones(1, 1, 1), "b"))
            await asyncio.sleep(0.05)
            release.set()
            found = await asyncio.gather(first, *asked, other, return_exceptions=True)
        assert [isinstance(answer, BusyError) for answer in found] == [False, False, True, True, False]
        assert isinstance(found[3], BusyError)
        assert str(found[3]) == "too much at once: 2 requests are waiting."
        assert found[3].seconds >= 1

    run(scenario)


def lane(work: Callable[[Lane], Awaitable[None]], capacity: int = 4) -> None:
    async def scenario() -> None:
        made = Lane("test", capacity)
        try:
            await work(made)
        finally:
            made.close()

    run(scenario)


def never() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


def test_a_lane_does_one_thing_after_the_other() -> None:
    running, most = 0, 0

    def work(stop: threading.Event) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.005)
        running -= 1
        return running

    async def scenario(made: Lane) -> None:
        await asyncio.gather(*(made.run(work, str(n), never()) for n in range(8)))

    lane(scenario, capacity=8)
    assert most == 1


def test_who_leaves_stops_its_work_and_frees_its_place() -> None:
    stopped = threading.Event()

    def work(stop: threading.Event) -> None:
        assert stop.wait(20)
        stopped.set()
        raise GoneError("the caller left.")

    async def scenario(made: Lane) -> None:
        leaving = [never() for _ in range(2)]
        asked = [asyncio.create_task(made.run(work, "a", gone)) for gone in leaving]
        await asyncio.sleep(0.05)
        leaving[1].set_result(None)
        with pytest.raises(GoneError):
            await asked[1]
        assert not stopped.is_set(), "it never had its turn"
        leaving[0].set_result(None)
        with pytest.raises(GoneError):
            await asked[0]
        assert stopped.is_set()
        assert await made.run(lambda stop: 5, "a", never()) == 5

    lane(scenario)


def test_a_caller_that_is_cancelled_frees_its_place() -> None:
    async def scenario(made: Lane) -> None:
        asked = asyncio.create_task(made.run(lambda stop: stop.wait(20), "a", never()))
        waits = asyncio.create_task(made.run(lambda stop: stop.wait(20), "a", never()))
        await asyncio.sleep(0.05)
        for task in (waits, asked):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await made.run(lambda stop: 5, "a", never()) == 5

    lane(scenario)


def test_who_would_wait_too_long_is_told_at_once() -> None:
    """And only they: another client has its turn before the many of the first."""
    release = threading.Event()

    async def scenario(made: Lane) -> None:
        made._rate.add(1, 10.0)
        asked = [
            asyncio.create_task(made.run(lambda stop: release.wait(20), client, never())) for client in 8 * "a" + "b"
        ]
        await asyncio.sleep(0)
        release.set()
        found = await asyncio.gather(*asked, return_exceptions=True)
        busy = [isinstance(answer, BusyError) for answer in found]
        assert busy == [False] * 5 + [True] * 3 + [False], "one runs, and four wait up to 30 s"
        assert isinstance(found[5], BusyError)
        assert str(found[5]) == "too much at once: 4 requests are waiting, this one for about 40 s."
        assert found[5].seconds == 10

    lane(scenario, capacity=100)


def test_predictions_do_not_wait_too_long_either() -> None:
    async def scenario() -> None:
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(lambda images: images.flatten(1), executor, 100)
            batcher._rate.add(1, 20.0)
            asked = [asyncio.create_task(batcher.logits(torch.zeros(1, 1, 1), client)) for client in "aaab"]
            found = await asyncio.gather(*asked, return_exceptions=True)
        assert [isinstance(answer, BusyError) for answer in found] == [False, False, True, False]

    run(scenario)


def test_files_are_decoded_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[bytes] = []

    async def scenario() -> None:
        decoder = Decoder(8, 1.0)

        async def decode(content: bytes) -> Decoded:
            order.append(content)
            await asyncio.sleep(0.01)
            if content == b"a2":
                raise CorruptError("image: damaged.")
            return Decoded(np.zeros((1, 1, 3), np.uint8), ())

        monkeypatch.setattr(decoder, "_decode", decode)
        monkeypatch.setattr(decoder, "_queue", FairQueue(4))
        names = [b"a1", b"a2", b"a3", b"a4", b"a5", b"b1", b"c1"]
        asked = [asyncio.create_task(decoder.decode(name, name[:1].decode())) for name in names]
        await asyncio.sleep(0)
        asked[2].cancel()
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(answer) for answer in found] == [
            Decoded, CorruptError, asyncio.CancelledError, BusyError, BusyError, Decoded, Decoded,
        ]  # fmt: skip
        assert order == [b"a1", b"a2", b"b1", b"c1"]
        assert isinstance(await decoder.decode(b"d1", "d"), Decoded), "the turn was given back"

    run(scenario)


def test_a_full_lane_says_so() -> None:
    async def scenario(made: Lane) -> None:
        asked = [asyncio.create_task(made.run(lambda stop: stop.wait(0.2), "a", never())) for _ in range(3)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert [isinstance(answer, BusyError) for answer in found] == [False, False, True]

    lane(scenario, capacity=1)


@pytest.fixture
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Any]]:
    """What 40 requests at once get of a server where one may wait."""
    with serving(tmp_path_factory.mktemp("busy"), Settings(port=0, queue=1)) as small:
        asked = {"model": "resnet20", "image": "photos-0"}
        assert small.post("/predict", **asked).status_code == 200
        with ThreadPoolExecutor(20) as pool:
            yield list(pool.map(lambda _: small.post("/predict", **asked), range(40)))


def test_too_much_load_is_answered_with_429(answers: list[Any]) -> None:
    busy = [answer for answer in answers if answer.status_code != 200]
    assert len(busy) < 40
    for answer in busy:
        assert refused(answer, 429, "busy").startswith("too much at once: ")
        assert int(answer.headers["retry-after"]) >= 1
