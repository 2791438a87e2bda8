"""The ASGI application: the API under /api/v1, and the page's files."""

from __future__ import annotations

import asyncio
import mimetypes
import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import FileResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles

import foolscope
from foolscope.web import logs, problems
from foolscope.web.guard import Guard
from foolscope.web.routes import chains, experiments, explain, images, jobs, lab, lists, models, server
from foolscope.web.services import Services
from foolscope.web.settings import Settings

STATIC = Path(__file__).parent / "static"
SETTINGS = "FOOLSCOPE_SERVE"
"""The environment variable that hands the settings to the server's worker processes."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application.  Raises `SpecError` where one of the settings' models cannot be understood."""
    settings = settings or Settings()
    services = Services.of(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        preparing = asyncio.create_task(services.start())
        try:
            with _told_of_signals(services.stopping):
                yield
        finally:
            preparing.cancel()
            await services.stop()

    app = FastAPI(
        title="foolscope",
        version=foolscope.__version__,
        summary="How image classifiers are fooled, how badly, and why",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # these pages load from other hosts
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.services = services
    app.add_middleware(Guard, settings=settings)
    problems.install(app)
    for part in (server, models, images, lab, explain, lists, chains, jobs, experiments):
        app.include_router(part.router, prefix="/api/v1")
    for kind, suffix in (("text/javascript", ".js"), ("text/css", ".css"), ("image/svg+xml", ".svg")):
        mimetypes.add_type(kind, suffix)  # whatever this machine says: browsers run nothing of another type
    app.mount("/static", StaticFiles(directory=STATIC))

    @app.api_route("/healthz", methods=["GET", "HEAD"], include_in_schema=False)
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def page(request: Request, token: Annotated[str, Query()] = "") -> Response:
        if token:
            return server.signed_in(RedirectResponse("/", 303), token, request, settings.token)
        return FileResponse(STATIC / "index.html")

    return app


@contextmanager
def _told_of_signals(stopping: asyncio.Event) -> Iterator[None]:
    """Let the signals that end a server also end streams, which it would wait for in vain.

    In the main thread alone: elsewhere there are no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, frame: FrameType | None) -> None:
        stopping.set()
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def worker() -> FastAPI:
    """The application of one of several worker processes, which find the settings in their environment."""
    logs.to_stderr()
    return create_app(Settings.from_json(os.environ[SETTINGS]))
