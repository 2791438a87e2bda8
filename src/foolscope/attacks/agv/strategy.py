"""The inner evolution strategy: minimizes a loss over the values of genomes, by losses alone.

    x_k = x + sigma e_k,  e_k ~ N(0, I),  k = 1..K              points around the center, cut to the unit cube
    g   = 1/K sum_k z_k (x_k - x) / sigma                       z_k: the losses, standardized
    x  <- x - rate g                                            rate <- decay * rate

It is the search gradient of Wierstra et al. 2014 (JMLR 15, p. 949) with one fixed sigma, as AGV uses it: 5 points, 3
generations, rate 0.1, decay 0.75.  `SIGMA` is that of the authors' code, a quarter of the deviation at which a normal
number stays within the range for 3.1 deviations to both sides.

The authors' code adds the gradient, so it climbs the loss, and moves every parameter by the first one's component.
Ours descends, each parameter by its own component.
"""

from __future__ import annotations

import torch
from torch import Tensor

SIGMA = 0.25 / 6.2
"""Deviation of the points around the center, as a share of a parameter's range."""


def points(center: Tensor, noise: Tensor) -> Tensor:
    """Points around `center` (..., d) from standard normal numbers (K, ..., d), in the unit cube."""
    return (center + SIGMA * noise).clamp_(0, 1)


def descend(center: Tensor, around: Tensor, losses: Tensor, rate: float) -> Tensor:
    """The next center (..., d), from the points `around` (K, ..., d) this one and their losses (K, ...).

    Points are used as they were evaluated, after the cut to the cube.  Equal losses leave the center where it is.
    """
    losses = losses.double()
    deviation = losses.std(0, correction=0)
    flat = deviation <= 1e-12 * losses.abs().amax(0)
    standardized = (losses - losses.mean(0)) / torch.where(flat, torch.inf, deviation)
    gradient = (standardized[..., None] * (around - center) / SIGMA).mean(0)
    return (center - rate * gradient).clamp_(0, 1)
