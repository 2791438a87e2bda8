"""What the endpoints share: the services, who calls, and the errors that all of them may answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from foolscope.web.lab import Caller
from foolscope.web.schemas import Problem
from foolscope.web.services import Services

_ERRORS = {404: "Unknown", 409: "Not as things are", 422: "Refused", 429: "Too much at once"}


def new_router(tag: str) -> APIRouter:
    """A router whose endpoints tell of the usual errors."""
    content = {"application/problem+json": {"schema": Problem.model_json_schema()}}
    responses: dict[int | str, dict[str, Any]] = {
        status: {"description": what, "content": content} for status, what in _ERRORS.items()
    }
    return APIRouter(tags=[tag], responses=responses)


def services_of(request: Request) -> Services:
    """The parts of the server."""
    services: Services = request.app.state.services
    return services


def client_of(request: Request) -> str:
    """Whom turns are taken by: the caller's address."""
    return request.client.host if request.client else ""


async def caller_of(request: Request) -> AsyncIterator[Caller]:
    """Who calls, and when they leave."""
    gone = asyncio.ensure_future(_gone(request))
    try:
        yield Caller(client_of(request), gone)
    finally:
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


ServicesHere = Annotated[Services, Depends(services_of)]
ClientHere = Annotated[str, Depends(client_of)]
CallerHere = Annotated[Caller, Depends(caller_of)]
