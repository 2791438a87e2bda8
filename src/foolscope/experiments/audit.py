"""The main job: attack a classifier, with and without defenses, and gather what was found.

An audit is a list of cells: for each block of images one clean cell, and one attack cell for each attack, epsilon and
source (the plain network, then each defense adaptively).  Cells that the store holds are not computed again, so the
same call after a kill or with more epsilons only does what is missing; with more images whole blocks are reused.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from foolscope.attacks import Attack, Progress
from foolscope.data import ImageSet, load_data
from foolscope.defenses import parse_defense
from foolscope.errors import InputError, ParameterError, SpecError
from foolscope.experiments.audit_about import Asked, about
from foolscope.experiments.cells import (
    PLAIN,
    SAMPLES,
    AttackJob,
    Subject,
    block_rows,
    clean_cell,
    clean_spec,
)
from foolscope.experiments.examined import LIMIT, PASSES, ExaminationJob, Examined, examination_jobs
from foolscope.experiments.grid import AttackGrid, attack_grids, eps_of, parse_eps, parse_eps_by_norm
from foolscope.experiments.provenance import DEFAULT_EOT
from foolscope.experiments.results import Record, Results, Sample
from foolscope.experiments.sanity import clean_warnings, curve_warnings
from foolscope.experiments.store import Store
from foolscope.files import check_home, home
from foolscope.masking import Examination
from foolscope.models import describe, load_model
from foolscope.models.engine import Precision
from foolscope.randomness import check_seed

DEFAULT_ATTACKS = ("fgsm", "pgd")

_log = logging.getLogger("foolscope")
_CLEAN_PASSES = 3
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class AuditProgress:
    """Where an audit stands.  `passes` counts the work that is done, in passes over an image, out of `total_passes`.

    `reused` cells of `cells` were on the store already.  `attack` is the running attack's own progress.
    """

    label: str
    done: int
    cells: int
    reused: int
    passes: float
    total_passes: float
    attack: Progress | None = None


AuditWatch = Callable[[AuditProgress], None]


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What to audit: the model with its engines, images, attacks with their radii, and defenses (specs)."""

    subject: Subject
    data: ImageSet
    grids: tuple[AttackGrid, ...]
    defenses: tuple[str, ...]
    seed: int
    precision: Precision
    examinations: tuple[ExaminationJob, ...] = ()

    @property
    def victims(self) -> tuple[str, ...]:
        """The plain network, then each defense."""
        return (PLAIN, *self.defenses)

    def jobs(self) -> list[AttackJob]:
        """Every attack at every radius: on the plain network, oblivious of the defenses, and on each defense.

        Minimum-norm attacks are not run obliviously: what lies just across the plain network's boundary would flatter
        every defense.
        """
        met = [(PLAIN, (PLAIN,)), *([(PLAIN, self.defenses)] if self.defenses else [])]
        return [
            AttackJob(
                attack=attack, source=source, victims=victims, seed=self.seed, precision=self.precision,
                eot=self.subject.engines[source].draws,
            )
            for source, victims in [*met, *((defense, (defense,)) for defense in self.defenses)]
            for grid in self.grids
            for attack in grid.attacks
            if self.subject.engines[source].info.differentiable or not attack.needs_gradients
            if source in victims or not attack.minimum_norm
        ]  # fmt: skip

    def radii(self, attack: Attack) -> tuple[float | None, ...]:
        """The radii that one run of an attack is told at; (None,) of an unrestricted one."""
        if not attack.minimum_norm:
            return (eps_of(attack),)
        return next(grid.eps for grid in self.grids if grid.attack == attack)

    def run(self, store: Store, watch: AuditWatch | None = None) -> Found:
        """Compute the cells that the store lacks, and return what all of them hold."""
        return _Runner(self, store, watch).run()


NDArrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the cells of an audit hold; `clean` are the arrays a block."""

    clean: list[NDArrays]
    records: list[Record]
    samples: list[Sample]
    examinations: list[Examined]


class _Runner:
    """Walks through the cells of one audit."""

    def __init__(self, audit: Audit, store: Store, watch: AuditWatch | None) -> None:
        self.audit, self.store, self.watch = audit, store, watch
        self.jobs, self.blocks = audit.jobs(), block_rows(audit.data)
        self.cells = len(self.blocks) * (1 + len(self.jobs)) + len(audit.examinations)
        self.examined = PASSES * min(LIMIT, len(audit.data))
        per_image = _CLEAN_PASSES + sum(job.attack.passes + 1 for job in self.jobs)
        self.total_passes = float(per_image * len(audit.data) + len(audit.examinations) * self.examined)
        self.done = self.reused = 0
        self.passes = 0.0

    def run(self) -> Found:
        clean = []
        for rows in self.blocks:
            block = self.audit.data.rows(rows)
            clean.append(self._clean(block))
            self._finished("clean accuracy", _CLEAN_PASSES * len(block))
        records: list[Record] = []
        samples: list[Sample] = []
        for job in self.jobs:
            parts, seconds = [], 0.0
            for rows in self.blocks:
                arrays, cost = self._attack(job, self.audit.data.rows(rows), first=rows.start == 0)
                if rows.start == 0:
                    samples += self._samples(job, arrays, clean[0])
                parts.append({name: value for name, value in arrays.items() if not name.startswith("sample_")})
                seconds += cost
            records += self._records(job, _joined(parts), _joined(clean), seconds)
        examinations = [self._examine(job) for job in self.audit.examinations]
        return Found(clean=clean, records=records, samples=samples, examinations=examinations)

    def _examine(self, job: ExaminationJob) -> Examined:
        spec, label = job.spec(self.audit.subject, self.audit.data), f"examining {job.victim or 'the plain network'}"
        if (cell := self.store.load(spec)) is None:
            found = job.run(self.audit.subject, self.audit.data, lambda p: self._tell(f"{label}: {p.attack}"))
            self.store.save(spec, {}, found.to_dict())
        else:
            found = Examination.from_dict(cell.info)
            self.reused += 1
        self._finished(label, self.examined)
        return Examined(defense=job.victim, examination=found)

    def _clean(self, block: ImageSet) -> NDArrays:
        spec = clean_spec(self.audit.subject, block, self.audit.victims)
        if (cell := self.store.load(spec)) is None:
            arrays = clean_cell(self.audit.subject, block, self.audit.victims)
            self.store.save(spec, arrays, {})
            return arrays
        self.reused += 1
        return cell.arrays

    def _attack(self, job: AttackJob, block: ImageSet, *, first: bool) -> tuple[NDArrays, float]:
        spec = job.spec(self.audit.subject, block, keeps_samples=first)
        label = f"{job.attack.spec()} on {job.source or 'the plain network'}"
        cost = (job.attack.passes + 1) * len(block)
        if (cell := self.store.load(spec)) is None:
            arrays, info = job.run(self.audit.subject, block, first, lambda p: self._tell(label, p, cost))
            self.store.save(spec, arrays, info)
        else:
            # Cells of earlier versions, which ended at the first gradient that was not finite, mark no image.
            arrays, info = {"broken": np.zeros(len(block), dtype=np.bool_), **cell.arrays}, cell.info
            self.reused += 1
        self._finished(label, cost)
        return arrays, float(info["seconds"])

    def _finished(self, label: str, passes: float) -> None:
        self.done += 1
        self.passes += passes
        self._tell(label)

    def _tell(self, label: str, attack: Progress | None = None, cost: float = 0.0) -> None:
        if self.watch:
            inside = (
                cost * attack.step / max(1, attack.steps) * (attack.done + attack.active) / attack.total
                if attack
                else 0.0
            )
            progress = AuditProgress(
                label=label, done=self.done, cells=self.cells, reused=self.reused,
                passes=self.passes + inside, total_passes=self.total_passes, attack=attack,
            )  # fmt: skip
            self.watch(progress)

    def _records(self, job: AttackJob, arrays: NDArrays, clean: NDArrays, seconds: float) -> list[Record]:
        """One record a victim and radius: its predictions beside what all share."""
        records = []
        for number, victim in enumerate(job.victims):
            shared = {name: value for name, value in arrays.items() if not name.startswith("prediction_")}
            own = {
                "prediction": arrays[f"prediction_{number}"],
                "prediction_saved": arrays[f"prediction_saved_{number}"],
            }
            untouched = clean[f"prediction_{self.audit.victims.index(victim)}"]
            whole = Record(
                attack=job.attack, source=job.source, victim=victim, arrays=shared | own, seconds=seconds, eps=None
            )
            records += [
                whole.within(eps, untouched) if eps is not None and job.attack.minimum_norm else replace(whole, eps=eps)
                for eps in self.audit.radii(job.attack)
            ]
        return records

    def _samples(self, job: AttackJob, arrays: NDArrays, clean: NDArrays) -> list[Sample]:
        """The first images that the source classifies right untouched, with every victim's predictions."""
        source = self.audit.victims.index(job.source)
        right = clean[f"prediction_{source}"][:SAMPLES] == clean["label"][:SAMPLES]
        return [
            Sample(
                index=int(index),
                label=int(arrays["label"][index]),
                attack=job.attack.spec(),
                eps=eps_of(job.attack),
                source=job.source,
                image=arrays["sample_images"][index],
                adversarial=arrays["sample_adversarial"][index],
                clean_predictions={
                    v: int(clean[f"prediction_{self.audit.victims.index(v)}"][index]) for v in job.victims
                },
                predictions={v: int(arrays[f"prediction_{n}"][index]) for n, v in enumerate(job.victims)},
            )
            for index in np.flatnonzero(right)[:_SHOWN]
        ]


