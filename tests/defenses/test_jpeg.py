"""JPEG before a classifier: the codec's pixels whatever is asked for backwards, and three ways back."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

from foolscope import jpeg
from foolscope.attacks import PGD, Untargeted
from foolscope.defenses import JPEG, Defense, defended, parse_defense
from foolscope.errors import InputError
from foolscope.models.engine import Engine
from foolscope.randomness import generator
from tests.attacks.cases import trained

GRADIENTS = ("straight-through", "differentiable", "none")


@pytest.fixture
def images() -> Tensor:
    return torch.rand(5, 3, 17, 18, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 17 * 18, 4), nn.Tanh()).eval()


def pulled_back(defense: nn.Module, images: Tensor, weights: Tensor) -> Tensor:
    x = images.detach().clone().requires_grad_()
    (found,) = torch.autograd.grad((defense(x) * weights).sum(), x)
    return found


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("subsampling", jpeg.SUBSAMPLINGS)
def test_forward_is_the_real_codec(images: Tensor, subsampling: str, gradient: str) -> None:
    defense = Defense(JPEG(quality=30, subsampling=subsampling, gradient=gradient))
    want = jpeg.compress(images, 30, subsampling)
    assert torch.equal(defense(images), want)
    assert torch.equal(defense(images.clone().requires_grad_()), want)


def test_straight_through_is_the_default() -> None:
    assert JPEG().gradient == "straight-through"
    assert parse_defense("jpeg:quality=40,gradient=straight-through").spec() == "jpeg:quality=40"
    differentiable = parse_defense("jpeg:gradient=differentiable")
    assert (differentiable.spec(), differentiable.gradient) == ("jpeg:gradient=differentiable", "differentiable")


def test_backwards(images: Tensor) -> None:
    weights = torch.rand_like(images) - 0.5
    assert torch.equal(pulled_back(Defense(JPEG(quality=30)), images, weights), weights)
    x = images.clone().requires_grad_()
    (want,) = torch.autograd.grad((jpeg.surrogate(x, 30) * weights).sum(), x)
    found = pulled_back(Defense(JPEG(quality=30, gradient="differentiable")), images, weights)
    assert torch.equal(found, want)
    assert not torch.equal(found, weights)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_gradients_come_in_the_images_type(images: Tensor, dtype: torch.dtype) -> None:
    given = images.to(dtype, memory_format=torch.channels_last)
    defense = Defense(JPEG(quality=50, gradient="differentiable"))
    found = pulled_back(defense, given, torch.ones_like(given))
    assert found.dtype == dtype
    want = pulled_back(defense, given.float(), torch.ones_like(images))
    torch.testing.assert_close(found, want.to(dtype))


def test_the_engine_differentiates_the_smooth_jpeg(network: nn.Module, images: Tensor) -> None:
    behind = defended(network, "jpeg:quality=40,gradient=differentiable")
    assert behind.differentiable
    x = images.clone().requires_grad_()
    (want,) = torch.autograd.grad(network(jpeg.surrogate(x, 40)).logsumexp(1).sum(), x)
    for chunk in (2, None):
        found = Engine(behind, chunk=chunk).gradients(images, lambda logits, rows: logits.logsumexp(1))
        torch.testing.assert_close(found.images, want)


def test_what_quantization_erases_does_not_count(network: nn.Module) -> None:
    """A gradient in a frequency that is rounded to zero everywhere comes back at half its length."""
    images = torch.full((1, 3, 16, 16), 128 / 255)  # every coefficient sits on a level
    wave = torch.tensor([1.0, -1.0]).repeat(8).expand(1, 3, 16, 16).contiguous()
    found = pulled_back(Defense(JPEG(quality=10, subsampling="444", gradient="differentiable")), images, wave)
    torch.testing.assert_close(found, wave / 2, atol=0.01, rtol=0)


def test_an_adaptive_attack_breaks_it() -> None:
    problem = trained()
    for gradient in ("straight-through", "differentiable"):
        behind = defended(problem.model, JPEG(quality=50, gradient=gradient))
        attack = PGD(eps=0.3, steps=20)
        result = attack(behind, problem.images, Untargeted(problem.labels), rng=generator(0))
        again = attack(behind, problem.images, Untargeted(problem.labels), rng=generator(0))
        assert result.success.float().mean() > 0.9
        assert torch.equal(result.images, again.images)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("shape", [(2, 3, 1, 1), (2, 3, 5, 7), (2, 1, 3, 2)])
def test_images_smaller_than_a_block(shape: tuple[int, ...], gradient: str) -> None:
    images = torch.rand(shape, generator=torch.Generator().manual_seed(2))
    defense = Defense(JPEG(quality=20, gradient=gradient))
    assert torch.equal(defense(images), jpeg.compress(images, 20))
    if gradient != "none":
        assert pulled_back(defense, images, torch.ones_like(images)).isfinite().all()


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_gray_images_take_any_color_setting(gradient: str) -> None:
    images = torch.rand(3, 1, 12, 20, generator=torch.Generator().manual_seed(3))
    outs = [Defense(JPEG(subsampling=each, gradient=gradient))(images) for each in jpeg.SUBSAMPLINGS]
    assert torch.equal(outs[0], outs[1])
    assert torch.equal(outs[0], outs[2])


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 4, 8, 8), "JPEG keeps no alpha channel: images must be gray or RGB, got (2, 4, 8, 8)."),
        (torch.zeros(2, 5, 8, 8), "images must have shape (N, C, H, W) with C 1 or 3, got (2, 5, 8, 8)."),
        (torch.full((1, 3, 8, 8), 1.5), "images must be in [0, 1], found values from 1.5 to 1.5."),
    ],
)
def test_bad_images(images: Tensor, message: str, gradient: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        Defense(JPEG(gradient=gradient))(images)
