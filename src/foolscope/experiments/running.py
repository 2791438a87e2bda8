"""Run an experiment: compute what the store lacks, then show what it holds.

`plan` looks and computes nothing; `run` computes what is missing, under leases, and goes on where it was stopped.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from foolscope.errors import MissingError, ParameterError, SpecError, StorageError
from foolscope.experiments.catalog import EXPERIMENTS
from foolscope.experiments.executors import executor
from foolscope.experiments.experiment import Experiment, Found, Images, Library, Sample, Work
from foolscope.experiments.findings import Findings
from foolscope.experiments.provenance import machine, versions
from foolscope.experiments.runner import Rates, Runner, RunWatch
from foolscope.experiments.store import Store
from foolscope.files import check_home, home
from foolscope.models.classifier import check_shape
from foolscope.randomness import check_seed
from foolscope.spec import Spec, format_value


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked for, as `run.json` keeps it and `report` reads it again."""

    name: str
    data: str
    settings: dict[str, str]
    limit: int | None = None
    seed: int = 0

    def command(self) -> str:
        """The command that asks for the same."""
        import shlex

        parts = ["foolscope", "run", self.name, "--data", self.data]
        for key, value in self.settings.items():
            parts += ["--set", f"{key}={value}"]
        parts += ["--limit", str(self.limit)] if self.limit else []
        parts += ["--seed", str(self.seed)] if self.seed else []
        return shlex.join(parts)


