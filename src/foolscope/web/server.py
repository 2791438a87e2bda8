"""Running the application: sockets, processes, and a stop that lets answers end."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess

from foolscope.errors import ParameterError
from foolscope.web import logs
from foolscope.web.app import SETTINGS, create_app
from foolscope.web.settings import Settings

_STOP_SECONDS = 10
_BACKLOG = 1024


def serve(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve until a signal ends it; `announce` is called with the URL once the socket is bound.

    Raises `ParameterError` where the address cannot be bound, `SpecError` where a model cannot be understood.
    """
    logs.to_stderr()
    listening = bind(settings)
    with listening:
        if settings.workers == 1:
            server = uvicorn.Server(config(settings, create_app(settings)))
            announce(url(settings, listening))
            server.run([listening])
            return
        os.environ[SETTINGS] = settings.to_json()
        shared = config(settings, "foolscope.web.app:worker", factory=True, workers=settings.workers)
        announce(url(settings, listening))
        Multiprocess(shared, sockets=[listening]).run()


def config(settings: Settings, app: Any, **more: Any) -> uvicorn.Config:
    """The configuration of uvicorn."""
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=settings.proxy_headers,
        timeout_graceful_shutdown=_STOP_SECONDS,
        ws="none",
        **more,
    )


def bind(settings: Settings) -> socket.socket:
    """The listening socket.  Raises `ParameterError` where there can be none."""
    try:
        found = socket.getaddrinfo(settings.host.strip("[]"), settings.port, type=socket.SOCK_STREAM)
        family, kind, _, _, address = found[0]
        # With the protocol, by which asyncio knows that it may turn Nagle's delay off: 40 ms a request.
        listening = socket.socket(family, kind, socket.IPPROTO_TCP)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(_BACKLOG)
            listening.set_inheritable(True)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        if error.errno == errno.EADDRINUSE:
            raise ParameterError(f"{where} is in use: --port takes another one, --port 0 any that is free.") from None
        raise ParameterError(f"cannot listen on {where}: {error.strerror or error}.") from None
    return listening


def url(settings: Settings, listening: socket.socket) -> str:
    """Where a browser finds the server."""
    host = settings.host.strip("[]")
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    return f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}/"
