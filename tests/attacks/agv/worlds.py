"""Small models, images and detectors to search on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from foolscope.attacks.agv import Distance, Evaluator, Settings
from foolscope.models.engine import Engine
from foolscope.randomness import generator
from tests.attacks.cases import network

SHAPE = (3, 6, 5)

QUICK: dict[str, Any] = {"filters": 2, "population": 4, "epochs": 1, "batch": 7, "samples": 2, "generations": 1}
"""Settings of a search that takes a moment; three steps on batches of 7, 7 and 5 of the 12 images."""


@dataclass(frozen=True)
class Bright:
    """Flags images whose mean is above `most`."""

    most: float = 0.6

    def detects(self, model: nn.Module | Engine, images: Tensor, probabilities: Tensor | None = None) -> Tensor:
        return images.flatten(1).mean(1) > self.most


@dataclass
class Counting:
    """Flags nothing; keeps how many images it saw."""

    seen: int = 0

    def detects(self, model: nn.Module | Engine, images: Tensor, probabilities: Tensor | None = None) -> Tensor:
        assert probabilities is not None, "the search knows the probabilities: they need not be computed again"
        assert isinstance(model, Engine)
        torch.testing.assert_close(model.logits(images).softmax(1), probabilities)
        self.seen += len(images)
        return torch.zeros(len(images), dtype=torch.bool)


def colors(count: int, seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> Tensor:
    """Images with a color of their own and some texture, so that filters change predictions."""
    rng = generator(seed)
    base = torch.rand(count, shape[0], 1, 1, generator=rng)
    return (base + 0.3 * torch.rand(count, *shape, generator=rng) - 0.15).clamp_(0, 1)


def named(seed: int, kind: str = "conv") -> nn.Module:
    """A tiny network."""
    return network(kind, SHAPE, seed)


def labeled(model: nn.Module, images: Tensor, wrong: int = 2) -> Tensor:
    """The model's own predictions, but for the first `wrong` images."""
    with torch.no_grad():
        labels: Tensor = model(images).argmax(1)
    labels[:wrong] = (labels[:wrong] + 1) % 4
    return labels


def world(
    models: int = 1,
    images: int = 12,
    *,
    detectors: bool = True,
    distances: Mapping[str, Distance] | None = None,
    seed: int = 0,
) -> Evaluator:
    """An evaluator on small things; the labels are predictions of the models in turn, but for two images."""
    nets, pixels = [named(seed + place) for place in range(models)], colors(images, seed)
    answers = torch.stack([labeled(net, pixels) for net in nets])
    labels = answers[torch.arange(images) % models, torch.arange(images)]
    found = [Bright(0.6 - 0.05 * place) for place in range(models)] if detectors else None
    return Evaluator(nets, pixels, labels, detectors=found, distances=distances)


def settings(**changes: Any) -> Settings:
    """Quick settings, with changes."""
    return Settings(**{**QUICK, **changes})
