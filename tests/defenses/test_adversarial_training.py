"""Adversarial training: what a batch becomes, the growing radius, and that it makes a network robust."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch import Tensor, nn

from foolscope.attacks import FGSM, PGD, Untargeted, parse_attack
from foolscope.data import load_data
from foolscope.defenses.adversarial_training import FGSMRS, TRADES, Worst, adversary, divergence, parse_adversarial
from foolscope.errors import FoolscopeError, ParameterError, SpecError
from foolscope.models import Classifier, load_model
from foolscope.models.training import Recipe, train
from tests.experiments.networks import digits, digits_lenet

ATTACK = PGD(eps=0.1, steps=2, step=0.1, early_stop=False)


@pytest.mark.parametrize("text", [ATTACK.spec(), "trades:eps=0.1,steps=3,beta=3", "fgsm-rs:eps=0.1"])
def test_it_makes_a_network_robust(text: str) -> None:
    data, method = load_data("digits", "train"), parse_adversarial(text)
    robust = load_model("lenet:weights=none", data.task)
    assert isinstance(robust, Classifier)
    recipe = Recipe(epochs=6, batch=32, lr=0.02)
    rise = round(recipe.warmup * recipe.steps(len(data)))
    train(robust, data.pixels, data.labels, recipe, perturb=method.perturb(0, rise), loss=method.loss)
    test = digits(100)
    standing = {}
    for name, model in (("plain", digits_lenet()), ("robust", robust)):
        result = PGD(eps=0.1, steps=10)(model, test.images, Untargeted(test.labels))
        standing[name] = 1 - float(result.success.float().mean())
    assert standing["robust"] > standing["plain"] + 0.25
    assert float((robust(test.images).argmax(1) == test.labels).float().mean()) > 0.7


@pytest.mark.parametrize(("step", "share"), [(0, 0.25), (1, 0.5), (2, 0.75), (3, 1.0), (50, 1.0)])
def test_the_radius_rises_to_the_full_one(step: int, share: float) -> None:
    data = digits(8)
    perturb = adversary(FGSM(eps=0.2), seed=0, rise=4)
    noise = perturb(digits_lenet(), data.images, data.labels, step) - data.images
    assert float(noise.abs().max()) == pytest.approx(0.2 * share, abs=1e-6)


def test_without_a_rise_the_radius_is_full_from_the_start() -> None:
    data = digits(8)
    noise = adversary(FGSM(eps=0.2))(digits_lenet(), data.images, data.labels, 0) - data.images
    assert float(noise.abs().max()) == pytest.approx(0.2, abs=1e-6)


def test_every_image_is_pushed_to_the_end_also_those_that_are_wrong_already() -> None:
    data = digits(16)
    wrong = (digits_lenet()(data.images).argmax(1) + 1) % 10
    attacked = adversary(parse_attack("pgd:eps=0.1,steps=3,early_stop=false"))(digits_lenet(), data.images, wrong, 0)
    assert ((attacked - data.images).abs().flatten(1).amax(1) > 0.09).all()
    assert not Worst(wrong).reached(torch.zeros(16, 10)).any()


def test_step_and_seed_decide_the_random_start() -> None:
    data = digits(4)

    def made(seed: int, step: int) -> torch.Tensor:
        return adversary(ATTACK, seed)(digits_lenet(), data.images, data.labels, step)

    assert torch.equal(made(0, 5), made(0, 5))
    assert not torch.equal(made(0, 5), made(0, 6))
    assert not torch.equal(made(0, 5), made(1, 5))


def test_the_network_is_left_as_it_was() -> None:
    data, model = digits(4), digits_lenet()
    model.train()
    try:
        torch.manual_seed(3)
        before = torch.get_rng_state()
        adversary(ATTACK)(model, data.images, data.labels, 0)
        assert model.training
        assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
        assert torch.equal(torch.get_rng_state(), before)
    finally:
        model.eval()


class Two(nn.Module):
    """Logits (a x_1 + b x_2, 0) of images of two pixels."""

    def __init__(self, a: float, b: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([a, b]))

    def forward(self, x: Tensor) -> Tensor:
        first = x.flatten(1) @ self.weight
        return torch.stack([first, torch.zeros_like(first)], 1)


def test_the_loss_of_trades_by_hand() -> None:
    network, labels = Two(2.0, -1.0), torch.tensor([0, 1])
    images = torch.tensor([[0.5, 0.25], [0.75, 0.5]]).view(2, 1, 1, 2)  # first logits 0.75 and 1.0
    perturbed = torch.tensor([[0.25, 0.5], [1.0, 0.25]]).view(2, 1, 1, 2)  # 0.0 and 1.75
    found, logits = TRADES(beta=3).loss(network, images, perturbed, labels)

    def share(z: float) -> float:
        return 1 / (1 + math.exp(-z))

    def kl(p: float, q: float) -> float:
        return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))

    accuracy = (-math.log(share(0.75)) - math.log(1 - share(1.0))) / 2
    robust = (kl(share(0.75), share(0.0)) + kl(share(1.0), share(1.75))) / 2
    assert found.item() == pytest.approx(accuracy + 3 * robust, rel=1e-5)
    assert torch.equal(logits, network(perturbed))
    with torch.no_grad():
        p = network(images).softmax(1)
    assert divergence(p, network(images)).tolist() == pytest.approx([0, 0], abs=1e-6)


def test_the_gradient_of_trades_passes_both_answers() -> None:
    """d/dz KL(p(z) || p(z')) is not zero: an implementation that detaches p differs."""
    network, labels = Two(2.0, -1.0).double(), torch.tensor([0])
    images, perturbed = (torch.tensor(v).double().view(1, 1, 1, 2) for v in ([0.5, 0.25], [0.25, 0.5]))

    def value(weight: Tensor) -> float:
        with torch.no_grad():
            network.weight.copy_(weight)
            return TRADES(beta=3).loss(network, images, perturbed, labels)[0].item()

    start, small = torch.tensor([2.0, -1.0]).double(), 1e-6
    slopes = [(value(start + small * unit) - value(start - small * unit)) / (2 * small) for unit in torch.eye(2)]
    value(start)
    (gradient,) = torch.autograd.grad(TRADES(beta=3).loss(network, images, perturbed, labels)[0], network.weight)
    assert gradient.tolist() == pytest.approx(slopes, rel=1e-5)


def test_the_inner_attack_of_trades_ends_in_the_corner_of_a_linear_network() -> None:
    """There the divergence grows with the distance along the weights, so the corners +-eps sign(w) are its maxima."""
    network = Two(2.0, -1.0)
    images = torch.rand(6, 1, 1, 2, generator=torch.Generator().manual_seed(1)) * 0.4 + 0.3
    labels = torch.zeros(6, dtype=torch.int64)
    moved = TRADES(eps=0.1).perturb()(network, images, labels, 0) - images
    signs = (moved.flatten(1) * torch.tensor([1.0, -1.0])).sign()
    assert torch.allclose(moved.abs(), torch.full_like(moved, 0.1), atol=1e-6)
    assert torch.equal(signs[:, 0], signs[:, 1])


@pytest.mark.parametrize(("step", "share"), [(0, 0.25), (2, 0.75), (9, 1.0)])
def test_the_radius_of_trades_rises(step: int, share: float) -> None:
    data = digits(4)
    noise = TRADES(eps=0.2, steps=6).perturb(0, rise=4)(digits_lenet(), data.images, data.labels, step) - data.images
    assert float(noise.abs().max()) == pytest.approx(0.2 * share, abs=1e-6)


def test_fgsm_rs_is_one_long_step_from_a_random_point() -> None:
    data = digits(8)
    method = parse_adversarial("fgsm-rs:eps=0.1")
    made = method.perturb(3, 0)(digits_lenet(), data.images, data.labels, 5)
    attack = PGD(eps=0.1, steps=1, step=0.125, early_stop=False)
    assert torch.equal(made, adversary(attack, 3)(digits_lenet(), data.images, data.labels, 5))
    assert FGSMRS(step=0.01).attack == PGD(eps=8 / 255, steps=1, step=0.01, early_stop=False)


@pytest.mark.parametrize(
    ("text", "spec", "ball", "fall"),
    [
        ("pgd:eps=0.1", "pgd:eps=0.1,early_stop=false", (0.1, "linf"), None),
        ("fgm:eps=2", "fgm:eps=2", (2, "l2"), None),
        ("trades", "trades", (8 / 255, "linf"), None),
        ("trades:eps=0.5,norm=l2,beta=1", "trades:eps=0.5,norm=l2,beta=1", (0.5, "l2"), None),
        ("fgsm-rs", "fgsm-rs", (8 / 255, "linf"), 0.2),
        ("fgsm-rs:eps=4/255,fall=0.1", "fgsm-rs:eps=4/255,fall=0.1", (4 / 255, "linf"), 0.1),
    ],
)
def test_what_is_trained_against(text: str, spec: str, ball: tuple[float, str], fall: float | None) -> None:
    method = parse_adversarial(text)
    assert (method.spec, (method.eps, method.norm), method.fall) == (spec, ball, fall)
    assert (method.loss is not None) == text.startswith("trades")


@pytest.mark.parametrize(
    ("text", "message", "kind"),
    [
        ("trades:beta=-1", "trades: beta must be at least 0, got -1.", ParameterError),
        ("trades:norm=l7", "trades: norm must be one of l1, l2, linf, got 'l7'.", ParameterError),
        ("trades:bta=1", "trades has no parameter 'bta'. Did you mean beta? 'foolscope train --help'", SpecError),
        ("fgsm-rs:fall=2", "fgsm-rs: fall must be between 0 and 1, got 2.", ParameterError),
        ("cw", "'cw' has no radius to train in: take pgd, fgsm, trades or fgsm-rs.", SpecError),
        ("trades:eps=0", "'trades:eps=0' has a radius of 0, which is ordinary training: leave --adversarial out.",
         SpecError),
        ("trdes", "unknown attack 'trdes'.", SpecError),
    ],
)  # fmt: skip
def test_says_what_is_wrong(text: str, message: str, kind: type[FoolscopeError]) -> None:
    with pytest.raises(kind, match=f"^{re.escape(message)}"):
        parse_adversarial(text)
