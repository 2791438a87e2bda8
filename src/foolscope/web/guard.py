"""What stands before every request: who asks, from where, and how much; and what every answer carries.

- `Host` must be this machine or a name that the server was told: a page of another site that has rebound its name to
  127.0.0.1 sends its own name.
- Requests that a browser sends for another site's page are refused by `Sec-Fetch-Site` and, where something would
  change, by `Origin`.  Programs send neither.
- With a token, everything but the page's own files wants it: as a bearer, or as the cookie that signing in sets, which
  holds a keyed digest of it.
- The body is read here, as far as it is allowed to be long (see `bodies`).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

from foolscope.errors import FoolscopeError
from foolscope.web.bodies import Bodies, Message, Receive
from foolscope.web.logs import LOGGER
from foolscope.web.problems import ForeignError, TokenError, failure, problem
from foolscope.web.settings import Settings, is_loopback

Scope = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "foolscope-session"
_HOST = re.compile(r"[A-Za-z0-9.:_\[\]-]*")
_SAFE = ("GET", "HEAD", "OPTIONS")
_OPEN_PATHS = ("/", "/healthz", "/api/v1/session")
"""Need no token; nor does what lies under /static/."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
)


class Guard:
    """ASGI middleware; see the module's docstring."""

    def __init__(self, app: App, settings: Settings) -> None:
        self.app, self.settings = app, settings
        self._bodies = Bodies(settings.upload_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = _Answer(scope, send)
        # Files are always given whole: what is said of a range that is none is no problem in JSON.
        scope["headers"] = [(key, value) for key, value in scope["headers"] if key != b"range"]
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        try:
            _check_host(headers.get("host", ""), self.settings)
            _check_origin(scope, headers)
            if self.settings.token is not None:
                _check_token(scope["path"], headers, self.settings.token)
            client = scope["client"][0] if scope.get("client") else ""
            length = headers.get("content-length", "0")
            async with self._bodies.read(scope["path"], client, length, receive) as body:
                await self.app(scope, _replayed(body, receive), answer.send)
        except FoolscopeError as error:
            await answer.give(problem(error, answer.id), receive)
        except Exception:
            LOGGER.exception("failed", extra={"fields": {"id": answer.id, "path": scope["path"]}})
            await answer.give(failure(answer.id), receive)
        finally:
            answer.log()


class _Answer:
    """One answer on its way: adds the headers, and knows what to write into the log."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.id = scope["foolscope.id"] = uuid.uuid4().hex[:12]
        self.scope, self._send = scope, send
        self.status = self.bytes = 0
        self.begun = time.perf_counter()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = list(message["headers"])
            names = {name.lower() for name, _ in own}
            is_page = self.scope["path"] == "/" or self.scope["path"].startswith("/static/")
            kept = b"no-cache" if is_page else b"no-store"
            policy = ((b"content-security-policy", _POLICY.encode()), (b"cache-control", kept))
            added = [*_HEADERS, (b"x-request-id", self.id.encode()), *(h for h in policy if h[0] not in names)]
            message = {**message, "headers": own + added}
        self.bytes += len(message.get("body", b""))
        await self._send(message)

    async def give(self, response: Any, receive: Receive) -> None:
        """Send a whole answer, unless one has begun already."""
        if not self.status:
            response.headers["Connection"] = "close"
            await response(self.scope, receive, self.send)

    def log(self) -> None:
        client = self.scope.get("client")
        fields = {
            "id": self.id,
            "method": self.scope["method"],
            "path": self.scope["path"][:200],
            "status": self.status or 499,
            "bytes": self.bytes,
            "ms": round(1000 * (time.perf_counter() - self.begun), 1),
            "client": client[0] if client else None,
        }
        LOGGER.log(logging.INFO, "request", extra={"fields": fields})


def _check_host(host: str, settings: Settings) -> None:
    """Raise `ForeignError` where `Host` is neither this machine's address nor a name that the server was told."""
    try:
        name = urlsplit(f"//{host}").hostname or "" if _HOST.fullmatch(host) else ""
    except ValueError:
        name = ""
    if name == "localhost" or name in {known.lower() for known in settings.names}:
        return
    try:
        # A name that was rebound is never an address; beyond this machine any of its addresses will do.
        if not is_loopback(settings.host) or ipaddress.ip_address(name).is_loopback:
            ipaddress.ip_address(name)
            return
    except ValueError:
        pass
    raise ForeignError(f"this server does not answer for the host '{host[:200]}'; 'foolscope serve --name' adds one.")


def _check_origin(scope: Scope, headers: dict[str, str]) -> None:
    """Raise `ForeignError` for what another site's page makes a browser send."""
    site = headers.get("sec-fetch-site", "none")
    is_page = scope["method"] in _SAFE and headers.get("sec-fetch-mode") == "navigate" and scope["path"] == "/"
    if site not in ("same-origin", "none") and not is_page:
        raise ForeignError("this request comes from another site's page.")
    origin = headers.get("origin")
    if origin is not None and _place(origin) != headers.get("host"):
        raise ForeignError(f"this request comes from another origin, '{origin[:200]}'.")


def _place(origin: str) -> str | None:
    """Host and port of an origin; None where it has none, such as 'null', or cannot be read."""
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None


def _check_token(path: str, headers: dict[str, str], token: str) -> None:
    """Raise `TokenError` without the token; compares in constant time."""
    if path in _OPEN_PATHS or path.startswith("/static/"):
        return
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and is_token(given.strip(), token):
        return
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        cookie = None
    if cookie is None or not hmac.compare_digest(cookie.value.encode(), session(token).encode()):
        raise TokenError("this server wants its token, as 'Authorization: Bearer TOKEN' or by signing in.")


def is_token(given: str, token: str) -> bool:
    """Whether `given` is the token, compared in constant time."""
    return hmac.compare_digest(given.encode(), token.encode())


def session(token: str) -> str:
    """The value of the cookie for a token, from which the token cannot be had."""
    return hmac.new(token.encode(), b"foolscope session", hashlib.sha256).hexdigest()


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body at once, and after that what the connection does."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay
