"""Long work: jobs, their events, and the reports that come out."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Literal

from fastapi import Depends, Header, Query, Response
from fastapi.responses import FileResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from foolscope.errors import MissingError
from foolscope.web import schemas
from foolscope.web.events import MOST_JOBS, Events
from foolscope.web.job_kinds import KINDS
from foolscope.web.job_requests import JobRequest, checked
from foolscope.web.jobs import UNFINISHED, Job, as_json
from foolscope.web.problems import NotFoundError
from foolscope.web.routes.common import CallerHere, ServicesHere, new_router
from foolscope.web.services import Services

router = new_router("jobs")

_REPORT_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""A report brings a policy of its own, which knows its style sheet by its hash; this one holds besides."""
_TYPES = {
    "report.html": "text/html",
    "results.json": "application/json",
    "results.parquet": "application/vnd.apache.parquet",
    "evolution.json": "application/json",
    "run.json": "application/json",
    "findings.json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".gif": "image/gif",
    ".csv": "text/csv",
    ".parquet": "application/vnd.apache.parquet",
}
_FILE = re.compile(r"[A-Za-z0-9_=-]+(\.svg|\.png|\.gif|\.csv|\.parquet)")


@router.post("/jobs", status_code=202)
async def start(body: schemas.JobRequest, services: ServicesHere, caller: CallerHere) -> schemas.JobEntry:
    """Start a job."""
    if isinstance(body, schemas.ExperimentRequest):
        wanted = await services.experimenting.checked(body, caller)
        return job_entry(await asyncio.to_thread(_submitted, services, body.kind, wanted))
    offer = services.networks.offer(body.model)

    def work() -> Job:
        if (state := services.networks.state(offer.model)).name not in ("ready", "loading", "failed"):
            raise MissingError(f"{offer.model} is not at hand: {state.detail or state.name}.")
        return _submitted(services, body.kind, checked(body, offer, services.gallery))

    return job_entry(await asyncio.to_thread(work))


@router.get("/jobs")
async def jobs(services: ServicesHere) -> schemas.JobList:
    """All jobs, newest first."""
    return schemas.JobList(jobs=[job_entry(job) for job in await asyncio.to_thread(services.jobs.listed)])


@router.get("/jobs/{name}")
async def job(name: str, services: ServicesHere) -> schemas.JobEntry:
    """One job."""
    return job_entry(await asyncio.to_thread(services.jobs.get, name))


@router.post("/jobs/{name}/cancel", status_code=202)
async def cancel(name: str, services: ServicesHere) -> schemas.JobEntry:
    """Ask a job to stop."""
    return job_entry(await asyncio.to_thread(services.jobs.cancel, name))


@router.post("/jobs/{name}/resume", status_code=202)
async def resume(name: str, services: ServicesHere) -> schemas.JobEntry:
    """Go on with a job that was cancelled, interrupted, or failed."""
    return job_entry(await asyncio.to_thread(services.jobs.resume, name))


@router.delete("/jobs/{name}", status_code=204)
async def delete(name: str, services: ServicesHere) -> Response:
    """Forget a job and its report."""
    await asyncio.to_thread(services.jobs.delete, name)
    return Response(status_code=204)


def listened(
    services: ServicesHere,
    job: Annotated[list[str], Query(max_length=MOST_JOBS)] = [],  # noqa: B006 -- read only
    last_event_id: Annotated[str, Header(max_length=2000)] = "",
) -> Events:
    """The events that are asked for; here rather than below, where an answer has begun already."""
    names = job or [found.id for found in services.jobs.listed() if found.state in UNFINISHED]
    return Events(services.jobs, names[:MOST_JOBS], last_event_id)


@router.get("/events", response_class=EventSourceResponse)
async def events(
    services: ServicesHere, events: Annotated[Events, Depends(listened)]
) -> AsyncIterator[ServerSentEvent]:
    """What happens to jobs, as server-sent events."""
    async for event in events.stream(services.stopping):
        yield event


@router.get("/reports")
async def reports(services: ServicesHere) -> schemas.ReportList:
    """The reports of finished jobs, newest first."""
    found = await asyncio.to_thread(services.jobs.listed)
    return schemas.ReportList(reports=[_report_entry(job) for job in found if job.page and job.kind in KINDS])


@router.get("/reports/{name}/{file}", response_class=FileResponse)
async def report(
    name: str,
    file: Literal["report.html", "results.json", "results.parquet", "evolution.json", "run.json", "findings.json"],
    services: ServicesHere,
) -> FileResponse:
    """A report's page or data."""
    path: Path = services.jobs.folder(name).report / file
    if not path.is_file():
        raise NotFoundError(f"job {name} has no {file} yet.")
    headers = {"Content-Security-Policy": _REPORT_POLICY} if file == "report.html" else {}
    return FileResponse(path, media_type=_TYPES[file], headers=headers)


@router.get("/reports/{name}/{folder}/{file}", response_class=FileResponse)
async def report_file(name: str, folder: Literal["figures", "data"], file: str, services: ServicesHere) -> FileResponse:
    """A figure of an experiment, or the numbers behind one, as a file to keep."""
    path: Path = services.jobs.folder(name).report / folder / file
    known = _FILE.fullmatch(file)
    if known is None or not path.is_file():
        raise NotFoundError(
            f"job {name} has no {folder}/{file[:80]}: GET /api/v1/reports/{name}/findings.json lists all."
        )
    headers = {"Content-Security-Policy": _REPORT_POLICY}
    return FileResponse(path, media_type=_TYPES[known[1]], headers=headers, filename=f"{name[-8:]}-{file}")


def _submitted(services: Services, kind: str, wanted: JobRequest) -> Job:
    return services.jobs.submit(kind, wanted.title, wanted.asked, wanted.reproduce)


def job_entry(job: Job) -> schemas.JobEntry:
    """A job as answers tell it."""
    return schemas.JobEntry(**as_json(job))


def _report_entry(job: Job) -> schemas.ReportEntry:
    place = f"/api/v1/reports/{job.id}"
    data = {field: f"{place}/{file}" for field, file in KINDS[job.kind].data.items()}
    return schemas.ReportEntry(
        id=job.id,
        kind=job.kind,
        title=job.title,
        created=job.created,
        page=f"{place}/report.html",
        json=data["json"],
        parquet=data.get("parquet"),
    )
