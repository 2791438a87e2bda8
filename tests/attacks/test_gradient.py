"""FGM, FGSM, BIM and PGD against formulas and analytic optima."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from foolscope.attacks import BIM, FGM, FGSM, PGD, Attack, Targeted, Untargeted
from foolscope.norms import NORMS
from foolscope.randomness import generator
from tests.attacks.cases import Fixed, network, trained
from tests.attacks.ramp import predicted

# Norms in which a linear function is bounded by the dual norm of its weights.
DUAL = {"l1": math.inf, "l2": 2, "linf": 1}


def gradient(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    x = images.clone().requires_grad_()
    (found,) = torch.autograd.grad(F.cross_entropy(model(x), labels, reduction="sum"), x)
    return found


@pytest.fixture
def images() -> Tensor:
    return torch.rand(6, 3, 5, 4, generator=generator(2))


@pytest.fixture
def model() -> nn.Module:
    return network("conv", (3, 5, 4), seed=4)


def test_fgsm_adds_eps_times_the_sign(model: nn.Module, images: Tensor) -> None:
    labels = predicted(model, images)
    expected = (images + 0.07 * gradient(model, images, labels).sign()).clamp(0, 1)
    found = FGSM(eps=0.07)(model, images, Untargeted(labels)).images
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    targets = (labels + 1) % 4
    towards = (images - 0.07 * gradient(model, images, targets).sign()).clamp(0, 1)
    found = FGSM(eps=0.07)(model, images, Targeted(targets)).images
    torch.testing.assert_close(found, towards, atol=1e-6, rtol=0)


def test_fgm_adds_eps_times_the_unit_gradient(model: nn.Module, images: Tensor) -> None:
    labels = predicted(model, images)
    raw = gradient(model, images, labels)
    unit = raw / raw.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    found = FGM(eps=0.4)(model, images, Untargeted(labels)).images
    torch.testing.assert_close(found, (images + 0.4 * unit).clamp(0, 1), atol=1e-6, rtol=0)


def test_fgm_in_linf_is_fgsm(model: nn.Module, images: Tensor) -> None:
    goal = Untargeted(predicted(model, images))
    found = FGM(eps=0.07, norm="linf")(model, images, goal).images
    assert torch.equal(found, FGSM(eps=0.07)(model, images, goal).images)


def test_bim_and_pgd_are_the_same_loop(model: nn.Module, images: Tensor) -> None:
    labels = predicted(model, images)
    x = images.clone()
    for _ in range(5):
        x = x + 0.02 * gradient(model, x, labels).sign()
        x = torch.clamp(x, images - 0.05, images + 0.05).clamp(0, 1)
    bim = BIM(eps=0.05, steps=5, step=0.02, early_stop=False)(model, images, Untargeted(labels))
    pgd = PGD(eps=0.05, steps=5, step=0.02, early_stop=False, random_start=False)(model, images, Untargeted(labels))
    torch.testing.assert_close(bim.images, x, atol=1e-6, rtol=0)
    assert torch.equal(bim.images, pgd.images)


@pytest.mark.parametrize(
    ("eps", "steps", "step"),
    [  # levels, and Kurakin's min(eps + 4, 1.25 eps), rounded up, with steps of one level
        (1, 2, 1 / 255),
        (4, 5, 1 / 255),
        (8, 10, 1 / 255),
        (16, 20, 1 / 255),
        (32, 36, 1 / 255),
        (0, 1, 1 / 255),
    ],
)
def test_bim_follows_kurakins_rule(eps: int, steps: int, step: float) -> None:
    ascent = BIM(eps=eps / 255)._ascent()
    assert (ascent.steps, ascent.step) == (steps, step)
    assert BIM(eps=eps / 255).passes == steps


def test_bim_with_fewer_steps_or_another_norm_still_reaches_the_balls_edge() -> None:
    few = BIM(eps=16 / 255, steps=4)._ascent()
    assert few.steps == 4
    assert few.step == pytest.approx(1.25 * 16 / 255 / 4)
    more = BIM(eps=16 / 255, steps=30)._ascent()
    assert (more.steps, more.step) == (30, 1 / 255)
    round_ball = BIM(eps=2.0, norm="l2")._ascent()
    assert round_ball.steps == 10
    assert round_ball.step == pytest.approx(0.25)
    own = BIM(eps=0.1, step=0.03)._ascent()
    assert own.step == 0.03


def test_pgd_chooses_its_step_as_madry_does() -> None:
    assert PGD(eps=0.3, steps=40)._ascent().step == pytest.approx(2.5 * 0.3 / 40)
    assert PGD(eps=0.3, steps=40, step=0.01)._ascent().step == 0.01
    assert PGD(steps=7, restarts=3).passes == 21
    assert FGSM().passes == FGM().passes == 1


def linear_attacks(norm: str, eps: float) -> list[Attack]:
    """Every attack of the file in a norm, with steps that end at the optimum of a linear function."""
    attacks: list[Attack] = [
        FGM(eps=eps, norm=norm),
        BIM(eps=eps, norm=norm),
        BIM(eps=eps, norm=norm, steps=3, early_stop=False),
        PGD(eps=eps, norm=norm, random_start=False),
        PGD(eps=eps, norm=norm, steps=60, step=0.25 * eps),
        PGD(eps=eps, norm=norm, steps=60, step=0.25 * eps, early_stop=False, restarts=2),
    ]
    return [*attacks, FGSM(eps=eps)] if norm == "linf" else attacks


@pytest.mark.parametrize("norm", sorted(NORMS))
@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31), st.booleans())
def test_on_two_linear_classes_an_attack_succeeds_exactly_where_the_optimum_does(
    norm: str, seed: int, targeted: bool
) -> None:
    """logit_y - logit_other = w x + b changes by at most eps |w|, in the dual norm; no pixel meets the box's edge."""
    rng = generator(seed)
    images = 0.4 + 0.2 * torch.rand(8, 1, 4, 4, generator=rng)
    weight = torch.randn(2, 16, generator=rng)
    difference = weight[0] - weight[1]
    eps = {"l1": 0.2, "l2": 0.15, "linf": 0.1}[norm]
    reach = eps * float(torch.linalg.vector_norm(difference, DUAL[norm]))
    values = images.flatten(1).double() @ difference.double()
    for factor in (0.97, 1.03):  # of the reach: the first image's margin is just below or above it
        bias = torch.tensor([factor * reach - float(values[0]), 0.0])
        margins = values + float(bias[0])
        labels = (margins < 0).long()  # class 0 where the margin is positive
        goal = Targeted(1 - labels) if targeted else Untargeted(labels)
        possible = margins.abs() < reach
        clear = (margins.abs() / reach - 1).abs() > 0.02
        assert bool(possible[0]) == (factor < 1)
        for attack in linear_attacks(norm, eps):
            result = attack(Fixed(weight, bias), images, goal, rng=generator(seed))
            assert torch.equal(result.success[clear], possible[clear]), attack.spec()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_on_many_linear_classes_pgd_comes_near_the_optimum(norm: str) -> None:
    """The nearest boundary of linear classes is known: no attack passes it, and 1.25 times its distance is enough."""
    rng = generator(8)
    images = 0.4 + 0.2 * torch.rand(200, 1, 4, 4, generator=rng)
    weight = torch.randn(5, 16, generator=rng)
    model = Fixed(weight, torch.zeros(5))
    logits = model(images)
    labels = logits.argmax(1)
    margins = logits.gather(1, labels[:, None]) - logits
    lengths = torch.linalg.vector_norm(weight[labels][:, None] - weight[None], DUAL[norm], dim=2)
    distances = (margins / lengths).nan_to_num(math.inf, posinf=math.inf).scatter(1, labels[:, None], math.inf).amin(1)
    eps = float(distances.median())
    assert eps < 0.3, "the optimum must lie inside the box"
    result = PGD(eps=eps, norm=norm, steps=60, step=0.1 * eps)(model, images, Untargeted(labels))
    assert not result.success[distances > 1.001 * eps].any()
    assert result.success[distances < eps / 1.25].all()
    assert result.success.sum() > 70


def test_a_target_that_is_near_is_reached() -> None:
    problem = trained()
    images, labels = problem.images[:30], problem.labels[:30]
    targets = (labels + 3) % 10
    result = PGD(eps=0.5, steps=30)(problem.model, images, Targeted(targets))
    assert result.success.float().mean() > 0.9
    assert torch.equal(result.success, result.predictions == targets)
    assert torch.equal(result.predictions, predicted(problem.model, result.images))
