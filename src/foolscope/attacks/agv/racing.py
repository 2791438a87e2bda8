"""A race: many chains on a few images, a few chains on many.

1. `BREADTH` times as many children as the population holds are looked at on `FIRST` images, the better half of them on
   as many again, and so on until as many remain as the population holds: successive halving (Jamieson and Talwalkar
   2016, arXiv 1502.07943).  All see the same images, so that luck favors none.
2. The inner strategy refines what remains, all at once, on `REFINED` images of the race.
3. Each contests the front (`contest`), and NSGA-II chooses among parents and those that came through.

Until then chains go by the mean probability of the class to be lost, not by the success rate, and nobody asks the
detector.  Where there are several objectives, each chain is refined on a random weighting of them, so that all parts of
the front are approached (Knowles 2006, doi 10.1109/TEVC.2005.851274); the more a chain fools, the more success weighs.

Few images and many chains: two random chains differ more than two samples of images do, and the good ones are rare
(one of several hundred at random, against `cifar-cnn`).  Most of these lie at the edges of the search ranges, so random
amounts follow the arcsine law.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from foolscope.attacks.agv import nsga2, strategy
from foolscope.attacks.agv.contest import contest
from foolscope.attacks.agv.genome import Genomes
from foolscope.attacks.agv.judge import Rough
from foolscope.attacks.agv.run import Run
from foolscope.randomness import draw_seed

BREADTH = 20
FIRST = 8
REFINED = 16
PENALTY = 10.0
"""Weight of what exceeds the limit."""

Refine = Callable[[Run, Genomes, Tensor], Genomes]
"""An inner strategy: genomes (n, m) and the images' numbers to better genomes."""


def step(run: Run, rows: Tensor, refine: Refine) -> None:
    """One generation with the images numbered `rows`; the first one is random and not refined."""
    first = not run.population
    order = run.shuffled(_attackable(run, rows))
    field = run.bred(BREADTH * run.judge.settings.population)
    field = Genomes.cat([field, *(member.genome[None] for member in run.population)])
    genomes, used = _raced(run, field, order)
    if not first:
        genomes = refine(run, genomes, used[:REFINED])
    children = []
    for genome in genomes:
        chain = run.judge.pool.chain(genome)
        if chain not in run.memo:
            incumbents = [] if first else run.front()
            run.memo[chain] = candidate = contest(run.judge, genome, run.step, incumbents, used)
            run.report(run)
            if candidate is not None:
                children.append(run.member(genome, candidate))
    run.survive(children)


def _attackable(run: Run, rows: Tensor) -> Tensor:
    """Those of the images numbered `rows` that can be attacked; where they are too few, all that can."""
    attackable = run.judge.attackable.any(0)
    chosen = rows[attackable[rows]]
    return chosen if len(chosen) >= run.judge.settings.least_images else attackable.nonzero()[:, 0]


def _raced(run: Run, genomes: Genomes, order: Tensor) -> tuple[Genomes, Tensor]:
    """Those that remain of `genomes`, who fool most first, and the images of the race, taken from `order`."""
    judge, left = run.judge, run.judge.settings.population
    used = order[:FIRST]
    looks = judge.rough(genomes, used)
    run.report(run)
    while len(genomes) > left:
        objectives, violations = judge.rough_objectives(looks), judge.violations(looks.linf)
        count = max(left, len(genomes) // 2)
        chosen = nsga2.survivors(objectives, violations, count, draw_seed(run.generator))
        genomes, looks = genomes[chosen], looks[chosen]
        more = order[len(used) : 2 * len(used)]
        if len(genomes) > left and len(more) >= judge.settings.least_images:
            looks = looks.joined(judge.rough(genomes, more))
            used = torch.cat([used, more])
            run.report(run)
    return genomes[judge.over_models(looks.losses).argsort(stable=True)], used


def evolved(run: Run, genomes: Genomes, rows: Tensor) -> Genomes:
    """By the inner evolution strategy."""
    settings, (count, genes) = run.judge.settings, genomes.kinds.shape
    weights = weightings(run, count)
    kinds = genomes.kinds.repeat(settings.samples, 1)
    center = genomes.values.flatten(1)
    for rate in settings.rates():
        around = strategy.points(center, run.normal(settings.samples, count, 2 * genes))
        look = run.judge.rough(Genomes(kinds, around.reshape(-1, genes, 2)), rows)
        losses = _losses(run, look, weights.repeat(settings.samples, 1))
        center = strategy.descend(center, around, losses.view(settings.samples, count), rate)
        run.report(run)
    return Genomes(genomes.kinds, center.view(count, genes, 2))


def weightings(run: Run, count: int) -> Tensor:
    """Random weights (count, 1 + D) of what rough looks tell, summing to 1; that of success falls from row to row."""
    weights = -(1 - run.uniform(count, 1 + len(run.judge.settings.distances))).log()
    weights /= weights.sum(1, keepdim=True)
    return weights[weights[:, 0].argsort(descending=True, stable=True)]


def _losses(run: Run, look: Rough, weights: Tensor) -> Tensor:
    """What the inner strategy minimizes (n,)."""
    objectives = torch.from_numpy(run.judge.rough_objectives(look))
    return (weights * objectives).sum(1) + PENALTY * torch.from_numpy(np.asarray(run.judge.violations(look.linf)))
