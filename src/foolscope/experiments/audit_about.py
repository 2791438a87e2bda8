"""What an audit says of itself: what was attacked, and how to repeat it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from foolscope.experiments.cells import SAMPLES
from foolscope.experiments.grid import AttackGrid, specs_and_eps
from foolscope.experiments.provenance import ParameterCount, Repetition, machine, versions
from foolscope.models import describe

if TYPE_CHECKING:
    from foolscope.experiments.audit_jobs import Audit


@dataclass(frozen=True)
class Asked:
    """The specs that model and data were named by, None for what was handed over as it is; the device, if any.

    `eot` is how many draws a gradient behind a random defense is the mean of, `black_box` how many queries the Square
    has that stands in for a black-box attack.
    """

    model: str | None
    data: str | None
    device: str | None
    eot: int
    black_box: int


def about(plan: Audit, asked: Asked) -> dict[str, Any]:
    """What was audited and how to repeat it."""
    info, data = describe(plan.subject.model), plan.data
    repetition = _repetition(plan, asked)
    places = (torch.arange(len(data)) if data.origin is None else data.origin)[:SAMPLES].tolist()
    return {
        "model": {
            "spec": asked.model,
            "name": info.name,
            "weights": info.weights,
            "trained_on": info.trained_on,
            **asdict(ParameterCount.of(plan.subject.model)),
            "digest": plan.subject.digest,
        },
        "data": {
            "spec": data.name,
            "split": data.split,
            "images": len(data),
            "of": data.total,
            "preview": data.is_preview,
            "digest": data.digest,
            "credits": dict(zip(map(str, places), data.credits, strict=False)) if data.credits else {},
        },
        "attacks": [_grid(grid) for grid in plan.grids],
        "companions": [_grid(grid) for grid in plan.companions],
        "defenses": list(plan.defenses),
        "seed": plan.seed,
        "precision": plan.precision,
        "command": repetition.command(),
        "python": repetition.python(),
        "versions": versions(),
        "machine": machine(),
    }


def _grid(grid: AttackGrid) -> dict[str, Any]:
    return {"name": grid.label, "norm": grid.norm, "eps": list(grid.eps)}


def _repetition(plan: Audit, asked: Asked) -> Repetition:
    attacks, eps = specs_and_eps(plan.grids)
    return Repetition(
        **vars(asked),
        split=plan.data.split,
        limit=len(plan.data) if plan.data.is_preview else None,
        attacks=attacks,
        eps=eps,
        defenses=plan.defenses,
        seed=plan.seed,
        precision=plan.precision,
        examine=bool(plan.examinations),
        explain=plan.explanations,
    )
