"""FGM, FGSM, BIM and PGD: what steps, restarts and stopping early change, and what they cost."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from foolscope.attacks import BIM, FGM, FGSM, PGD, Attack, Untargeted
from foolscope.models.engine import Engine
from foolscope.norms import NORMS
from foolscope.randomness import generator
from tests.attacks.cases import Fixed, trained
from tests.attacks.ramp import costs, ramp


@pytest.mark.parametrize("norm", sorted(NORMS))
def test_more_steps_help_on_a_trained_network(norm: str) -> None:
    problem = trained()
    goal = Untargeted(problem.labels)
    for eps in {"l1": (6.0, 15.0), "l2": (0.8, 1.6), "linf": (0.05, 0.08)}[norm]:
        one = FGM(eps=eps, norm=norm)(problem.model, problem.images, goal)
        shares = [float(one.success.float().mean())]
        for steps in (5, 20):
            pgd = PGD(eps=eps, norm=norm, steps=steps, restarts=2)
            shares.append(float(pgd(problem.model, problem.images, goal).success.float().mean()))
        assert shares[0] <= shares[1] <= shares[2] + 0.01
        assert shares[0] < shares[2] < 1
        bim = BIM(eps=eps, norm=norm, steps=20)(problem.model, problem.images, goal)
        assert bim.success.float().mean() >= shares[0]


def test_stopping_early_loses_no_success_and_costs_less() -> None:
    problem = trained()
    goal = Untargeted(problem.labels)
    for attack in (BIM(eps=0.1, steps=10), PGD(eps=0.1, steps=10), PGD(eps=1.0, norm="l2", steps=10)):
        early = attack(problem.model, problem.images, goal)
        late = attack.replace(early_stop=False)(problem.model, problem.images, goal)
        assert early.success[late.success].all()
        assert early.backwards.sum() < late.backwards.sum()
        assert late.success.any()
        stood = ~early.success
        torch.testing.assert_close(early.images[stood], late.images[stood], atol=1e-5, rtol=0)


class Corner(nn.Module):
    """Class 1 where the first pixel is above a bound, class 0 elsewhere; its gradient leads nowhere."""

    def forward(self, images: Tensor) -> Tensor:
        inside = (images[:, 0, 0, 0] > 0.58).float()
        return torch.stack([0.5 - inside, inside - 0.5], 1) + 0 * images.sum((1, 2, 3))[:, None]


def test_restarts_find_what_one_start_does_not() -> None:
    """A random point of the ball has its first pixel above the bound with probability 0.1; gradients are 0."""
    images = 0.5 + 1e-3 * torch.rand(200, 1, 3, 3, generator=generator(1))
    goal = Untargeted(torch.zeros(200, dtype=torch.int64))
    one, ten = (PGD(eps=0.1, steps=1, restarts=n)(Corner(), images, goal) for n in (1, 10))
    assert 5 <= one.success.sum() <= 40  # 20 expected
    assert 100 <= ten.success.sum() <= 160  # 1 - 0.9^10: 130 expected
    assert ten.success[one.success].all()
    assert torch.equal(ten.images[one.success], one.images[one.success])


def test_restarts_never_hurt_on_a_trained_network() -> None:
    problem = trained()
    attack = PGD(eps=0.1, steps=3, early_stop=False)
    one, three = (attack.replace(restarts=n)(problem.model, problem.images, Untargeted(problem.labels)) for n in (1, 3))
    assert 0 < one.success.sum() < len(problem.images)
    assert three.success[one.success].all()


@pytest.mark.parametrize(
    ("attack", "forwards", "backwards"),
    [
        (FGSM(eps=0.01), 2, 1),  # the gradient pass and the last look
        (BIM(eps=0.01, steps=7), 8, 7),
        (PGD(eps=0.01, steps=7, random_start=False), 8, 7),
        (PGD(eps=0.01, steps=7), 9, 7),  # a random start needs a look at the image itself
        (PGD(eps=0.01, steps=7, restarts=3), 1 + 3 * 7 + 2 + 1, 21),  # and a look between restarts
        (PGD(eps=0.01, steps=7, restarts=3, early_stop=False), 1 + 3 * 7 + 2 + 1, 21),
        (BIM(eps=0.5, steps=7, step=0.02), 4 + 1 + 1, 5),  # 0.32 a step: the fifth pass sees the goal reached
        (BIM(eps=0.5, steps=7, step=0.02, early_stop=False), 9, 7),  # a look at whether the end is a success too
        (BIM(eps=0.5, steps=4, step=0.02), 5, 4),  # reached by the last step, which only the last look sees
    ],
    ids=str,
)
def test_passes_are_counted_exactly(attack: Attack, forwards: int, backwards: int) -> None:
    model, images, goal = ramp()
    result = attack(model, images, goal)
    assert costs(result) == ({forwards}, {backwards})
    assert result.success.all() == (getattr(attack, "eps", 0) == 0.5)


class Tent(nn.Module):
    """Class 1 is only between a brightness of 0.55 and 0.65: a climb that goes on leaves it again."""

    def forward(self, images: Tensor) -> Tensor:
        brightness = images.mean((1, 2, 3))
        return torch.stack([brightness * 0, 0.05 - (brightness - 0.6).abs() + 0 * brightness], 1) * 10


@pytest.mark.parametrize("quantized", [False, True])
def test_without_early_stop_the_last_success_counts_where_the_end_is_none(quantized: bool) -> None:
    images, goal = torch.full((3, 1, 4, 4), 0.5), Untargeted(torch.zeros(3, dtype=torch.int64))
    attack = BIM(eps=0.4, steps=3, step=0.1, early_stop=False)  # 0.6, 0.5 and 0.6 or, of an even number, 0.5
    for steps in (3, 4):
        result = attack.replace(steps=steps)(Tent(), images, goal, quantize=quantized)
        assert result.success.all()
        assert torch.allclose(result.images, torch.full_like(images, 0.6), atol=1e-6)


def test_passes_are_counted_per_image() -> None:
    weight = torch.stack([torch.ones(16), torch.zeros(16)])
    images = torch.full((4, 1, 4, 4), 0.5)
    images += torch.tensor([0.0, -0.0625, 0.015, 0.05]).view(-1, 1, 1, 1)  # margins 0.5, -0.5, 0.74, 1.3
    goal = Untargeted(torch.zeros(4, dtype=torch.int64))
    result = BIM(eps=0.06, steps=6, step=0.02)(Fixed(weight, torch.tensor([-7.5, 0.0])), images, goal)
    # 0.32 a step, 0.96 at most: reached after 2 steps, untouched, after 3 steps, never.
    assert result.backwards.tolist() == [3, 1, 4, 6]
    assert result.forwards.tolist() == [4, 2, 5, 7]
    assert result.already.tolist() == [False, True, False, False]
    assert result.success.tolist() == [True, True, True, False]


def test_an_engine_is_used_as_it_is() -> None:
    model, images, goal = ramp()
    engine = Engine(model, chunk=1)
    assert torch.equal(FGSM(eps=0.1)(engine, images, goal).images, FGSM(eps=0.1)(model, images, goal).images)
