"""The gradient strategy: a white box that follows gradients through the chain to strengths and intensities.

The loss of a genome is what the race's inner strategy minimizes: a weighted sum of the mean probability p of the class
to be lost and of the distances, and a penalty for what exceeds `max_linf`.  With x' = chain(x; v) the chain rule gives

    d p / d v = sum over images  (d p / d x') (d x' / d v)

where the engine computes the first factor for every model, and autograd the product with the second through
`filters.apply`.  Each step goes against the gradient, scaled so that the largest component moves by the rate; the best
point on the way is kept.  As many passes are made as the evolution strategy makes: `samples` at each of its rates.

A distance that autograd cannot follow, such as `fid`, counts in the loss and not in the gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from foolscope.attacks.agv.genome import Genomes
from foolscope.attacks.agv.judge import Judge, Rough
from foolscope.attacks.agv.racing import PENALTY, weightings
from foolscope.attacks.agv.run import Run
from foolscope.attacks.agv.settings import OF_SETS
from foolscope.models.engine import Objective

_BLOCK_VALUES = 1 << 20
"""Values of the images that are filtered at once; autograd keeps some hundred times as many."""


@dataclass(frozen=True)
class Slopes:
    """A rough look at n genomes of m filters, and the gradients of its numbers with respect to the genomes' values.

    `losses` (n, M, m, 2), `distances` (n, D, m, 2) and `linf` (n, m, 2), float64.
    """

    look: Rough
    losses: Tensor
    distances: Tensor
    linf: Tensor


def descended(run: Run, genomes: Genomes, rows: Tensor) -> Genomes:
    """Better genomes (n, m), by gradient descent on the images numbered `rows`."""
    settings, count = run.judge.settings, len(genomes)
    weights = weightings(run, count)
    values, best = genomes.values, genomes.values
    lowest = torch.full((count,), torch.inf, dtype=torch.float64)
    for rate in settings.rates():
        for _ in range(settings.samples):
            losses, gradients = loss(run.judge, slopes(run.judge, Genomes(genomes.kinds, values), rows), weights)
            best = torch.where((losses < lowest)[:, None, None], values, best)
            lowest = torch.minimum(lowest, losses)
            steepest = gradients.abs().amax((1, 2), keepdim=True)
            values = (values - rate * gradients / torch.where(steepest > 0, steepest, 1)).clamp(0, 1)
            run.report(run)
    return Genomes(genomes.kinds, best)


def loss(judge: Judge, found: Slopes, weights: Tensor) -> tuple[Tensor, Tensor]:
    """What is minimized (n,), and its gradient (n, m, 2), for weights (n, 1 + D) of the rough objectives."""
    objectives = torch.from_numpy(judge.rough_objectives(found.look))
    violations = torch.from_numpy(judge.violations(found.look.linf))
    if judge.settings.several == "worst":
        places = torch.arange(len(weights))
        gradients = found.losses[places, found.look.losses.argmax(1)]
    else:
        gradients = found.losses.mean(1)
    total = torch.cat([gradients[:, None], found.distances], 1)
    total = (weights[..., None, None] * total).sum(1)
    exceeding = (violations > 0)[:, None, None]
    return (weights * objectives).sum(1) + PENALTY * violations, total + PENALTY * exceeding * found.linf


def slopes(judge: Judge, genomes: Genomes, rows: Tensor) -> Slopes:
    """One pass forward and back for n genomes and the images numbered `rows`: a query for each pair of both."""
    found = [_slope(judge, genome, rows) for genome in genomes]
    losses, distances, linf = (torch.stack(column) for column in zip(*(look for look, _ in found), strict=True))
    gradients = torch.stack([gradient for _, gradient in found])
    models = losses.shape[1]
    look = Rough(len(rows), losses, distances, linf)
    return Slopes(look, gradients[:, :models], gradients[:, models + 1 :], gradients[:, models])


def _slope(judge: Judge, genome: Genomes, rows: Tensor) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
    """Losses (M,), distances (D,) and linf () of one genome; gradients (M + 1 + D, m, 2) of losses, linf, distances."""
    evaluator, names = judge.evaluator, ("linf", *judge.settings.distances)
    values = genome.values.detach().clone().requires_grad_()
    weight = judge.attackable[:, rows]
    shares = weight / weight.sum(1, keepdim=True).clamp_min(1)
    losses = torch.zeros(len(shares), dtype=torch.float64)
    gradients = torch.zeros(len(shares) + len(names), *values.shape, dtype=torch.float64)
    filtered = []
    for places in torch.split(torch.arange(len(rows)), max(1, _BLOCK_VALUES // judge.images[0].numel())):
        chosen = rows[places]
        with torch.enable_grad():
            images = judge.pool.apply(Genomes(genome.kinds, values), judge.images[chosen])
            distances = {
                place: evaluator.distances[name](judge.images[chosen], images)
                for place, name in enumerate(names, start=len(shares))
                if name not in OF_SETS
            }
        filtered.append(images.detach())
        objectives = [_objective(judge, model, chosen, share[places]) for model, share in enumerate(shares)]
        for model, passed in enumerate(evaluator.gradients(filtered[-1], chosen, objectives)):
            losses[model] += passed.losses.double().sum().cpu()
            gradients[model] += _followed(images, values, passed.images)
        for place, distance in distances.items():
            name = names[place - len(shares)]
            scale = 1.0 if name == "linf" else evaluator.scale(name)
            gradients[place] += _followed(distance, values, torch.full_like(distance, 1 / (scale * len(rows))))
    whole = torch.cat(filtered)
    known = [judge.distance(name, whole, rows) for name in judge.settings.distances]
    linf = torch.tensor(evaluator.distance("linf", whole, rows), dtype=torch.float64)
    return (losses, torch.tensor(known, dtype=torch.float64), linf), gradients


def _objective(judge: Judge, model: int, rows: Tensor, shares: Tensor) -> Objective:
    """A model's loss on the images numbered `rows`, each with its share in the mean."""

    def objective(logits: Tensor, places: Tensor) -> Tensor:
        return judge.losses(model, logits.softmax(1), rows[places]) * shares[places]

    return objective


def _followed(output: Tensor, values: Tensor, slope: Tensor) -> Tensor:
    """The gradient (m, 2) that `slope`, of the shape of `output`, has with respect to `values`; 0 where there is none.

    A distance from the image itself has no gradient where the chain does nothing: there it counts as 0.
    """
    if not output.requires_grad:
        return torch.zeros_like(values)
    (gradient,) = torch.autograd.grad(output, values, slope, retain_graph=True)
    return gradient.nan_to_num(0, 0, 0)
