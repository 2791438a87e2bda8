"""The ensemble: its members, in their order and on what still stands, and the ladder of attacks on shipped networks."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

from foolscope.attacks import APGD, FGSM, FMN, PGD, Ensemble, Square, Targeted, Untargeted, parse_attack
from foolscope.data import load_data
from foolscope.errors import InputError, ParameterError
from foolscope.models import load_model
from foolscope.models.classifier import Classifier
from foolscope.models.engine import Engine
from foolscope.randomness import generator
from tests.attacks.cases import Fixed, network, trained
from tests.attacks.ramp import costs, ramp
from tests.attacks.test_minimum_norm import Flat, linear, optimum
from tests.support import needs_data

SMALL = Ensemble(eps=0.3, steps=10, targets=3, queries=50)


def test_its_members_are_autoattacks() -> None:
    assert Ensemble().members == (
        APGD(),
        APGD(loss="dlr-targeted", targets=9),
        FMN(norm="linf", steps=100),
        Square(queries=5000),
    )
    assert Ensemble().passes == 100 + 900 + (9 + 100) + 5001
    changed = Ensemble(eps=0.5, norm="l2", steps=7, targets=2, queries=30, early_stop=False)
    assert [member.passes for member in changed.members] == [7, 14, 16, 31]
    assert [getattr(member, "norm") for member in changed.members] == ["l2"] * 4  # noqa: B009
    assert [getattr(member, "eps", 0.5) for member in changed.members] == [0.5] * 4
    assert not any(getattr(member, "early_stop", False) for member in changed.members)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_linear_classes_are_reached_exactly_where_the_radius_allows_it(norm: str) -> None:
    model, images, labels = linear(-0.4, 1.4, classes=4, count=24)
    distances = optimum(model, images, labels, norm)
    eps = float(distances[distances.isfinite()].median())
    result = SMALL.replace(eps=eps, norm=norm, steps=30)(model, images, Untargeted(labels))
    assert not result.success[distances > 1.0001 * eps].any()
    assert result.success[distances < 0.98 * eps].all()


def test_it_fools_what_any_member_does() -> None:
    problem = trained()
    goal = Untargeted(problem.labels)
    for eps in (0.03, 0.06):
        attack = SMALL.replace(eps=eps)
        result = attack(problem.model, problem.images, goal)
        assert 0 < result.success.sum() < len(problem.images)
        for member in attack.members:
            alone = member(problem.model, problem.images, goal)
            fooled = alone.success & (alone.distance("linf") <= eps)
            assert result.success[fooled].float().mean() >= 0.97, member.spec()  # random starts differ


def test_each_member_sees_what_those_before_it_left() -> None:
    problem = trained()
    images, goal = problem.images[:40], Untargeted(problem.labels[:40])
    attack = SMALL.replace(eps=0.06)
    result = attack(problem.model, images, goal, rng=generator(3))
    first = attack.members[0](problem.model, images, goal, rng=generator(3))
    assert torch.equal(result.images[first.success], first.images[first.success])
    assert (result.backwards[first.success] == first.backwards[first.success]).all()
    stood = ~result.success
    assert stood.any()
    every = 10 + 30 + (9 + 10)  # FMN compares the boundaries of the 9 other classes first
    assert (result.backwards[stood] == every).all()
    assert (result.backwards[~stood] < every).any()
    assert torch.equal(result.images[stood], first.images[stood]), "what none fools is left as the first member left it"


def test_the_passes_of_an_image_that_stands() -> None:
    model, images, goal = ramp(margin=10.0)
    result = Ensemble(eps=0.1, steps=4, targets=9, queries=6)(model, images, goal)
    apgd, fmn, square = 1 + 4 + 1, 1 + 1 + 4 + 5, 1 + 6  # where FMN finds nothing, there is nothing to shorten
    looks = 1 + 4 + 1  # the untouched images, after each member, the last
    assert costs(result) in (({2 * apgd + fmn + square + looks}, {13}), ({2 * apgd + fmn - 5 + square + looks}, {13}))


class Stairs(nn.Module):
    """A linear network on rounded values: its gradient is zero everywhere."""

    def __init__(self) -> None:
        super().__init__()
        weight = torch.linspace(0.5, 1.5, 36)
        self.inner = Fixed(torch.stack([weight, -weight]), torch.tensor([-15.0, 15.0]))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.inner((images * 20).round() / 20)
        return logits


def test_a_network_that_hides_its_gradients_falls_to_its_last_member() -> None:
    images = 0.5 + 0.01 * torch.rand(6, 1, 6, 6, generator=generator(1))
    goal = Untargeted(torch.zeros(6, dtype=torch.int64))
    attack = Ensemble(eps=0.1, steps=5, targets=1, queries=300)
    gradient, targeted, nearest, blind = attack.members
    for member in (gradient, targeted, nearest):
        result = member(Stairs(), images, goal)
        assert not (result.success & (result.distance("linf") <= 0.1)).any()
    assert attack(Stairs(), images, goal).success.all()
    assert blind(Stairs(), images, goal).success.all()


def test_constant_logits_stand() -> None:
    images = torch.rand(3, 1, 4, 4, generator=generator(0))
    result = SMALL(Flat(), images, Untargeted(torch.tensor([0, 0, 1])))
    assert result.success.tolist() == [False, False, True]
    assert torch.equal(result.images[2], images[2])


def test_targets() -> None:
    problem = trained()
    images, labels = problem.images[:30], problem.labels[:30]
    targets = (labels + 1) % 10
    result = SMALL(problem.model, images, Targeted(targets))
    assert result.success.float().mean() >= 0.5
    assert torch.equal(result.predictions[result.success], targets[result.success])
    already = SMALL(problem.model, images, Targeted(Engine(problem.model).predict(images)))
    assert already.already.all()
    assert torch.equal(already.images, images)


def _ladder(name: str, data: str, eps: float) -> None:
    images = load_data(data, split="test", limit=16)
    engine, goal = Engine(load_model(name)), Untargeted(images.labels)

    def accuracy(attack: FGSM | PGD | Ensemble) -> float:
        return float((~attack(engine, images.images, goal).success).float().mean())

    small = Ensemble(eps=eps, steps=20, targets=3, queries=60)
    clean = float((engine.predict(images.images) == images.labels).float().mean())
    rungs = [clean, accuracy(FGSM(eps=eps)), accuracy(PGD(eps=eps, steps=20)), accuracy(small)]
    assert rungs == sorted(rungs, reverse=True), rungs
    assert accuracy(small.replace(eps=0.5)) == 0


def test_the_ladder_on_the_embedded_digits() -> None:
    _ladder("lenet:weights=digits", "digits", 0.1)


@needs_data
@pytest.mark.parametrize(
    ("name", "data", "eps"),
    [
        ("lenet:weights=mnist", "mnist", 0.1),
        ("resnet20:weights=mnist", "mnist", 0.1),
        ("mnist-cnn:weights=mnist-linf", "mnist", 0.3),
        ("cifar-cnn:weights=cifar10", "cifar10", 2 / 255),
        ("resnet20:weights=cifar10", "cifar10", 2 / 255),
        ("cifar-cnn:weights=cifar10-linf", "cifar10", 8 / 255),
    ],
)
def test_the_ladder_on_every_shipped_network(name: str, data: str, eps: float) -> None:
    _ladder(name, data, eps)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ensemble:norm=l1", "ensemble: norm must be one of l2, linf, got 'l1'."),
        ("ensemble:steps=0", "ensemble: steps must be at least 1, got 0."),
        ("ensemble:targets=0", "ensemble: targets must be at least 1, got 0."),
        ("ensemble:queries=0", "ensemble: queries must be at least 1, got 0."),
        ("ensemble:eps=-1", "ensemble: eps must be between 0 and 1e+06, got -1."),
    ],
)
def test_bad_parameters(text: str, message: str) -> None:
    with pytest.raises(ParameterError, match=f"^{re.escape(message)}$"):
        parse_attack(text)


def test_black_boxes_are_refused() -> None:
    images, goal = torch.rand(2, 1, 4, 4), Untargeted(torch.zeros(2, dtype=torch.int64))
    inner = network("linear", (1, 4, 4), seed=0)
    model = Classifier(inner, name="box", input_shape=(1, 4, 4), num_classes=4, differentiable=False)
    message = r"^ensemble needs gradients and box gives none: use a black-box attack\.$"
    with pytest.raises(InputError, match=message):
        Ensemble()(model, images, goal)
