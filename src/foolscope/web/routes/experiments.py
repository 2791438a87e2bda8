"""The catalog of experiments; they are run as jobs."""

from __future__ import annotations

import asyncio

from foolscope.web import experiment_schemas as schemas
from foolscope.web.routes.common import CallerHere, ServicesHere, new_router
from foolscope.web.schemas import ExperimentRequest

router = new_router("experiments")


@router.get("/experiments")
async def experiments(services: ServicesHere) -> schemas.ExperimentList:
    """Every experiment."""
    return schemas.ExperimentList(experiments=await asyncio.to_thread(services.experimenting.catalog))


@router.get("/experiments/{name}")
async def experiment(name: str, services: ServicesHere) -> schemas.ExperimentEntry:
    """One experiment."""
    return await asyncio.to_thread(services.experimenting.entry, name)


@router.post("/experiments/estimate")
async def estimate(body: ExperimentRequest, services: ServicesHere, caller: CallerHere) -> schemas.RunEstimate:
    """What of a run is done already, and what the rest will take."""
    return await services.experimenting.estimate(body, caller)
