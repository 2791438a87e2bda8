"""What attacks climb: losses on logits, one number a sample, larger where a class is less likely.

With the logits z, the true class y, and z_(1) >= z_(2) >= ... the logits in order:

    cross-entropy    -log softmax(z)_y
    margin           max_{k != y} z_k - z_y                               Carlini and Wagner 2017, arXiv 1608.04644
    dlr              margin / (z_(1) - z_(3))                             Croce and Hein 2020, arXiv 2003.01690, eq. 6
    targeted dlr     (z_t - z_y) / (z_(1) - (z_(3) + z_(4)) / 2)          the same, eq. 7

Where a network is sure of itself, float32 rounds the softmax to 1 and the cross-entropy's gradient to 0: the network
seems robust and is not.  The margin does not saturate, the difference of logits ratio (DLR) does not change with the
logits' scale either, and logits that are divided by a `temperature` bring the cross-entropy's gradient back.

For a target that is far away the DLRs are weak: any lead of the highest logit over the third makes them larger.  The
DLR is undefined below 3 classes and its targeted form below 4: there the margin, z_t - z_y, is taken instead.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from foolscope.attacks.goal import Loss
from foolscope.errors import InputError
from foolscope.registry import Registry

_SMALLEST_SPREAD = 1e-12
"""What the DLR divides by where the highest logits are equal."""


def cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """-log softmax(logits)[class], one number a sample."""
    return F.cross_entropy(logits, classes, reduction="none")


def margin(logits: Tensor, classes: Tensor) -> Tensor:
    """How far the best other class lies above `classes` (N,): positive where `classes` are not predicted."""
    others = logits.scatter(1, classes[:, None], -torch.inf).amax(1)
    return others - _of(logits, classes)


def dlr(logits: Tensor, classes: Tensor) -> Tensor:
    """The margin (N,) as a share of the lead that the highest logit has over the third: at least -1."""
    if logits.shape[1] < 3:
        return margin(logits, classes)
    highest = logits.topk(3, dim=1).values
    return margin(logits, classes) / (highest[:, 0] - highest[:, 2]).clamp_min(_SMALLEST_SPREAD)


def targeted_dlr(logits: Tensor, classes: Tensor, targets: Tensor) -> Tensor:
    """How far `targets` (N,) lie above `classes` (N,), relative to how far the highest logit lies above the next."""
    lead = _of(logits, targets) - _of(logits, classes)
    if logits.shape[1] < 4:
        return lead
    highest = logits.topk(4, dim=1).values
    spread = highest[:, 0] - (highest[:, 2] + highest[:, 3]) / 2
    return lead / spread.clamp_min(_SMALLEST_SPREAD)


def tempered(loss: Loss, temperature: float) -> Loss:
    """The loss of logits / temperature."""
    return loss if temperature == 1 else lambda logits, classes: loss(logits / temperature, classes)


def check_classes(count: int, attack: str, model: str) -> None:
    """Raise `InputError` where there is no class but the true one."""
    if count < 2:
        raise InputError(f"{attack} needs at least 2 classes, {model} has {count}.")


def _of(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.gather(1, classes[:, None])[:, 0]


LOSSES: Registry[Loss] = Registry(
    "loss", "foolscope attacks", {"cross-entropy": cross_entropy, "margin": margin, "dlr": dlr}
)
