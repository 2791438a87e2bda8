"""Attacks of other libraries in one shape: (model, eps) to a function of images and labels that returns images.

Each imports its library when it is made; what is not installed is left out of a comparison.  Foolbox comes with the
extra `bench`, the others with `pip install --no-deps adv-lib torchattacks` (they pin or need much that no attack does).
All keep their own defaults but for what a comparison fixes: radius, steps, restarts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Run = Callable[[Tensor, Tensor], Tensor]
Peer = Callable[[nn.Module, float | None], Run]
"""(network in evaluation mode, radius or None) to the attack."""

_TORCHATTACKS_NORMS = {"linf": "Linf", "l2": "L2"}
_ADV_LIB_NORMS = {"l0": 0, "l1": 1, "l2": 2, "linf": math.inf}


def foolbox(name: str, **settings: Any) -> Peer:
    """An attack of Foolbox (Rauber et al. 2020)."""

    def make(model: nn.Module, eps: float | None) -> Run:
        import foolbox as library
        from foolbox.models.pytorch import PyTorchModel

        attack = getattr(library.attacks, name)(**settings)
        wrapped = PyTorchModel(model, bounds=(0, 1), device="cpu")

        def run(images: Tensor, labels: Tensor) -> Tensor:
            _, clipped, _ = attack(wrapped, images, labels, epsilons=eps)
            assert isinstance(clipped, Tensor)
            return clipped

        return run

    return make


def adv_lib(name: str, norm: str | None = None, **settings: Any) -> Peer:
    """An attack of adversarial-library (Rony and Ben Ayed 2020)."""

    def make(model: nn.Module, eps: float | None) -> Run:
        import adv_lib.attacks as library

        attack = getattr(library, name)
        given = settings | ({} if norm is None else {"norm": _ADV_LIB_NORMS[norm]})
        given |= {} if eps is None else {"eps" if norm else "ε": eps}
        return lambda images, labels: torch.as_tensor(attack(model, images, labels, **given)).detach()

    return make


def torchattacks(name: str, norm: str | None = None, **settings: Any) -> Peer:
    """An attack of torchattacks (Kim 2020)."""

    def make(model: nn.Module, eps: float | None) -> Run:
        import torchattacks as library

        given = settings | ({} if eps is None else {"eps": eps})
        given |= {} if norm is None else {"norm": _TORCHATTACKS_NORMS[norm]}
        attack = getattr(library, name)(model, **given)
        return lambda images, labels: torch.as_tensor(attack(images, labels)).detach()

    return make


def torchattacks_pgd(steps: int) -> Peer:
    """Its PGD with the step that ours takes."""
    return lambda model, eps: torchattacks("PGD", steps=steps, alpha=2.5 * (eps or 0) / steps)(model, eps)


def torchattacks_autoattack(norm: str, steps: int = 100, queries: int = 5000) -> Peer:
    """AutoAttack 'standard' (Croce and Hein 2020) as torchattacks assembles it, with the paper's number of steps.

    torchattacks' own default is 10 steps.
    """

    def make(model: nn.Module, eps: float | None) -> Run:
        import torchattacks as library

        common = {"eps": eps, "norm": _TORCHATTACKS_NORMS[norm], "seed": 0, "verbose": False, "n_restarts": 1}
        attack = library.MultiAttack(
            [
                library.APGD(model, loss="ce", steps=steps, **common),
                library.APGDT(model, n_classes=10, steps=steps, **common),
                library.FAB(model, multi_targeted=True, n_classes=10, steps=steps, **common),
                library.Square(model, n_queries=queries, **common),
            ]
        )
        return lambda images, labels: torch.as_tensor(attack(images, labels)).detach()

    return make
