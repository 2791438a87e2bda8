"""Whether the numbers of an audit can be believed: `masking.examine` of each of its networks, as cells of the store."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from foolscope.attacks import Watch
from foolscope.attacks.attack import LOOKS
from foolscope.data import ImageSet
from foolscope.defenses import parse_defense
from foolscope.errors import SpecError
from foolscope.experiments.cells import Subject
from foolscope.experiments.grid import AttackGrid
from foolscope.masking import Examination, examine
from foolscope.norms import NORMS

LIMIT = 256
"""Images that an examination takes at most."""

PASSES = 200
"""What an image is expected to cost, in forward and backward passes: about that where half of the images stand."""

_USUAL_LINF = (8 / 255, 0.3)


@dataclass(frozen=True, kw_only=True)
class Examined:
    """An examination and the network that it is about: a defense's spec, or '' for the network without one."""

    defense: str
    examination: Examination


@dataclass(frozen=True, kw_only=True)
class ExaminationJob:
    """An examination of one network of an audit, `victim`, at a radius in a norm.

    `source` is the same network with the gradient that is examined.
    """

    victim: str
    source: str
    norm: str
    eps: float
    seed: int

    def spec(self, subject: Subject, data: ImageSet) -> dict[str, Any]:
        """What decides the cell."""
        engine = subject.engines[self.source]
        return {
            "kind": "examination",
            "model": subject.digest,
            "data": data.digest,
            "name": data.name,  # decides which shipped network it is compared with
            "victim": self.source,
            "norm": self.norm,
            "eps": self.eps,
            "limit": LIMIT,
            "eot": engine.draws,
            "seed": self.seed,
            "precision": engine.precision,
            **({"looks": LOOKS} if engine.random else {}),
        }

    def run(self, subject: Subject, data: ImageSet, watch: Watch | None = None) -> Examination:
        """The examination."""
        engine = subject.engines[self.source]
        return examine(engine, data, self.eps, self.norm, limit=LIMIT, seed=self.seed, watch=watch)


def examination_jobs(grids: Iterable[AttackGrid], victims: tuple[str, ...], seed: int) -> tuple[ExaminationJob, ...]:
    """One job a network, at the reference radius of the first norm of an audit in which examinations are made.

    A defense that has a smooth stand-in is examined with it: that gradient is the one that says most.
    Raises `SpecError` where no attack has a radius in such a norm.
    """
    grids = tuple(grids)
    norm = next((grid.norm for grid in grids if grid.norm in NORMS), None)
    if norm is None:
        raise SpecError(f"an examination needs an attack with a radius in {', '.join(NORMS)}: add pgd.")
    eps = reference_radius(norm, sorted({eps for grid in grids if grid.norm == norm for eps in grid.eps}))
    return tuple(
        ExaminationJob(victim=victim, source=_smoothest(victim), norm=norm, eps=eps, seed=seed) for victim in victims
    )


def _smoothest(victim: str) -> str:
    """The spec of the defense with its smooth gradient, where it has one."""
    smooth = parse_defense(victim).variants().get("differentiable") if victim else None
    return smooth.spec() if smooth else victim


def reference_radius(norm: str, radii: Iterable[float]) -> float:
    """Of ascending radii the one that is spoken of: 8/255 or 0.3 in linf where it is among them, else the middle."""
    values = tuple(radii)
    for usual in _USUAL_LINF if norm == "linf" else ():
        for value in values:
            if math.isclose(value, usual, rel_tol=1e-9):
                return value
    return values[len(values) // 2]
