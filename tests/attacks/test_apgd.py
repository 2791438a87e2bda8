"""APGD against the paper's schedule, a plain second implementation of it, and what linear networks allow."""

from __future__ import annotations

import copy
import math
import re

import pytest
import torch
from torch import Tensor, nn

from foolscope.attacks import APGD, PGD, Targeted, Untargeted, parse_attack
from foolscope.attacks.apgd import checkpoints
from foolscope.attacks.losses import cross_entropy
from foolscope.errors import GradientWarning, InputError, ParameterError
from foolscope.models.classifier import Classifier
from foolscope.models.engine import Engine
from foolscope.norms import NORMS
from foolscope.randomness import Streams, draw_seed, generator
from tests.attacks.cases import network, trained
from tests.attacks.ramp import costs, predicted, ramp
from tests.attacks.test_minimum_norm import Flat, linear, optimum

LOSSES = ("cross-entropy", "margin", "dlr", "dlr-targeted")


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (100, [22, 41, 57, 70, 80, 87, 93, 99]),
        (50, [11, 21, 29, 35, 40, 44, 47]),
        (10, [3, 5, 6, 7, 8, 9]),
        (1, []),
    ],
)
def test_checkpoints_are_the_papers(steps: int, expected: list[int]) -> None:
    assert checkpoints(steps)[: len(expected)] == expected
    assert all(check < steps for check in checkpoints(steps))


def plain(model: nn.Module, image: Tensor, label: Tensor, start: Tensor, eps: float, steps: int) -> Tensor:
    """Algorithm 1 of the paper for one image in linf, in float64: the best of the points that it looks at."""
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    checks = {math.ceil(round(share * steps, 9)) for share in shares[1:]}

    def look(point: Tensor) -> tuple[float, Tensor]:
        leaf = point.clone().requires_grad_()
        loss = cross_entropy(model(leaf), label).sum()
        return float(loss.detach()), torch.autograd.grad(loss, leaf)[0]

    def inside(point: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(point, image - eps), image + eps).clamp(0, 1)

    at = came_from = best = inside(start)
    value, slope = best_value, best_slope = look(at)
    size, rises, since, halved, checked = 2 * eps, 0, 0, True, value
    for step in range(steps - 1):
        if step in checks:
            halved = rises < 0.75 * since or (not halved and best_value <= checked)
            checked, rises, since = best_value, 0, 0
            if halved:
                size, at, value, slope = size / 2, best, best_value, best_slope
        ahead = inside(at + size * slope.sign())
        if step:
            ahead = inside(at + 0.75 * (ahead - at) + 0.25 * (at - came_from))
        came_from, at = at, ahead
        following, slope = look(at)
        rises, since, value = rises + (following > value), since + 1, following
        if value > best_value:
            best, best_value, best_slope = at, value, slope
    return best


