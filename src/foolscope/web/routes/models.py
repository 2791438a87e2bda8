"""The networks that are offered, and loading them."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import Query

from foolscope.models.architectures import OwnModel
from foolscope.web import schemas
from foolscope.web.networks import Networks, Offer, State
from foolscope.web.routes.common import ServicesHere, new_router

router = new_router("models")


@router.get("/models")
async def models(services: ServicesHere) -> schemas.ModelList:
    """All networks, and whether they can be used."""
    networks = services.networks
    states = await asyncio.to_thread(lambda: {model: networks.state(model) for model in list(networks.offers)})
    return schemas.ModelList(
        models=[_entry(networks, networks.offers[model], state) for model, state in states.items()]
    )


@router.post("/models/load", status_code=202)
async def load(body: schemas.LoadRequest, services: ServicesHere) -> schemas.ModelEntry:
    """Begin to load a network, downloading what it needs; its state then tells how far that is."""
    networks = services.networks
    offer = networks.offer(body.model)
    if networks.info(offer.model) is None:
        networks.load(offer.model)
    return _entry(networks, offer, await asyncio.to_thread(networks.state, offer.model))


@router.get("/classes")
async def classes(services: ServicesHere, model: Annotated[str, Query(max_length=300)]) -> schemas.ClassNames:
    """The names of a network's classes."""
    return schemas.ClassNames(model=model, classes=await services.lab.classes(model))


def _entry(networks: Networks, offer: Offer, state: State) -> schemas.ModelEntry:
    kind, card, info = offer.kind, offer.card, networks.info(offer.model)
    shape, count = (info.input_shape, info.num_classes) if info else (None, None)
    trained_on = info.trained_on if info else None
    if card is not None and issubclass(kind, OwnModel):
        shape, trained_on = card.input_shape or kind.default_shape, card.data
        count = len(card.class_names) if card.class_names else count
    elif offer.group == "imagenet":
        shape, trained_on, count = (3, None, None), "imagenet", 1000
    return schemas.ModelEntry(
        model=offer.model,
        group=offer.group,
        summary=kind.summary,
        source=kind.source,
        trained_on=trained_on,
        accuracy=card.accuracy if card else None,
        robust_accuracy=card.robust_accuracy if card else None,
        input_shape=list(shape) if shape else None,
        classes=count,
        state=state.name,
        detail=state.detail,
        progress=state.progress,
        loaded=state.loaded,
    )
