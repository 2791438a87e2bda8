"""Adversarial training (Madry et al. 2018, arXiv 1706.06083): train on what an attack makes of every batch.

The attack runs against the network in evaluation mode, in bfloat16, and pushes every image to the end: also those that
are misclassified already, which an attack otherwise leaves alone.  One or two large steps from a random point are the
cheap variant (Wong et al. 2020, arXiv 2001.03994).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foolscope.attacks import Attack, Untargeted
from foolscope.models.engine import Engine
from foolscope.models.training import Perturb
from foolscope.randomness import step_seed


class Worst(Untargeted):
    """Untargeted without an end: it is never reached, so no image is left alone or let go early."""

    def reached(self, logits: Tensor) -> Tensor:
        return torch.zeros(len(logits), dtype=torch.bool, device=logits.device)


def adversary(attack: Attack, seed: int = 0, rise: int = 0) -> Perturb:
    """The `perturb` argument of `models.training.train` that replaces every batch by what `attack` makes of it.

    The radius grows linearly over the first `rise` steps: against the full radius from the start, networks for MNIST
    stay at chance.
    """

    def perturb(model: nn.Module, images: Tensor, labels: Tensor, step: int) -> Tensor:
        rng = torch.Generator().manual_seed(step_seed(seed, 1_000_003, step))
        strength = min(1.0, (step + 1) / rise) if rise else 1.0
        return _scaled(attack, strength)(Engine(model, precision="bfloat16"), images, Worst(labels), rng=rng).images

    return perturb


def _scaled(attack: Attack, factor: float) -> Attack:
    """The attack with its lengths multiplied by `factor`."""
    if factor == 1:
        return attack
    lengths = {name: getattr(attack, name, None) for name in ("eps", "step")}
    return attack.replace(**{name: value * factor for name, value in lengths.items() if value is not None})
