"""Predict, preview, attack, defend, detect."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Response

from foolscope.web import schemas
from foolscope.web.routes.common import CallerHere, ClientHere, ServicesHere, new_router

router = new_router("lab")

_PNG = {200: {"content": {"image/png": {}}, "description": "8 bits a channel"}}


@router.post("/predict")
async def predict(body: schemas.PredictRequest, services: ServicesHere, client: ClientHere) -> schemas.Prediction:
    """Classify a picture."""
    return await services.lab.predict(body, client)


@router.get("/preview.png", response_class=Response, responses=_PNG)  # type: ignore[arg-type]
async def preview(
    services: ServicesHere,
    caller: CallerHere,
    image: Annotated[str, Query(max_length=100)],
    chain: Annotated[str, Query(max_length=2000)],
    model: Annotated[str | None, Query(max_length=300)] = None,
) -> Response:
    """A picture after a chain of filters, as an attack with it would return it."""
    return Response(await services.lab.preview(image, model, chain, caller), media_type="image/png")


@router.post("/attack")
async def attack(body: schemas.AttackRequest, services: ServicesHere, caller: CallerHere) -> schemas.Attacked:
    """Attack a picture."""
    return await services.lab.attack(body, caller)


@router.post("/defend")
async def defend(body: schemas.DefendRequest, services: ServicesHere, caller: CallerHere) -> schemas.Defended:
    """Classify a picture after a defense."""
    return await services.lab.defend(body, caller)


@router.post("/detect")
async def detect(body: schemas.DetectRequest, services: ServicesHere, caller: CallerHere) -> schemas.Detection:
    """Score how suspicious a picture is."""
    return await services.lab.detect(body, caller)
