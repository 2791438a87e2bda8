"""Classifiers behind HTTP endpoints as black boxes: images out, logits or probabilities back, no gradients.

A model is named by its address, `http://127.0.0.1:8000/classify`, and nothing but that address is ever asked.
docs/http-models.md tells what is sent and what is to be answered, with a server of thirty lines.

What is behind an address can change.  So the digest by which finished work is found again covers, beside the address
and the options, the answer to one image, which is asked for whenever the model is loaded for images of known size.
"""

from __future__ import annotations

import base64
import json
import os
import re
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import urlsplit

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foolscope.errors import InputError, ParameterError, SpecError
from foolscope.files import digest
from foolscope.images import encode_png
from foolscope.models.classifier import Classifier, Shape, Task
from foolscope.models.http_client import Client
from foolscope.models.model_spec import READY, Model, Status
from foolscope.spec import parameter

_TINY = float(np.finfo(np.float32).tiny)
_SUM_TOLERANCE = 0.05
_DIGITS = 3
_NOTICED = "a change of it is noticed by its answer to one image"
_UNNOTICED = "a change of it is not noticed"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Answer:
    """What an endpoint makes of n images: logits (n, K) float32, and the names of the classes where it tells them."""

    logits: NDArray[np.float32]
    names: tuple[str, ...] | None


def read_answer(content: bytes, client: Client) -> Answer:
    """Read the JSON that an endpoint answers with.  Raises `InputError` where it does not follow the protocol."""
    url = client.url
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        raise InputError(f"{url} does not answer with JSON, but with{client.quoted(content) or ' nothing'}.") from None
    given = [key for key in ("logits", "probabilities") if isinstance(said, dict) and key in said]
    if len(given) != 1:
        raise InputError(f"{url} must answer with an object that has either 'logits' or 'probabilities'.")
    (key,) = given
    values = _matrix(said[key])
    if values is None:
        raise InputError(f"{url}: '{key}' must be a list of as many numbers for every image.")
    if not np.isfinite(values).all():
        raise InputError(f"{url} answers with NaN or infinite {key}.")
    if key == "probabilities":
        sums = values.sum(1)
        if values.min() < 0 or values.max() > 1 or np.abs(sums - 1).max() > _SUM_TOLERANCE:
            raise InputError(f"{url}: 'probabilities' must be from 0 to 1 and add up to 1 for every image.")
        values = np.log(np.maximum(values, _TINY))
    names = said.get("classes")
    if names is not None and not (
        isinstance(names, list)
        and all(isinstance(name, str) and name for name in names)
        and len(names) == values.shape[1]
    ):
        raise InputError(f"{url}: 'classes' must be a list of {values.shape[1]} names.")
    return Answer(values.astype(np.float32), tuple(names) if names else None)


def _matrix(rows: object) -> NDArray[np.float64] | None:
    """Numbers (n, K), both at least 1, all of them within float32 or not finite; None of anything else."""
    if not isinstance(rows, list) or not all(isinstance(row, list) and row for row in rows) or not rows:
        return None
    if len({len(row) for row in rows}) != 1 or {type(value) for row in rows for value in row} - {int, float}:
        return None
    try:
        values = np.array(rows, dtype=np.float64)
    except OverflowError:
        return np.full((len(rows), len(rows[0])), np.inf)
    return np.where(np.abs(values) <= np.finfo(np.float32).max, values, np.nan)


class HttpNetwork(nn.Module):
    """Logits (N, K) from an endpoint, in as many requests as its `batch` needs.

    `format` `json` sends float32 values, `png` one image a request, rounded to 8 bits.  `num_classes` is None until
    the first answer tells it.  Raises what `Client.post` and `read_answer` do, and `InputError` for a wrong shape.
    """

    def __init__(self, client: Client, format: str, batch: int, num_classes: int | None) -> None:
        super().__init__()
        self.client, self.format, self.batch = client, format, 1 if format == "png" else batch
        self.num_classes = num_classes
        self.digest = digest(client.url, format, str(num_classes))

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.detach().float().cpu()
        parts = [self.ask(pixels[begin : begin + self.batch]).logits for begin in range(0, len(pixels), self.batch)]
        return torch.from_numpy(np.concatenate(parts)).to(images.device)

    def ask(self, images: Tensor) -> Answer:
        """One request; `images` (n, C, H, W) are float32 on the CPU."""
        answer = read_answer(self.client.post(*encoded(images, self.format)), self.client)
        want = (len(images), self.num_classes or answer.logits.shape[1])
        if answer.logits.shape != want:
            raise InputError(
                f"{self.client.url} must answer with {want[0]} x {want[1]} numbers (images x classes), got "
                f"{answer.logits.shape[0]} x {answer.logits.shape[1]}."
            )
        return answer

    def introduce(self, shape: tuple[int, int, int]) -> Answer:
        """Ask for one image of this shape (C, H, W), a ramp: it tells the classes, and is part of the digest.

        Only its first digits count, so that the rounding errors of another machine behind the address do not.
        """
        ramp = torch.linspace(0, 1, shape[0] * shape[1] * shape[2]).view(1, *shape)
        answer = self.ask(ramp)
        self.num_classes = answer.logits.shape[1]
        told = [f"{value:.{_DIGITS}g}" for value in answer.logits[0].tolist()]
        self.digest = digest(self.client.url, self.format, str(shape), *told)
        return answer


