"""DDN, the decoupled direction and norm attack (Rony et al. 2019, arXiv 1811.09600): nearest images in l2.

    d      = d + a_t g / |g|                g = grad J(x + d), a_t from 1 to 0.01 along a cosine
    radius = radius (1 - gamma) where x + d reaches the goal, else radius (1 + gamma)
    d      = radius d / |d|                 then x + d is cut to the box [0, 1]

The direction follows the cross-entropy's gradient and the radius the answers, so that no weight between the two has to
be searched for.  The paper starts at every image itself, with radius 1.  Here it starts where a linear model of the
network puts the nearest boundary: the radius moves by 5 % a step, and from 1 to 0.15, as it is on CIFAR-10, it takes 37
of 100 steps; and the cross-entropy of an image far from all boundaries leans towards several of them at once.  The
paper's gamma stays as it is; here it falls to a fifth, which finds images 0.2 % nearer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from foolscope.attacks.losses import LOSSES, tempered
from foolscope.attacks.minimum_norm import MinimumNormAttack, Nearest, cosine
from foolscope.norms import expand, l2
from foolscope.spec import parameter

_LAST_STEP = 0.01
_LAST_GAMMA = 0.2


@dataclass(frozen=True, kw_only=True)
class DDN(MinimumNormAttack):
    """Decoupled Direction and Norm: a direction that gradients turn, and a radius that shrinks with every success."""

    name: ClassVar[str] = "ddn"
    summary: ClassVar[str] = "nearest image in l2: the radius shrinks with every success"
    source: ClassVar[str] = "Rony et al. 2019, arXiv 1811.09600"

    added: ClassVar[tuple[str, ...]] = ("loss", "temperature")

    candidates: int = parameter(10, "classes whose boundaries are compared at first, the label's among them", low=2)
    steps: int = parameter(100, "number of steps", low=1)
    gamma: float = parameter(0.05, "share by which the radius changes in the first step", low=0, high=0.5)
    radius: float | None = parameter(None, "first radius (none: what a linear model says)", low=1e-6)
    loss: str = parameter("cross-entropy", "what is climbed", choices=tuple(LOSSES))
    temperature: float = parameter(1.0, "what logits are divided by before the loss", low=1e-6)

    @property
    def passes(self) -> int:
        return self.candidates - 1 + self.steps

    def _search(self, nearest: Nearest) -> None:
        places = nearest.standing
        originals = nearest.block.images[places]
        noise = nearest.outset(places, self.candidates) - originals
        radius = l2.length(noise)
        if self.radius is not None:
            radius = torch.full_like(radius, self.radius)
        radius = torch.where(radius > 0, radius, 1.0)
        noise = (originals + l2.steepest(noise) * expand(radius, noise)).clamp_(0, 1).sub_(originals)
        loss = tempered(LOSSES[self.loss], self.temperature)
        for step in range(self.steps):
            x = nearest.seen(originals + noise)
            passed = nearest.gradients(x, places, loss)
            reached, gradients = nearest.offer(places, x, passed.logits), passed.images
            if step == 0:
                moved = reached | gradients.flatten(1).any(1)
                nearest.abandon(places[~moved], x[~moved])
                places, originals, noise, radius = places[moved], originals[moved], noise[moved], radius[moved]
                reached, gradients = reached[moved], gradients[moved]
            nearest.report(self.candidates + step, self.passes, places, passed.losses)
            if len(places) == 0:
                return
            noise += cosine(1, _LAST_STEP, step, self.steps) * l2.steepest(gradients)
            gamma = cosine(self.gamma, _LAST_GAMMA * self.gamma, step, self.steps)
            radius = radius * torch.where(reached, 1 - gamma, 1 + gamma)
            noise = l2.steepest(noise) * expand(radius, noise)
            noise = (originals + noise).clamp_(0, 1).sub_(originals)
        nearest.abandon(places, x)
