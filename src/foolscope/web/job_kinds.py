"""The kinds of jobs: what each does in its process, and how the time that it takes is told.

A kind gets its job's folder and what was asked for, tells its progress, and leaves a page in the folder's `report`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from foolscope.web.jobs import JobFolder

if TYPE_CHECKING:
    from foolscope.attacks.agv import Candidate
    from foolscope.experiments import AuditProgress
    from foolscope.experiments.evolve import EvolveProgress
    from foolscope.experiments.runner import RunProgress
    from foolscope.experiments.running import RunResult

_SEARCH = 0.9
"""The share of an evolution's progress that is its search; the rest is judging what was found."""


class Tell(Protocol):
    """Tells progress, not too often unless `at_once`.  Raises `Cancelled` where the job is to stop."""

    def __call__(self, progress: Mapping[str, Any], *, at_once: bool = False) -> None: ...


@dataclass(frozen=True)
class Kind:
    """What a kind of job does, and the data that its report comes with beside the page: by the answer's field."""

    work: Callable[[JobFolder, dict[str, Any], Tell], None]
    data: Mapping[str, str]


def _audit(folder: JobFolder, asked: dict[str, Any], tell: Tell) -> None:
    """Audit a network."""
    from foolscope.experiments import audit
    from foolscope.experiments.grid import parse_eps_by_norm
    from foolscope.report import write
    from foolscope.web.gallery import Gallery

    def watch(progress: AuditProgress) -> None:
        tell(
            {
                "label": progress.label,
                "share": round(progress.passes / progress.total_passes, 4),
                "done": progress.done,
                "cells": progress.cells,
                "reused": progress.reused,
            }
        )

    results = audit(
        asked["model"],
        Gallery().source(asked["data"]).spec,
        asked["attacks"],
        eps=parse_eps_by_norm(asked["eps"]) if asked["eps"] else None,
        defenses=asked["defenses"],
        limit=asked["limit"],
        seed=asked["seed"],
        watch=watch,
        offline=True,
    )
    write(results, folder.report)


def _evolve(folder: JobFolder, asked: dict[str, Any], tell: Tell) -> None:
    """Search chains of filters; the search's state lies beside the report."""
    from foolscope.experiments.evolve import evolve
    from foolscope.report.evolution_export import write_evolution
    from foolscope.web.gallery import Gallery

    objective = "detection" if asked["detector"] else "linf"
    told: dict[str, Any] = {"done": 0, "front": []}
    judging = False

    def watch(progress: EvolveProgress) -> None:
        nonlocal told, judging
        judging = judging or progress.done < told["done"]  # it counts the search's steps first, then chains
        done = progress.done / progress.total
        front = [_point(candidate, objective) for candidate in progress.front]
        is_news = front != told["front"]
        told = {
            "label": progress.label,
            "share": round(_SEARCH + (1 - _SEARCH) * done if judging else _SEARCH * done, 4),
            "done": progress.done,
            "cells": progress.total,
            "reused": 0,
            "objective": objective,
            "front": front,
        }
        tell(told, at_once=is_news)

    found = evolve(
        asked["model"],
        Gallery().source(asked["data"]).spec,
        filters=asked["filters"],
        population=asked["population"],
        epochs=asked["epochs"],
        pool=asked["pool"],
        detector=asked["detector"],
        images=asked["images"],
        held_out=asked["held_out"],
        seed=asked["seed"],
        folder=folder.path / "search",
        watch=watch,
        offline=True,
    )
    write_evolution(found, folder.report)


def _point(candidate: Candidate, objective: str) -> dict[str, Any]:
    """A chain of the front with what the search maximizes and minimizes of it."""
    value = candidate.detection if objective == "detection" else candidate.distances["linf"]
    linf = candidate.distances["linf"]
    return {"chain": candidate.chain.spec(), "asr": candidate.asr, objective: value, "linf": linf}


def _experiment(folder: JobFolder, asked: dict[str, Any], tell: Tell) -> None:
    """Run an experiment, cell by cell, and draw what the store then holds."""
    from foolscope.experiments.running import plan, run_planned
    from foolscope.files import write_json
    from foolscope.report.gallery import write_run
    from foolscope.web.experimenting import asked_of
    from foolscope.web.gallery import Gallery

    def watch(progress: RunProgress) -> None:
        tell(
            {
                "label": progress.label,
                "share": round(progress.passes / progress.total_passes, 4),
                "done": progress.done,
                "cells": progress.cells,
                "reused": progress.reused,
                "failed": progress.failed,
                "seconds_left": progress.seconds_left,
            }
        )

    planned = plan(asked_of(asked, Gallery()), offline=True)
    result = run_planned(planned, watch=watch)
    count = len(planned.works)
    tell({"label": "drawing", "share": 1.0, "done": count, "cells": count, "reused": result.reused}, at_once=True)
    write_run(result, folder.report)
    write_json(folder.report / "findings.json", _findings(result, folder))


def _findings(result: RunResult, folder: JobFolder) -> dict[str, Any]:
    """The report's sections and their style sheet, for a page that has the same colors; and each figure's files."""
    from foolscope.report.gallery import run_page

    page = run_page(result)
    files = [path for kind in ("figures", "data") for path in sorted((folder.report / kind).glob("*"))]
    stems = dict.fromkeys(path.stem for path in files)
    return {
        "experiment": result.experiment.name,
        "preview": result.is_preview,
        "images": len(result.sample.data),
        "of": result.sample.data.total,
        "html": _between(page, "<main>", "</main>"),
        "style": _between(page, "<style>", "</style>"),
        "files": [
            {"name": stem, "files": [f"{path.parent.name}/{path.name}" for path in files if path.stem == stem]}
            for stem in stems
        ],
    }


def _between(text: str, begin: str, end: str) -> str:
    return text.partition(begin)[2].partition(end)[0]


KINDS = {
    "audit": Kind(_audit, {"json": "results.json", "parquet": "results.parquet"}),
    "evolve": Kind(_evolve, {"json": "evolution.json"}),
    "experiment": Kind(_experiment, {"json": "run.json"}),
}
