"""What the page does with a picture and a network: predict, preview, attack, defend, detect.

Pictures go in by id and come out as pictures: every prediction that is told was made on the 8 bits that are shown.
"""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor

from foolscope.attacks import ATTACKS, Attack, parse_attack
from foolscope.defenses import parse_defense
from foolscope.defenses.defense import Defense
from foolscope.defenses.squeezing import TotalVariation
from foolscope.errors import ParameterError, SpecError
from foolscope.files import home
from foolscope.models import ModelInfo
from foolscope.spec import Spec
from foolscope.web import schemas
from foolscope.web.answers import (
    class_entry,
    class_name,
    picture_entry,
    prediction_message,
    top_classes,
    unknown_message,
)
from foolscope.web.attacking import Attacking
from foolscope.web.calibration import Calibrations
from foolscope.web.chains import ChainShelf
from foolscope.web.gallery import Gallery, Preset
from foolscope.web.networks import Network, Networks
from foolscope.web.pictures import Picture, PictureStore, Recent, pictures_of
from foolscope.web.problems import GoneError, TookTooLongError
from foolscope.web.queues import Lane
from foolscope.web.reproduce import repeat_detection, repeat_prediction
from foolscope.web.settings import Settings
from foolscope.web.views import seen

_VIEW_BYTES = 64 << 20
_QUICK_PASSES = 4
_MOST_TRANSFORMS, _MOST_STEPS = 8, 200


@dataclass(frozen=True)
class Caller:
    """Who asks: `name` is what turns are taken by, `gone` is done when nobody waits for the answer any more."""

    name: str
    gone: asyncio.Future[None]


@dataclass(frozen=True)
class View:
    """A picture as a network sees it, what was done to it, and the preset that it comes from."""

    picture: Picture
    notes: list[str]
    preset: Preset | None
    is_kept: bool = True
    """Whether the picture is in the store, and can be asked for by its own id."""

    def truth(self, info: ModelInfo) -> int | None:
        """The ground truth's index among the network's classes, where it is known."""
        return self.preset.truth_among(info.class_names) if self.preset else None


