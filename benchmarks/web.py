"""The web application under load: answers, latencies and memory of a server with many clients at once.

Starts `foolscope serve` in a home of its own and sends it requests over real sockets from this process.  Every client
has its own picture, and compares every answer with what the library says of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import torch
from timing import machine, markdown

from foolscope.filters import parse_chain
from foolscope.images import encode_png, from_uint8, quantize, to_uint8
from foolscope.models import load_model
from foolscope.randomness import generator

CHAIN = "agv-b"


class Client:
    """One keep-alive connection; asks one thing at a time."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and content of an answer."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
        writer.write((head + "Content-Type: application/json\r\n\r\n").encode() + body)
        status = int((await reader.readline()).split()[1])
        length = 0
        while (line := await reader.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return status, await reader.readexactly(length)


@dataclass
class Load:
    """What came of the requests."""

    statuses: Counter[int] = field(default_factory=Counter)
    wrong: int = 0
    seconds: dict[str, list[float]] = field(default_factory=lambda: {"predict": [], "preview": []})
    memory: list[tuple[int, float]] = field(default_factory=list)
    """(requests so far, MiB of the server)"""


@dataclass(frozen=True)
class Expected:
    """A client's picture, and what the library says of it."""

    id: str
    top: list[tuple[int, float]]
    filtered: torch.Tensor


async def expectations(client: Client, model: str, count: int, side: int) -> list[Expected]:
    """Upload random pictures, and compute what the server shall answer."""
    network, chain = load_model(model), parse_chain(CHAIN)
    noise = torch.nn.functional.interpolate(torch.rand(count, 3, 8, 8, generator=generator(0)), side, mode="bilinear")
    pictures = quantize(noise)
    found = []
    for picture in pictures:
        status, content = await client.ask("POST", "/api/v1/images", encode_png(picture))
        assert status == 201, content
        image = json.loads(content)["id"]
        status, content = await client.ask(
            "POST", "/api/v1/predict", json.dumps({"model": model, "image": image}).encode()
        )
        assert status == 200, content
        shown = json.loads(content)["shown"]
        status, png = await client.ask("GET", shown["url"])
        assert status == 200
        seen = _pixels(png)
        with torch.no_grad():
            shares, classes = network(seen).softmax(1)[0].topk(3)
        filtered = from_uint8(to_uint8(chain(seen)))
        found.append(Expected(image, list(zip(classes.tolist(), shares.tolist(), strict=True)), filtered))
    return found


def _pixels(png: bytes) -> torch.Tensor:
    from foolscope.images import decode_image

    return from_uint8(decode_image(png, 3)[None])


async def run(port: int, pid: int, model: str, clients: int, requests: int, side: int) -> Load:
    """So many clients, each asking in turn for a prediction and a preview, until all requests are done."""
    load, left = Load(), requests
    first = Client("127.0.0.1", port)
    expected = await expectations(first, model, clients, side)
    assert len({case.id for case in expected}) == clients

    async def one(case: Expected) -> None:
        nonlocal left
        client = Client("127.0.0.1", port)
        ask = json.dumps({"model": model, "image": case.id}).encode()
        preview = f"/api/v1/preview.png?image={case.id}&model={quote(model)}&chain={CHAIN}"
        kinds: dict[str, Callable[[], Awaitable[tuple[int, bytes]]]] = {
            "predict": lambda: client.ask("POST", "/api/v1/predict", ask),
            "preview": lambda: client.ask("GET", preview),
        }
        while left > 0:
            for kind, send in kinds.items():
                left -= 1
                begun = time.perf_counter()
                status, content = await send()
                load.seconds[kind].append(time.perf_counter() - begun)
                load.statuses[status] += 1
                load.wrong += not (status == 200 and fits(kind, content, case))
                if left % 500 == 0:
                    load.memory.append((requests - left, resident(pid)))

    await asyncio.gather(*(one(case) for case in expected))
    return load


def fits(kind: str, content: bytes, case: Expected) -> bool:
    """Whether an answer is that client's."""
    if kind == "preview":
        return torch.equal(_pixels(content), case.filtered)
    top = [(entry["index"], entry["probability"]) for entry in json.loads(content)["top"]]
    return all(a == c and abs(b - d) < 1e-4 for (a, b), (c, d) in zip(top, case.top, strict=True))


def resident(pid: int) -> float:
    """MiB of a process in memory; NaN where the system does not tell."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return float("nan")
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS")) / 1024


def percentile(values: list[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--model", default="cifar-cnn")
    parser.add_argument("--side", type=int, default=224, help="pixels of the uploaded pictures")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "foolscope", "serve", "--port", "0", "--offline"]
        environment = os.environ | {"FOOLSCOPE_HOME": home}
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True
        ) as server:
            assert server.stdout
            port = int(server.stdout.readline().rsplit(":", 1)[1].rstrip("/\n"))
            try:
                asked = (given.model, given.clients, given.requests, given.side)
                load = asyncio.run(run(port, server.pid, *asked))
            finally:
                server.terminate()
    print(machine())
    total = sum(load.statuses.values())
    print(f"{given.clients} clients, {total:,} requests, answers {dict(load.statuses)}, wrong {load.wrong}.\n")
    rows = [
        [
            kind,
            f"{len(seconds):,}",
            *(f"{1000 * x:.1f}" for x in (statistics.median(seconds), percentile(seconds, 0.95))),
        ]
        for kind, seconds in load.seconds.items()
    ]
    print(markdown(["", "requests", "median, ms", "95th percentile, ms"], rows))
    points = [load.memory[int(share * (len(load.memory) - 1))] for share in (0, 0.25, 0.5, 1)]
    print("\nMemory: " + ", ".join(f"{mib:.0f} MiB after {count:,}" for count, mib in points))


if __name__ == "__main__":
    main()
