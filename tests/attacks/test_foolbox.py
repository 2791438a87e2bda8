"""The same attacks in Foolbox (Rauber et al. 2020) give the same images, pixel by pixel.

Foolbox runs in float64 and so do our gradient passes: in float32, rounding alone turns the sign of a gradient here and
there, and that pixel moves the other way.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from foolscope.attacks import BIM, FGM, FGSM, PGD, Attack, Untargeted
from foolscope.norms import NORMS
from foolscope.randomness import Streams, draw_seed, generator
from tests.attacks.cases import trained

fb = pytest.importorskip("foolbox", reason="Foolbox is not installed (pip install 'foolscope[bench]')")

COUNT = 24
SEED = 11


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return trained().model


@pytest.fixture(scope="module")
def right(model: nn.Module) -> tuple[Tensor, Tensor]:
    """Images that the network gets right: ours leaves the others as they are, Foolbox's does not."""
    images, labels = trained().images, trained().labels
    with torch.no_grad():
        rows = (model(images).argmax(1) == labels).nonzero()[:COUNT, 0]
    assert len(rows) == COUNT
    return images[rows], labels[rows]


def foolbox(attack: Any, model: nn.Module, images: Tensor, labels: Tensor, eps: float) -> Tensor:
    wrapped = fb.PyTorchModel(copy.deepcopy(model).double().eval(), bounds=(0, 1), device="cpu")
    _, clipped, _ = attack(wrapped, images.double(), labels, epsilons=eps)
    assert isinstance(clipped, Tensor)
    return clipped.float()


def ours(attack: Attack, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return attack(model, images, Untargeted(labels), rng=generator(SEED), precision="float64").images


@pytest.mark.parametrize("eps", [0.02, 0.1, 0.3])
def test_fgsm(model: nn.Module, right: tuple[Tensor, Tensor], eps: float) -> None:
    expected = foolbox(fb.attacks.FGSM(), model, *right, eps)
    torch.testing.assert_close(ours(FGSM(eps=eps), model, *right), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("eps", [0.2, 1.0, 3.0])
def test_fgm(model: nn.Module, right: tuple[Tensor, Tensor], eps: float) -> None:
    expected = foolbox(fb.attacks.FGM(), model, *right, eps)
    torch.testing.assert_close(ours(FGM(eps=eps), model, *right), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("norm", "eps", "step"), [("linf", 0.1, 0.02), ("linf", 0.05, 0.05), ("l2", 1.0, 0.2)])
def test_bim(model: nn.Module, right: tuple[Tensor, Tensor], norm: str, eps: float, step: float) -> None:
    kind = {"linf": fb.attacks.LinfBasicIterativeAttack, "l2": fb.attacks.L2BasicIterativeAttack}[norm]
    expected = foolbox(kind(abs_stepsize=step, steps=10, random_start=False), model, *right, eps)
    attack = BIM(eps=eps, norm=norm, steps=10, step=step, early_stop=False)
    torch.testing.assert_close(ours(attack, model, *right), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("random_start", [False, True])
@pytest.mark.parametrize(("norm", "eps", "step"), [("linf", 0.1, 0.02), ("l2", 1.0, 0.2)])
def test_pgd(
    model: nn.Module, right: tuple[Tensor, Tensor], norm: str, eps: float, step: float, random_start: bool
) -> None:
    """With the same random start: Foolbox is handed ours."""
    images, labels = right
    streams = Streams(draw_seed(generator(SEED)), images)
    start = images + NORMS[norm].random_point(streams, tuple(images.shape[1:]), eps)
    kind = {"linf": fb.attacks.LinfPGD, "l2": fb.attacks.L2PGD}[norm]

    class Same(kind):  # type: ignore[misc, valid-type]
        def get_random_start(self, x0: Any, epsilon: float) -> Any:
            return type(x0)(start.double())

    peer = Same(abs_stepsize=step, steps=10, random_start=random_start)
    expected = foolbox(peer, model, images, labels, eps)
    attack = PGD(eps=eps, norm=norm, steps=10, step=step, random_start=random_start, early_stop=False)
    found = ours(attack, model, images, labels)
    assert not torch.equal(found, images)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
