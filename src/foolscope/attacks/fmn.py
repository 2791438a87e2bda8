"""FMN, the fast minimum-norm attack (Pintor et al. 2021, arXiv 2102.12827): nearest images in l0, l1, l2 and linf.

    eps = |d| + gap / |g|*             until the goal is reached once: where a linear model puts the boundary
    eps = eps (1 - gamma_t)            where x + d reaches the goal, and at most the shortest |d| found
    eps = eps (1 + gamma_t)            elsewhere
    d   = P( d + a_t g / |g|_2 )       P: onto the ball of radius eps, then x + d to the box [0, 1]

g is the gradient of the margin without the values that the box holds back, gap what the margin lacks, |.|* the dual
norm; a_t and gamma_t fall along a cosine.  In l0, which counts pixels over all channels, eps starts at 1 and moves by
at least one pixel.

The paper counts all values in g, and its ball then hardly grows on digits, whose background is at 0: a fifth of LeNet's
images was never fooled.  Its first step is 1 in l2; here it is the linear model's distance, and at most 1.  In l2 and
linf the search starts where that model puts the nearest boundary, which need not be that of the next logit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from foolscope.attacks.losses import cross_entropy, margin
from foolscope.attacks.minimum_norm import MinimumNormAttack, Nearest, cosine, length, movable, project
from foolscope.norms import expand, l2
from foolscope.spec import parameter

_DUAL = {"l1": math.inf, "l2": 2, "linf": 1}
_LAST_GAMMA = 0.001
_BEYOND = 1.01
_LAST_STEP = 0.01


@dataclass(frozen=True, kw_only=True)
class FMN(MinimumNormAttack):
    """Fast Minimum-Norm: steps along the margin's gradient in a ball whose radius closes in on the boundary."""

    name: ClassVar[str] = "fmn"
    summary: ClassVar[str] = "nearest image in any norm: a ball closes in on the boundary"
    source: ClassVar[str] = "Pintor et al. 2021, arXiv 2102.12827"

    norm: str = parameter("l2", "norm of the distance", choices=("l0", "l1", "l2", "linf"))
    candidates: int = parameter(10, "classes whose boundaries are compared at first, the label's among them", low=2)
    steps: int = parameter(100, "number of steps", low=1)
    step: float = parameter(1.0, "first step, as a share of the way to the linear model's boundary", low=1e-6)
    gamma: float = parameter(0.05, "share by which the radius changes in the first step", low=0, high=0.5)

    @property
    def passes(self) -> int:
        return self.steps + (self.candidates - 1 if self._compares else 0)

    @property
    def _compares(self) -> bool:
        """Whether the boundaries of several classes are compared at first."""
        return self.norm in ("l2", "linf")

    def _search(self, nearest: Nearest) -> None:
        places = nearest.standing
        originals = nearest.block.images[places]
        noise = torch.zeros_like(originals)
        if self._compares:
            noise = nearest.outset(places, self.candidates) - originals
        first = radius = torch.ones_like(nearest.distances[places])
        for step in range(self.steps):
            x = nearest.seen(originals + noise)
            passed = nearest.gradients(x, places, margin)
            reached, gradients, gap = nearest.offer(places, x, passed.logits), passed.images, passed.losses.abs()
            if step == 0:
                moved = reached | gradients.flatten(1).any(1)
                nearest.abandon(places[~moved], x[~moved])
                places, originals, noise, radius = places[moved], originals[moved], noise[moved], radius[moved]
                reached, gradients, gap = reached[moved], gradients[moved], gap[moved]
            losses = nearest.goal(places).objective(cross_entropy, passed.logits if step else passed.logits[moved])
            nearest.report(self.passes - self.steps + step + 1, self.passes, places, losses)
            if len(places) == 0:
                return
            gradients = movable(gradients, originals + noise)
            if step == 0:
                first = self._first_step(gradients, gap)
            gamma = cosine(self.gamma, _LAST_GAMMA, step, self.steps)
            radius = self._next_radius(radius, gamma, noise, gradients, gap, reached, nearest.distances[places])
            noise += cosine(1, _LAST_STEP, step, self.steps) * expand(first, noise) * l2.steepest(gradients)
            noise = project(self.norm, noise, radius)
            noise = (originals + noise).clamp_(0, 1).sub_(originals)
        nearest.abandon(places, x)

    def _first_step(self, gradients: Tensor, gap: Tensor) -> Tensor:
        """The first step's length (n,) in l2, at most 1: that of the way to the linear model's boundary.

        In l1 one value goes it, in linf all do; in l0 values go as far as the box lets them.
        """
        if self.norm == "l0":
            return torch.full_like(gap, self.step)
        slope = torch.linalg.vector_norm(gradients.flatten(1), _DUAL[self.norm], dim=1)
        values = gradients[0].numel() if self.norm == "linf" else 1
        way: Tensor = math.sqrt(values) * gap / slope.clamp_min(torch.finfo(gap.dtype).tiny)
        return self.step * way.clamp_max(1)

    def _next_radius(
        self,
        radius: Tensor,
        gamma: float,
        noise: Tensor,
        gradients: Tensor,
        gap: Tensor,
        reached: Tensor,
        shortest: Tensor,
    ) -> Tensor:
        """The balls' radii (n,) for the next step."""
        smaller, larger = radius * (1 - gamma), radius * (1 + gamma)
        if self.norm == "l0":
            smaller, larger = torch.minimum(smaller.floor(), radius - 1), torch.maximum(larger.floor(), radius + 1)
            return torch.where(reached, torch.minimum(smaller, shortest), larger).clamp_min(1)
        slope = torch.linalg.vector_norm(gradients.flatten(1), _DUAL[self.norm], dim=1)
        linear = length(self.norm, noise) + gap / slope.clamp_min(torch.finfo(slope.dtype).tiny)
        never = shortest.isinf()
        return torch.where(reached, torch.minimum(smaller, shortest), torch.where(never, _BEYOND * linear, larger))