class Lab:
    """The operations; its coroutines are the event loop's."""

    def __init__(
        self, settings: Settings, networks: Networks, pictures: PictureStore, gallery: Gallery, chains: ChainShelf
    ) -> None:
        self._settings, self._networks, self._pictures = settings, networks, pictures
        self._gallery, self._chains = gallery, chains
        self._views: Recent[tuple[str, object], View] = Recent(_VIEW_BYTES)
        self._previewing = Lane("preview", settings.queue, threads=2, torch_threads=1)
        self._quick = Lane("quick", settings.queue)
        self._slow = Lane("slow", settings.queue)
        self._defending = Lane("defend", settings.queue)
        self._calibrations = Calibrations(home() / "web" / "detectors", gallery, self._slow)

    def close(self) -> None:
        """Let the threads end."""
        for lane in (self._previewing, self._quick, self._slow, self._defending):
            lane.close()

    async def predict(self, asked: schemas.PredictRequest, client: str) -> schemas.Prediction:
        """Classify a picture."""
        network, view = await self.found(asked.model, asked.image)
        logits = await network.batcher.logits(view.picture.images[0], client)
        told = await self._told(network, view, view, logits, asked, view.truth(network.info))
        return schemas.Prediction(**told)

    async def preview(self, image: str, model: str | None, chain: str, caller: Caller) -> bytes:
        """The PNG of a picture after a chain of filters, as an attack with it would return it."""
        filters = await asyncio.to_thread(self._chains.chain, chain)
        info = (await self._networks.get(self._networks.offer(model).model)).info if model else None
        view = await self._view(image, info)

        def work(stop: threading.Event) -> bytes:
            return pictures_of(filters(view.picture.images))[0].quick_png()

        return await self._previewing.run(work, caller.name, caller.gone)

    async def attack(self, asked: schemas.AttackRequest, caller: Caller) -> schemas.Attacked:
        """Attack a picture."""
        attack = await asyncio.to_thread(self._asked_attack, asked)
        network, view = await self.found(asked.model, asked.image)
        attacking = Attacking(
            attack=attack,
            network=network,
            picture=view.picture,
            notes=view.notes,
            label=view.truth(network.info) if asked.label is None else asked.label,
            target=asked.target,
            seed=asked.seed,
            top=asked.top,
            seconds=self._settings.attack_seconds,
        )
        lane = self._quick if attack.passes <= _QUICK_PASSES else self._slow
        return await lane.run(partial(attacking.run, pictures=self._pictures), caller.name, caller.gone)

    async def defend(self, asked: schemas.DefendRequest, caller: Caller) -> schemas.Defended:
        """Classify a picture after a defense."""
        defense = _allowed(parse_defense(asked.defense))
        network, view = await self.found(asked.model, asked.image)

        def work(stop: threading.Event) -> Picture:
            images = _defended(defense, view.picture.images, stop, self._settings.attack_seconds)
            return self._pictures.keep(pictures_of(images)[0])

        shown = await self._defending.run(work, caller.name, caller.gone)
        logits = await network.batcher.logits(shown.images[0], caller.name)
        truth = view.truth(network.info) if asked.label is None else asked.label
        told = await self._told(network, view, replace(view, picture=shown), logits, asked, truth)
        return schemas.Defended(**told, defense=defense.spec())

    async def detect(self, asked: schemas.DetectRequest, caller: Caller) -> schemas.Detection:
        """Score a picture by its network's detector, which is calibrated in the background where it can be."""
        network, view = await self.found(asked.model, asked.image)
        calibration = await self._calibrations.of(network)

        def work(stop: threading.Event) -> float:
            with network.used() as engine:
                return float(calibration.detector.score(engine, view.picture.images))

        score = await self._quick.run(work, caller.name, caller.gone)
        threshold = calibration.detector.threshold
        return schemas.Detection(
            model=network.model,
            detector=calibration.detector.spec(),
            score=score,
            threshold=threshold,
            detected=None if threshold is None else score > threshold,
            calibration=calibration.state,
            message=calibration.message(score),
            reproduce=schemas.Reproduction(
                **repeat_detection(
                    model=network.model,
                    picture=view.picture.id,
                    channels=view.picture.pixels.shape[2],
                    detector=calibration.detector.spec(),
                )
            ),
        )

    async def classes(self, model: str) -> list[str]:
        """The names of a network's classes, which is loaded for them."""
        network = await self._networks.get(self._networks.offer(model).model)
        info = network.info
        return list(info.class_names) if info.class_names else [str(index) for index in range(info.num_classes or 0)]

    async def picture(self, image: str) -> Picture:
        """The picture with this id, a preset's or one of the store.  Raises `NotFoundError`."""
        return (await self._view(image, None)).picture

    async def found(self, model: str, image: str) -> tuple[Network, View]:
        """An offered network, loaded if it is not in memory, and the picture as it sees it.

        Raises `NotFoundError`, and what loading a network does.
        """
        network = await self._networks.get(self._networks.offer(model).model)
        return network, await self._view(image, network.info)

    async def _view(self, image: str, info: ModelInfo | None) -> View:
        key = (image, (info.name, info.input_shape) if info else None)
        if (known := self._views.get(key)) is None:
            known = await asyncio.to_thread(self._seen, image, info)
            self._views.put(key, known, known.picture.pixels.nbytes)
        elif known.is_kept and self._pictures.is_due(known.picture.id):
            await asyncio.to_thread(self._pictures.keep, known.picture)
        return known

    def _seen(self, image: str, info: ModelInfo | None) -> View:
        preset = self._gallery.find(image)
        picture = preset.picture if preset else self._pictures.get(image)
        shown, notes = seen(picture, info) if info else (picture, [])
        if preset and info is None:  # is asked for by the preset's name
            return View(shown, notes, preset, is_kept=False)
        return View(self._pictures.keep(shown), notes, preset)

    async def _told(
        self,
        network: Network,
        view: View,
        shown: View,
        logits: Tensor,
        asked: schemas.PredictRequest | schemas.DefendRequest,
        truth: int | None,
    ) -> dict[str, Any]:
        """The fields of a `Prediction` on `shown`, which is `view` behind the defense that is asked for, if one is."""
        info, seen_class = network.info, int(logits.argmax())
        true_class = None if truth is None else class_entry(info, truth, len(logits))
        correct = None if truth is None else seen_class == truth
        name = class_name(info, seen_class)
        if true_class is None and view.preset is not None and info.class_names is not None:
            correct = False  # whatever it sees: it has no class that would be right
            other = await asyncio.to_thread(self._gallery.known_to, info.class_names)
            message = unknown_message(network.model, name, view.preset.truth, other)
        else:
            wanted = true_class.name if true_class else view.preset.truth if view.preset else None
            message = prediction_message(network.model, name, wanted, correct)
        return {
            "model": network.model,
            "shown": picture_entry(shown.picture),
            "notes": view.notes,
            "top": top_classes(info, logits, asked.top),
            "truth": true_class,
            "correct": correct,
            "message": message,
            "reproduce": schemas.Reproduction(
                **repeat_prediction(
                    model=network.model,
                    picture=view.picture.id,
                    channels=view.picture.pixels.shape[2],
                    top=min(asked.top, len(logits)),
                    defense=asked.defense if isinstance(asked, schemas.DefendRequest) else None,
                )
            ),
        }

    def _asked_attack(self, asked: schemas.AttackRequest) -> Attack:
        """The attack that a request names by its spec, or by a chain as `ChainShelf.chain` understands it."""
        if asked.attack is not None and asked.chain is None:
            return parse_attack(asked.attack)
        if asked.attack is None and asked.chain is not None:
            return ATTACKS["filter"].from_spec(
                Spec("filter", options=(("chain", self._chains.chain(asked.chain).spec()),))
            )
        raise SpecError("name an attack or a chain: one of the two.")


def _allowed(defense: Defense) -> Defense:
    """The defense.  Raises `ParameterError` where it would take too long."""
    if len(defense.transforms) > _MOST_TRANSFORMS:
        raise ParameterError(f"a defense has at most {_MOST_TRANSFORMS} transforms here.")
    for transform in defense.transforms:
        if isinstance(transform, TotalVariation) and transform.steps > _MOST_STEPS:
            raise ParameterError(f"tv: steps must be at most {_MOST_STEPS} here, got {transform.steps}.")
    return defense


def _defended(defense: Defense, images: Tensor, stop: threading.Event, seconds: float) -> Tensor:
    """The images after a defense.  Between transforms, raises `GoneError` and `TookTooLongError`."""
    deadline = time.perf_counter() + seconds
    for transform in defense.transforms:
        if stop.is_set():
            raise GoneError("the caller left.")
        if time.perf_counter() > deadline:
            raise TookTooLongError(f"{defense.spec()} takes longer than the {seconds:g} s that it may here.")
        images = Defense(transform)(images)
    return images
