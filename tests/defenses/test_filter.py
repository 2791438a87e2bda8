"""A chain of filters as a defense."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor

from foolscope.defenses import PhotoFilter, defended, parse_defense
from foolscope.errors import InputError
from foolscope.filters import AGV_A, AGV_B, parse_chain
from foolscope.models.engine import Engine
from foolscope.randomness import generator
from tests.attacks.cases import network

SPEC = "filter:chain=(gingham:strength=0.5|juno)"


@pytest.fixture
def images() -> Tensor:
    return torch.rand(5, 3, 6, 7, generator=generator(0))


@pytest.mark.parametrize("gradient", ["differentiable", "straight-through", "none"])
def test_the_images_are_those_of_the_chain(images: Tensor, gradient: str) -> None:
    defense = parse_defense(f"filter:chain=agv-a,gradient={gradient}|jpeg")
    assert defense.transforms[0] == PhotoFilter(chain="agv-a", gradient=gradient)
    assert torch.equal(parse_defense(f"filter:chain=agv-a,gradient={gradient}")(images), AGV_A(images))
    assert torch.equal(defense(images), parse_defense("jpeg")(AGV_A(images)))


def test_specs() -> None:
    defense = parse_defense("filter|filter:chain=(Juno | lark)")
    assert defense.spec() == "filter|filter:chain=(juno|lark)"
    assert defense.transforms == (PhotoFilter(), PhotoFilter(chain="juno|lark"))
    assert PhotoFilter().filters == AGV_B
    assert parse_defense(SPEC).gradient == "differentiable"


def test_gradients_pass_through_the_filters(images: Tensor) -> None:
    model = network("conv", (3, 6, 7), seed=0)
    behind = defended(model, SPEC)
    assert behind.differentiable
    found = Engine(behind).gradients(images, lambda logits, rows: logits.logsumexp(1))
    x = images.clone().requires_grad_()
    by_hand = model(parse_chain("gingham:strength=0.5|juno")(x)).logsumexp(1).sum()
    torch.testing.assert_close(found.images, torch.autograd.grad(by_hand, x)[0], rtol=1e-4, atol=1e-6)


def test_straight_through_takes_the_identitys_gradient(images: Tensor) -> None:
    x = images.clone().requires_grad_()
    weights = torch.linspace(-1, 1, images.numel()).view_as(images)
    through = parse_defense("filter:chain=agv-a,gradient=straight-through")(x)
    assert torch.equal(torch.autograd.grad((through * weights).sum(), x)[0], weights)
    assert not parse_defense("filter:chain=agv-a,gradient=none")(x).requires_grad


def test_gray_images_and_a_filter_that_colors() -> None:
    message = "rise would color gray images; gingham, juno, lark, stinson do not."
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        parse_defense("filter:chain=rise")(torch.rand(2, 1, 4, 4))
