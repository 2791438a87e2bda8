"""Networks whose explanations are known, and what they are asked of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from foolscope.randomness import generator


class Polynomial(nn.Module):
    """Logits z_k = sum over pixels of a_k x + b_k x^2 + c_k x^3; `coefficients` (K, 3, C, H, W)."""

    weights: Tensor

    def __init__(self, coefficients: Tensor) -> None:
        super().__init__()
        self.coefficients: list[Any] = coefficients.tolist()
        self.register_buffer("weights", coefficients.flatten(1))

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        return torch.cat([flat, flat**2, flat**3], 1) @ self.weights.T

    def of(self, label: int) -> tuple[Tensor, Tensor, Tensor]:
        """The three coefficients of one class, each (C, H, W)."""
        a, b, c = torch.tensor(self.coefficients[label])
        return a, b, c

    def gradient(self, images: Tensor, label: int) -> Tensor:
        """dz / dx of one class."""
        a, b, c = self.of(label)
        return a + 2 * b * images + 3 * c * images**2


def linear(shape: tuple[int, int, int] = (3, 6, 5), classes: int = 4) -> tuple[nn.Module, Tensor]:
    """A linear classifier and its weights (classes, C, H, W)."""
    channels, height, width = shape
    dense = nn.Linear(channels * height * width, classes)
    dense.weight.data = random(classes, channels * height * width, seed=7) - 0.5
    return nn.Sequential(nn.Flatten(), dense).eval(), dense.weight.detach().view(classes, *shape)


class Rooted(nn.Module):
    """A square root guarded by `where`, whose slope is NaN all the same where the root is not taken."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.ones_(self.convolution.weight)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.convolution(images) - 0.5
        return torch.where(maps > 0, maps.sqrt(), torch.zeros_like(maps)).sum((2, 3)).repeat(1, 2)


def small(seed: int = 0, channels: int = 3, classes: int = 4) -> nn.Sequential:
    """A network for images of any size: convolutions, BatchNorm with statistics, a ReLU in place, global pooling."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        features = nn.Sequential(
            nn.Conv2d(channels, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3, padding=1), nn.Sigmoid(),
        )  # fmt: skip
        dense = nn.Linear(8, classes)
        nn.init.uniform_(dense.weight, -0.5, 1)
        model = nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), dense)
        model(torch.rand(16, channels, 12, 12))
    return model.eval()


def random(*shape: int, seed: int = 1) -> Tensor:
    """Uniform numbers in [0, 1)."""
    return torch.rand(*shape, generator=generator(seed))
