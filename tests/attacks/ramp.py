"""A network whose answers along an attack are known, and what tests read off a model and a result."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foolscope.attacks import AttackResult, Untargeted
from tests.attacks.cases import Fixed


def ramp(count: int = 3, margin: float = 1.0) -> tuple[nn.Module, Tensor, Untargeted]:
    """Two classes whose margin, `margin` for every image, falls by step * 16 with every linf step."""
    weight = torch.stack([torch.ones(16), torch.zeros(16)])
    images = torch.full((count, 1, 4, 4), 0.5)
    images[:, 0, 0, 0] -= 0.01 * torch.arange(count) / count  # no two alike
    bias = torch.tensor([margin - 8.0, 0.0])
    return Fixed(weight, bias), images, Untargeted(torch.zeros(count, dtype=torch.int64))


def costs(result: AttackResult) -> tuple[set[int], set[int]]:
    """The numbers of forwards and of backwards that images took."""
    return set(result.forwards.tolist()), set(result.backwards.tolist())


def predicted(model: nn.Module, images: Tensor) -> Tensor:
    """The classes that a model answers."""
    with torch.no_grad():
        labels: Tensor = model(images).argmax(1)
    return labels
