"""The one table of attacks that drives the invariants, and the networks and images that they run on.

A new attack is one line in `CASES`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from foolscope.attacks import (
    AGV,
    APGD,
    BIM,
    DDN,
    FGM,
    FGSM,
    FMN,
    PGD,
    Attack,
    CarliniWagner,
    DeepFool,
    Ensemble,
    FilterAttack,
    Square,
)
from foolscope.data import load_data
from foolscope.images import quantize
from foolscope.models.training import Recipe, train
from foolscope.norms import NORMS
from foolscope.randomness import generator

EPS = {"l1": 4.0, "l2": 0.7, "linf": 0.1}
"""Radii that fool some of the small images here and not others."""

CASES: tuple[Attack, ...] = (
    FGSM(eps=EPS["linf"]),
    *(FGM(eps=EPS[norm], norm=norm) for norm in NORMS),
    *(BIM(eps=EPS[norm], norm=norm, steps=4) for norm in NORMS),
    *(PGD(eps=EPS[norm], norm=norm, steps=4) for norm in NORMS),
    *(PGD(eps=EPS[norm], norm=norm, steps=3, restarts=2, early_stop=False) for norm in NORMS),
    *(PGD(eps=EPS[norm], norm=norm, steps=3, random_start=False) for norm in NORMS),
    *(PGD(eps=EPS["linf"], steps=3, loss=loss, temperature=3) for loss in ("margin", "dlr")),
    *(APGD(eps=EPS[norm], norm=norm, steps=6) for norm in ("l2", "linf")),
    *(APGD(eps=EPS[norm], norm=norm, steps=5, loss="dlr-targeted", targets=2) for norm in ("l2", "linf")),
    APGD(eps=EPS["linf"], steps=4, loss="dlr", restarts=2, early_stop=False),
    *(DeepFool(norm=norm, steps=6) for norm in ("l2", "linf")),
    *(CarliniWagner(norm=norm, searches=2, steps=5) for norm in ("l2", "linf")),
    DDN(steps=6, refine=2),
    *(FMN(norm=norm, steps=6, refine=2) for norm in ("l0", "l1", "l2", "linf")),
    *(Square(eps=EPS[norm], norm=norm, queries=40) for norm in ("l2", "linf")),
    Square(eps=EPS["linf"], queries=12, early_stop=False),
    *(Ensemble(eps=EPS[norm], norm=norm, steps=4, targets=2, queries=6) for norm in ("l2", "linf")),
    Ensemble(eps=EPS["linf"], steps=3, targets=1, queries=4, early_stop=False),
    FilterAttack(chain="juno:intensity=1.4|gingham:strength=0.6"),  # which take gray images too
    AGV(pool="gingham,juno,lark", filters=2, population=3, epochs=2, samples=2, generations=1, queries=12),
    AGV(pool="gingham,juno,lark", filters=2, population=3, epochs=1, samples=2, generations=1, early_stop=False),
)


def is_bounded(attack: Attack) -> bool:
    """Whether a radius bounds what the attack changes."""
    return hasattr(attack, "eps")


def _each(attacks: Sequence[Attack]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("attack", attacks, ids=lambda attack: attack.spec())


each_case = _each(CASES)
each_bounded_case = _each([attack for attack in CASES if is_bounded(attack)])
each_gradient_case = _each([attack for attack in CASES if attack.needs_gradients])


def scaled(attack: Attack, factor: float) -> tuple[Attack, float]:
    """The attack with `factor` times its radius, and that radius; an attack without one as it is, and infinity."""
    eps = getattr(attack, "eps", math.inf) * factor
    return (attack.replace(eps=eps) if is_bounded(attack) else attack), eps


def norm_of(attack: Attack) -> str:
    """The norm of an attack's ball; the largest ball is one in linf where nothing bounds it."""
    return str(getattr(attack, "norm", "linf")) if is_bounded(attack) else "linf"


