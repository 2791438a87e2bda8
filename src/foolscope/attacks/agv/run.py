"""What a strategy works on during one step of a search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from foolscope.attacks.agv import nsga2
from foolscope.attacks.agv.candidate import Candidate
from foolscope.attacks.agv.genome import Genomes
from foolscope.attacks.agv.judge import Judge
from foolscope.filters.chain import Chain
from foolscope.randomness import draw_seed


@dataclass(frozen=True)
class Member:
    """A genome of the population: the objectives that it lives by, by how much it breaks the limit, and its origin.

    `step` is when it was found.
    """

    genome: Genomes
    objectives: list[float]
    violation: float
    step: int


@dataclass(kw_only=True)
class Run:
    """A search between two steps, and what a step changes of it.

    `memo` has every genome that was judged on all images, with None for those that were dropped on the way.
    """

    judge: Judge
    generator: torch.Generator
    step: int
    population: list[Member]
    memo: dict[Chain, Candidate | None]
    report: Callable[[Run], None]

    def front(self) -> list[Candidate]:
        """The candidates that no other dominates, in the order of their finding."""
        return self.judge.front([candidate for candidate in self.memo.values() if candidate is not None])

    def uniform(self, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), float64."""
        return torch.rand(shape, generator=self.generator, dtype=torch.float64)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers, float64."""
        return torch.randn(shape, generator=self.generator, dtype=torch.float64)

    def shuffled(self, rows: Tensor) -> Tensor:
        """The rows in a random order."""
        return rows[torch.randperm(len(rows), generator=self.generator).to(rows.device)]

    def bred(self, count: int) -> Genomes:
        """Children of random pairs of the population, or random genomes where it is empty."""
        genes, pool = self.judge.settings.filters, self.judge.pool
        if not self.population:
            return pool.random(self.uniform(count, genes, 3))
        parents = Genomes.cat([member.genome[None] for member in self.population])
        chosen = (self.uniform(2, count) * len(parents)).long()
        draws = self.uniform(count, 1 + 4 * genes)
        return pool.offspring(parents[chosen[0]], parents[chosen[1]], self.judge.settings.mutation, draws)

    def survive(self, offspring: list[Member]) -> None:
        """Make the population of the best of parents and offspring."""
        members = [*self.population, *offspring]
        objectives = np.array([member.objectives for member in members])
        violations = np.array([member.violation for member in members])
        chosen = nsga2.survivors(objectives, violations, self.judge.settings.population, draw_seed(self.generator))
        self.population = [members[place] for place in chosen]

    def member(self, genome: Genomes, candidate: Candidate) -> Member:
        """The genome with the objectives that it was judged to have."""
        (violation,) = self.judge.violations([candidate.distances["linf"]]).tolist()
        return Member(genome, self.judge.objectives(candidate), violation, candidate.step)
