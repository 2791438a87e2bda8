"""FGM, FGSM, BIM and PGD: one loop of projected steepest ascent over a norm.

    x_0     = x, or a random point of the ball
    x_{t+1} = P( x_t + step * steepest(grad J(x_t)) )        P: onto the ball of radius eps around x and the box [0, 1]

FGSM (Goodfellow et al. 2015, arXiv 1412.6572) takes one step of length eps in linf, FGM the same in l2; BIM (Kurakin
et al. 2017, arXiv 1607.02533) many small steps; PGD (Madry et al. 2018, arXiv 1706.06083) many from a random point.
The thesis prints FGSM with a minus (eq. 2.3): the sign of the gradient is added.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from foolscope.attacks.attack import LARGEST_EPS, Attack, Block
from foolscope.attacks.ball import Ball
from foolscope.attacks.goal import Goal, Loss
from foolscope.attacks.losses import LOSSES, cross_entropy, tempered
from foolscope.models.engine import Objective
from foolscope.norms import NORMS, Norm, expand, linf
from foolscope.spec import parameter


@dataclass(frozen=True)
class Ascent:
    """How to climb: what an attack of this file decides.  `eps` and `step` are lengths in `norm`."""

    norm: Norm
    eps: float
    steps: int
    step: float
    random_start: bool = False
    restarts: int = 1
    early_stop: bool = True
    loss: Loss = cross_entropy


@dataclass(frozen=True, kw_only=True)
class GradientAttack(Attack):
    """What the attacks of this file share.

    `loss` names one of `losses.LOSSES`, and `temperature` is what logits are divided by before it: where a network is
    so sure that the cross-entropy's gradient vanishes in float32, another loss or temperature gives it back.
    """

    added: ClassVar[tuple[str, ...]] = ("loss", "temperature")

    eps: float = parameter(8 / 255, "radius in `norm`", low=0, high=LARGEST_EPS)
    loss: str = parameter("cross-entropy", "what is climbed", choices=tuple(LOSSES))
    temperature: float = parameter(1.0, "what logits are divided by before the loss", low=1e-6)

    @abstractmethod
    def _ascent(self) -> Ascent:
        """The hyperparameters as the loop needs them."""

    @property
    def passes(self) -> int:
        ascent = self._ascent()
        return ascent.steps * ascent.restarts

    def _perturb(self, block: Block) -> Tensor:
        return climb(block, replace(self._ascent(), loss=tempered(LOSSES[self.loss], self.temperature)))


@dataclass(frozen=True, kw_only=True)
class FGSM(GradientAttack):
    """Fast Gradient Sign Method: one step of length `eps` in linf."""

    name: ClassVar[str] = "fgsm"
    summary: ClassVar[str] = "one step along the gradient's sign, linf"
    source: ClassVar[str] = "Goodfellow, Shlens, Szegedy 2015, arXiv 1412.6572"

    eps: float = parameter(8 / 255, "linf radius", low=0, high=LARGEST_EPS)

    def _ascent(self) -> Ascent:
        return Ascent(linf, self.eps, steps=1, step=self.eps)


@dataclass(frozen=True, kw_only=True)
class FGM(GradientAttack):
    """Fast Gradient Method: one step of length `eps` along the gradient, in l2 unless another norm is asked for."""

    name: ClassVar[str] = "fgm"
    summary: ClassVar[str] = "one step along the gradient, l2"
    source: ClassVar[str] = "Goodfellow, Shlens, Szegedy 2015, arXiv 1412.6572; Miyato et al. 2017, arXiv 1605.07725"

    eps: float = parameter(0.5, "radius in `norm`", low=0, high=LARGEST_EPS)
    norm: str = parameter("l2", "norm of the ball", choices=("l1", "l2", "linf"))

    def _ascent(self) -> Ascent:
        return Ascent(NORMS[self.norm], self.eps, steps=1, step=self.eps)


@dataclass(frozen=True, kw_only=True)
class BIM(GradientAttack):
    """Basic Iterative Method: many small steps from the image itself.

    Without `steps` Kurakin's rule decides: step 1/255 and ceil(min(255 eps + 4, 1.25 * 255 eps)) steps in linf; 10
    steps in other norms.  Without `step` it is 1/255 in linf as far as the steps then can reach the ball's surface,
    else 1.25 eps / steps.
    """

    name: ClassVar[str] = "bim"
    summary: ClassVar[str] = "many small steps from the image itself"
    source: ClassVar[str] = "Kurakin, Goodfellow, Bengio 2017, arXiv 1607.02533"

    norm: str = parameter("linf", "norm of the ball", choices=("l1", "l2", "linf"))
    steps: int | None = parameter(None, "number of steps (none: Kurakin's rule)", low=1)
    step: float | None = parameter(None, "length of a step in `norm` (none: Kurakin's rule)", low=0)
    early_stop: bool = parameter(True, "images leave as soon as they fool the network")

    def _ascent(self) -> Ascent:
        levels = 255 * min(self.eps, 1)  # a ball of radius 1 holds the whole box
        rule = max(1, math.ceil(round(min(levels + 4, 1.25 * levels), 6))) if self.norm == "linf" else 10
        steps = self.steps or rule
        step = self.step
        if step is None:
            step = 1 / 255 if self.norm == "linf" and steps >= rule else 1.25 * self.eps / steps
        return Ascent(NORMS[self.norm], self.eps, steps, step, early_stop=self.early_stop)


@dataclass(frozen=True, kw_only=True)
class PGD(GradientAttack):
    """Projected Gradient Descent: many steps from a random point of the ball.

    Without `step` it is 2.5 eps / steps, as Madry et al. choose it.
    """

    name: ClassVar[str] = "pgd"
    summary: ClassVar[str] = "many steps from a random point of the ball"
    source: ClassVar[str] = "Madry et al. 2018, arXiv 1706.06083"

    norm: str = parameter("linf", "norm of the ball", choices=("l1", "l2", "linf"))
    steps: int = parameter(40, "number of steps", low=1)
    step: float | None = parameter(None, "length of a step in `norm` (none: 2.5 eps / steps)", low=0)
    random_start: bool = parameter(True, "start from a random point of the ball, else from the image")
    restarts: int = parameter(1, "independent starts; only images that still stand are tried again", low=1)
    early_stop: bool = parameter(True, "images leave as soon as they fool the network")

    def _ascent(self) -> Ascent:
        step = 2.5 * self.eps / self.steps if self.step is None else self.step
        return Ascent(NORMS[self.norm], self.eps, self.steps, step, self.random_start, self.restarts, self.early_stop)


def climb(block: Block, ascent: Ascent) -> Tensor:
    """Run the loop for one block; images that reach the goal untouched come back unchanged."""
    found = block.images.clone()
    standing = torch.arange(len(found), device=found.device)
    if not _looks_first(block, ascent):
        block.look()
        standing = (~block.already).nonzero()[:, 0]
    for restart in range(ascent.restarts):
        if len(standing) == 0:
            break
        climber = _Climber(block, ascent, standing, found)
        climber.run(restart)
        if restart + 1 < ascent.restarts:
            standing = standing[~block.reached(found[standing], standing)]
    return found


def _looks_first(block: Block, ascent: Ascent) -> bool:
    """Whether the first gradient pass shows, in full precision and for good, which images reach the goal untouched."""
    queries = block.queries
    return not (ascent.random_start or queries.random or queries.engine.precision == "bfloat16")


def _objective(goal: Goal, loss: Loss) -> Objective:
    """What the engine differentiates."""
    return lambda logits, rows: goal[rows].objective(loss, logits)


class _Climber:
    """The images of a block that still stand, and where they are: finished ones are written to `found` and leave."""

    def __init__(self, block: Block, ascent: Ascent, places: Tensor, found: Tensor) -> None:
        self.block, self.ascent, self.places, self.found = block, ascent, places, found
        self.ball = Ball.around(block.images[places], ascent.norm, ascent.eps, block.quantize)
        self.x = self.ball.originals
        self.best, self.held = self.x, torch.zeros_like(places, dtype=torch.bool)

    def run(self, restart: int) -> None:
        ascent, total = self.ascent, self.ascent.steps * self.ascent.restarts
        if ascent.random_start:
            streams = self.block.streams[self.places]
            shape = tuple(self.x.shape[1:])
            for _ in range(restart):  # later restarts stand further on in each image's stream
                ascent.norm.random_point(streams, shape, ascent.eps)
            self.x = self.ball.inside(self.x + ascent.norm.random_point(streams, shape, ascent.eps))
        for step in range(ascent.steps):
            goal = self.block.goal[self.places]
            passed = self.block.queries.gradients(self.x, self.block.rows[self.places], _objective(goal, ascent.loss))
            gradients = self._leave(goal.reached(passed.logits), passed.images, untouched=self._untouched(step))
            done = len(self.found) - len(self.places)
            losses = passed.losses
            if ascent.loss is not cross_entropy:
                losses = goal.objective(cross_entropy, passed.logits)
            self.block.report(restart * ascent.steps + step + 1, total, len(self.places), done, float(losses.mean()))
            if len(self.places) == 0:
                return
            self.x = self.ball.inside(self.x + ascent.step * ascent.norm.steepest(gradients))
        self.found[self.places] = self._last()

    def _last(self) -> Tensor:
        """Where the climb ended; where that is no success any more, the last point that was one.

        Of a random network always where it ended: what one pass took for a success says little about a point.
        """
        last = self.ball.returned(self.x)
        if self.block.queries.random or not self.held.any():
            return last
        rows = self.held.nonzero()[:, 0]
        lost = rows[~self.block.reached(last[rows], self.places[rows])]
        if len(lost):
            self.x[lost] = self.best[lost]
            last[lost] = self.ball.returned(self.x[lost], lost)
        return last

    def _untouched(self, step: int) -> bool:
        return step == 0 and _looks_first(self.block, self.ascent)

    def _leave(self, reached: Tensor, gradients: Tensor, untouched: bool) -> Tensor:
        """Let go of images that reached the goal; return the gradients of those that stay."""
        if not reached.any():
            return gradients
        if not (untouched or self.ascent.early_stop):
            self.best = torch.where(expand(reached, self.x), self.x, self.best)
            self.held |= reached
            return gradients
        chosen = reached.nonzero()[:, 0]
        final = self.x[chosen] if untouched else self.ball.returned(self.x[chosen], chosen)
        if untouched:
            self.block.already[self.places[chosen]] = True
        else:
            sure = self.block.confirmed(final, self.places[chosen])
            chosen, final = chosen[sure], final[sure]
        self.found[self.places[chosen]] = final
        stay = torch.ones_like(reached)
        stay[chosen] = False
        self.places, self.x, self.ball = self.places[stay], self.x[stay], self.ball[stay]
        self.best, self.held = self.best[stay], self.held[stay]
        return gradients[stay]
