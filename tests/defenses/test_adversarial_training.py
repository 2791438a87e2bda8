"""Adversarial training: what a batch becomes, the growing radius, and that it makes a network robust."""

from __future__ import annotations

import pytest
import torch

from foolscope.attacks import FGSM, PGD, Untargeted, parse_attack
from foolscope.data import load_data
from foolscope.defenses.adversarial_training import Worst, adversary
from foolscope.models import Classifier, load_model
from foolscope.models.training import Recipe, train
from tests.experiments.networks import digits, digits_lenet

ATTACK = PGD(eps=0.1, steps=2, step=0.1, early_stop=False)


def test_it_makes_a_network_robust() -> None:
    data = load_data("digits", "train")
    robust = load_model("lenet:weights=none", data.task)
    assert isinstance(robust, Classifier)
    recipe = Recipe(epochs=6, batch=32, lr=0.02)
    rise = round(recipe.warmup * recipe.steps(len(data)))
    train(robust, data.pixels, data.labels, recipe, perturb=adversary(ATTACK, 0, rise))
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
