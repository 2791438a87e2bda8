"""The catalog of experiments as the page shows it, and what a run of one is asked for."""

from __future__ import annotations

import math
import threading
from typing import Any

from foolscope.errors import ParameterError
from foolscope.experiments.catalog import EXPERIMENTS
from foolscope.experiments.experiment import Experiment
from foolscope.experiments.provenance import versions
from foolscope.experiments.running import Asked, Planned, plan
from foolscope.report.words import counted
from foolscope.spec import describe_parameters
from foolscope.web import experiment_schemas as schemas
from foolscope.web.gallery import Gallery, Source
from foolscope.web.job_requests import JobRequest, short_title
from foolscope.web.lab import Caller
from foolscope.web.problems import GoneError
from foolscope.web.queues import Lane
from foolscope.web.schemas import ExperimentRequest, Repetition, SetEntry

_EVERYWHERE = "digits"
"""The data set on which every experiment runs, and which is always there."""
_MOST_VALUES = 100
"""So many combinations of a request's values are planned: a hundred radii take seconds."""


class Experimenting:
    """The catalog, and plans of runs; its coroutines are the event loop's.

    Jobs are checked in a lane of their own: no estimate, which a page asks for by itself, holds one up.
    """

    def __init__(self, gallery: Gallery, queue: int) -> None:
        self._gallery = gallery
        self._checks = Lane("check", queue, torch_threads=1)
        self._estimates = Lane("estimate", queue, torch_threads=1)

    def close(self) -> None:
        """Let the threads end."""
        self._checks.close()
        self._estimates.close()

    def catalog(self) -> list[schemas.ExperimentEntry]:
        """Every experiment, in the report's order."""
        sources = self._gallery.sources()
        return [_entry(kind, sources) for kind in EXPERIMENTS.values()]

    def entry(self, name: str) -> schemas.ExperimentEntry:
        """One of them.  Raises `SpecError` with the nearest names."""
        return _entry(EXPERIMENTS[name], self._gallery.sources())

    async def checked(self, body: ExperimentRequest, caller: Caller) -> JobRequest:
        """The job that a request asks for.  Raises what `plan` does, and `NotFoundError` for the data."""

        def work(stop: threading.Event) -> JobRequest:
            planned = self._planned(body, stop)
            return JobRequest(_title(body, planned), body.model_dump(), _again(planned.asked))

        return await self._checks.run(work, caller.name, caller.gone)

    async def estimate(self, body: ExperimentRequest, caller: Caller) -> schemas.RunEstimate:
        """What of a run the store holds, and what the rest will take.  Raises as `checked`."""

        def work(stop: threading.Event) -> schemas.RunEstimate:
            planned = self._planned(body, stop)
            found = planned.estimate()
            return schemas.RunEstimate(
                cells=found.cells,
                done=found.done,
                failed=found.failed,
                seconds=found.seconds,
                bytes=found.size,
                unknown_cells=found.unknown_cells,
                images=len(planned.sample.data),
                of=planned.sample.data.total,
                preview=planned.is_preview,
                reproduce=Repetition(**_again(planned.asked)),
            )

        return await self._estimates.run(work, caller.name, caller.gone)

    def _planned(self, body: ExperimentRequest, stop: threading.Event) -> Planned:
        _check_values(body)
        planned = plan(asked_of(body.model_dump(), self._gallery), offline=True)
        if stop.is_set():
            raise GoneError("the caller left.")
        return planned


def asked_of(asked: dict[str, Any], gallery: Gallery) -> Asked:
    """What a request asks for, as the library takes it.  Raises `NotFoundError` for the data."""
    values = ExperimentRequest.model_validate(asked)
    spec = gallery.source(values.data).spec
    return Asked(name=values.experiment, data=spec, settings=values.settings, limit=values.limit, seed=values.seed)


def _check_values(body: ExperimentRequest) -> None:
    """Raise `ParameterError` where the settings name more combinations than are planned here."""
    count = math.prod(len(value.split("|" if "|" in value else ",")) for value in body.settings.values())
    if count > _MOST_VALUES:
        raise ParameterError(
            f"settings: {count:,} combinations of values, at most {_MOST_VALUES} are run here: "
            f"'foolscope run {body.experiment}' has no limit."
        )


def _entry(kind: type[Experiment], sources: list[Source]) -> schemas.ExperimentEntry:
    told = kind.told()
    meant = [*kind.on, *([] if _EVERYWHERE in kind.on else [_EVERYWHERE])]
    fitting = [source for spec in meant for source in sources if source.spec == spec]
    return schemas.ExperimentEntry(
        name=kind.name,
        figure=kind.figure,
        summary=kind.summary,
        what=told["what"],
        seed=told["seed"],
        differences=told["differences"],
        data=list(kind.on),
        sets=[SetEntry(set=source.id, title=source.title) for source in fitting],
        usual=kind.usual,
        settings=describe_parameters(kind),
    )


def _title(body: ExperimentRequest, planned: Planned) -> str:
    parts = [f"preview of {counted(len(planned.sample.data), 'image')}"] if planned.is_preview else []
    parts += [f"{key}={value}" for key, value in body.settings.items()]
    parts += [f"seed {body.seed}"] if body.seed else []
    about = "; ".join(parts) or counted(len(planned.sample.data), "image")
    return short_title(f"{body.experiment} on {body.data}: {about}")


def _again(asked: Asked) -> dict[str, Any]:
    given = {"settings": asked.settings or None, "limit": asked.limit, "seed": asked.seed or None}
    more = "".join(f", {key}={value!r}" for key, value in given.items() if value is not None)
    python = [
        "import foolscope as fs",
        "from foolscope.report.gallery import write_run",
        "",
        f"result = fs.experiments.run({asked.name!r}, {asked.data!r}{more})",
        f"write_run(result, {asked.name!r})",
    ]
    return {"command": asked.command(), "python": "\n".join(python) + "\n", "versions": versions()}
