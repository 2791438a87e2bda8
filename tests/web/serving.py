"""A real server on a free port, in a thread of the test's process, with a home of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from foolscope.web.app import create_app
from foolscope.web.server import bind, config
from foolscope.web.services import START_MODEL, Services
from foolscope.web.settings import Settings

API = "/api/v1"


@dataclass(frozen=True)
class Served:
    """The server's application, its port, and a client of it."""

    app: FastAPI
    port: int
    client: httpx.Client
    home: Path

    @property
    def services(self) -> Services:
        services: Services = self.app.state.services
        return services

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.client.get(API + path, **more)

    def post(self, path: str, **body: Any) -> httpx.Response:
        return self.client.post(API + path, json=body)

    def upload(self, content: bytes, **headers: str) -> httpx.Response:
        return self.client.post(f"{API}/images", content=content, headers=headers)


@contextmanager
def serving(home: Path, settings: Settings | None = None) -> Iterator[Served]:
    """Run a server until the block ends."""
    settings = settings or Settings(port=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOOLSCOPE_HOME", str(home))
        app = create_app(settings)
    with bind(settings) as listening:
        server = uvicorn.Server(config(settings, app))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            while not app.state.services.networks.info(START_MODEL):  # is traced, which this thread must not disturb
                time.sleep(0.01)
            port = listening.getsockname()[1]
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                yield Served(app, port, client, home)
        finally:
            server.should_exit = True
            thread.join()


def refused(answer: httpx.Response, status: int, kind: str) -> str:
    """The one line of a problem with this status and kind."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    content = answer.json()
    assert set(content) == {"type", "title", "status", "kind", "detail", "id"}
    assert content["status"] == status
    assert content["kind"] == kind, content
    assert content["id"] == answer.headers["x-request-id"]
    detail = content["detail"]
    assert isinstance(detail, str)
    assert detail
    assert "\n" not in detail
    assert len(detail) < 600
    return detail
