"""Saved chains of filters."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import Annotated, Literal

from fastapi import Query, Request, Response

from foolscope.filters import Chain
from foolscope.web import schemas
from foolscope.web.chains import Kept, to_thesis
from foolscope.web.routes.common import ServicesHere, new_router

router = new_router("chains")

_FILE = {"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}}


@router.get("/chains")
async def chains(services: ServicesHere) -> schemas.ChainList:
    """The shipped chains, then the saved ones, oldest first."""
    return schemas.ChainList(chains=[_entry(kept) for kept in await asyncio.to_thread(services.chains.listed)])


@router.post("/chains", status_code=201)
async def save(body: schemas.ChainRequest, services: ServicesHere) -> schemas.ChainEntry:
    """Save a chain."""

    def work() -> Kept:
        return services.chains.add(replace(services.chains.chain(body.spec), title=body.title))

    return _entry(await asyncio.to_thread(work))


@router.post("/chains/import", status_code=201, openapi_extra=_FILE)
async def import_chain(
    request: Request,
    services: ServicesHere,
    ids: Annotated[Literal["thesis", "code"], Query()] = "thesis",
    title: Annotated[str, Query(max_length=100)] = "",
) -> schemas.ChainEntry:
    """Save the chain in a file, one of ours or of the thesis."""
    content = await request.body()

    def work() -> Kept:
        chain = Chain.from_json(content, ids=ids, name="the file")
        return services.chains.add(replace(chain, title=title) if title else chain)

    return _entry(await asyncio.to_thread(work))


@router.get("/chains/{name}")
async def chain(name: str, services: ServicesHere) -> schemas.ChainEntry:
    """One chain."""
    return _entry(await asyncio.to_thread(services.chains.get, name))


@router.patch("/chains/{name}")
async def change(name: str, body: schemas.ChainChange, services: ServicesHere) -> schemas.ChainEntry:
    """Give a saved chain another title, other filters, or both."""

    def work() -> Kept:
        return services.chains.change(name, title=body.title, spec=body.spec)

    return _entry(await asyncio.to_thread(work))


@router.delete("/chains/{name}", status_code=204)
async def delete(name: str, services: ServicesHere) -> Response:
    """Forget a saved chain."""
    await asyncio.to_thread(services.chains.delete, name)
    return Response(status_code=204)


@router.get("/chains/{name}/export")
async def export(
    name: str, services: ServicesHere, format: Annotated[Literal["foolscope", "thesis"], Query()] = "foolscope"
) -> Response:
    """A chain as a file."""
    kept = await asyncio.to_thread(services.chains.get, name)
    text = kept.chain.to_json() if format == "foolscope" else to_thesis(kept.chain)
    stem = re.sub(r"[^A-Za-z0-9]+", "-", kept.chain.title).strip("-")[:60] or "chain"
    headers = {"Content-Disposition": f'attachment; filename="{stem}.json"'}
    return Response(text, headers=headers, media_type="application/json")


def _entry(kept: Kept) -> schemas.ChainEntry:
    return schemas.ChainEntry(
        id=kept.id,
        title=kept.chain.title,
        saved=kept.saved,
        spec=kept.chain.spec(),
        steps=[
            schemas.Step(filter=step.name, strength=step.strength, intensity=step.intensity)
            for step in kept.chain.filters
        ],
    )
