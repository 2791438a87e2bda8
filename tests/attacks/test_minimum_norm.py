"""DeepFool, C&W, DDN and FMN against analytic optima: the nearest boundary of linear networks, with and without box."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch import Tensor, nn

from foolscope.attacks import DDN, FMN, Attack, CarliniWagner, DeepFool, Goal, Targeted, Untargeted, parse_attack
from foolscope.attacks.losses import margin
from foolscope.attacks.minimum_norm import cosine, project
from foolscope.errors import FoolscopeError, ParameterError
from foolscope.images import quantize
from foolscope.models.engine import Engine
from foolscope.randomness import generator
from tests.attacks.cases import Fixed, trained
from tests.attacks.ramp import costs, predicted, ramp

ROUND = (DeepFool(), CarliniWagner(searches=4, steps=100), DDN(), FMN())
SQUARE = (DeepFool(norm="linf"), CarliniWagner(norm="linf", searches=20, steps=40), FMN(norm="linf"))
EACH = (*ROUND, *SQUARE, FMN(norm="l1"), FMN(norm="l0"))
SLACK = (CarliniWagner(norm="linf", searches=20, steps=40),)
"""Attacks that stay above the optimum where the box holds values back: for these the median is held there."""

each = pytest.mark.parametrize("attack", EACH, ids=lambda attack: attack.spec())
each_in_l2_and_linf = pytest.mark.parametrize("attack", (*ROUND, *SQUARE), ids=lambda attack: attack.spec())


def norm(attack: Attack) -> str:
    return str(attack.norm)  # type: ignore[attr-defined]


def linear(low: float, high: float, classes: int = 2, count: int = 12) -> tuple[Fixed, Tensor, Tensor]:
    """A linear network, images with values from `low` to `high`, and the classes that it predicts."""
    rng = generator(5)
    images = (low + (high - low) * torch.rand(count, 1, 5, 5, generator=rng)).clamp_(0, 1)
    weight = torch.randn(classes, 25, generator=rng)
    bias = 0.5 * torch.randn(classes, generator=rng) - weight.sum(1) / 2
    model = Fixed(weight, bias)
    return model, images, predicted(model, images)


def nearest(model: Fixed, image: Tensor, own: int, other: int, norm: str) -> float:
    """The distance at which `other` overtakes `own`, by bisection over how far values move that the box lets move.

    In l2 the nearest point is the box's projection of x + t w, in linf that of x + t sign(w).
    """
    weight = (model.weight[other] - model.weight[own]).double()
    bias = float(model.bias[other] - model.bias[own])
    x, direction = image.flatten().double(), weight if norm == "l2" else weight.sign()

    def moved(t: float) -> Tensor:
        return (x + t * direction).clamp(0, 1)

    low, high = 0.0, 1e3
    if float(moved(high) @ weight) + bias <= 0:
        return math.inf
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (low, middle) if float(moved(middle) @ weight) + bias > 0 else (middle, high)
    noise = moved(high) - x
    return float(noise.norm() if norm == "l2" else noise.abs().max())


def optimum(model: Fixed, images: Tensor, labels: Tensor, norm: str, targets: Tensor | None = None) -> Tensor:
    """The distance of each image to what reaches the goal."""
    found = []
    for place, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        others = range(len(model.weight)) if targets is None else [int(targets[place])]
        found.append(min(nearest(model, image, label, other, norm) for other in others if other != label))
    return torch.tensor(found)


@each_in_l2_and_linf
@pytest.mark.parametrize(("low", "high"), [(0.4, 0.6), (-0.4, 1.4)], ids=["inside", "at the box"])
def test_two_linear_classes_are_told_apart_at_the_nearest_point(attack: Attack, low: float, high: float) -> None:
    model, images, labels = linear(low, high)
    distances = optimum(model, images, labels, norm(attack))
    result = attack(model, images, Untargeted(labels))
    possible = distances.isfinite()
    assert possible.sum() >= 8
    assert torch.equal(result.success, possible)
    found = result.distance(norm(attack))[possible]
    assert (found >= distances[possible] * (1 - 1e-5)).all()
    ratio = found / distances[possible]
    assert ratio.median() <= 1.05
    if attack not in SLACK or low > 0:
        assert ratio.max() <= 1.05


@each_in_l2_and_linf
def test_of_many_linear_classes_the_nearest_is_found(attack: Attack) -> None:
    model, images, labels = linear(0.35, 0.65, classes=6, count=24)
    distances = optimum(model, images, labels, norm(attack))
    assert distances.isfinite().all()
    result = attack(model, images, Untargeted(labels))
    assert result.success.all()
    ratio = result.distance(norm(attack)) / distances
    assert (ratio >= 1 - 1e-5).all()
    assert ratio.max() <= 1.05


@pytest.mark.parametrize("attack", [a for a in (*ROUND, *SQUARE) if not isinstance(a, DeepFool)], ids=str)
def test_a_target_among_two_is_the_other_one(attack: Attack) -> None:
    model, images, labels = linear(0.4, 0.6)
    result = attack(model, images, Targeted(1 - labels))
    distances = optimum(model, images, labels, norm(attack))
    assert result.success.all()
    assert (result.distance(norm(attack)) <= 1.05 * distances).all()


@pytest.mark.parametrize("attack", [a for a in EACH if not isinstance(a, DeepFool)], ids=str)
def test_targets_are_reached_on_a_trained_network(attack: Attack) -> None:
    problem = trained()
    images, labels = problem.images[:20], problem.labels[:20]
    targets = (labels + 3) % 10
    result = attack(problem.model, images, Targeted(targets))
    free = attack(problem.model, images, Untargeted(labels))
    assert result.success.float().mean() >= 0.95
    assert torch.equal(result.predictions[result.success], targets[result.success])
    assert result.distance(norm(attack))[result.success].float().mean() > free.distance(norm(attack)).float().mean()


@each
def test_every_image_is_fooled_nearer_than_by_a_radius(attack: Attack) -> None:
    """Success is certain, and the one run says what a fixed radius does: PGD needs at least as much."""
    problem = trained()
    images, goal = problem.images[:40], Untargeted(problem.labels[:40])
    result = attack(problem.model, images, goal)
    assert result.success.all()
    assert torch.equal(result.predictions, predicted(problem.model, result.images))
    if norm(attack) != "l0":
        radius = float(result.distance(norm(attack)).median())
        pgd = parse_attack(f"pgd:norm={norm(attack)},steps=40,eps={radius}")(problem.model, images, goal)
        assert pgd.success.float().mean() <= (
            0.95 if attack in SLACK else 0.8 if isinstance(attack, DeepFool) else 0.56
        )


@each
def test_8_bit_results_are_searched_for_on_the_grid(attack: Attack) -> None:
    problem = trained()
    images, goal = quantize(problem.images[:40]), Untargeted(problem.labels[:40])
    result = attack(problem.model, images, goal, quantize=True)
    assert torch.equal(result.images, quantize(result.images))
    assert result.success.float().mean() >= 0.95
    free = attack(problem.model, images, goal)
    assert result.distance(norm(attack)).float().mean() <= 1.2 * free.distance(norm(attack)).float().mean() + 1 / 255


@each
def test_bfloat16_decides_no_success(attack: Attack) -> None:
    problem = trained()
    images, goal = problem.images[:20], Untargeted(problem.labels[:20])
    result = attack(problem.model, images, goal, precision="bfloat16")
    assert torch.equal(result.predictions, predicted(problem.model, result.images))
    assert result.success.float().mean() >= 0.9


class Flat(nn.Module):
    """Constant logits that autograd follows nevertheless."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.tensor([1.0, 0.0, 0.0]) + 0 * images.sum((1, 2, 3))[:, None]


