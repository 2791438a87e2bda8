"""The filter attack: what it returns, what it costs, and its specs."""

from __future__ import annotations

import re

import pytest
import torch

from foolscope.attacks import FilterAttack, Targeted, Untargeted, parse_attack
from foolscope.errors import FoolscopeError, InputError, ParameterError, SpecError
from foolscope.filters import AGV_B, Clarendon, Juno, parse_chain
from foolscope.images import quantize
from foolscope.models.classifier import Classifier
from foolscope.randomness import generator
from tests.attacks.cases import Fixed, network

SHAPE = (3, 6, 5)
IMAGES = torch.rand(8, *SHAPE, generator=generator(0))


@pytest.mark.parametrize("quantized", [False, True])
def test_images_that_are_classified_right_are_filtered_and_others_left(quantized: bool) -> None:
    model = network("conv", SHAPE, seed=0)
    images = quantize(IMAGES) if quantized else IMAGES
    with torch.no_grad():
        predicted = model(images).argmax(1)
    labels = torch.where(torch.arange(8) < 5, predicted, (predicted + 1) % 4)
    result = FilterAttack(chain="agv-b")(model, images, Untargeted(labels), quantize=quantized)
    filtered = quantize(AGV_B(images)) if quantized else AGV_B(images)
    assert result.already.tolist() == [False] * 5 + [True] * 3
    torch.testing.assert_close(result.images[:5], filtered[:5], rtol=0, atol=1e-6)
    assert torch.equal(result.images[5:], images[5:])
    with torch.no_grad():
        assert torch.equal(result.predictions, model(result.images).argmax(1))
    assert torch.equal(result.success, result.predictions != labels)


def test_a_network_that_looks_at_brightness_is_fooled_where_it_can_be_told() -> None:
    """Class 1 is brighter than 1/2 in the mean: Gingham's 1.1 brightens and its contrast keeps the mean."""
    pixels = 12
    weight = torch.stack([torch.zeros(pixels), torch.full((pixels,), 1 / pixels)])
    model = Fixed(weight, torch.tensor([0.5, 0.0]))
    images = torch.tensor([0.3, 0.44, 0.46, 0.6]).view(4, 1, 1, 1).expand(4, 3, 2, 2).contiguous()
    goal = Untargeted(torch.tensor([0, 0, 0, 1]))
    result = FilterAttack(chain="gingham")(model, images, goal)
    assert result.success.tolist() == [False, False, True, False]
    torch.testing.assert_close(result.distance("linf"), torch.tensor([0.03, 0.044, 0.046, 0.06]))
    aimed = FilterAttack(chain="gingham")(model, images, Targeted(torch.ones(4, dtype=torch.int64)))
    assert aimed.success.tolist() == [False, False, True, True]
    assert aimed.already.tolist() == [False, False, False, True]


def test_two_forwards_an_image_and_no_backward() -> None:
    result = FilterAttack()(network("batchnorm", SHAPE, seed=1), IMAGES, Untargeted(torch.zeros(8, dtype=torch.int64)))
    assert result.forwards.tolist() == [2] * 8
    assert result.backwards.tolist() == [0] * 8


def test_black_boxes_can_be_filtered() -> None:
    model = Classifier(
        network("linear", SHAPE, seed=0), name="box", input_shape=SHAPE, num_classes=4, differentiable=False
    )
    result = FilterAttack()(model, IMAGES, Untargeted(torch.zeros(8, dtype=torch.int64)))
    assert not torch.equal(result.images, IMAGES)


def test_strength_0_is_the_identity() -> None:
    model = network("conv", SHAPE, seed=0)
    attack = parse_attack("filter:chain=(clarendon:strength=0|lark:strength=0)")
    result = attack(model, IMAGES, Untargeted(torch.zeros(8, dtype=torch.int64)))
    assert torch.equal(result.images, IMAGES)
    assert torch.equal(result.success, result.already)


def test_gray_images_and_a_filter_that_colors() -> None:
    message = "clarendon would color gray images; gingham, juno, lark, stinson do not."
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        FilterAttack()(
            network("linear", (1, 4, 4), 0), torch.rand(2, 1, 4, 4), Untargeted(torch.zeros(2, dtype=torch.int64))
        )


@pytest.mark.parametrize(
    ("text", "chain", "spec"),
    [
        ("filter", AGV_B, "filter"),
        ("filter:chain=AGV-A", parse_chain("agv-a"), "filter:chain=agv-a"),
        ("filter:chain=juno", parse_chain("juno"), "filter:chain=juno"),
        (
            "filter:chain=( Clarendon:strength=0.80 |juno)",
            parse_chain("clarendon:strength=0.8|juno"),
            "filter:chain=(clarendon:strength=0.8|juno)",
        ),
        (
            "filter:chain=(juno:intensity=3),allow_extreme=yes",
            parse_chain("juno:intensity=3", allow_extreme=True),
            "filter:chain=(juno:intensity=3),allow_extreme=true",
        ),
    ],
)
def test_specs(text: str, chain: object, spec: str) -> None:
    attack = parse_attack(text)
    assert isinstance(attack, FilterAttack)
    assert attack.filters == chain
    assert attack.spec() == spec
    assert parse_attack(spec) == attack


def test_an_attack_from_filters() -> None:
    chain = (Clarendon(strength=0.8), Juno())
    attack = FilterAttack(chain="|".join(item.spec() for item in chain))
    assert attack.filters.filters == chain
    assert attack.replace(chain="agv-a").filters == parse_chain("agv-a")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("filter:chain=()", SpecError, "an empty chain: name at least one filter; 'foolscope filters' lists all."),
        ("filter:chain=jumo", SpecError, "unknown filter 'jumo'. Did you mean juno? 'foolscope filters' lists all."),
        ("filter:eps=0.1", SpecError, "filter has no parameter 'eps'. 'foolscope attacks filter' lists all."),
        (
            "filter:chain=(juno:intensity=3)",
            ParameterError,
            "juno: intensity must be between 0.5 and 1.5 unless extremes are allowed, got 3.",
        ),
        ("filter:chain=(juno|lark", SpecError, "malformed spec 'chain=(juno|lark': its parentheses do not balance."),
    ],
)
def test_bad_specs(text: str, error: type[FoolscopeError], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        parse_attack(text)
