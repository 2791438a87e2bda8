"""Errors as `application/problem+json` (RFC 9457): the library's own line, a status, and a stable kind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError

from foolscope.errors import (
    BudgetError,
    CorruptError,
    FoolscopeError,
    InputError,
    MissingError,
    ParameterError,
    SpecError,
    StorageError,
)

MEDIA_TYPE = "application/problem+json"


class NotFoundError(FoolscopeError):
    """Something that this server does not have."""


class ConflictError(FoolscopeError):
    """Something that cannot be done in the state that things are in."""


class BusyError(FoolscopeError):
    """Too much is waiting already; `seconds` is when to try again."""

    def __init__(self, message: str, seconds: int = 1) -> None:
        super().__init__(message)
        self.seconds = max(1, seconds)


class TooLargeError(FoolscopeError):
    """More bytes than are allowed."""


class ForeignError(FoolscopeError):
    """A request that another host, another site's page or nobody known has sent."""


class TokenError(FoolscopeError):
    """A request without the token that this server wants."""


class MalformedError(FoolscopeError):
    """A body that cannot be read at all."""


class TookTooLongError(FoolscopeError):
    """Work that took longer than the server allows."""


class GoneError(FoolscopeError):
    """The caller went away before there was an answer."""


@dataclass(frozen=True)
class Kind:
    """What a kind of error becomes: HTTP status, stable name, and a title."""

    status: int
    name: str
    title: str


_KINDS: dict[type[FoolscopeError], Kind] = {
    MalformedError: Kind(400, "malformed", "Malformed request"),
    TokenError: Kind(401, "token", "Token needed"),
    ForeignError: Kind(403, "foreign", "Foreign request"),
    NotFoundError: Kind(404, "not-found", "Not found"),
    MissingError: Kind(409, "missing", "Missing"),
    ConflictError: Kind(409, "conflict", "Conflict"),
    TooLargeError: Kind(413, "too-large", "Too large"),
    SpecError: Kind(422, "spec", "Spec not understood"),
    ParameterError: Kind(422, "parameter", "Parameter out of range"),
    InputError: Kind(422, "input", "Input unfit"),
    CorruptError: Kind(422, "corrupt", "Not readable"),
    BudgetError: Kind(422, "budget", "Budget exceeded"),
    BusyError: Kind(429, "busy", "Too much at once"),
    GoneError: Kind(499, "cancelled", "Cancelled"),
    TookTooLongError: Kind(503, "timeout", "Took too long"),
    StorageError: Kind(507, "storage", "Cannot be written"),
    FoolscopeError: Kind(422, "invalid", "Not possible"),
}
_BY_STATUS = {
    400: Kind(400, "malformed", "Malformed request"),
    404: Kind(404, "not-found", "Not found"),
    405: Kind(405, "method", "Method not allowed"),
}
_INVALID = Kind(422, "invalid", "Invalid request")
_FAILED = Kind(500, "failed", "The server failed")


def problem(error: FoolscopeError, request_id: str) -> Response:
    """The answer for one of the library's errors."""
    kind = next(_KINDS[cls] for cls in type(error).__mro__ if cls in _KINDS)
    headers = {"Retry-After": str(error.seconds)} if isinstance(error, BusyError) else {}
    if isinstance(error, TokenError):
        headers["WWW-Authenticate"] = "Bearer"
    return _response(kind, str(error), request_id, headers)


def failure(request_id: str) -> Response:
    """The answer where the server itself is at fault; what happened is in its log."""
    return _response(_FAILED, f"foolscope failed; its log says why, under {request_id}.", request_id, {})


def install(app: FastAPI) -> None:
    """Let `app` answer every error with a problem."""

    async def library(request: Request, error: Exception) -> Response:
        assert isinstance(error, FoolscopeError)
        return problem(error, request_id_of(request))

    async def validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        kind = _BY_STATUS[400] if first["type"] == "json_invalid" else _INVALID
        return _response(kind, _line(first), request_id_of(request), {})

    async def http(request: Request, error: Exception) -> Response:
        kind = _BY_STATUS[getattr(error, "status_code", 404)]
        path = request.url.path[:200]
        lines = {
            400: "the body cannot be read.",
            404: f"there is nothing at {path!r}; GET /api/v1/openapi.json lists what there is.",
            405: f"{path!r} does not know {request.method}.",
        }
        return _response(kind, lines[kind.status], request_id_of(request), getattr(error, "headers", None) or {})

    app.add_exception_handler(FoolscopeError, library)
    app.add_exception_handler(RequestValidationError, validation)
    for status in _BY_STATUS:
        app.add_exception_handler(status, http)


def request_id_of(request: Request) -> str:
    """The id that the guard gave a request."""
    return str(request.scope.get("foolscope.id", ""))


def _line(error: Any) -> str:
    """One of pydantic's errors as a line that names the field."""
    place: Sequence[Any] = error["loc"]
    if error["type"] == "json_invalid":
        return f"the body is no JSON: {error.get('ctx', {}).get('error', 'not readable')}."
    field = ".".join(str(part) for part in place[1:]) or "the body"
    return f"{field}: {error['msg'][:1].lower()}{error['msg'][1:300]}."


def _response(kind: Kind, detail: str, request_id: str, headers: dict[str, str]) -> Response:
    content = {
        "type": "about:blank",
        "title": kind.title,
        "status": kind.status,
        "kind": kind.name,
        "detail": " ".join(detail.split()),
        "id": request_id,
    }
    return Response(json.dumps(content), kind.status, headers, MEDIA_TYPE)
