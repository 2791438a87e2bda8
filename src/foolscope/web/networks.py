"""The networks that a server offers: which there are, whether they can be had, and those in memory.

Offered are the shipped networks, the thesis' five for ImageNet, those of torchvision whose weights lie in a folder, and
what the server was started with.  A request can only name one of these: no path, module or address ever comes out of
it.  A network loads when it is first used; the one that was not used longest leaves memory for it.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from foolscope.errors import FoolscopeError, MissingError, nearest
from foolscope.files import home
from foolscope.models import MODELS, Card, ModelInfo, describe, load_model, shipped, status
from foolscope.models.architectures import OwnModel
from foolscope.models.engine import Engine
from foolscope.models.model_spec import AUTO, Model
from foolscope.models.torchvision import folders
from foolscope.spec import parse_spec
from foolscope.web.logs import LOGGER
from foolscope.web.problems import NotFoundError
from foolscope.web.queues import Batcher, workers

THESIS = ("vgg19", "inception_v3", "resnet50", "mobilenet_v2", "densenet201")
_WARM_SIDE = 224

_READ_AT_ONCE, _DOWNLOADED_AT_ONCE = 2, 4
"""Apart from each other, so that a download that hangs holds up no network that is there."""


@dataclass(frozen=True)
class Offer:
    """A network that can be asked for: its canonical spec, where it comes from, and the card of its weights.

    `exact` is the spec that means the same weights whatever data set it is used with.
    """

    model: str
    exact: str
    group: Literal["shipped", "imagenet", "added"]
    kind: type[Model]
    card: Card | None = None


@dataclass(frozen=True)
class State:
    """Whether a network can be used; see docs/api.md."""

    name: Literal["ready", "download", "unavailable", "loading", "failed"]
    detail: str = ""
    progress: float | None = None
    loaded: bool = False


@dataclass(frozen=True, eq=False)
class Network:
    """A network in memory."""

    model: str
    info: ModelInfo
    engine: Engine
    bytes: int
    batcher: Batcher
    """For single images of many callers."""
    lock: threading.Lock | None
    """Where one thread at a time may run it, as is to be feared of what the user has written."""

    @contextmanager
    def used(self) -> Iterator[Engine]:
        """The engine, for this thread alone where that is needed."""
        with self.lock or nullcontext():
            yield self.engine


class Networks:
    """The offers, and the networks in memory up to `limit` bytes; `queue` predictions may wait for each.

    Its methods but `state` are the event loop's.  Raises `SpecError` where one of the `added` specs cannot be
    understood.
    """

    def __init__(self, added: tuple[str, ...], limit: int, queue: int, offline: bool) -> None:
        self._limit, self._queue, self._offline = limit, queue, offline
        self._predicting = workers("predict", 1)
        self._reading, self._downloading = asyncio.Semaphore(_READ_AT_ONCE), asyncio.Semaphore(_DOWNLOADED_AT_ONCE)
        self.offers = _offers(added)
        """By canonical spec."""
        self._loaded: dict[str, Network] = {}  # the last used at the end
        self._loading: dict[str, asyncio.Task[Network]] = {}
        self._phases: dict[str, tuple[str, float]] = {}  # what is being done, and MiB that are to come
        self._failed: dict[str, str] = {}

    def offer(self, text: str) -> Offer:
        """The offer that a spec asks for.

        Raises `SpecError` and `ParameterError` where it cannot be understood, `NotFoundError` where it is not offered.
        """
        if text in self.offers:
            return self.offers[text]
        if parse_spec(text).name in MODELS and (spec := canonical(text)) in self.offers:
            return self.offers[spec]
        name = text[:100]
        hint = nearest(name, self.offers) or f" 'foolscope serve --allow-models {name}' offers it."
        raise NotFoundError(f"this server offers no model '{name}'.{hint} GET /api/v1/models lists all.")

    def close(self) -> None:
        """Let the thread end that predicts."""
        self._predicting.shutdown(wait=False, cancel_futures=True)

    def info(self, model: str) -> ModelInfo | None:
        """What is known about an offered network that is in memory."""
        return self._loaded[model].info if model in self._loaded else None

    def state(self, model: str) -> State:
        """How things stand with an offered network.  Looks for files: not for the event loop's own thread."""
        if model in self._loaded:
            return State("ready", loaded=True)
        if model in self._loading:
            phase, size = self._phases.get(model, ("waiting", 0.0))
            return State("loading", phase, min(1.0, _downloaded() / (size * 2**20)) if size else None)
        if model in self._failed:
            return State("failed", self._failed[model])
        if self.offers[model].group == "shipped":
            return State("ready")
        found = status(model, offline=self._offline)
        return State(found.state, found.detail)

    async def get(self, model: str) -> Network:
        """The network, loaded if it is not in memory.

        Raises `MissingError` where that would need a download, and what `load_model` does.
        """
        if model in self._loaded:
            network = self._loaded[model] = self._loaded.pop(model)
            return network
        if model not in self._loading:
            found = await asyncio.to_thread(status, model, offline=self._offline)
            if found.state == "download":
                raise MissingError(f"{model} needs a download of {found.detail}: POST /api/v1/models/load starts it.")
        # Whoever asked first may go away: the others still want it.
        return await asyncio.shield(self.load(model))

    def load(self, model: str) -> asyncio.Task[Network]:
        """Begin to load an offered network, downloading what it needs; or the task that does so already."""
        if model not in self._loading:
            self._failed.pop(model, None)
            task = self._loading[model] = asyncio.create_task(self._load(model))
            task.add_done_callback(partial(self._finished, model))
        return self._loading[model]

    async def _load(self, model: str) -> Network:
        if model in self._loaded:
            return self._loaded[model]
        found = await asyncio.to_thread(status, model, offline=self._offline)
        size = _mebibytes(found.detail) if found.state == "download" else 0.0
        phase = f"downloading {found.detail}" if found.state == "download" else "reading the weights"
        self._phases[model] = (phase, size)
        shared = self.offers[model].group != "added"
        async with self._downloading if found.state == "download" else self._reading:
            return await asyncio.wrap_future(
                _in_thread_of_its_own(partial(_read, model, shared, self._offline, self._predicting, self._queue))
            )

    def _finished(self, model: str, task: asyncio.Task[Network]) -> None:
        del self._loading[model]
        self._phases.pop(model, None)
        if task.cancelled():
            return
        if error := task.exception():
            self._failed[model] = str(error) if isinstance(error, FoolscopeError) else "see the server's log."
            LOGGER.warning("cannot load %s: %s", model, error)
            return
        self._loaded.pop(model, None)
        self._loaded[model] = task.result()
        while len(self._loaded) > 1 and sum(network.bytes for network in self._loaded.values()) > self._limit:
            del self._loaded[next(iter(self._loaded))]


