"""The main job: attack a classifier, with and without defenses, and gather what was found.

An audit is a list of cells: for each block of images one clean cell, and one attack cell for each attack, epsilon and
source (the plain network, then each defense adaptively).  Cells that the store holds are not computed again, so the
same call after a kill or with more epsilons only does what is missing; with more images whole blocks are reused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import nn

from foolscope.attacks import Attack
from foolscope.data import ImageSet, load_data
from foolscope.errors import InputError, ParameterError, SpecError
from foolscope.experiments.audit_about import Asked, about
from foolscope.experiments.audit_jobs import Audit, adaptive_sources, companions, distinct
from foolscope.experiments.audit_run import AuditProgress, AuditWatch, Found, Runner, Step, joined, steps
from foolscope.experiments.cells import PLAIN, Subject
from foolscope.experiments.examined import examination_jobs
from foolscope.experiments.explained import check_methods
from foolscope.experiments.grid import attack_grids, parse_eps, parse_eps_by_norm
from foolscope.experiments.provenance import DEFAULT_EOT, DEFAULT_QUERIES
from foolscope.experiments.results import Results
from foolscope.experiments.sanity import clean_warnings, curve_warnings
from foolscope.experiments.store import Store
from foolscope.files import check_home, home
from foolscope.models import describe, load_model
from foolscope.models.engine import Precision
from foolscope.randomness import check_seed

DEFAULT_ATTACKS = ("fgsm", "pgd")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An audit that is ready to run, as `plan_audit` makes it."""

    audit: Audit
    asked: Asked

    def steps(self, store: Store | None = None) -> list[Step]:
        """What will be done, and how much of it the store holds.  Nothing is computed."""
        return steps(self.audit, store or _usual_store())

    def run(self, store: Store | None = None, watch: AuditWatch | None = None) -> Results:
        """Compute what the store lacks, and return what was found."""
        return _results(self, Runner(self.audit, store or _usual_store(), watch).run())


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
    black_box: int = DEFAULT_QUERIES,
    examine: bool = False,
    explain: Sequence[str] = (),
    store: Store | None = None,
    watch: AuditWatch | None = None,
    offline: bool = False,
) -> Results:
    """Attack `model` on `data` and return the `Results`; `report.write` turns them into files.

    `model` and `data` are specs or the things themselves, `attacks` specs or attacks, `defenses` specs.  `eps` is a
    grid ('0:0.3:0.05', '1/255,2/255'), a sequence of radii, or a grid a norm; without it an attack's own `eps` counts
    where its spec gives one, else a usual grid.  `limit` takes that many random images (`seed` chooses them).
    Each defense meets the attacks obliviously and adaptively: along each of its gradients (straight-through, its smooth
    stand-in or its own), as the mean of `eot` gradients where it draws random numbers (expectation over
    transformation), and without any: by the black-box attacks among `attacks`, else by Square with `black_box` queries
    (0: none) at the reference radius.  With `examine` each network is examined there, too: can the numbers be believed?
    `explain` names methods that give maps, such as saliency: by them the strongest attack on the plain network is
    explained.
    Finished cells are kept in `store` (default: under `FOOLSCOPE_HOME`), so the same call resumes.
    Raises `SpecError` and `ParameterError` for what is asked, `InputError` where model and data do not fit.
    """
    place = store or _usual_store()
    plan = plan_audit(
        model, data, attacks, eps=eps, defenses=defenses, split=split, limit=limit, seed=seed, precision=precision,
        device=device, eot=eot, black_box=black_box, examine=examine, explain=explain, offline=offline,
    )  # fmt: skip
    return plan.run(place, watch)


def plan_audit(
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
    black_box: int = DEFAULT_QUERIES,
    examine: bool = False,
    explain: Sequence[str] = (),
    offline: bool = False,
) -> Plan:
    """What `audit` does with these arguments, before it does it: model and data are loaded, and all is checked."""
    check_seed(seed)
    if isinstance(data, str):
        images = load_data(data, split, limit, seed, offline=offline)
    else:
        images = data if limit is None else data.limit(limit, seed)
    network = load_model(model, images.task, offline=offline) if isinstance(model, str) else model
    images = images.aligned_to(network)
    images.check_against(network)
    if len(images) == 0:
        raise InputError(f"{images.name} has no images to audit.")
    specs = distinct(defenses)
    grids = attack_grids(attacks, _grids(eps), images.pixels.shape[3:] + images.pixels.shape[1:3])
    if not describe(network).differentiable and (bad := [g.label for g in grids if g.attack.needs_gradients]):
        raise SpecError(
            f"{describe(network).name} gives no gradients: {', '.join(bad)} cannot attack it; "
            "square and filter:chain=agv-b can."
        )
    if eot < 1:
        raise ParameterError(f"eot must be at least 1, got {eot}.")
    if black_box < 0:
        raise ParameterError(f"black_box must be at least 0 queries, got {black_box}.")
    sources = [source for spec in specs for source in (spec, *adaptive_sources(spec).values())]
    subject = Subject.of(network, tuple(dict.fromkeys(sources)), precision, device, eot)
    _check_outputs(subject, images)
    return Plan(
        audit=Audit(
            subject=subject,
            data=images,
            grids=grids,
            defenses=specs,
            seed=seed,
            precision=precision,
            companions=companions(grids, black_box) if specs else (),
            examinations=examination_jobs(grids, (PLAIN, *specs), seed) if examine else (),
            explanations=check_methods(explain, subject, images),
        ),
        asked=Asked(
            model if isinstance(model, str) else None, data if isinstance(data, str) else None, device, eot, black_box
        ),
    )


def _usual_store() -> Store:
    """The store under `FOOLSCOPE_HOME`.  Raises `StorageError` where nothing can be written there."""
    check_home()
    return Store(home() / "store")


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


def _results(plan: Plan, found: Found) -> Results:
    audited, clean = plan.audit, joined(found.clean)
    results = Results(
        about=about(audited, plan.asked),
        class_names=audited.data.class_names or describe(audited.subject.model).class_names,
        clean=clean,
        victims=audited.victims,
        records=tuple(found.records),
        samples=tuple(found.samples),
        examinations=tuple(found.examinations),
        explained=found.explained,
        warnings=tuple(clean_warnings(clean)),
        origin=None if audited.data.origin is None else audited.data.origin.numpy(),
    )
    return replace(results, warnings=(*results.warnings, *curve_warnings(results)))


__all__ = ["DEFAULT_ATTACKS", "Audit", "AuditProgress", "AuditWatch", "Plan", "Step", "audit", "plan_audit"]
