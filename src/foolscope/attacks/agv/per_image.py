"""AGV image by image: every image gets a chain of its own, by the same two nested evolutions, within a query budget.

The universal search looks for one chain that fools a network on most images; here each image asks for as little as one
that fools it on this image.  So what is minimized is one number a chain,

    not yet fooled:  falls as the goal's cross-entropy rises;  fooled:  lower than any of these, and rises with the
    distance from the image

(the rule of Deb 2000, doi 10.1016/S0045-7825(99)00389-8, with 'fooled' as the constraint), and the best of parents and
children survive.  All images are filtered and shown to the network together; each draws its own random numbers.

Black box: the network is asked for logits, and every filtered image that it is shown counts.  The authors' own attack
on single images (Baia et al. 2022, doi 10.3390/s22030967) evolves a front over success and SSIM instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from foolscope.attacks.agv import strategy
from foolscope.attacks.agv.distances import DISTANCES
from foolscope.attacks.agv.genome import Genomes, Pool
from foolscope.attacks.agv.settings import Evolution
from foolscope.attacks.attack import Attack, Block
from foolscope.attacks.losses import cross_entropy
from foolscope.images import quantize
from foolscope.spec import parameter

_BLOCK_VALUES = 1 << 23
"""Values of the images that are filtered and shown at once."""

_FOOLED = -1.0
"""Only chains that fool the network have a lower fitness."""


@dataclass(frozen=True, kw_only=True)
class AGV(Evolution, Attack):
    """A chain of photo filters for every image, by two nested evolutions.

    `queries` bounds the filtered versions of an image that the network is shown on the way; two more passes look at the
    untouched image and judge the returned one.  Without `early_stop` what is left of the budget makes the change
    smaller, measured by `distance`, where the network is fooled.  Gray images need a pool of filters that do not color,
    such as (gingham,juno,lark).
    """

    name: ClassVar[str] = "agv"
    summary: ClassVar[str] = "an evolved chain of photo filters for every image, black box"
    source: ClassVar[str] = "Baia, Di Bari, Poggioni 2021, doi 10.1007/978-3-030-72699-7_35"
    needs_gradients: ClassVar[bool] = False

    queries: int = parameter(500, "most filtered versions of an image that the network is shown", low=1)
    early_stop: bool = parameter(True, "images leave as soon as they fool the network")
    distance: str = parameter(
        "linf", "what is made smaller where the network is fooled", choices=("linf", "l2", "color")
    )

    @property
    def passes(self) -> int:
        planned = self.population * (1 + self.epochs * (self.samples * self.generations + 1))
        return 1 + min(self.queries, planned)

    def _perturb(self, block: Block) -> Tensor:
        logits = block.look()
        hunt = _Hunt(self, block)
        hunt.report(block.goal.objective(cross_entropy, logits))
        hunt.run()
        return hunt.found


class _Hunt:
    """The N images of a block: the best version of each so far, and those that still are at work.

    Genomes are held for all images; those that are finished are not asked about any more, and what is done to their
    genomes has no effect.
    """

    def __init__(self, attack: AGV, block: Block) -> None:
        self.attack, self.block, self.pool = attack, block, Pool(attack.pool)
        self.found, self.active = block.images.clone(), (~block.already).nonzero()[:, 0]
        self.best = torch.full((len(block.rows),), torch.inf, dtype=torch.float64, device=block.images.device)
        self.asked = 0

    @property
    def finished(self) -> bool:
        """Whether no image is at work any more, or the budget is spent."""
        return len(self.active) == 0 or self.asked >= self.attack.queries

    def run(self) -> None:
        """Evolve until nothing is left to do."""
        if self.finished:
            return
        attack, size = self.attack, self.attack.population
        parents = self.pool.random(self.uniform(size, attack.filters, 3))
        fitness = self.tried(parents)
        for _ in range(attack.epochs):
            if self.finished:
                return
            children = self.refined(self.bred(parents))
            if self.finished:
                return
            fitness = torch.cat([fitness, self.tried(children)], 1)
            chosen = fitness.argsort(dim=1, stable=True)[:, :size]
            together = torch.cat([parents.kinds, children.kinds], 1), torch.cat([parents.values, children.values], 1)
            parents, fitness = self.taken(Genomes(*together), chosen), fitness.gather(1, chosen)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform numbers, float64 (N, *shape), from each image's stream."""
        return self.block.streams.uniform(shape).double()

    @staticmethod
    def taken(genomes: Genomes, chosen: Tensor) -> Genomes:
        """Those numbered `chosen` (N, c) of each image's genomes (N, any)."""
        return genomes[torch.arange(len(chosen), device=chosen.device)[:, None], chosen]

    def bred(self, parents: Genomes) -> Genomes:
        """Children of random pairs of each image's parents (N, P)."""
        size, genes = self.attack.population, self.attack.filters
        chosen = (self.uniform(2, size) * size).long()
        first, second = (self.taken(parents, chosen[:, place]) for place in range(2))
        return self.pool.offspring(first, second, self.attack.mutation, self.uniform(size, 1 + 4 * genes))

    def refined(self, genomes: Genomes) -> Genomes:
        """The genomes (N, P) after the inner strategy, or as they were where the hunt is finished on the way."""
        attack, center = self.attack, genomes.values.flatten(2)
        for rate in attack.rates():
            noise = self.block.streams.normal((attack.samples, *center.shape[1:])).double()
            around = strategy.points(center, noise.transpose(0, 1))
            losses = []
            for point in around:
                losses.append(self.tried(Genomes(genomes.kinds, point.view_as(genomes.values))))
                if self.finished:
                    return genomes
            center = strategy.descend(center, around, torch.stack(losses), rate)
        return Genomes(genomes.kinds, center.view_as(genomes.values))

    def tried(self, genomes: Genomes) -> Tensor:
        """The fitness (N, c) of genomes (N, c), which is minimized; 0 for images that are not at work.

        Of the last ones only as many are tried as the budget allows.
        """
        count = min(genomes.kinds.shape[1], self.attack.queries - self.asked)
        fitness = self.best.new_zeros(genomes.kinds.shape[:2])
        size, objectives = max(1, _BLOCK_VALUES // (len(self.active) * self.found[0].numel())), []
        for begin in range(0, count, size):
            columns = torch.arange(begin, min(begin + size, count), device=fitness.device)
            part, objective = self._tried(genomes[self.active[:, None], columns])
            fitness[self.active[:, None], columns] = part
            objectives.append(objective)
        self.asked += count
        if self.attack.early_stop:
            self.active = self.active[self.best[self.active] >= _FOOLED]
        self.report(torch.cat(objectives))
        return fitness

    def _tried(self, genomes: Genomes) -> tuple[Tensor, Tensor]:
        """Fitness (n, c) and objectives (n c,) of genomes (n, c) on the n images at work; keeps the best versions."""
        block, count = self.block, genomes.kinds.shape[1]
        places = self.active.repeat_interleave(count)
        originals = block.images[places]
        filtered = self.pool.apply(Genomes(genomes.kinds.flatten(0, 1), genomes.values.flatten(0, 1)), originals)
        if block.quantize:
            filtered = quantize(filtered)
        goal, logits = block.goal[places], block.queries.logits(filtered, block.rows[places])
        objective = goal.objective(cross_entropy, logits.double())
        distance = DISTANCES[self.attack.distance](originals, filtered).double()
        fitness = fitness_of(goal.reached(logits), objective, distance).view(-1, count)
        lowest, first = fitness.min(1)
        better = lowest < self.best[self.active]
        self.best[self.active[better]] = lowest[better]
        self.found[self.active[better]] = filtered.view(-1, count, *filtered.shape[1:])[better, first[better]]
        return fitness, objective

    def report(self, objective: Tensor) -> None:
        """Tell the watch what the network was just asked."""
        block, attack = self.block, self.attack
        done = len(block.rows) - len(self.active)
        block.report(1 + self.asked, attack.passes, len(self.active), done, float(objective.mean()))


def fitness_of(reached: Tensor, objective: Tensor, distance: Tensor) -> Tensor:
    """What is minimized (n,).

    Where the goal is not reached it is in [-1, 1] and falls as the objective rises; where it is, it is in [-2, -1) and
    rises with the distance.
    """
    return torch.where(reached, distance / (1 + distance) - 2, -objective.atan() / (0.5 * math.pi))