@each
def test_constant_logits_stop_at_once(attack: Attack) -> None:
    images = torch.rand(3, 1, 4, 4, generator=generator(0))
    result = attack(Flat(), images, Untargeted(torch.tensor([0, 0, 1])))
    assert result.success.tolist() == [False, False, True]
    assert torch.equal(result.images, images)
    compared = 2 if norm(attack) in ("l2", "linf") else 0  # one of each other class
    backwards = compared + (not isinstance(attack, DeepFool))
    assert result.backwards.tolist() == [backwards, backwards, 0]


@each
def test_images_that_cannot_be_fooled_are_returned_as_the_search_left_them(attack: Attack) -> None:
    model, images, goal = ramp(margin=10.0)  # 16 values that fall by at most 0.5
    result = attack(model, images, goal)
    assert not result.success.any()
    assert (result.images != images).any()
    assert ((result.images >= 0) & (result.images <= 1)).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("deepfool:norm=l1", "deepfool: norm must be one of l2, linf, got 'l1'."),
        ("deepfool:candidates=1", "deepfool: candidates must be at least 2, got 1."),
        ("deepfool:steps=0", "deepfool: steps must be at least 1, got 0."),
        ("ddn:norm=linf", "ddn: norm must be one of l2, got 'linf'."),
        ("ddn:steps=0", "ddn: steps must be at least 1, got 0."),
        ("fmn:norm=l3", "fmn: norm must be one of l0, l1, l2, linf, got 'l3'."),
        ("cw:steps=0", "cw: steps must be at least 1, got 0."),
        ("cw:searches=0", "cw: searches must be at least 1, got 0."),
        ("cw:kappa=-1", "cw: kappa must be at least 0, got -1."),
    ],
)
def test_bad_parameters(text: str, message: str) -> None:
    with pytest.raises(ParameterError, match=f"^{re.escape(message)}$"):
        parse_attack(text)


