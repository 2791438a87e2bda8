"""Square: the paper's schedule and shapes, its budget, and what linear networks allow."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch import Tensor, nn

from foolscope.attacks import Square, Targeted, Untargeted, parse_attack
from foolscope.attacks.ball import Ball
from foolscope.attacks.losses import margin
from foolscope.attacks.square import _Windows, bump, share, side_of
from foolscope.errors import ParameterError
from foolscope.models.classifier import Classifier
from foolscope.models.engine import Engine
from foolscope.norms import NORMS, linf
from foolscope.randomness import generator
from tests.attacks.cases import network, same, trained
from tests.attacks.ramp import costs, predicted, ramp
from tests.attacks.test_minimum_norm import Flat, linear, optimum


def test_the_schedule_is_the_papers() -> None:
    halved = [0, 11, 51, 201, 501, 1001, 2001, 4001, 6001, 8001]
    for times, query in enumerate(halved):
        assert share(query, 10_000) == 0.8 / 2**times
        assert query == 0 or share(query - 1, 10_000) == 0.8 / 2 ** (times - 1)
    assert share(5, 5000) == 0.8
    assert share(6, 5000) == 0.4  # 12 of 10,000
    assert share(4999, 5000, first=0.4) == 0.4 / 2**9


@pytest.mark.parametrize(
    ("covered", "shape", "side"),
    [
        (0.8, (28, 28), 25),  # sqrt(0.8 * 784) = 25.04
        (0.05, (32, 32), 7),  # sqrt(51.2) = 7.16
        (1e-4, (28, 28), 1),
        (1.0, (28, 28), 27),
        (0.8, (2, 9), 1),
        (0.8, (1, 1), 1),
    ],
)
def test_sides(covered: float, shape: tuple[int, int], side: int) -> None:
    assert side_of(covered, torch.zeros(2, 3, *shape)) == side


def test_a_bump_by_hand() -> None:
    """Over 3 x 3: one row with its pyramid, and two rows, whose pyramid peaks in the second, with the other sign."""
    upper = torch.tensor([[0.25, 1.25, 0.25]])
    lower = torch.tensor([[0.25, 0.25, 0.25], [0.25, 1.25, 0.25]])
    expected = torch.cat([upper / upper.norm(), -lower / lower.norm()]) / math.sqrt(2)
    torch.testing.assert_close(bump(3), expected)
    for side in (1, 2, 5, 8, 25):
        assert float(bump(side).norm()) == pytest.approx(1)
        assert bump(side).shape == (side, side)


def test_windows_by_hand() -> None:
    images = torch.arange(2 * 2 * 3 * 4.0).view(2, 2, 3, 4)
    windows = _Windows.at(torch.tensor([[0.0, 0.0], [0.99, 0.5]]), 2, images)
    assert windows.of(images)[0].tolist() == [[0, 1, 4, 5], [12, 13, 16, 17]]
    assert windows.of(images)[1].tolist() == [[24 + 5, 24 + 6, 24 + 9, 24 + 10], [36 + 5, 36 + 6, 36 + 9, 36 + 10]]
    expected = images.clone()
    expected[0, :, :2, :2] = -1
    expected[1, :, 1:3, 1:3] = -1
    windows.put(images, torch.full((2, 2, 4), -1.0))
    assert torch.equal(images, expected)


def test_windows_are_spread_evenly() -> None:
    where = torch.rand(4000, 2, generator=generator(0))
    corners = _Windows.at(where, 2, torch.zeros(4000, 1, 4, 5)).pixels[:, 0, 0]
    counts = torch.bincount(corners, minlength=20)
    allowed = [row * 5 + column for row in range(3) for column in range(4)]
    assert counts.sum() == counts[allowed].sum()
    assert counts[allowed].min() > 4000 / 12 * 0.75


class Seen(nn.Module):
    """A linear network that keeps all images that it was shown, and gives no gradients."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.inner, self.differentiable = model, False
        self.images: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.images.append(images.clone())
        logits: Tensor = self.inner(images)
        return logits


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_budget_is_kept_exactly_and_gradients_are_not_asked_for(norm: str) -> None:
    model, images, goal = ramp(margin=10.0)
    for queries in (1, 2, 33, 70):
        spy = Seen(model)
        result = Square(eps=0.1, norm=norm, queries=queries)(Engine(spy), images, goal)
        assert costs(result) == ({1 + queries + 1}, {0})  # the untouched images, and the last look
        shown = sum(len(batch) for batch in spy.images) - 1  # the classes are counted on the first image
        assert shown == 3 * (queries + 2)
        assert Square(queries=queries).passes == 1 + queries
        assert not result.success.any()


def test_no_query_shows_an_image_again() -> None:
    """In one channel half of all random signs would change nothing."""
    model, images, goal = ramp(count=1, margin=10.0)
    spy = Seen(model)
    Square(eps=0.1, queries=200)(Engine(spy), images, goal)
    current = spy.images[2]
    lead = current.sum()
    for shown in spy.images[3:-1]:
        assert (shown != current).any()
        if shown.sum() < lead:  # the network's margin is the sum of all values
            current, lead = shown, shown.sum()
    assert lead < images.sum() - 16 * 0.1 * 0.99, "the search has come to the corner of the ball"


