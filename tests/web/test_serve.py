"""The program: one line with the URL, a log of JSON lines, a stop that lets answers end, and addresses it refuses."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from foolscope.web.server import bind, url
from foolscope.web.settings import Settings
from tests.cli.running import Program

TOKEN = "correct-horse-battery-staple"


@contextmanager
def program_serving(home: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The program's process, and its URL."""
    command = [sys.executable, "-m", "foolscope", "serve", "--port", "0", "--offline", *options]
    environment = os.environ | {"FOOLSCOPE_HOME": str(home)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            found = re.fullmatch(r"foolscope is at (http://127\.0\.0\.1:\d+/)\n", line)
            assert found, line + (process.stderr.read() if process.stderr and process.poll() is not None else "")
            yield process, found[1]
        finally:
            process.kill()


def test_a_signal_ends_it_once_answers_are_given(tmp_path: Path) -> None:
    with program_serving(tmp_path) as (process, base), httpx.Client(base_url=base, timeout=60) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        answers: list[httpx.Response] = []
        asked = {"model": "resnet20", "image": "photos-0", "attack": "pgd:eps=1/2550,steps=60"}
        asking = threading.Thread(target=lambda: answers.append(client.post("/api/v1/attack", json=asked)))
        client.post("/api/v1/predict", json={"model": "resnet20", "image": "photos-0"})
        asking.start()
        threading.Event().wait(0.05)
        process.send_signal(signal.SIGTERM)
        asking.join()
        _, log = process.communicate(timeout=30)
        assert [answer.status_code for answer in answers] == [200]
    assert process.returncode in (0, -signal.SIGTERM)
    lines = [json.loads(line) for line in log.splitlines()]
    assert {"time", "level", "message"} <= set(lines[0])
    requests = [line["path"] for line in lines if line["message"] == "request"]
    assert requests == ["/healthz", "/api/v1/predict", "/api/v1/attack"]
    assert not [line for line in lines if line["level"] == "error"], log


def test_several_processes_share_a_home(tmp_path: Path) -> None:
    with program_serving(tmp_path, "--workers", "2") as (process, base):
        with httpx.Client(base_url=base, timeout=60) as client:
            kept = client.post("/api/v1/chains", json={"title": "t", "spec": "juno"}).json()
            for _ in range(8):
                with httpx.Client(base_url=base, timeout=60) as other:
                    assert other.get(f"/api/v1/chains/{kept['id']}").json() == kept
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=60)
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--host", "0.0.0.0"], "0.0.0.0 can be reached from other machines: give --token."),
        (["--token", "short"], "--token needs at least 16 characters"),
        (["--allow-models", "nothing"], "nothing"),
        (["--host", "999.1.1.1", "--token", TOKEN], "cannot listen on 999.1.1.1:"),
    ],
)
def test_what_is_refused_at_the_start(program: Program, options: list[str], line: str) -> None:
    assert line in program.fails("serve", "--port", "0", *options)


def test_a_port_in_use(program: Program) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = program.fails("serve", "--port", port)
    assert line == f"127.0.0.1:{port} is in use: --port takes another one, --port 0 any that is free."


def test_the_socket_sends_small_answers_at_once() -> None:
    """Without its protocol asyncio would leave Nagle's algorithm on: 40 ms a request."""
    with bind(Settings(port=0)) as listening:
        assert listening.proto == socket.IPPROTO_TCP
        assert url(Settings(port=0), listening) == f"http://127.0.0.1:{listening.getsockname()[1]}/"
