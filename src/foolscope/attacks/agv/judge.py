"""Genomes against an evaluator: a rough look on a few images, a full one on all, and who is beaten for sure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from foolscope.attacks.agv import nsga2
from foolscope.attacks.agv.candidate import Candidate
from foolscope.attacks.agv.evaluator import Evaluator
from foolscope.attacks.agv.genome import Genomes, Pool
from foolscope.attacks.agv.nsga2 import Array
from foolscope.attacks.agv.settings import Settings
from foolscope.errors import InputError

_BLOCK_VALUES = 1 << 23
"""Values of the images that are filtered and shown at once."""


@dataclass(frozen=True)
class Rough:
    """n genomes on a few images: `losses` (n, M), `distances` (n, D), `linf` (n,), all means over `images` images.

    A loss is the mean probability of the class that the attack wants to be rid of.  It says more than the success
    rate where images are few: every image counts, not only those near the boundary.
    """

    images: int
    losses: Tensor
    distances: Tensor
    linf: Tensor

    def __getitem__(self, rows: Tensor | Sequence[int]) -> Rough:
        return Rough(self.images, self.losses[rows], self.distances[rows], self.linf[rows])

    def joined(self, other: Rough) -> Rough:
        """The same genomes on these and other images."""
        total = self.images + other.images

        def mean(one: Tensor, another: Tensor) -> Tensor:
            return (self.images * one + other.images * another) / total

        return Rough(
            total,
            mean(self.losses, other.losses),
            mean(self.distances, other.distances),
            mean(self.linf, other.linf),
        )


class Judge:
    """Settings and evaluator together: turns genomes into objectives, to be minimized and in units of their scale."""

    def __init__(self, settings: Settings, evaluator: Evaluator) -> None:
        self.settings, self.evaluator = settings, evaluator
        self.pool = Pool(settings.pool, "uniform" if settings.strategy == "plain" else "arcsine")
        if "detection" in settings.objectives and not evaluator.detectors:
            raise InputError(
                "the objective 'detection' needs a detector for each model: give the evaluator detectors, or choose a "
                "distance, such as objective=linf."
            )
        for name in settings.distances:
            if name not in evaluator.distances:
                raise InputError(f"the objective '{name}' needs a function: Evaluator(distances={{'{name}': ...}}).")
        if settings.against == "label":
            self.target, self.attackable = evaluator.labels.expand_as(evaluator.clean), evaluator.right
        else:
            self.target, self.attackable = evaluator.clean, torch.ones_like(evaluator.right)
        found = int(self.attackable.any(0).sum())
        if found < settings.least_images:
            raise InputError(
                f"the objective 'fid' needs at least {settings.least_images} images to attack, there is {found}."
            )

    @property
    def images(self) -> Tensor:
        """The images that are filtered."""
        return self.evaluator.images

    def over_models(self, values: Tensor) -> Tensor:
        """One number for several models' losses (..., M), where less is better for the attack."""
        return values.amax(-1) if self.settings.several == "worst" else values.mean(-1)

    def rough(self, genomes: Genomes, rows: Tensor) -> Rough:
        """Losses and distances of n genomes on the images numbered `rows`.  Raises `InputError` for no image."""
        if not len(rows):
            raise InputError("a rough look at chains needs at least one image.")
        size = max(1, _BLOCK_VALUES // (len(rows) * self.images[0].numel()))
        parts = [self._rough(genomes[begin : begin + size], rows) for begin in range(0, len(genomes), size)]
        losses, distances, linf = (torch.cat(column) for column in zip(*parts, strict=True))
        return Rough(len(rows), losses, distances, linf)

    def _rough(self, genomes: Genomes, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        count, each = len(genomes), len(rows)
        repeated = Genomes(genomes.kinds.repeat_interleave(each, 0), genomes.values.repeat_interleave(each, 0))
        everywhere = rows.repeat(count)
        filtered = self.pool.apply(repeated, self.images[everywhere])
        with torch.no_grad():
            known = self.evaluator.probabilities(filtered, everywhere)
        losses = torch.stack([self.losses(model, p, everywhere).view(count, each) for model, p in enumerate(known)], 1)
        weight = self.attackable[:, rows]
        means = (losses * weight).sum(2) / weight.sum(1).clamp_min(1)
        return means.double().cpu(), *self._rough_distances(filtered, rows, count)

    def losses(self, model: int, probabilities: Tensor, rows: Tensor) -> Tensor:
        """The probability (n,) of the class that the attack wants to be rid of."""
        return probabilities.gather(1, self.target[model, rows][:, None])[:, 0]

    def _rough_distances(self, filtered: Tensor, rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
        names = self.settings.distances
        each = [[self.distance(name, part, rows) for name in names] for part in filtered.detach().chunk(count)]
        distances = torch.tensor(each, dtype=torch.float64).view(count, len(names))
        linf = [self.evaluator.distance("linf", part, rows) for part in filtered.detach().chunk(count)]
        return distances, torch.tensor(linf, dtype=torch.float64)

    def distance(self, name: str, filtered: Tensor, rows: Tensor) -> float:
        """A distance in units of its scale."""
        return self.evaluator.distance(name, filtered, rows) / self.evaluator.scale(name)

    def rough_objectives(self, rough: Rough) -> Array:
        """Objectives (n, 1 + D) of rough looks; detection is not among them."""
        return np.column_stack([self.over_models(rough.losses).numpy(), rough.distances.numpy()])

    def violations(self, linf: Tensor | Sequence[float]) -> Array:
        """By how much mean linf distances exceed the limit: 0 where they do not."""
        distances = np.asarray(linf, dtype=np.float64)
        limit = np.inf if self.settings.max_linf is None else self.settings.max_linf
        return np.maximum(0, distances - limit)

    def objectives(self, candidate: Candidate) -> list[float]:
        """1 - ASR and the other objectives of a candidate judged on all images."""
        rate = candidate.asr if self.settings.against == "label" else candidate.asr_clean
        detection = candidate.detection
        others = {"detection": 1.0 if detection is None else detection}
        others |= {name: candidate.distances[name] / self.evaluator.scale(name) for name in self.settings.distances}
        return [1 - rate, *(others[name] for name in self.settings.objectives)]

    def front(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Those that no other dominates, in their order; where none keeps the limit, those that break it least."""
        objectives = np.array([self.objectives(candidate) for candidate in candidates])
        violations = self.violations([candidate.distances["linf"] for candidate in candidates])
        return [candidates[place] for place in nsga2.front(objectives, violations)]

    def hypervolume(self, candidates: Sequence[Candidate]) -> float:
        """The share of the unit cube that candidates which keep the limit dominate."""
        kept = [candidate for candidate in candidates if not self.violations([candidate.distances["linf"]])[0]]
        return nsga2.hypervolume(np.array([self.objectives(candidate) for candidate in kept]))

    def candidate(self, genome: Genomes, rows: Tensor, step: int) -> Candidate:
        """One genome (m,) on the images numbered `rows`; detection only where it is an objective."""
        filtered = self.pool.apply(genome, self.images[rows])
        known = self.evaluator.probabilities(filtered, rows)
        asked = "detection" in self.settings.objectives
        return self.evaluator.described(
            self.pool.chain(genome),
            rows,
            torch.stack([probabilities.argmax(1) for probabilities in known]),
            detected=self.evaluator.detected(filtered, rows, known) if asked else None,
            distances=self.distances(filtered, rows),
            several=self.settings.several,
            step=step,
        )

    def distances(self, filtered: Tensor, rows: Tensor) -> dict[str, float]:
        """Mean distances by name: linf, l2 and the objectives'."""
        names = dict.fromkeys(("linf", "l2", *self.settings.distances))
        return {name: self.evaluator.distance(name, filtered, rows) for name in names}