def test_deepfool_refuses_targets() -> None:
    model, images, labels = linear(0.4, 0.6)
    goal: Goal = Targeted(1 - labels)
    with pytest.raises(FoolscopeError, match=r"^deepfool is untargeted: use cw, ddn, fmn or pgd for a target\.$"):
        DeepFool()(model, images, goal)


def test_deepfool_takes_as_many_classes_as_there_are() -> None:
    model, images, labels = linear(0.4, 0.6, classes=3)
    result = DeepFool(candidates=10)(model, images, Untargeted(labels))
    assert result.success.all()
    assert (result.backwards <= 2 * result.forwards).all()


def test_deepfool_goes_its_share_of_the_way_and_stops_beyond_the_overshoot() -> None:
    """16 values and a margin of 1: the boundary is 1/4 away in l2; a step of 0.8 and the overshoot lead to 0.816."""
    model, images, goal = ramp()
    plain = DeepFool(step=1, overshoot=0.1, refine=0)(model, images, goal)
    torch.testing.assert_close(plain.distance("l2"), plain.distance("l2").new_tensor([0.275] * 3), rtol=0.05, atol=0)
    assert costs(plain) == ({4}, {2})  # a first look, two gradient passes, the last look
    slow = DeepFool(step=0.8, overshoot=0, steps=1, refine=0)(model, images, goal)
    assert not slow.success.any()
    torch.testing.assert_close(slow.distance("l2"), 0.8 * plain.distance("l2") / 1.1, rtol=1e-3, atol=0)


def test_steps_and_shortening_are_counted() -> None:
    model, images, goal = ramp()
    assert costs(DDN(steps=7, refine=3)(model, images, goal)) == ({1 + 1 + 7 + 3 + 1}, {1 + 7})
    assert costs(FMN(steps=7, refine=0)(model, images, goal)) == ({1 + 1 + 7 + 1}, {1 + 7})
    assert costs(FMN(norm="l1", steps=7, refine=0)(model, images, goal)) == ({1 + 7 + 1}, {7})
    assert CarliniWagner(searches=3, steps=20, candidates=4).passes == 63


