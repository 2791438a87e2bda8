"""`foolscope serve`: the web application."""

from __future__ import annotations

from typing import Annotated

import typer

from foolscope.cli.options import Offline


def serve(
    host: Annotated[str, typer.Option("--host", help="Address to bind; beyond this machine --token is needed.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option("--port", help="Port to bind; 0 takes a free one.")] = 8642,
    workers: Annotated[int, typer.Option("--workers", help="Server processes.")] = 1,
    allow_models: Annotated[
        list[str] | None,
        typer.Option("--allow-models", help="A further model to offer, such as py:mynet:build. May be repeated."),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option("--token", envvar="FOOLSCOPE_TOKEN", help="Secret that every request must bring."),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", help="A host name that the server is reached by. May be repeated."),
    ] = None,
    proxy_headers: Annotated[
        bool, typer.Option("--proxy-headers", help="Believe a reverse proxy on this machine who is asking.")
    ] = False,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    offline: Offline = False,
) -> None:
    """Serve the web application: fool a network in a minute, and see why."""
    from foolscope.web.server import serve as run
    from foolscope.web.settings import Settings

    settings = Settings(
        host=host,
        port=port,
        workers=workers,
        token=token,
        names=tuple(name or ()),
        models=tuple(allow_models or ()),
        offline=offline,
        proxy_headers=proxy_headers,
    )

    def announce(url: str) -> None:
        print(f"foolscope is at {url}", flush=True)
        if open_browser:
            import webbrowser

            webbrowser.open(url)

    run(settings, announce)
