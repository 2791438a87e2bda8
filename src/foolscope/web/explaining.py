"""Explain a picture: where a network looks, what an attack writes, which frequencies it hears, what JPEG leaves.

Everything is computed by `foolscope.explain`, and colored, drawn and told by the report's own parts.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from foolscope import explain
from foolscope.defenses import defended
from foolscope.errors import FoolscopeError, InputError, ParameterError
from foolscope.models.engine import Engine
from foolscope.report.explain_frequency import spectrum_part, transfer_part
from foolscope.report.explain_maps import Maps
from foolscope.report.explain_parts import as_json
from foolscope.report.explain_pictures import Picture as Drawn
from foolscope.report.explain_pictures import map_picture, on_one_scale, overlay_picture, signed_map
from foolscope.web import explain_repeat, explain_schemas, explain_work
from foolscope.web.answers import class_entry, picture_entry
from foolscope.web.explain_work import AMPLITUDE, LARGE, LOGITS, MEAN, METHODS, RESOLUTION, Shown, usual_layers
from foolscope.web.lab import Caller, Lab
from foolscope.web.logs import LOGGER
from foolscope.web.pictures import PictureStore, picture_of
from foolscope.web.problems import GoneError, TookTooLongError
from foolscope.web.queues import Lane
from foolscope.web.schemas import PictureEntry
from foolscope.web.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True)
class _Time:
    """What is left of a request's time."""

    stop: threading.Event
    seconds: float
    deadline: float

    def check(self, *progress: int) -> None:
        """Raise `GoneError` where the caller has left, `TookTooLongError` where the time is over."""
        if self.stop.is_set():
            raise GoneError("the caller left.")
        if time.perf_counter() > self.deadline:
            line = f"this takes longer than the {self.seconds:g} s that it may here: 'foolscope explain' has no limit."
            raise TookTooLongError(line)