@pytest.mark.parametrize("classes", [2, 3])
def test_linear_classes_are_reached_where_the_radius_allows_it(classes: int) -> None:
    model, images, labels = linear(-0.4, 1.4, classes=classes, count=16)
    distances = optimum(model, images, labels, "linf")
    eps = float(distances[distances.isfinite()].median())
    result = Square(eps=eps, queries=1500)(model, images, Untargeted(labels))
    assert not result.success[distances > 1.0001 * eps].any()
    reachable = distances < 0.98 * eps
    assert reachable.sum() >= 5
    assert result.success[reachable].float().mean() >= (1 if classes == 2 else 0.8)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_it_comes_near_to_what_gradients_find(norm: str) -> None:
    problem = trained()
    images, goal = problem.images[:60], Untargeted(problem.labels[:60])
    eps = {"linf": 0.1, "l2": 1.8}[norm]
    few, many = (Square(eps=eps, norm=norm, queries=n)(problem.model, images, goal) for n in (20, 400))
    pgd = parse_attack(f"pgd:norm={norm},eps={eps}")(problem.model, images, goal)
    assert few.success.float().mean() < many.success.float().mean() <= pgd.success.float().mean()
    assert many.success.float().mean() >= 0.5 * pgd.success.float().mean()
    assert (many.forwards[many.success] < 402).any(), "finished images leave"


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_targets_are_reached(norm: str) -> None:
    problem = trained()
    images, labels = problem.images[:30], problem.labels[:30]
    attack = Square(eps={"linf": 0.4, "l2": 5.0}[norm], norm=norm, queries=300)
    result = attack(problem.model, images, Targeted((labels + 1) % 10))
    assert result.success.float().mean() >= 0.4
    assert torch.equal(result.predictions[result.success], ((labels + 1) % 10)[result.success])


def test_values_are_at_the_ends_of_their_range() -> None:
    problem = trained()
    images = problem.images[:10]
    result = Square(eps=0.02, queries=50)(problem.model, images, Untargeted(problem.labels[:10]))
    ball = Ball.around(images, linf, 0.02, quantized=False)
    ends = (result.images == ball.low) | (result.images == ball.high)
    assert ends[~result.already].all()


def test_a_change_in_l2_is_as_long_as_the_radius() -> None:
    images = torch.full((4, 3, 12, 10), 0.5) + 0.01 * torch.rand(4, 3, 12, 10, generator=generator(0))
    goal = Untargeted(torch.zeros(4, dtype=torch.int64))
    result = Square(eps=0.5, norm="l2", queries=60)(Flat(), images, goal)
    torch.testing.assert_close(result.distance("l2"), torch.full((4,), 0.5), atol=1e-5, rtol=0)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_without_early_stop_the_lead_grows_and_success_stays(norm: str) -> None:
    problem = trained()
    images, labels = problem.images[:20], problem.labels[:20]
    attack = Square(eps={"linf": 0.15, "l2": 2.5}[norm], norm=norm, queries=150)
    engine = Engine(problem.model)
    early, late = (attack.replace(early_stop=stop)(engine, images, Untargeted(labels)) for stop in (True, False))
    assert torch.equal(early.success, late.success)
    assert early.success.any()
    leads = [margin(engine.logits(result.images), labels) for result in (early, late)]
    attacked = early.success & ~early.already
    assert (leads[1][attacked] >= leads[0][attacked]).all()
    assert leads[1][attacked].sum() > leads[0][attacked].sum()
    assert (late.forwards[attacked] == 152).all()
    targeted = attack.replace(early_stop=False, eps=4.0 if norm == "l2" else 0.3)
    goal = Targeted((labels + 1) % 10)
    stopped = targeted.replace(early_stop=True)(engine, images, goal)
    assert targeted(engine, images, goal).success[stopped.success].all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_constant_logits_cost_the_budget_and_stay_in_the_ball(norm: str) -> None:
    images = torch.rand(3, 1, 4, 4, generator=generator(0))
    attack = Square(eps=0.1, norm=norm, queries=20)
    result = attack(Flat(), images, Untargeted(torch.tensor([0, 0, 1])))
    assert result.success.tolist() == [False, False, True]
    assert result.forwards.tolist() == [22, 22, 2]
    assert (NORMS[norm].length(result.images - images) <= 0.1 + 1e-6).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_every_layout_of_memory_is_taken(norm: str) -> None:
    images = torch.rand(4, 3, 6, 5, generator=generator(0))
    model = network("conv", (3, 6, 5), seed=1)
    goal = Untargeted(predicted(model, images))
    attack = Square(eps=0.1, norm=norm, queries=40)
    plain = attack(model, images, goal)
    assert same(plain, attack(model, images.contiguous(memory_format=torch.channels_last), goal))


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 7), (1, 2, 2), (1, 40, 3)])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_images_of_any_size(norm: str, shape: tuple[int, int, int]) -> None:
    images = torch.rand(2, *shape, generator=generator(0))
    result = Square(eps=0.1, norm=norm, queries=30)(Flat(), images, Untargeted(torch.zeros(2, dtype=torch.int64)))
    assert (NORMS[norm].length(result.images - images) <= 0.1 + 1e-6).all()
    assert (result.images != images).any()


def test_black_boxes_are_attacked() -> None:
    problem = trained()
    box = Classifier(problem.model, name="box", input_shape=(1, None, None), num_classes=10, differentiable=False)
    result = Square(eps=0.3, queries=100)(box, problem.images[:20], Untargeted(problem.labels[:20]))
    assert result.success.float().mean() >= 0.8
    assert not result.backwards.any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("square:norm=l1", "square: norm must be one of l2, linf, got 'l1'."),
        ("square:queries=0", "square: queries must be at least 1, got 0."),
        ("square:share=1.5", "square: share must be between 0.0001 and 1, got 1.5."),
        ("square:eps=-1", "square: eps must be between 0 and 1e+06, got -1."),
    ],
)
def test_bad_parameters(text: str, message: str) -> None:
    with pytest.raises(ParameterError, match=f"^{re.escape(message)}$"):
        parse_attack(text)
