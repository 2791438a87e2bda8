"""FGM, FGSM, BIM and PGD against formulas, analytic optima and known costs."""

from __future__ import annotations

import math
import re

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from foolscope.attacks import ATTACKS, BIM, FGM, FGSM, PGD, Attack, AttackResult, Targeted, Untargeted, parse_attack
from foolscope.errors import ParameterError, SpecError
from foolscope.images import quantize
from foolscope.models.engine import Engine
from foolscope.norms import NORMS
from foolscope.randomness import generator
from tests.attacks.cases import Fixed, network, trained

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


def predicted(model: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        labels: Tensor = model(images).argmax(1)
    return labels


# --- formulas ---------------------------------------------------------------------------------------------------------


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


# --- analytic optima --------------------------------------------------------------------------------------------------


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


# --- what options are for ---------------------------------------------------------------------------------------------


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


# --- costs ------------------------------------------------------------------------------------------------------------


def ramp(count: int = 3, margin: float = 1.0) -> tuple[nn.Module, Tensor, Untargeted]:
    """Two classes whose margin, `margin` for every image, falls by step * 16 with every linf step."""
    weight = torch.stack([torch.ones(16), torch.zeros(16)])
    images = torch.full((count, 1, 4, 4), 0.5)
    images[:, 0, 0, 0] -= 0.01 * torch.arange(count) / count  # no two alike
    bias = torch.tensor([margin - 8.0, 0.0])
    return Fixed(weight, bias), images, Untargeted(torch.zeros(count, dtype=torch.int64))


def costs(result: AttackResult) -> tuple[set[int], set[int]]:
    return set(result.forwards.tolist()), set(result.backwards.tolist())


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
        (BIM(eps=0.5, steps=7, step=0.02, early_stop=False), 8, 7),
        (BIM(eps=0.5, steps=4, step=0.02), 5, 4),  # reached by the last step, which only the last look sees
    ],
    ids=str,
)
def test_passes_are_counted_exactly(attack: Attack, forwards: int, backwards: int) -> None:
    model, images, goal = ramp()
    result = attack(model, images, goal)
    assert costs(result) == ({forwards}, {backwards})
    assert result.success.all() == (getattr(attack, "eps", 0) == 0.5)


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


# --- 8 bits and bfloat16 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attack", [FGSM(eps=0.4 / 255), BIM(eps=0.4 / 255), PGD(eps=0.4 / 255, steps=5)], ids=str)
def test_a_success_that_8_bits_do_not_keep_is_none(attack: Attack) -> None:
    model, images, goal = ramp(margin=0.01)  # 16 * 0.4 / 255 = 0.025 is enough, but no 8-bit image is that near
    images = quantize(torch.full_like(images, 128 / 255))
    model = Fixed(torch.stack([torch.ones(16), torch.zeros(16)]), torch.tensor([0.01 - float(images[0].sum()), 0.0]))
    assert attack(model, images, goal).success.all()
    saved = attack(model, images, goal, quantize=True)
    assert not saved.success.any()
    assert torch.equal(saved.images, images)


def test_quantized_success_counts_on_what_is_returned() -> None:
    problem = trained()
    for attack in (PGD(eps=0.1, steps=10), PGD(eps=1.0, norm="l2", steps=10), FGM(eps=12.0, norm="l1")):
        result = attack(problem.model, problem.images, Untargeted(problem.labels), quantize=True)
        assert torch.equal(result.images, quantize(result.images))
        assert torch.equal(result.predictions, predicted(problem.model, result.images))
        assert torch.equal(result.success, result.predictions != problem.labels)
        free = attack(problem.model, problem.images, Untargeted(problem.labels))
        assert result.success.float().mean() >= free.success.float().mean() - 0.05
        assert (result.distance(str(getattr(attack, "norm", "linf"))) <= attack.eps * (1 + 1e-5)).all()


def test_rounding_shortens_the_noise_no_more_than_it_must() -> None:
    """Without shortening, rounding leads out of a round ball; with it the noise stays nearly as long."""
    problem = trained()
    images = 0.25 + 0.5 * problem.images  # away from the box
    images, goal = quantize(images), Untargeted(predicted(problem.model, 0.25 + 0.5 * problem.images))
    attack = FGM(eps=0.3)
    free = attack(problem.model, images, goal).images
    assert ((quantize(free) - images).flatten(1).norm(dim=1) > 0.3 * (1 + 1e-6)).any()
    result = attack(problem.model, images, goal, quantize=True)
    lengths = result.distance("l2")[~result.already]
    assert (lengths <= 0.3 * (1 + 1e-5)).all()
    assert lengths.median() > 0.27