def test_it_is_the_papers_algorithm() -> None:
    """At a radius that fools none of the images, so that the best point of each is returned."""
    problem, eps, steps = trained(), 0.02, 30
    with torch.no_grad():
        lead = problem.model(problem.images).softmax(1).gather(1, problem.labels[:, None])[:, 0]
    rows = (lead > 0.9).nonzero()[:12, 0]
    images, labels = problem.images[rows], problem.labels[rows]
    result = APGD(eps=eps, steps=steps)(
        problem.model, images, Untargeted(labels), rng=generator(4), precision="float64"
    )
    start = NORMS["linf"].random_point(Streams(draw_seed(generator(4)), images), tuple(images.shape[1:]), eps)
    model = copy.deepcopy(problem.model).double()
    compared = (~result.success).nonzero()[:, 0].tolist()
    assert len(compared) >= 8
    for i in compared:
        one = slice(i, i + 1)
        expected = plain(model, images[one].double(), labels[one], (images[one] + start[one]).double(), eps, steps)
        torch.testing.assert_close(result.images[one], expected.float(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize(("low", "high"), [(0.4, 0.6), (-0.4, 1.4)], ids=["inside", "at the box"])
def test_linear_classes_are_reached_exactly_where_the_radius_allows_it(
    loss: str, norm: str, classes: int, low: float, high: float
) -> None:
    """Of several classes the nearest need not be the one that a loss climbs towards: only `dlr-targeted` tries all."""
    model, images, labels = linear(low, high, classes=classes, count=24)
    distances = optimum(model, images, labels, norm)
    finite = distances[distances.isfinite()]
    for quantile in (0.2, 0.5, 0.8):
        eps = float(finite.quantile(quantile))
        result = APGD(eps=eps, norm=norm, loss=loss, steps=50)(model, images, Untargeted(labels))
        assert not result.success[distances > 1.0001 * eps].any()
        if classes == 2 or loss == "dlr-targeted":
            assert result.success[distances < 0.98 * eps].all()
        else:
            assert result.success[distances < 0.98 * eps].float().mean() >= 0.7


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_targets_are_reached_where_the_radius_allows_it(norm: str) -> None:
    model, images, labels = linear(0.4, 0.6)
    distances = optimum(model, images, labels, norm)
    eps = float(distances.median())
    for loss in LOSSES:
        result = APGD(eps=eps, norm=norm, loss=loss, steps=50)(model, images, Targeted(1 - labels))
        clear = (distances / eps - 1).abs() > 0.02
        assert torch.equal(result.success[clear], (distances < eps)[clear])
        assert result.backwards.max() == 50, "one target is one climb"


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_it_climbs_higher_than_pgd(norm: str) -> None:
    problem, eps = trained(), {"linf": 0.06, "l2": 1.0}[norm]
    goal, engine = Untargeted(problem.labels), Engine(problem.model)
    found = {}
    for attack in (APGD(eps=eps, norm=norm, steps=40), PGD(eps=eps, norm=norm, steps=40)):
        late = attack.replace(early_stop=False)(engine, problem.images, goal)
        found[attack.name] = cross_entropy(engine.logits(late.images), problem.labels).mean()
        early = attack(engine, problem.images, goal)
        assert early.backwards.sum() < late.backwards.sum()
        assert early.success[late.success].float().mean() >= 0.98
    assert found["apgd"] >= found["pgd"]


def test_targeted_dlr_finds_what_one_loss_does_not() -> None:
    problem = trained()
    goal = Untargeted(problem.labels)
    one, nine = (
        APGD(eps=0.05, steps=10, loss="dlr-targeted", targets=targets)(problem.model, problem.images, goal)
        for targets in (1, 9)
    )
    assert nine.success[one.success].all()
    assert nine.success.sum() > one.success.sum()


@pytest.mark.parametrize(
    ("attack", "forwards", "backwards"),
    [
        (APGD(eps=0.01, steps=7), 1 + 7 + 1 + 1, 7),  # the untouched images, the climb, its end, the last look
        (APGD(eps=0.01, steps=7, restarts=3), 1 + 3 * 8 + 1, 21),
        (APGD(eps=0.01, steps=7, loss="dlr-targeted"), 1 + 8 + 1, 7),  # two classes: one target
        (APGD(eps=0.01, steps=7, early_stop=False), 1 + 7 + 3 + 1, 7),  # three ends are looked at
        (APGD(eps=0.5, steps=7), 1 + 2 + 1, 2),  # of a first step of 1 the second pass sees what it did
    ],
    ids=str,
)
def test_passes_are_counted_exactly(attack: APGD, forwards: int, backwards: int) -> None:
    model, images, goal = ramp(margin=4.0)
    result = attack(model, images, goal)
    assert costs(result) == ({forwards}, {backwards})
    assert result.success.all() == (attack.eps == 0.5)
    assert backwards <= attack.passes


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_constant_logits_lead_nowhere(norm: str, loss: str) -> None:
    images = torch.rand(3, 1, 4, 4, generator=generator(0))
    result = APGD(eps=0.1, norm=norm, loss=loss, steps=5)(Flat(), images, Untargeted(torch.tensor([0, 0, 1])))
    assert result.success.tolist() == [False, False, True]
    assert torch.equal(result.images[2], images[2])
    assert (result.distance(norm) <= 0.1 + 1e-6).all()
    assert not result.broken.any()


def test_what_is_reached_already_is_returned_unchanged() -> None:
    problem = trained()
    labels = predicted(problem.model, problem.images[:6])
    for goal in (Untargeted((labels + 1) % 10), Targeted(labels)):
        result = APGD(eps=0.1)(problem.model, problem.images[:6], goal)
        assert result.already.all()
        assert result.success.all()
        assert torch.equal(result.images, problem.images[:6])
        assert not result.backwards.any()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_another_seed_starts_elsewhere(norm: str) -> None:
    model, images, goal = ramp(margin=10.0)
    attack = APGD(eps=0.2, norm=norm, steps=1)
    first, again, other = (attack(model, images, goal, rng=generator(seed)).images for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert (first != other).flatten(1).any(1).all()


def test_restarts_only_add() -> None:
    problem = trained()
    attack = APGD(eps=0.04, steps=3)
    one, three = (attack.replace(restarts=n)(problem.model, problem.images, Untargeted(problem.labels)) for n in (1, 3))
    assert three.success[one.success].all()
    assert torch.equal(three.images[one.success], one.images[one.success])
    assert three.backwards.max() == 9


class Kinked(nn.Module):
    """A linear network whose gradient is NaN where the first value is below 0.4."""

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        kink = 0 * (flat[:, 0] * (flat[:, 0] > 0.4)).sqrt()
        lead = flat.sum(1) - 7 + kink
        return torch.stack([lead, -lead], 1)


def test_nan_gradients_stop_their_image_alone() -> None:
    images = torch.full((2, 1, 4, 4), 0.5)
    images[0, 0, 0, 0] = 0
    for loss in LOSSES:
        attack = APGD(eps=0.08, loss=loss, steps=10)
        with pytest.warns(GradientWarning, match="1 of 2 images"):
            result = attack(Kinked(), images, Untargeted(torch.zeros(2, dtype=torch.int64)))
        assert result.broken.tolist() == [True, False]
        assert result.success.tolist() == [False, True]
        assert result.images.isfinite().all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("apgd:norm=l1", "apgd: norm must be one of l2, linf, got 'l1'."),
        ("apgd:loss=hinge", "apgd: loss must be one of cross-entropy, margin, dlr, dlr-targeted, got 'hinge'."),
        ("apgd:steps=0", "apgd: steps must be at least 1, got 0."),
        ("apgd:targets=0", "apgd: targets must be at least 1, got 0."),
        ("apgd:restarts=0", "apgd: restarts must be at least 1, got 0."),
        ("apgd:eps=-1", "apgd: eps must be between 0 and 1e+06, got -1."),
    ],
)
def test_bad_parameters(text: str, message: str) -> None:
    with pytest.raises(ParameterError, match=f"^{re.escape(message)}$"):
        parse_attack(text)


def test_black_boxes_are_refused() -> None:
    inner = network("linear", (1, 4, 4), seed=0)
    model = Classifier(inner, name="box", input_shape=(1, 4, 4), num_classes=4, differentiable=False)
    message = r"^apgd needs gradients and box gives none: use a black-box attack\.$"
    with pytest.raises(InputError, match=message):
        APGD()(model, torch.rand(2, 1, 4, 4), Untargeted(torch.zeros(2, dtype=torch.int64)))
