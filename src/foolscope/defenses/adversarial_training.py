"""Adversarial training: train on what an attack makes of every batch.

Madry et al. 2018 (arXiv 1706.06083), for any attack's spec:

    min E max_{|d| <= eps} CE(f(x + d), y)

TRADES (Zhang et al. 2019, arXiv 1901.08573) trades accuracy against robustness by beta; the inner attack looks for the
answer that differs most from the untouched image's, from a point beside it:

    min E [ CE(f(x), y) + beta max_{|d| <= eps} KL(f(x) || f(x + d)) ]

FGSM-RS (Wong, Rice and Kolter 2020, arXiv 2001.03994) takes one large step from a random point, which is cheap, and may
overfit catastrophically: from one epoch to the next all robustness against several steps is gone.  Training then ends,
and the weights of the most robust epoch count; see `models.training.Guard`.

Inner attacks run against the network in evaluation mode and push every image to the end: also those that are
misclassified already, which an attack otherwise leaves alone.  They run in bfloat16, but for TRADES, which starts from
a difference of answers that bfloat16 does not keep.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foolscope.attacks import PGD, Attack, Untargeted, parse_attack
from foolscope.attacks.attack import LARGEST_EPS
from foolscope.attacks.ball import Ball
from foolscope.errors import SpecError
from foolscope.models.engine import Engine
from foolscope.models.training import Loss, Perturb
from foolscope.norms import NORMS
from foolscope.randomness import step_seed
from foolscope.spec import Parameters, parameter, parse_spec

_BESIDE = 1e-3
"""Standard deviation of the noise that TRADES starts from: at the image itself the divergence has no gradient."""


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
        scaled = _scaled(attack, _strength(step, rise))
        return scaled(Engine(model, precision="bfloat16"), images, Worst(labels), rng=_generator(seed, step)).images

    return perturb


def _generator(seed: int, step: int) -> torch.Generator:
    return torch.Generator().manual_seed(step_seed(seed, 1_000_003, step))


def _strength(step: int, rise: int) -> float:
    return min(1.0, (step + 1) / rise) if rise else 1.0


def _scaled(attack: Attack, factor: float) -> Attack:
    """The attack with its lengths multiplied by `factor`."""
    if factor == 1:
        return attack
    lengths = {name: getattr(attack, name, None) for name in ("eps", "step")}
    return attack.replace(**{name: value * factor for name, value in lengths.items() if value is not None})


def divergence(clean: Tensor, logits: Tensor) -> Tensor:
    """KL(p || softmax(logits)) of the probabilities p, `clean` (N, K), one number a sample."""
    return F.kl_div(logits.log_softmax(1), clean, reduction="none").sum(1)


@dataclass(frozen=True, kw_only=True)
class TRADES(Parameters):
    """Cross-entropy on the images, and `beta` times how far an attack can move the answers."""

    name: ClassVar[str] = "trades"
    listing: ClassVar[str] = "foolscope train --help"
    manual: ClassVar[str | None] = "foolscope train --help"

    eps: float = parameter(8 / 255, "radius in `norm`", low=0, high=LARGEST_EPS)
    norm: str = parameter("linf", "norm of the ball", choices=("l1", "l2", "linf"))
    steps: int = parameter(10, "steps of the inner attack", low=1)
    step: float | None = parameter(None, "length of a step in `norm` (none: eps / 4)", low=1e-9)
    beta: float = parameter(6.0, "weight of robustness against accuracy", low=0)

    def perturb(self, seed: int = 0, rise: int = 0) -> Perturb:
        """The inner attack; its radius grows over the first `rise` steps, as that of `adversary` does."""
        length = self.eps / 4 if self.step is None else self.step

        def perturb(model: nn.Module, images: Tensor, labels: Tensor, step: int) -> Tensor:
            share, norm, engine = _strength(step, rise), NORMS[self.norm], Engine(model)
            clean = engine.logits(images).softmax(1)
            ball = Ball.around(images, norm, share * self.eps, quantized=False)
            noise = torch.randn(images.shape, generator=_generator(seed, step))
            x = ball.inside(images + _BESIDE * noise)
            for _ in range(self.steps):
                passed = engine.gradients(x, lambda logits, rows: divergence(clean[rows], logits))
                x = ball.inside(x + share * length * norm.steepest(passed.images))
            return x

        return perturb

    def loss(
        self, network: Callable[[Tensor], Tensor], images: Tensor, perturbed: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The mean loss, whose gradient passes both answers, and the logits of the perturbed images (N, K)."""
        clean, attacked = network(images), network(perturbed)
        robust = divergence(clean.softmax(1), attacked).mean()
        return F.cross_entropy(clean, labels) + self.beta * robust, attacked


@dataclass(frozen=True, kw_only=True)
class FGSMRS(Parameters):
    """One step of the gradient's sign from a random point of the ball, and an end where that overfits."""

    name: ClassVar[str] = "fgsm-rs"
    listing: ClassVar[str] = "foolscope train --help"
    manual: ClassVar[str | None] = "foolscope train --help"

    eps: float = parameter(8 / 255, "linf radius", low=0, high=LARGEST_EPS)
    step: float | None = parameter(None, "length of the step (none: 1.25 eps)", low=1e-9)
    fall: float = parameter(0.2, "fall of robust accuracy from one epoch to the next that ends training", low=0, high=1)

    @property
    def attack(self) -> Attack:
        """The inner attack."""
        return PGD(eps=self.eps, steps=1, step=1.25 * self.eps if self.step is None else self.step, early_stop=False)


@dataclass(frozen=True, kw_only=True)
class AdversarialTraining:
    """What adversarial training needs to know: `perturb` by seed and rise, and in which ball the network is to stand.

    `loss` None is the cross-entropy on the perturbed images, `fall` None a training that is never ended early.
    """

    spec: str
    eps: float
    norm: str
    perturb: Callable[[int, int], Perturb]
    loss: Loss | None = None
    fall: float | None = None


def parse_adversarial(text: str) -> AdversarialTraining:
    """Read `trades:eps=8/255,beta=6`, `fgsm-rs:eps=8/255` or an attack's spec, whose images then are trained on.

    Raises `SpecError` for what cannot be read and for attacks without a radius or with one of 0, `ParameterError` out
    of range.
    """
    found = _parsed_adversarial(text)
    if found.eps == 0:
        raise SpecError(f"'{text}' has a radius of 0, which is ordinary training: leave --adversarial out.")
    return found


def _parsed_adversarial(text: str) -> AdversarialTraining:
    spec = parse_spec(text)
    if spec.name == TRADES.name:
        trades = TRADES.from_spec(spec)
        return AdversarialTraining(
            spec=trades.spec(), eps=trades.eps, norm=trades.norm, perturb=trades.perturb, loss=trades.loss
        )
    if spec.name == FGSMRS.name:
        fast = FGSMRS.from_spec(spec)
        return AdversarialTraining(
            spec=fast.spec(), eps=fast.eps, norm="linf", perturb=_against(fast.attack), fall=fast.fall
        )
    attack = parse_attack(text)
    attack = attack.replace(early_stop=False) if hasattr(attack, "early_stop") else attack
    eps = getattr(attack, "eps", None)
    if eps is None:
        raise SpecError(f"'{text}' has no radius to train in: take pgd, fgsm, {TRADES.name} or {FGSMRS.name}.")
    norm = str(getattr(attack, "norm", "linf"))
    return AdversarialTraining(spec=attack.spec(), eps=eps, norm=norm, perturb=_against(attack))


def _against(attack: Attack) -> Callable[[int, int], Perturb]:
    return lambda seed, rise: adversary(attack, seed, rise)
