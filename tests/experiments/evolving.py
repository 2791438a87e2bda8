"""A task that filters upset: are these pictures dark or light?"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from foolscope.experiments import Evolved, Store, evolve


class Brightness(nn.Module):
    """Light (class 1) is what is brighter on the mean than `level`; with a tint that tells copies apart."""

    def __init__(self, level: float = 0.5, red: float = 1.0) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.tensor(level))
        self.weights = nn.Parameter(torch.tensor([red, 1.0, 1.0]))

    def forward(self, x: Tensor) -> Tensor:
        brightness = (x.mean((2, 3)) * self.weights).sum(1) / self.weights.sum()
        return torch.stack([self.level - brightness, brightness - self.level], 1) * 30


def brightness() -> nn.Module:
    """What `py:tests.experiments.evolving:brightness` names."""
    return Brightness()


def reddish() -> nn.Module:
    """What `py:tests.experiments.evolving:reddish` names."""
    return Brightness(0.48, red=2.0)


def pictures(folder: Path, count: int = 48, side: int = 12) -> str:
    """A folder of noisy pictures in two classes, as a spec."""
    noise = np.random.default_rng(5)
    for number in range(count):
        light = number % 2
        base = noise.uniform(0.53, 0.75, 3) if light else noise.uniform(0.25, 0.47, 3)
        pixels = np.clip(base + noise.normal(0, 0.08, (side, side, 3)), 0, 1)
        path = folder / ("light" if light else "dark") / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 255).astype(np.uint8)).save(path)
    return f"folder:{folder}"


SMALL: dict[str, Any] = {"filters": 2, "population": 4, "epochs": 1, "batch": 12, "images": 24, "held_out": 20}
"""A search of less than a second."""

BITS = "fs:squeezers=bits:depth=2"


@cache
def evolved(folder: Path) -> Evolved:
    """The front against one model, with another to transfer to, and a detector."""
    return evolve(
        Brightness(), pictures(folder / "pictures"), detector=BITS, transfer=[Brightness(0.45, red=3.0)],
        store=Store(folder / "store"), **SMALL,
    )  # fmt: skip