@pytest.mark.parametrize("attack", ROUND, ids=lambda attack: attack.spec())
def test_shortening_only_helps(attack: Attack) -> None:
    problem = trained()
    images, goal = problem.images[:40], Untargeted(problem.labels[:40])
    long, short = (attack.replace(refine=n)(problem.model, images, goal) for n in (0, 8))
    assert (short.distance("l2") <= long.distance("l2")).all()
    assert short.distance("l2").sum() < long.distance("l2").sum()


@pytest.mark.parametrize("kappa", [0.5, 3.0])
def test_kappa_is_the_lead_that_is_found(kappa: float) -> None:
    problem = trained()
    images, labels = problem.images[:20], problem.labels[:20]
    goal = Untargeted(labels)
    attacked = predicted(problem.model, images) == labels
    result = CarliniWagner(kappa=kappa, searches=5, steps=200)(problem.model, images, goal)
    lead = margin(Engine(problem.model).logits(result.images), labels)[attacked]
    assert (lead >= kappa * (1 - 1e-4)).all()
    assert lead.median() <= 1.1 * kappa + 0.1


def test_pixels_of_0_and_1_move() -> None:
    """Every pixel is at an edge and has to leave it; with tanh's usual 1 - 1e-6 Adam needs hundreds of steps."""
    images = torch.zeros(4, 1, 4, 4)
    images[1:3] = 1
    images[2:] *= torch.tensor([0.0, 1.0]).repeat(8).view(4, 4)
    weight = torch.stack([torch.zeros(16), 1 - 2 * images[3].flatten()])
    model = Fixed(weight, torch.tensor([0.0, -3.0]))
    goal = Untargeted(predicted(model, images))
    distances = optimum(model, images, goal.labels, "l2")
    result = CarliniWagner(searches=3, steps=100)(model, images, goal)
    assert torch.equal(result.success, distances.isfinite())
    assert (result.distance("l2")[result.success] <= 1.05 * distances[result.success]).all()


def test_more_steps_come_nearer() -> None:
    problem = trained()
    images, goal = problem.images[:40], Untargeted(problem.labels[:40])
    for attack in (DDN(), FMN(), FMN(norm="linf"), FMN(norm="l1")):
        few, many = (attack.replace(steps=n)(problem.model, images, goal) for n in (20, 200))
        assert many.distance(attack.norm).mean() < few.distance(attack.norm).mean()


def test_projection_onto_few_pixels_keeps_the_largest() -> None:
    noise = torch.zeros(2, 3, 2, 2)
    noise[0, 0] = torch.tensor([[0.3, -0.2], [0.1, 0.0]])
    noise[0, 2, 1, 0] = 0.9
    noise[1, 1] = 0.5  # a tie: exactly as many are kept
    kept = project("l0", noise, torch.tensor([2.0, 3.0]))
    assert (kept != 0).any(1).flatten(1).sum(1).tolist() == [2, 3]
    assert kept[0, 2, 1, 0] == noise[0, 2, 1, 0]
    assert kept[0, 0].tolist() == [[noise[0, 0, 0, 0].item(), 0], [noise[0, 0, 1, 0].item(), 0]]


def test_margin_and_cosine_by_hand() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, 1.0]])
    assert margin(logits, torch.tensor([0, 2])).tolist() == [-1, 4]
    assert [cosine(1, 0, step, 4) for step in (0, 2, 4)] == pytest.approx([1, 0.5, 0])


@each
def test_a_masked_class_changes_nothing(attack: Attack) -> None:
    """Its logit is huge; what others may lose by rounding is not."""
    weight, images = torch.randn(3, 16, generator=generator(1)), torch.rand(4, 1, 4, 4, generator=generator(0))
    plain = Fixed(weight, torch.zeros(3))
    goal = Untargeted(plain(images).argmax(1))
    masked = Fixed(torch.cat([weight, torch.zeros(1, 16)]), torch.tensor([0.0, 0.0, 0.0, -1e9]))
    expected, found = attack(plain, images, goal), attack(masked, images, goal)
    assert expected.success.all()
    assert found.success.all()
    torch.testing.assert_close(found.distance(norm(attack)), expected.distance(norm(attack)), rtol=0.05, atol=0.02)