def _joined(parts: list[NDArrays]) -> NDArrays:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def audit(
    model: str | nn.Module,
    data: str | ImageSet,
    attacks: Sequence[str | Attack] = DEFAULT_ATTACKS,
    *,
    eps: str | Sequence[float] | dict[str, tuple[float, ...]] | None = None,
    defenses: Sequence[str] = (),
    split: str = "test",
    limit: int | None = None,
    seed: int = 0,
    precision: Precision = "float32",
    device: str | None = None,
    eot: int = DEFAULT_EOT,
    examine: bool = False,
    store: Store | None = None,
    watch: AuditWatch | None = None,
    offline: bool = False,
) -> Results:
    """Attack `model` on `data` and return the `Results`; `report.write` turns them into files.

    `model` and `data` are specs or the things themselves, `attacks` specs or attacks, `defenses` specs.  `eps` is a
    grid ('0:0.3:0.05', '1/255,2/255'), a sequence of radii, or a grid a norm; without it an attack's own `eps` counts
    where its spec gives one, else a usual grid.  `limit` takes that many random images (`seed` chooses them).
    Adaptive attacks on defenses that draw random numbers follow the mean of `eot` gradients (expectation over
    transformation).  With `examine` each network is examined at the reference radius: can the numbers be believed?
    Finished cells are kept in `store` (default: under `FOOLSCOPE_HOME`), so the same call resumes.
    Raises `SpecError` and `ParameterError` for what is asked, `InputError` where model and data do not fit.
    """
    check_seed(seed)
    if store is None:
        check_home()
    if isinstance(data, str):
        images = load_data(data, split, limit, seed, offline=offline)
    else:
        images = data if limit is None else data.limit(limit, seed)
    network = load_model(model, images.task, offline=offline) if isinstance(model, str) else model
    images = images.aligned_to(network)
    images.check_against(network)
    if len(images) == 0:
        raise InputError(f"{images.name} has no images to audit.")
    specs = tuple(dict.fromkeys(parse_defense(text).spec() for text in defenses))
    grids = attack_grids(attacks, _grids(eps), images.pixels.shape[3:] + images.pixels.shape[1:3])
    if not describe(network).differentiable and (bad := [g.label for g in grids if g.attack.needs_gradients]):
        raise SpecError(
            f"{describe(network).name} gives no gradients: {', '.join(bad)} cannot attack it; "
            "square and filter:chain=agv-b can."
        )
    if eot < 1:
        raise ParameterError(f"eot must be at least 1, got {eot}.")
    subject = Subject.of(network, specs, precision, device, eot)
    _check_outputs(subject, images)
    plan = Audit(
        subject=subject,
        data=images,
        grids=grids,
        defenses=specs,
        seed=seed,
        precision=precision,
        examinations=examination_jobs(grids, (PLAIN, *specs), seed) if examine else (),
    )
    found = plan.run(store or Store(home() / "store"), watch)
    asked = Asked(model if isinstance(model, str) else None, data if isinstance(data, str) else None, device, eot)
    return _results(plan, asked, found)


def _check_outputs(subject: Subject, data: ImageSet) -> None:
    """Raise `InputError` where the model, which need not declare its classes, answers with too few logits."""
    count = subject.engines[PLAIN].num_classes(data.rows(slice(0, 1)).images)
    if count < data.num_classes:
        name = describe(subject.model).name
        raise InputError(f"{data.name} has {data.num_classes} classes, but {name} gives {count} logits.")


def _grids(eps: str | Sequence[float] | dict[str, tuple[float, ...]] | None) -> dict[str, tuple[float, ...]]:
    if eps is None:
        return {}
    if isinstance(eps, dict):
        texts = {norm: ",".join(map(str, radii)) for norm, radii in eps.items()}
        return parse_eps_by_norm(f"{norm}={text}" if norm else text for norm, text in texts.items())
    return {"": parse_eps(eps if isinstance(eps, str) else ",".join(str(value) for value in eps))}


def _results(plan: Audit, asked: Asked, found: Found) -> Results:
    joined = _joined(found.clean)
    results = Results(
        about=about(plan, asked),
        class_names=plan.data.class_names or describe(plan.subject.model).class_names,
        clean=joined,
        victims=plan.victims,
        records=tuple(found.records),
        samples=tuple(found.samples),
        examinations=tuple(found.examinations),
        warnings=tuple(clean_warnings(joined)),
        origin=None if plan.data.origin is None else plan.data.origin.numpy(),
    )
    return replace(results, warnings=(*results.warnings, *curve_warnings(results)))


__all__ = ["DEFAULT_ATTACKS", "Audit", "AuditProgress", "AuditWatch", "audit"]