class Explaining:
    """The explanations; its coroutines are the event loop's.

    One lane for all: what draws the charts is not safe between threads.
    """

    def __init__(self, settings: Settings, lab: Lab, pictures: PictureStore) -> None:
        self._settings, self._lab, self._pictures = settings, lab, pictures
        self._lane = Lane("explain", settings.queue)

    def close(self) -> None:
        """Let the thread end."""
        self._lane.close()

    async def explainable(self, model: str, image: str, caller: Caller) -> explain_schemas.Explainable:
        """Which methods and layers there are for a network at a picture."""
        shown = await self._shown(model, image, None)

        def work(engine: Engine, left: _Time) -> explain_schemas.Explainable:
            images = shown.picture.images
            modules = [(name, module) for name, module in engine.model.named_modules() if name]
            return explain_schemas.Explainable(
                model=shown.network.model,
                shown=picture_entry(shown.picture),
                methods=[
                    explain_schemas.MethodEntry(
                        method=name,
                        title=method.title,
                        about=method.about,
                        signed=method.signed is not None,
                        why=explain_work.why_not(name, engine, images),
                    )
                    for name, method in METHODS.items()
                ],
                layers=[explain_schemas.LayerEntry(name=name, kind=type(module).__name__) for name, module in modules],
                usual=usual_layers(engine, images),
            )

        return await self._run(shown, work, caller)

    async def maps(self, asked: explain_schemas.MapsRequest, caller: Caller) -> explain_schemas.Explained:
        """Maps of a class, and how much those of both pictures agree.  Raises `SpecError` for an unknown method."""
        shown = await self._shown(asked.model, asked.image, asked.adversarial)

        def work(engine: Engine, left: _Time) -> explain_schemas.Explained:
            images = shown.picture.images
            noise = None if shown.adversarial is None else shown.noise
            layer = explain_work.map_layer(asked.method, asked.layer, engine, images)
            index = int(engine.predict(images)) if asked.label is None else asked.label
            label = class_entry(shown.info, index, engine.num_classes(images))

            def mapped(images: Tensor) -> Maps:
                left.check()
                return explain_work.maps(engine, images, label.index, asked.method, layer)

            before, after, agreement, energy = mapped(images), None, None, None
            if shown.adversarial is not None and noise is not None:
                adversarial = shown.adversarial.images
                after = mapped(adversarial)
                noisy = mapped(explain.equally_noisy(images, adversarial))
                agreement = explain_work.agreement(before, after, noisy)
                energy = explain_work.energy(noise, before)
            pictures = self._map_pictures(shown, before, after)
            return explain_schemas.Explained(
                model=shown.network.model,
                method=asked.method,
                layer=layer,
                label=label,
                original=pictures[0],
                adversarial=pictures[1] if after else None,
                agreement=agreement,
                energy=energy,
                scales={
                    "strength": self._scale(),
                    **({"signed": self._scale(signed=True)} if before.signed is not None else {}),
                },
                notes=explain_work.empty_notes(before, after, label.name),
                reproduce=explain_repeat.maps(
                    shown.network.model, shown.picture, shown.adversarial, asked.method, label.index, layer
                ),
            )

        return await self._run(shown, work, caller)

    async def spectrum(self, asked: explain_schemas.SpectrumRequest, caller: Caller) -> explain_schemas.PartEntry:
        """The spectrum of the noise between two pictures."""
        shown = await self._shown(asked.model, asked.image, asked.adversarial)

        def work(engine: Engine, left: _Time) -> explain_schemas.PartEntry:
            found = explain.noise_spectrum(shown.noise, shown.picture.images)
            subject = explain_work.subject(shown, engine, asked.attack or "the attack")
            part = spectrum_part(subject, found, torch.tensor([0]))
            again = explain_repeat.spectrum(shown.network.model, shown.picture, shown.adversarial)
            return explain_work.part_entry(shown, part, again)

        return await self._run(shown, work, caller)

    async def frequencies(self, asked: explain_schemas.FrequencyRequest, caller: Caller) -> explain_schemas.PartEntry:
        """The transfer functions of layers."""
        shown = await self._shown(asked.model, asked.image, None)

        def work(engine: Engine, left: _Time) -> explain_schemas.PartEntry:
            images = shown.picture.images
            height, width = images.shape[2:]
            resolution = RESOLUTION if max(height, width) > LARGE else None
            layers = list(dict.fromkeys(asked.layers)) or usual_layers(engine, images)
            found = [
                explain.transfer_function(
                    engine, explain_work.layer(name), (height, width), resolution=resolution, watch=left.check
                )
                for name in layers
            ]
            again = explain_repeat.frequencies(shown.network.model, shown.picture, layers, resolution)
            return explain_work.part_entry(shown, transfer_part(found), again)

        return await self._run(shown, work, caller)

    async def jpeg(self, asked: explain_schemas.JpegRequest, caller: Caller) -> explain_schemas.JpegFilm:
        """What JPEG of several qualities does to waves, and what a layer answers behind it."""
        shown = await self._shown(asked.model, asked.image, None)

        def work(engine: Engine, left: _Time) -> explain_schemas.JpegFilm:
            images = shown.picture.images
            layer = asked.layer or usual_layers(engine, images)[0]
            side = shown.side

            def probed(engine: Engine, name: str | None) -> explain.TransferFunction:
                return explain.transfer_function(
                    engine, name, side, resolution=min(side, RESOLUTION), amplitude=AMPLITUDE, mean=MEAN,
                    watch=left.check,
                )  # fmt: skip

            plain = probed(engine, explain_work.layer(layer))
            again = sorted(set(asked.shown or asked.qualities))
            top = float(plain.response.max())
            qualities, planes = sorted(set(asked.qualities)), []
            for quality in qualities:  # one after the other: each has a copy of the network
                defended_one = Engine(defended(engine.model, f"jpeg:quality={quality}"))
                behind = probed(defended_one, None if layer == LOGITS else f"model.{layer}")
                planes.append(self._jpeg_planes(quality, behind, probed(defended_one, "defense"), top))
            return explain_schemas.JpegFilm(
                model=shown.network.model,
                layer=layer,
                unit=plain.unit,
                channels=images.shape[1],
                side=side,
                amplitude=AMPLITUDE,
                mean=MEAN,
                vertical=plain.vertical.tolist(),
                horizontal=plain.horizontal.tolist(),
                plain=as_json(plain.response),
                picture=self._plane(plain.response, top),
                largest=as_json(top),
                scale=self._scale(),
                qualities=planes,
                reproduce=explain_repeat.jpeg(shown.network.model, shown.picture, layer, side, again),
            )

        return await self._run(shown, work, caller)

    def _jpeg_planes(
        self, quality: int, behind: explain.TransferFunction, codec: explain.TransferFunction, top: float
    ) -> explain_schemas.JpegPlanes:
        assert codec.distortion is not None, "of a probed layer"
        return explain_schemas.JpegPlanes(
            quality=quality,
            gain=as_json(codec.response),
            distortion=as_json(codec.distortion),
            response=as_json(behind.response),
            pictures={
                "gain": self._plane(codec.response, 1.0),
                "distortion": self._plane(codec.distortion, 1.0),
                "response": self._plane(behind.response, top),
            },
        )

    def _map_pictures(self, shown: Shown, *maps: Maps | None) -> list[explain_schemas.MapPictures]:
        """The maps of the original and of the adversarial picture, on one scale."""
        there = [one for one in maps if one is not None]
        images = [one.images[0] for one in (shown.picture, shown.adversarial) if one is not None]
        strengths = on_one_scale(*(one.magnitudes[0] for one in there))
        signs = [signed_map(one.signed[0]) for one in there if one.signed is not None]
        signs = on_one_scale(*signs) if signs else []
        return [
            explain_schemas.MapPictures(
                strength=self._kept(map_picture(strength, "")),
                overlay=self._kept(overlay_picture(image, strength, "")),
                signed=self._kept(map_picture(signs[place], "", signed=True)) if signs else None,
            )
            for place, (image, strength) in enumerate(zip(images, strengths, strict=True))
        ]

    def _plane(self, values: Tensor, top: float) -> PictureEntry:
        return self._kept(map_picture(values / (top or 1.0), ""))

    def _scale(self, *, signed: bool = False) -> PictureEntry:
        """The colors of maps from the least to the most."""
        return self._kept(map_picture(torch.linspace(-1.0 if signed else 0.0, 1.0, 64)[None], "", signed=signed))

    def _kept(self, drawn: Drawn) -> PictureEntry:
        return picture_entry(self._pictures.keep(picture_of(drawn.pixels)))

    async def _shown(self, model: str, image: str, adversarial: str | None) -> Shown:
        network, view = await self._lab.found(model, image)
        if adversarial is None:
            return Shown(network, view.picture, None)
        _, other = await self._lab.found(model, adversarial)
        if other.picture.pixels.shape != view.picture.pixels.shape:
            sizes = ["{1} x {0} x {2}".format(*one.picture.pixels.shape) for one in (other, view)]
            raise InputError(f"the attacked picture is {sizes[0]}, the original {sizes[1]}: they must have one size.")
        return Shown(network, view.picture, other.picture)

    async def _run(self, shown: Shown, work: Callable[[Engine, _Time], T], caller: Caller) -> T:
        """Do the work when it is its turn, for as long as an attack may take."""
        seconds = self._settings.attack_seconds

        def begin(stop: threading.Event) -> T:
            left = _Time(stop, seconds, time.perf_counter() + seconds)
            try:
                with shown.network.used() as engine:
                    return work(engine, left)
            except FoolscopeError:
                raise
            except (ArithmeticError, RuntimeError, MemoryError) as error:  # whatever a network raises
                LOGGER.warning("explanation failed", exc_info=error, extra={"fields": {"model": shown.network.model}})
                reason = " ".join(str(error).split())[:200] or type(error).__name__
                raise ParameterError(f"{shown.network.model} cannot be explained so: {reason}.") from None

        return await self._lane.run(begin, caller.name, caller.gone)