def test_images_that_are_not_8_bit_are_rounded_to_the_nearest() -> None:
    model, images, goal = ramp()
    images = images + 0.3 / 255  # no multiple of 1/255 is within eps
    result = FGSM(eps=0.1 / 255)(model, images, goal, quantize=True)
    assert torch.equal(result.images, quantize(images))


class Rounded(nn.Module):
    """Two logits that bfloat16 cannot tell apart: 1 and 1 + 2^-10; by `weight` they depend on the image a little."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1e-6))

    def forward(self, images: Tensor) -> Tensor:
        small = images.mean((1, 2, 3)) * self.weight
        return torch.stack([torch.ones_like(small) + small, torch.ones_like(small) + 2**-10], 1)


@pytest.mark.parametrize(
    "attack", [FGSM(eps=0.1), BIM(eps=0.1, steps=5), PGD(eps=0.1, steps=5, random_start=False)], ids=str
)
def test_bfloat16_decides_no_success(attack: Attack) -> None:
    """There both logits are 1 and class 0 seems to be predicted; in float32 it is class 1."""
    images = torch.rand(4, 1, 3, 3, generator=generator(3))
    ones = torch.ones(4, dtype=torch.int64)
    result = attack(Rounded(), images, Untargeted(ones), precision="bfloat16")
    assert not result.success.any()
    assert result.predictions.tolist() == [1] * 4
    assert result.backwards.tolist() == [attack.passes] * 4
    assert (result.images != images).any()
    seen = attack(Rounded(), images, Untargeted(1 - ones), precision="bfloat16")
    assert seen.already.all()
    assert torch.equal(seen.images, images)
    assert (seen.forwards.tolist(), seen.backwards.tolist()) == ([2] * 4, [0] * 4)


def test_bfloat16_costs_one_look_more_and_one_for_each_seeming_success() -> None:
    model, images, goal = ramp()
    assert costs(FGSM(eps=0.01)(model, images, goal, precision="bfloat16")) == ({3}, {1})
    result = BIM(eps=0.5, steps=7, step=0.02)(model, images, goal, precision="bfloat16")
    assert result.success.all()
    assert costs(result) == ({1 + 5 + 1 + 1}, {5})  # first look, five passes, confirmation, last look


def test_bfloat16_fools_as_many() -> None:
    problem = trained()
    attack, goal = PGD(eps=0.05, steps=20), Untargeted(problem.labels)
    plain = attack(problem.model, problem.images, goal)
    fast = attack(problem.model, problem.images, goal, precision="bfloat16")
    assert 0 < plain.success.float().mean() < 1
    assert abs(float(plain.success.float().mean()) - float(fast.success.float().mean())) < 0.05
    assert torch.equal(fast.predictions, predicted(problem.model, fast.images))


# --- specs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "attack"),
    [
        ("fgsm", FGSM()),
        ("fgsm:eps=8/255", FGSM(eps=8 / 255)),
        ("fgm:eps=0.5,norm=l1", FGM(eps=0.5, norm="l1")),
        ("bim:steps=none", BIM()),
        (
            "PGD:eps=0.3,steps=7,random_start=false,early_stop=no",
            PGD(eps=0.3, steps=7, random_start=False, early_stop=False),
        ),
    ],
)
def test_specs(spec: str, attack: Attack) -> None:
    assert parse_attack(spec) == attack
    assert parse_attack(attack.spec()) == attack


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("pdg", SpecError, "unknown attack 'pdg'. Did you mean pgd? 'foolscope attacks' lists all."),
        (
            "pgd:epz=1",
            SpecError,
            "pgd has no parameter 'epz'. Did you mean eps, step, steps? 'foolscope attacks pgd' lists all.",
        ),
        ("pgd:eps=-1/255", ParameterError, "pgd: eps must be at least 0, got -1/255."),
        ("pgd:eps=nan", ParameterError, "pgd: eps must be at least 0, got nan."),
        ("pgd:steps=0", ParameterError, "pgd: steps must be at least 1, got 0."),
        ("pgd:restarts=1.5", SpecError, "pgd: restarts: '1.5' is not a whole number."),
        ("fgm:norm=l7", ParameterError, "fgm: norm must be one of l1, l2, linf, got 'l7'."),
        ("fgsm:8/255", SpecError, "malformed spec 'fgsm:8/255': '8/255' is not KEY=VALUE."),
    ],
)
def test_bad_specs(spec: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        parse_attack(spec)


def test_every_attack_says_what_it_is() -> None:
    for name, attack in ATTACKS.items():
        assert attack.name == name
        assert attack.summary
        assert "arXiv" in attack.source
        assert attack().passes >= 1


def test_an_engine_is_used_as_it_is() -> None:
    model, images, goal = ramp()
    engine = Engine(model, chunk=1)
    assert torch.equal(FGSM(eps=0.1)(engine, images, goal).images, FGSM(eps=0.1)(model, images, goal).images)
