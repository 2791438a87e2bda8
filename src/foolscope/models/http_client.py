"""Posting to one HTTP address: a kept connection, attempts that are repeated, a rate, and limits on what is answered.

Nothing but that address is ever asked: redirects are not followed, and proxies that the environment names are not used.
An attempt is repeated where none was answered, or with one of the states that pass (408, 425, 429, 500, 502, 503, 504):
after the time that Retry-After asks for, else after 0.5, 1, 2, 4, ... seconds.
"""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import os
import re
import socket
import ssl
import threading
from http import HTTPStatus
from time import monotonic, sleep, time
from typing import Any
from urllib.parse import SplitResult, urlsplit

from foolscope.errors import InputError, MissingError

_LARGEST_ANSWER = 64 * 2**20
_PIECE = 2**16
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 60.0
_PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))
_QUOTED = 200


class _Again(Exception):
    """An attempt that failed and may be repeated, after `wait` seconds where the endpoint says so."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class Client:
    """Posts to one URL, one request at a time over a connection that is kept.

    Raises `MissingError` where there is no answer after `retries` more attempts, or one that refuses, and `InputError`
    where the answer is too large.
    """

    _connection: http.client.HTTPConnection | None = None

    def __init__(self, url: str, *, timeout: float, retries: int, rate: float | None, token: str) -> None:
        self.url, self.timeout, self.retries, self.rate, self.token = url, timeout, retries, rate, token
        self.__setstate__({})

    def __getstate__(self) -> dict[str, Any]:
        """Without the connection, which cannot be copied or sent to another process."""
        return {key: value for key, value in vars(self).items() if not key.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = threading.Lock()
        self._connection = None
        self._free = 0.0

    def __del__(self) -> None:
        self._close()

    def post(self, kind: str, body: bytes) -> bytes:
        """The answer's body to `body` of content type `kind`."""
        headers = {"Content-Type": kind, "Accept": "application/json", "User-Agent": "foolscope"}
        if self.token:
            headers["Authorization"] = f"Bearer {_secret(self.token)}"
        with self._lock:
            for attempt in range(self.retries + 1):
                try:
                    return self._attempt(body, headers)
                except _Again as again:
                    wait = min(_FIRST_WAIT * 2**attempt, _LONGEST_WAIT) if again.wait is None else again.wait
                    if wait > _LONGEST_WAIT:
                        raise MissingError(f"{self.url} {again}, and wants {wait:,.0f} s to pass first.") from None
                    if attempt == self.retries:
                        tries = f" ({attempt + 1} attempts)" if attempt else ""
                        raise MissingError(f"{self.url} {again}{tries}.") from None
                    sleep(wait)
        raise AssertionError("the loop returns or raises")

    def quoted(self, content: bytes) -> str:
        """What the server says, as a line in quotation marks after a space; nothing where it says nothing."""
        line = self._line(content.decode("utf-8", "replace"))
        return f" '{line}'" if line else ""

    def _line(self, text: str) -> str:
        """The beginning of a text in one printable line, without the token, which a server may repeat."""
        if self.token:
            text = text.replace(_secret(self.token), "***")
        line = "".join(character for character in " ".join(text.split()) if character.isprintable())
        return f"{line[:_QUOTED]}..." if len(line) > _QUOTED else line

    def _attempt(self, body: bytes, headers: dict[str, str]) -> bytes:
        self._keep_rate()
        whole, deadline = False, monotonic() + self.timeout
        # A socket's timeout is that of one read: who drips a header byte by byte would never meet it.
        alarm = threading.Timer(self.timeout, self._hang_up)
        alarm.start()
        try:
            response = self._sent(body, headers, deadline)
            content = self._read(response, deadline)
            whole = True
        except TimeoutError:
            raise _Again(self._late) from None
        except ssl.SSLCertVerificationError as error:
            raise MissingError(f"{self.url} has no certificate to be trusted ({error.verify_message}).") from None
        except ConnectionRefusedError:
            raise _Again("refuses the connection: no server listens there") from None
        except http.client.IncompleteRead:
            raise _Again(self._late if monotonic() > deadline else "breaks off its answer") from None
        except (OSError, http.client.HTTPException) as error:
            if monotonic() > deadline:
                raise _Again(self._late) from None
            reason = self._line(getattr(error, "strerror", None) or str(error)) or type(error).__name__
            raise _Again(f"cannot be asked ({reason})") from None
        finally:
            alarm.cancel()
            if not whole:
                self._close()
        self._check_status(response, content)
        return content

    def _keep_rate(self) -> None:
        """Wait until the next request may begin."""
        if self.rate is not None:
            if (wait := self._free - monotonic()) > 0:
                sleep(wait)
            self._free = max(self._free, monotonic()) + 1 / self.rate

    def _sent(self, body: bytes, headers: dict[str, str], deadline: float) -> http.client.HTTPResponse:
        """The head of the answer.  A kept connection that the server has closed meanwhile is opened again."""
        parts = urlsplit(self.url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection = self._connection = self._connection or self._opened(parts)
        kept = connection.sock is not None
        try:
            connection.request("POST", path, body, headers)
            return connection.getresponse()
        except (ConnectionError, http.client.RemoteDisconnected):
            if not kept or monotonic() > deadline:
                raise
            connection.close()
            connection.request("POST", path, body, headers)
            return connection.getresponse()

    def _opened(self, parts: SplitResult) -> http.client.HTTPConnection:
        host = parts.hostname or ""
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, parts.port, timeout=self.timeout)
        return http.client.HTTPSConnection(host, parts.port, timeout=self.timeout, context=ssl.create_default_context())

    def _read(self, response: http.client.HTTPResponse, deadline: float) -> bytes:
        """The whole body, within the deadline however slowly it drips."""
        expected, content = response.length, bytearray()
        with response:
            while expected is None or len(content) < expected:
                if max(len(content), expected or 0) > _LARGEST_ANSWER:
                    raise InputError(f"{self.url} answers with more than {_LARGEST_ANSWER // 2**20} MiB.")
                piece = response.read1(_PIECE if expected is None else min(_PIECE, expected - len(content)))
                content += piece
                if monotonic() > deadline:
                    raise TimeoutError
                if not piece:
                    break
        if expected is not None and len(content) < expected:
            raise _Again("breaks off its answer")
        return bytes(content)

    def _check_status(self, response: http.client.HTTPResponse, content: bytes) -> None:
        status = response.status
        if 200 <= status < 300:
            return
        if 300 <= status < 400:
            target = self.quoted(response.headers.get("Location", "").encode()) or " nowhere"
            raise MissingError(f"{self.url} answers {status} and points to{target}: name that address instead.")
        told = f"answers {_phrase(status)}{self.quoted(content)}"
        if status in _PASSING:
            raise _Again(told, _asked_wait(response.headers.get("Retry-After")))
        advice = " token=VARIABLE names the environment variable that holds a token." if status in (401, 403) else ""
        raise MissingError(f"{self.url} {told}.{'' if self.token else advice}")

    @property
    def _late(self) -> str:
        return f"gives no answer within {self.timeout:g} s"

    def _hang_up(self) -> None:
        """End whatever the connection waits for."""
        sock = self._connection.sock if self._connection else None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _secret(variable: str) -> str:
    """The token in an environment variable, read anew for every request and kept nowhere."""
    value = os.environ.get(variable, "").strip()
    if not value:
        raise MissingError(f"the environment variable {variable}, which is to hold the endpoint's token, is not set.")
    if not value.isascii() or not value.isprintable():
        raise MissingError(f"the environment variable {variable} holds characters that no token can have.")
    return value


def _phrase(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _asked_wait(value: str | None) -> float | None:
    """The seconds that a Retry-After asks for, a number or a date; None where there is none."""
    if value is None:
        return None
    if re.fullmatch(r"\s*[0-9]{1,9}\s*", value):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time())
    except (ValueError, OverflowError):
        return None