def _offers(added: tuple[str, ...]) -> dict[str, Offer]:
    found = []
    for card in shipped():
        exact = f"{card.architecture}{',' if ':' in card.architecture else ':'}weights={card.name}"
        found.append(Offer(canonical(exact), exact, "shipped", MODELS[card.family], card))
    found.sort(key=lambda offer: (offer.card is not None and offer.card.adversarial is not None, offer.model))
    present = sorted(path.stem for folder in folders() for path in folder.glob("*.safetensors"))
    for name in dict.fromkeys((*THESIS, *present)):
        found.append(Offer(f"torchvision:{name}", f"torchvision:{name}", "imagenet", MODELS["torchvision"]))
    known = {offer.model: offer for offer in found}
    for spec in added:
        model = canonical(spec)
        known.setdefault(model, Offer(model, model, "added", MODELS[parse_spec(spec).name]))
    return known


def canonical(text: str) -> str:
    """The one spelling of a model's spec: weights that are taken anyway are left out.

    Raises `SpecError` and `ParameterError` where it cannot be understood.
    """
    spec = parse_spec(text)
    model = MODELS[spec.name].from_spec(spec)
    if isinstance(model, OwnModel):
        plain = replace(model, weights=AUTO, seed=0)
        for card in shipped():
            if card.architecture == plain.spec() and card.name == model.weights and _is_default(plain, card):
                return plain.spec()
    return model.spec()


def _is_default(model: OwnModel, card: Card) -> bool:
    """Whether a card's weights are those that the network's spec takes without naming any."""
    return card.data == model.default_data and card.adversarial is None


def _in_thread_of_its_own(work: Callable[[], Network]) -> Future[Network]:
    """Work that may hang, as a download can: no other work and no end of the program waits for its thread."""
    answer: Future[Network] = Future()
    threads = torch.get_num_threads()

    def run() -> None:
        torch.set_num_threads(threads)  # otherwise what was said last for any thread
        try:
            answer.set_result(work())
        except BaseException as error:
            answer.set_exception(error)

    answer.set_running_or_notify_cancel()  # from now on nobody else settles it
    threading.Thread(target=run, name="load", daemon=True).start()
    return answer


def _read(model: str, shared: bool, offline: bool, executor: Executor, queue: int) -> Network:
    """Load a network and run it once, so that the first prediction finds everything prepared."""
    begun = time.perf_counter()
    module = load_model(model, offline=offline)
    info, engine, lock = describe(module), Engine(module), threading.Lock()

    def run(images: Tensor) -> Tensor:
        with nullcontext() if shared else lock:
            return engine.logits(images)

    if info.input_shape is not None:
        run(torch.zeros(1, *(side or _WARM_SIDE for side in info.input_shape)))
    tensors = [*module.parameters(), *module.buffers()]
    size = 2 * sum(tensor.numel() * tensor.element_size() for tensor in tensors)  # the engine's copy is as large
    seconds = round(time.perf_counter() - begun, 2)
    LOGGER.info("loaded", extra={"fields": {"model": model, "seconds": seconds, "bytes": size}})
    return Network(model, info, engine, size, Batcher(run, executor, queue), None if shared else lock)


def _mebibytes(detail: str) -> float:
    """The size in a status such as '97.8 MiB'; 0 where it tells none."""
    match = re.match(r"([0-9.]+) MiB", detail)
    return float(match[1]) if match else 0.0


def _downloaded() -> int:
    """Bytes of the weights that are being downloaded: what lies in unfinished parts (see `files`)."""
    folder = home() / "weights" / "torchvision"
    # A part may go at any moment: os.walk then finds nothing, where Path.rglob raises.
    walked = (found for part in folder.glob(".part-*") for found in os.walk(part))
    return sum(_size(Path(where) / name) for where, _, names in walked for name in names)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # finished in between
        return 0
