"""APGD, the PGD that chooses its own step (Croce and Hein 2020, arXiv 2003.01690): no step size to tune.

    z_{t+1} = P( x_t + step * steepest(grad J(x_t)) )                          P: onto the ball, then the box [0, 1]
    x_{t+1} = P( x_t + 3/4 (z_{t+1} - x_t) + 1/4 (x_t - x_{t-1}) )             without the last term in the first step

The step is 2 eps.  At the checkpoints w_0 < w_1 < ... it is halved, and the climb goes on from the best point so far,

    where the loss rose in fewer than 3/4 of the steps since the last checkpoint, or
    where neither the step nor the best loss has changed since then.

w_j = ceil(p_j * steps), p_0 = 0, p_1 = 0.22, p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06).  Every image has a step
and a best point of its own.

Losses are those of `losses` and `dlr-targeted`, which climbs towards each of the `targets` nearest other classes in
turn; each of these climbs starts at a random point and tries only the images that still stand.  For a given target it
climbs from the class predicted for the untouched image.  With too few classes for a DLR it is the margin.

Deviations: in l2 the values that the box holds back have no say in the gradient's direction, as it would waste on them
what the ball allows; random points are uniform in the ball, the paper's lie on its surface; l1, which needs another
step rule (Croce and Hein 2021, arXiv 2103.01208), is left to PGD and FMN.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from foolscope.attacks.attack import LARGEST_EPS, Attack, Block
from foolscope.attacks.ball import Ball
from foolscope.attacks.goal import Targeted
from foolscope.attacks.losses import LOSSES, cross_entropy, targeted_dlr, tempered
from foolscope.attacks.minimum_norm import movable
from foolscope.models.engine import Objective
from foolscope.norms import NORMS, expand, linf
from foolscope.spec import parameter

_MOMENTUM = 0.75
_RISING = 0.75
_FIRST_STEP = 2.0
_FIRST_CHECK, _SHORTER, _SHORTEST = 0.22, 0.03, 0.06
_TARGETED = "dlr-targeted"

Climb = Callable[[Tensor], Objective]
"""What one climb maximizes for the images at these places of a block."""


def checkpoints(steps: int) -> list[int]:
    """The steps w_1, w_2, ... below `steps` at which step sizes are looked at."""
    share, before, found = _FIRST_CHECK, 0.0, []
    while (check := math.ceil(round(share * steps, 9))) < steps:
        found.append(check)
        share, before = share + max(share - before - _SHORTER, _SHORTEST), share
    return sorted(set(found))


@dataclass(frozen=True, kw_only=True)
class APGD(Attack):
    """Auto-PGD: projected gradient ascent with momentum whose step is halved where it no longer helps."""

    name: ClassVar[str] = "apgd"
    summary: ClassVar[str] = "PGD that chooses its steps, with a choice of losses"
    source: ClassVar[str] = "Croce, Hein 2020, arXiv 2003.01690"

    eps: float = parameter(8 / 255, "radius in `norm`", low=0, high=LARGEST_EPS)
    norm: str = parameter("linf", "norm of the ball", choices=("l2", "linf"))
    steps: int = parameter(100, "number of steps of a climb", low=1)
    loss: str = parameter("cross-entropy", "what is climbed", choices=(*LOSSES, _TARGETED))
    temperature: float = parameter(1.0, "what logits are divided by before the loss", low=1e-6)
    targets: int = parameter(9, "nearest classes that dlr-targeted climbs towards, one after the other", low=1)
    restarts: int = parameter(1, "independent starts; only images that still stand are tried again", low=1)
    early_stop: bool = parameter(True, "images leave as soon as they fool the network")

    @property
    def passes(self) -> int:
        return self.steps * self.restarts * (self.targets if self.loss == _TARGETED else 1)

    def _perturb(self, block: Block) -> Tensor:
        logits = block.look()
        found, standing = block.images.clone(), (~block.already).nonzero()[:, 0]
        climbs = self._climbs(block, logits) * self.restarts
        for number, climb in enumerate(climbs):
            if len(standing) == 0:
                break
            reached = _Climber(self, block, climb, standing).run(number * self.steps, found)
            standing = standing[~reached]
        return found

    def _climbs(self, block: Block, logits: Tensor) -> list[Climb]:
        """What is climbed, one after the other; `logits` are those of the untouched images."""
        goal = block.goal
        if self.loss != _TARGETED:
            loss = tempered(LOSSES[self.loss], self.temperature)
            return [lambda places: lambda z, rows: goal[places[rows]].objective(loss, z)]
        if isinstance(goal, Targeted):
            own, targets = logits.argmax(1), goal.classes[:, None]
        else:
            others = logits.scatter(1, goal.classes[:, None], -torch.inf)
            own, targets = goal.classes, others.topk(min(self.targets, logits.shape[1] - 1), dim=1).indices

        def towards(target: Tensor) -> Climb:
            return lambda places: lambda z, rows: targeted_dlr(z, own[places[rows]], target[places[rows]])

        return [towards(target) for target in targets.T]


class _Climber:
    """One climb of the images at `places` of a block."""

    def __init__(self, attack: APGD, block: Block, climb: Climb, places: Tensor) -> None:
        self.attack, self.block, self.climb, self.places = attack, block, climb, places
        norm = NORMS[attack.norm]
        start = norm.random_point(block.streams, tuple(block.images.shape[1:]), attack.eps)[places]
        self.ball = Ball.around(block.images[places], norm, attack.eps, block.quantize)
        self.x = self.previous = self.ball.inside(self.ball.originals + start)
        self.fooling = self.x
        """The last point of each image that reached the goal, where one did."""

    def run(self, done: int, found: Tensor) -> Tensor:
        """Climb; write where it led to into `found`, and return which of `places` reached the goal (n,).

        `done` are the steps that all climbs before took.
        """
        attack, block, places = self.attack, self.block, self.places
        checks = set(checkpoints(attack.steps))
        for step in range(attack.steps):
            goal = block.goal[self.places]
            passed = block.queries.gradients(self.x, block.rows[self.places], self.climb(self.places))
            reached, losses = goal.reached(passed.logits), passed.losses
            self._keep(step, losses, passed.images)
            gradients = self._leave(reached, passed.images, found)
            told = float(goal.objective(cross_entropy, passed.logits).mean())
            gone = len(block.rows) - len(self.places)
            block.report(done + step + 1, attack.passes, len(self.places), gone, told)
            if len(self.places) == 0:
                return torch.ones_like(places, dtype=torch.bool)
            if step in checks:
                gradients = self._check(gradients)
            self._move(gradients, first=step == 0)
        stood = self._finish(found)
        return torch.isin(places, stood, invert=True)

    def _keep(self, step: int, losses: Tensor, gradients: Tensor) -> None:
        """Note how the losses went, and which points are the best."""
        if step == 0:
            self.best, self.best_gradients, self.best_losses = self.x, gradients, losses
            self.losses, self.checked, self.rises = losses, losses, torch.zeros_like(losses)
            self.size = torch.full_like(losses, _FIRST_STEP * self.attack.eps)
            self.halved, self.since = torch.ones_like(losses, dtype=torch.bool), 0
            return
        self.rises = self.rises + (losses > self.losses)
        self.losses, self.since = losses, self.since + 1
        better = losses > self.best_losses
        if better.all():
            self.best, self.best_gradients, self.best_losses = self.x, gradients, losses
        elif better.any():
            chosen = expand(better, self.x)
            self.best = torch.where(chosen, self.x, self.best)
            self.best_gradients = torch.where(chosen, gradients, self.best_gradients)
            self.best_losses = torch.where(better, losses, self.best_losses)

    def _check(self, gradients: Tensor) -> Tensor:
        """Halve steps and go back to the best points where that is due; return the gradients there."""
        stuck = ~self.halved & (self.best_losses <= self.checked)
        self.halved = stuck | (self.rises < _RISING * self.since)
        self.checked, self.rises, self.since = self.best_losses, torch.zeros_like(self.rises), 0
        self.size = torch.where(self.halved, self.size / 2, self.size)
        self.losses = torch.where(self.halved, self.best_losses, self.losses)
        back = expand(self.halved, self.x)
        self.x = torch.where(back, self.best, self.x)
        return torch.where(back, self.best_gradients, gradients)

    def _move(self, gradients: Tensor, first: bool) -> None:
        """One step; in place where memory is ours, as this is what costs time beside the passes."""
        x, ball = self.x, self.ball
        size = expand(self.size, x)
        if ball.norm is linf:
            ahead = torch.addcmul(x, gradients.sign(), size)
            torch.clamp(ahead, ball.low, ball.high, out=ahead)
        else:
            ahead = ball.inside(x + size * ball.norm.steepest(movable(gradients, x)))
        if not first:
            ahead.mul_(_MOMENTUM).add_(x, alpha=2 - 2 * _MOMENTUM).sub_(self.previous, alpha=1 - _MOMENTUM)
            ahead = torch.clamp(ahead, ball.low, ball.high, out=ahead) if ball.norm is linf else ball.inside(ahead)
        self.previous, self.x = x, ahead

    def _leave(self, reached: Tensor, gradients: Tensor, found: Tensor) -> Tensor:
        """Let go of images that reached the goal; return the gradients of those that stay."""
        if not reached.any():
            return gradients
        if not self.attack.early_stop:
            self.fooling = torch.where(expand(reached, self.x), self.x, self.fooling)
            return gradients
        chosen = reached.nonzero()[:, 0]
        final = self.ball.returned(self.x[chosen], chosen)
        sure = self.block.confirmed(final, self.places[chosen])
        found[self.places[chosen[sure]]] = final[sure]
        stay = torch.ones_like(reached)
        stay[chosen[sure]] = False
        if not stay.all():
            self._select(stay)
            gradients = gradients[stay]
        return gradients

    def _select(self, stay: Tensor) -> None:
        self.places, self.ball, self.x, self.previous = (
            self.places[stay],
            self.ball[stay],
            self.x[stay],
            self.previous[stay],
        )
        self.best, self.best_gradients, self.best_losses = (
            self.best[stay],
            self.best_gradients[stay],
            self.best_losses[stay],
        )
        self.losses, self.checked, self.rises = self.losses[stay], self.checked[stay], self.rises[stay]
        self.size, self.halved = self.size[stay], self.halved[stay]

    def _finish(self, found: Tensor) -> Tensor:
        """Write what this climb ends with; return the places that it did not fool.

        The last point, which no pass has seen yet, where it reaches the goal, and else that of the highest loss.
        Without early stop that of the highest loss comes first, and the last one that reached the goal is the reserve.
        """
        places, early = self.places, self.attack.early_stop
        standing = torch.ones_like(places, dtype=torch.bool)
        found[places] = self.ball.returned(self.best)
        for end in (self.x,) if early else (self.best, self.x, self.fooling):
            rows = standing.nonzero()[:, 0]
            if len(rows) == 0:
                break
            final = self.ball.returned(end[rows], rows)
            reached = self.block.reached(final, places[rows])
            found[places[rows[reached]]] = final[reached]
            standing[rows[reached]] = False
        return places[standing]