@dataclass(frozen=True, kw_only=True)
class Planned:
    """An experiment with its images and its work, needs first; nothing is computed yet."""

    asked: Asked
    experiment: Experiment
    sample: Sample
    works: tuple[Work, ...]
    library: Library
    store: Store

    @property
    def is_preview(self) -> bool:
        """Whether fewer images were asked for than the experiment takes."""
        usual = self.experiment.usual or self.sample.data.total
        return self.asked.limit is not None and len(self.sample.data) < min(usual, self.sample.data.total)

    def missing(self) -> list[Work]:
        """The cells that are not in the store."""
        return [work for work in self.works if self.library.spec(work) not in self.store]

    def estimate(self) -> Estimate:
        """Done, to do, seconds and bytes."""
        missing, rates = self.missing(), Rates(self.store.root)
        cost = rates.of(missing)
        failed = {work.text: self.store.failure(self.library.spec(work)) for work in missing}
        return Estimate(
            cells=len(self.works),
            done=len(self.works) - len(missing),
            failed=sum(error is not None for error in failed.values()),
            seconds=cost.seconds,
            size=cost.size,
            unknown_cells=cost.unknown_cells,
        )


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What `--dry-run` tells.

    `seconds` of one worker and `size` in bytes leave out `unknown_cells`, of kinds that were never done on the data;
    they are None where all that are to do are such.
    """

    cells: int
    done: int
    failed: int
    seconds: float | None
    size: int | None
    unknown_cells: int


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """A finished run: what it shows, and with what it was made."""

    asked: Asked
    experiment: Experiment
    sample: Sample
    findings: Findings
    is_preview: bool
    computed: int
    reused: int
    seconds: float

    def about(self) -> dict[str, Any]:
        """What was run and how to repeat it, as JSON."""
        data = self.sample.data
        return {
            "experiment": self.experiment.name,
            "figure": self.experiment.figure,
            "settings": {f.name: getattr(self.experiment, f.name) for f in dataclasses.fields(self.experiment)},
            "data": {
                "spec": data.name, "split": data.split, "images": len(data), "of": data.total,
                "preview": self.is_preview, "digest": data.digest, "credits": list(dict.fromkeys(data.credits or ())),
            },
            "seed": self.asked.seed,
            "command": self.asked.command(),
            "versions": versions(),
            "machine": machine(),
        }  # fmt: skip


def default_store() -> Store:
    """The store under `FOOLSCOPE_HOME`, the same as that of audits."""
    return Store(home() / "store")


def parse_settings(texts: Sequence[str]) -> dict[str, str]:
    """Read `--set` values, KEY=VALUE each.  Raises `SpecError`."""
    settings: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise SpecError(f"--set: '{text}' is not KEY=VALUE, as in eps=0.1,0.2.")
        if key.strip() in settings:
            raise SpecError(f"--set: '{key.strip()}' is given twice.")
        settings[key.strip()] = value.strip()
    return settings


def plan(asked: Asked, *, store: Store | None = None, offline: bool = False) -> Planned:
    """Find out what an experiment consists of.

    Raises `SpecError` and `ParameterError` for what is asked, `MissingError` where data or weights are not there,
    `InputError` where data and networks do not fit, `StorageError` for a store of a newer schema.
    """
    store = store or default_store()
    store.check()
    check_seed(asked.seed)
    kind = EXPERIMENTS[asked.name]
    experiment = kind.from_spec(Spec(asked.name, None, tuple(asked.settings.items())))
    if asked.limit is not None and asked.limit < 1:
        raise ParameterError(f"limit must be at least 1, got {asked.limit}.")
    limit = min((n for n in (asked.limit, experiment.usual) if n is not None), default=None)
    library = Library(offline)
    images = Images(data=asked.data, split=experiment.split, limit=limit, seed=asked.seed)
    sample = Sample(data=library.images(images), images=images, library=library)
    works = _needs_first(experiment.cells(sample))
    _check_networks(works, library)
    return Planned(asked=asked, experiment=experiment, sample=sample, works=works, library=library, store=store)


def run(
    name: str,
    data: str | None = None,
    *,
    settings: dict[str, str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    jobs: str | int | None = None,
    store: Store | None = None,
    watch: RunWatch | None = None,
    offline: bool = False,
) -> RunResult:
    """Run an experiment of the catalog and return what it shows.

    `data` is a spec (default: the first that the experiment is meant for), `settings` change its grid as `--set` does,
    `limit` takes fewer images and makes a preview, `jobs` is a number of processes, `ray` or `ray:ADDRESS`.  Cells that
    the store (default: under `FOOLSCOPE_HOME`) holds are not computed again.  `watch` may raise `Cancelled`.
    Raises as `plan`, and `FoolscopeError` where cells failed: the same call tries them again.
    """
    kind = EXPERIMENTS[name]
    asked = Asked(name=name, data=data or kind.on[0], settings=settings or {}, limit=limit, seed=seed)
    if store is None:
        check_home()
    return run_planned(plan(asked, store=store, offline=offline), jobs=jobs, watch=watch)


def run_planned(planned: Planned, *, jobs: str | int | None = None, watch: RunWatch | None = None) -> RunResult:
    """Compute what is missing of a plan and show the whole."""
    begun, computed = time.perf_counter(), 0
    planned.store.open()
    while True:
        missing = planned.missing()
        if missing:
            with executor(jobs, missing, planned.library) as chosen:
                computed += Runner(planned.works, missing, planned.store, planned.library, chosen, watch).run()
        try:
            result = shown(planned)
        except MissingError:
            if not planned.missing():  # else damaged cells were found and set aside
                raise
            continue
        reused, seconds = len(planned.works) - computed, time.perf_counter() - begun
        return dataclasses.replace(result, computed=computed, reused=max(0, reused), seconds=seconds)


def shown(planned: Planned) -> RunResult:
    """What a finished run shows, from the store alone.  Raises `MissingError` where cells are not done."""
    return RunResult(
        asked=planned.asked,
        experiment=planned.experiment,
        sample=planned.sample,
        findings=planned.experiment.show(planned.sample, Found(planned.store, planned.library)),
        is_preview=planned.is_preview,
        computed=0,
        reused=len(planned.works),
        seconds=0.0,
    )


def read_asked(folder: Path) -> Asked:
    """What a run was asked for, from the `run.json` of its folder.  Raises `StorageError` where there is none."""
    path = folder / "run.json"
    try:
        return Asked(**json.loads(path.read_text())["asked"])
    except (OSError, ValueError, KeyError, TypeError):
        raise StorageError(
            f"{folder} holds no run: 'foolscope run NAME --out {folder}' makes one, "
            "and the same command goes on with a run that was stopped."
        ) from None


def described(kind: type[Experiment]) -> list[str]:
    """The settings of an experiment with their defaults, as `--set` takes them."""
    return [f"{field.name}={format_value(field.default)}" for field in dataclasses.fields(kind)]


def _check_networks(works: Sequence[Work], library: Library) -> None:
    """Raise `InputError` where a network declares that it takes other images than those of its cells."""
    for model, images in dict.fromkeys((work.model, work.images.whole) for work in works):
        if model is not None:
            height, width, channels = library.images(images).pixels.shape[1:]
            check_shape(library.model(model, images), torch.empty(0, channels, height, width))


def _needs_first(works: Sequence[Work]) -> tuple[Work, ...]:
    """Every piece of work once, each behind what it needs."""
    ordered: dict[Work, None] = {}

    def add(work: Work) -> None:
        for need in work.needs:
            add(need)
        ordered.setdefault(work)

    for work in works:
        add(work)
    return tuple(ordered)
