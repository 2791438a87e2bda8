"""What `foolscope serve` can be told, checked before anything is bound or loaded."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import re
from dataclasses import dataclass, field
from typing import Any, Self

from foolscope.errors import ParameterError

_SHORTEST_TOKEN = 16
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the server is reached, what it offers and what it allows.  Raises `ParameterError`.

    `names` are the host names that requests may ask for besides the machine's own addresses, `models` the specs that
    are offered besides the usual ones.
    """

    host: str = "127.0.0.1"
    port: int = 8642
    workers: int = 1
    token: str | None = field(default=None, repr=False)
    names: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    offline: bool = False
    proxy_headers: bool = False
    upload_bytes: int = 16 << 20
    """Of one uploaded file."""
    upload_seconds: float = 10.0
    """That decoding one file may take."""
    attack_seconds: float = 60.0
    """That one attack may take."""
    side: int = 512
    """Pixels of an upload's longer side; larger ones are scaled down to it."""
    model_bytes: int = 2 << 30
    """Of all networks in memory together."""
    image_bytes: int = 1 << 30
    """Of all pictures on disk together."""
    queue: int = 256
    """Predictions that may wait for one network."""
    jobs: int = 16
    """Jobs that may wait or run."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise ParameterError(f"--port must be between 0 and 65535, got {self.port}.")
        if not 1 <= self.workers <= 64:
            raise ParameterError(f"--workers must be between 1 and 64, got {self.workers}.")
        if self.token is not None and (len(self.token) < _SHORTEST_TOKEN or not self.token.isascii()):
            raise ParameterError(f"--token needs at least {_SHORTEST_TOKEN} characters, all ASCII: {_TOKEN_HINT}.")
        for name in self.names:
            if not _NAME.fullmatch(name):
                raise ParameterError(f"--name '{name}' is no host name, such as lab.example.org.")
        if self.token is None and not is_loopback(self.host):
            raise ParameterError(f"{self.host} can be reached from other machines: give --token. {_TOKEN_HINT}.")
        if self.token is None and (self.names or self.proxy_headers):
            raise ParameterError(f"--name and --proxy-headers are for others to come in: give --token. {_TOKEN_HINT}.")

    def to_json(self) -> str:
        """Everything, the token included: for the server's own worker processes."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote."""
        given: dict[str, Any] = json.loads(text)
        given |= {key: tuple(value) for key, value in given.items() if isinstance(value, list)}
        return cls(**given)


_TOKEN_HINT = "'python -c \"import secrets; print(secrets.token_urlsafe())\"' makes a good one"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that is bound to `host`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
