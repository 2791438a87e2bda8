"""Explanations: where a network looks, what an attack writes, which frequencies are heard, what JPEG leaves of them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import Query, Response

from foolscope.web import explain_schemas as schemas
from foolscope.web.explain_work import wave
from foolscope.web.routes.common import CallerHere, ServicesHere, new_router

router = new_router("explain")

_PNG = {200: {"content": {"image/png": {}}, "description": "8 bits a channel"}}
_Frequency = Annotated[float, Query(ge=-0.5, le=0.5, allow_inf_nan=False)]


@router.get("/explain")
async def explainable(
    services: ServicesHere,
    caller: CallerHere,
    model: Annotated[str, Query(max_length=300)],
    image: Annotated[str, Query(max_length=100)],
) -> schemas.Explainable:
    """Which methods and layers there are."""
    return await services.explaining.explainable(model, image, caller)


@router.post("/explain/maps")
async def maps(body: schemas.MapsRequest, services: ServicesHere, caller: CallerHere) -> schemas.Explained:
    """Where the network looks for a class, in a picture and in the attacked one."""
    return await services.explaining.maps(body, caller)


@router.post("/explain/spectrum")
async def spectrum(body: schemas.SpectrumRequest, services: ServicesHere, caller: CallerHere) -> schemas.PartEntry:
    """Which frequencies an attack has written into."""
    return await services.explaining.spectrum(body, caller)


@router.post("/explain/frequencies")
async def frequencies(body: schemas.FrequencyRequest, services: ServicesHere, caller: CallerHere) -> schemas.PartEntry:
    """How strongly layers answer to each spatial frequency."""
    return await services.explaining.frequencies(body, caller)


@router.post("/explain/jpeg")
async def jpeg(body: schemas.JpegRequest, services: ServicesHere, caller: CallerHere) -> schemas.JpegFilm:
    """What JPEG does to waves, and what a layer answers behind it, for several qualities."""
    return await services.explaining.jpeg(body, caller)


@router.get("/explain/wave.png", response_class=Response, responses=_PNG)  # type: ignore[arg-type]
async def wave_png(
    vertical: _Frequency,
    horizontal: _Frequency,
    side: Annotated[int, Query(ge=1, le=512)] = 32,
    channels: Literal["1", "3"] = "3",
    quality: Annotated[int | None, Query(ge=1, le=100)] = None,
) -> Response:
    """The wave that layers are probed with, after JPEG where a quality is given; its contrast is five times as high."""
    picture = await asyncio.to_thread(wave, (vertical, horizontal), side, int(channels), quality)
    return Response(picture.quick_png(), headers={"Cache-Control": "private, max-age=3600"}, media_type="image/png")