def is_random(attack: Attack) -> bool:
    """Whether the seed decides anything."""
    return isinstance(attack, AGV | APGD | Ensemble | Square) or starts_at_random(attack)


def starts_at_random(attack: Attack) -> bool:
    """Whether the attack begins at a random point of the ball."""
    return bool(getattr(attack, "random_start", False))


def slack(attack: Attack, eps: float, images: Tensor) -> float:
    """How far float32 may lead out of a ball: 1e-6 of its radius, and what rounding to values near 1 adds up to."""
    values = images[0].numel() if len(images) else 1
    return 1e-6 * eps + 6e-8 * {"l1": float(values), "l2": math.sqrt(values), "linf": 1.0}[norm_of(attack)]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A network, images and their labels, which need not be what the network predicts."""

    model: nn.Module
    images: Tensor
    labels: Tensor
    seed: int


def network(kind: str, shape: tuple[int, int, int], seed: int, classes: int = 4) -> nn.Module:
    """A tiny network with random weights and, where it has BatchNorm, statistics that are not 0 and 1."""
    channels, height, width = shape
    pixels = channels * height * width
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if kind == "linear":
            return nn.Sequential(nn.Flatten(), nn.Linear(pixels, classes)).eval()
        layers: list[nn.Module] = [nn.Conv2d(channels, 4, 3, padding=1)]
        if kind == "batchnorm":
            layers.append(nn.BatchNorm2d(4))
        model = nn.Sequential(*layers, nn.Tanh(), nn.Flatten(), nn.Linear(4 * height * width, classes))
        model(torch.rand(16, *shape))
    return model.eval()


@st.composite
def problems(draw: st.DrawFn, least: int = 1, most: int = 5, eight_bit: bool = False) -> Problem:
    """Tiny networks on tiny images, gray and RGB, with pixels of exactly 0 and 1 among them."""
    shape = (draw(st.sampled_from([1, 3])), draw(st.integers(2, 6)), draw(st.integers(2, 6)))
    count, seed = draw(st.integers(least, most)), draw(st.integers(0, 2**32 - 1))
    rng = generator(seed)
    images = (torch.rand(count, *shape, generator=rng) * 1.2 - 0.1).clamp_(0, 1)
    model = network(draw(st.sampled_from(["linear", "conv", "batchnorm"])), shape, seed)
    with torch.no_grad():
        labels = model(images).argmax(1)
    wrong = torch.rand(count, generator=rng) < 0.2
    labels = torch.where(wrong, (labels + 1) % 4, labels)
    return Problem(model=model, images=quantize(images) if eight_bit else images, labels=labels, seed=seed)


@functools.cache
def trained() -> Problem:
    """A small network with BatchNorm, trained on digits for a second or two, and 120 test images."""
    data, test = load_data("digits", split="train"), load_data("digits", split="test", limit=120)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(1, 8, 5, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 2), nn.ReLU(), nn.Flatten()]
        model = nn.Sequential(*layers, nn.Linear(400, 10))
    recipe = Recipe(epochs=4, batch=64, precision="float32")
    train(model, data.pixels, data.labels, recipe)
    with torch.no_grad():
        accuracy = (model(test.images).argmax(1) == test.labels).float().mean()
    assert accuracy > 0.9, "the network that the attacks are tested on must have learned something"
    return Problem(model=model, images=test.images, labels=test.labels, seed=0)


class Noisy(nn.Module):
    """A linear classifier that adds noise of its own to every image."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(pixels, 3)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.linear(images.flatten(1) + 0.1 * torch.randn(images.flatten(1).shape))
        return logits


class Fixed(nn.Module):
    """Logits W x + b of the images as vectors, with these weights."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", torch.zeros(len(weight)) if bias is None else bias)

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ self.weight.T.to(images) + self.bias.to(images)


def same(first: Any, second: Any) -> bool:
    """Whether two results have the same bits."""
    names = ("images", "success", "predictions", "already", "broken", "forwards", "backwards")
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in names)
