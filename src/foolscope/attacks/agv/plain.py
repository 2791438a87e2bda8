"""AGV as the thesis has it: every chain is tried on the whole batch, in every generation anew.

An inner strategy refines each child on the loss (sum of the objectives)^2, as the authors' code does, and NSGA-II
chooses among parents and children.  Parents keep the objectives of the batch that they were last tried on.  Nothing is
remembered, nothing tried on a part; the members of the last population are judged on all images.

It differs from the thesis where that errs: see `strategy`.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from foolscope.attacks.agv import strategy
from foolscope.attacks.agv.genome import Genomes
from foolscope.attacks.agv.run import Member, Run


def step(run: Run, rows: Tensor) -> None:
    """One generation on the batch of the images numbered `rows`; the first one is random."""
    first = not run.population
    children = []
    for genome in run.bred(run.judge.settings.population):
        children.append(_tried(run, genome if first else _refined(run, genome, rows), rows))
    run.survive(children)


def finish(run: Run) -> None:
    """Judge the population on all images."""
    settings, evaluator = run.judge.settings, run.judge.evaluator
    for member in run.population:
        chain = run.judge.pool.chain(member.genome)
        found = evaluator.judge(chain, distances=settings.distances, several=settings.several)
        run.memo[chain] = dataclasses.replace(found, step=member.step)
        run.report(run)


def _refined(run: Run, genome: Genomes, rows: Tensor) -> Genomes:
    """The genome after the inner strategy."""
    settings, center = run.judge.settings, genome.values.flatten()
    for rate in settings.rates():
        around = strategy.points(center, run.normal(settings.samples, len(center)))
        tries = [_tried(run, Genomes(genome.kinds, point.view(-1, 2)), rows) for point in around]
        losses = torch.tensor([(sum(tried.objectives) + tried.violation) ** 2 for tried in tries])
        center = strategy.descend(center, around, losses, rate)
    return Genomes(genome.kinds, center.view(-1, 2))


def _tried(run: Run, genome: Genomes, rows: Tensor) -> Member:
    candidate = run.judge.candidate(genome, rows, run.step)
    run.report(run)
    return run.member(genome, candidate)