def encoded(images: Tensor, format: str) -> tuple[str, bytes]:
    """The content type and the body of the request for images (n, C, H, W); `png` takes one."""
    if format == "png":
        return "image/png", encode_png(images[0])
    values = base64.b64encode(np.ascontiguousarray(images.numpy(), dtype="<f4").tobytes()).decode()
    return "application/json", json.dumps({"shape": list(images.shape), "dtype": "<f4", "images": values}).encode()


@dataclass(frozen=True, kw_only=True)
class HttpModel(Model):
    """A classifier behind an HTTP endpoint; [the protocol](http-models.md) is a page of its own."""

    name: ClassVar[str] = "http"
    argument: ClassVar[str | None] = "address"
    example: ClassVar[str] = "http://127.0.0.1:8000/classify"
    summary: ClassVar[str] = "a classifier behind an HTTP endpoint as a black box without gradients"
    source: ClassVar[str] = "your own server, by the protocol in docs/http-models.md"

    address: str = parameter(help="//HOST:PORT/PATH; with a query of its own in parentheses: (//HOST/PATH?KEY=VALUE)")
    format: str = parameter("json", "json: exact float32 values; png: one image a request, rounded to 8 bits",
                            choices=("json", "png"))  # fmt: skip
    channels: int | None = parameter(None, "1 or 3 (none: those of the data, else 3)", low=1, high=3)
    height: int | None = parameter(None, "the images' height in pixels (none: any)", low=1)
    width: int | None = parameter(None, "the images' width in pixels (none: any)", low=1)
    classes: int | None = parameter(None, "number of classes (none: the endpoint is asked)", low=1)
    labels: str = parameter("", "the classes' names, (cat|dog), where neither endpoint nor data tell the right ones")
    batch: int = parameter(32, "images a JSON request at most", low=1, high=4096)
    timeout: float = parameter(30.0, "seconds that an answer may take", low=0.001, high=3600)
    retries: int = parameter(3, "further attempts where the endpoint cannot be reached or is busy", low=0, high=20)
    rate: float | None = parameter(None, "requests a second at most (none: as many as it answers)", low=0.001)
    token: str = parameter("", "the environment variable that holds a token, sent as Authorization: Bearer")

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_address(self.name, self.address, self.example)
        if self.channels == 2:
            raise ParameterError(f"{self.name}: channels must be 1 or 3, got 2.")
        if self.token and not _VARIABLE.fullmatch(self.token):
            raise ParameterError(f"{self.name}: token must be the name of an environment variable, not the token.")
        if not all(self._names):
            raise ParameterError(f"{self.name}: labels must be names joined by |, got '{self.labels}'.")
        if self.classes and self.labels and self.classes != len(self._names):
            raise ParameterError(f"{self.name}: classes is {self.classes}, and labels are {len(self._names)} names.")

    def build(self, task: Task | None, *, offline: bool = False) -> Classifier:
        """A classifier without gradients; the endpoint is asked for one image where the size of images is known.

        Its classes are named by `labels`, else by the endpoint, else by the task if there are as many.  Raises what
        `HttpNetwork` does, and `SpecError` where nothing tells the number of classes.
        """
        client = Client(self.url, timeout=self.timeout, retries=self.retries, rate=self.rate, token=self.token)
        network = HttpNetwork(client, self.format, self.batch, self.classes or len(self._names) or None)
        given = task.input_shape if task else (3, None, None)
        channels, height, width = self.channels or given[0], self.height or given[1], self.width or given[2]
        known = bool(height and width)
        told = network.introduce((channels, height or 0, width or 0)).names if known else None
        if network.num_classes is None:
            raise SpecError(f"how many classes has {self.url}? Add classes=NUMBER, or height=... and width=... to ask.")
        shape: Shape = (channels, self.height, self.width)
        named = task.class_names if task and task.num_classes == network.num_classes else None
        return Classifier(
            network,
            name=self.spec(),
            input_shape=shape,
            num_classes=network.num_classes,
            class_names=self._names or told or named,
            weights=f"what answers at {self.url}; {_NOTICED if known else _UNNOTICED}",
            differentiable=False,
        ).eval()

    def status(self, *, offline: bool = False) -> Status:
        """Ready where the token is set; nothing is asked."""
        if self.token and not os.environ.get(self.token, "").strip():
            return Status("unavailable", f"the environment variable {self.token} is not set")
        return READY

    @property
    def url(self) -> str:
        """The address with its scheme."""
        return f"{self.name}:{self.address}"

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(name.strip() for name in self.labels.split("|")) if self.labels else ()


@dataclass(frozen=True, kw_only=True)
class HttpsModel(HttpModel):
    """The same over TLS; the server's certificate must be valid."""

    name: ClassVar[str] = "https"
    example: ClassVar[str] = "https://models.example.org/classify?token=CLASSIFIER_TOKEN"
    summary: ClassVar[str] = "a classifier behind an HTTPS endpoint as a black box without gradients"


def _check_address(scheme: str, address: str, example: str) -> None:
    """Raise `SpecError` where `scheme:address` is no URL that can be asked."""
    url = f"{scheme}:{address}"
    if "@" in re.split("[/?#]", address.removeprefix("//"), maxsplit=1)[0]:
        raise SpecError(f"an address names no user or password, for results name it: {scheme} takes token=VARIABLE.")
    plain = address.startswith("//") and address.isascii() and address.isprintable() and not set(address) & set(" #")
    try:
        parts = urlsplit(url)
        usable = plain and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise SpecError(f"malformed address '{url}': expected {scheme}://HOST/PATH, as in '{example}'.")
