"""Expectation over transformation: means of passes, what they cost, and attacks that get them without knowing."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foolscope.attacks import APGD, BIM, DDN, FGSM, PGD, Attack, DeepFool, Square, Untargeted
from foolscope.defenses import defended
from foolscope.errors import BudgetError, InputError, ParameterError
from foolscope.models.counting import Queries
from foolscope.models.engine import ClassGradients, Engine, Gradients
from foolscope.models.expectation import Expectation
from foolscope.randomness import generator
from tests.attacks.cases import same, trained


class Shaky(nn.Module):
    """Logits (w + s n) x for the first class, 0 for the second; n is standard normal, drawn for each image.

    The gradient of the first logit is w on average, and mostly noise in one draw.
    """

    weight: Tensor

    def __init__(self, pixels: int, noise: float) -> None:
        super().__init__()
        self.register_buffer("weight", torch.rand(pixels, generator=torch.Generator().manual_seed(5)) - 0.5)
        self.noise = noise

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        first = (flat * (self.weight + self.noise * torch.randn_like(flat))).sum(1)
        return torch.stack([first, torch.zeros_like(first)], 1)


def first_logit(logits: Tensor, rows: Tensor) -> Tensor:
    return logits[:, 0]


def seeded(run: Callable[[], Any]) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return run()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(6, 1, 5, 4, generator=torch.Generator().manual_seed(1))


def equal(one: Gradients | ClassGradients, other: Gradients | ClassGradients) -> bool:
    pairs = zip(vars(one).values(), vars(other).values(), strict=True)
    return all(torch.equal(a, b) if isinstance(a, Tensor) else a == b for a, b in pairs)


@pytest.mark.parametrize("chunk", [1, 4, None])
def test_one_draw_is_the_engines_pass_to_the_bit(images: Tensor, chunk: int | None) -> None:
    model = Shaky(20, 1.0)
    plain, mean = Engine(model, chunk=chunk), Expectation(model, draws=1, chunk=chunk)
    assert equal(
        seeded(lambda: mean.gradients(images, first_logit)), seeded(lambda: plain.gradients(images, first_logit))
    )
    classes, labels = torch.tensor([[1]] * 6), torch.zeros(6, dtype=torch.int64)
    found = seeded(lambda: list(mean.class_gradients(images, classes, labels)))
    want = seeded(lambda: list(plain.class_gradients(images, classes, labels)))
    assert len(found) == len(want)
    assert all(map(equal, found, want))


def test_it_is_the_mean_of_single_passes(images: Tensor) -> None:
    model, labels = Shaky(20, 1.0), torch.tensor([0, 1, 0, 1, 1, 0])

    def objective(logits: Tensor, rows: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels[rows], reduction="none")

    found = seeded(lambda: Expectation(model, draws=7, chunk=6).gradients(images, objective))
    engine = Engine(model, chunk=6)
    passes = seeded(lambda: [engine.gradients(images, objective) for _ in range(7)])
    for name in ("logits", "losses", "images"):
        torch.testing.assert_close(getattr(found, name), torch.stack([getattr(p, name) for p in passes]).mean(0))


def test_it_comes_to_the_gradient_of_the_expectation(images: Tensor) -> None:
    model, draws, noise = Shaky(20, 2.0), 2000, 2.0
    found = seeded(lambda: Expectation(model, draws=draws).gradients(images, first_logit))
    error = (found.images.flatten(1) - model.weight).abs()
    assert error.max() < 5 * noise / draws**0.5
    torch.testing.assert_close(found.losses, found.logits[:, 0])
    single = seeded(lambda: Engine(model).gradients(images, first_logit))
    assert (single.images.flatten(1) - model.weight).abs().mean() > 20 * error.mean()


def test_class_gradients_are_means_too(images: Tensor) -> None:
    model, draws = Shaky(20, 2.0), 2000
    classes, labels = torch.tensor([[1], [0]] * 3), torch.tensor([0, 1] * 3)
    parts = seeded(lambda: list(Expectation(model, draws=draws, chunk=4).class_gradients(images, classes, labels)))
    assert [part.rows for part in parts] == [slice(0, 4), slice(4, 6)]
    found = torch.cat([part.gradients for part in parts]).flatten(1)
    signs = torch.tensor([-1.0, 1.0]).repeat(3)[:, None]
    assert (found - signs * model.weight).abs().max() < 5 * 2.0 / draws**0.5
    assert torch.cat([part.logits for part in parts]).shape == (6, 2)


def test_few_images_are_repeated_until_they_fill_a_chunk(images: Tensor) -> None:
    batches: list[int] = []

    class Counting(Shaky):
        def forward(self, images: Tensor) -> Tensor:
            batches.append(len(images))
            return super().forward(images)

    engine = Expectation(Counting(20, 1.0), draws=10, chunk=12)
    for count, want in ((3, [12, 12, 6]), (6, [12] * 5), (18, [12, 6] * 10)):
        del batches[:]
        engine.gradients(images.repeat(3, 1, 1, 1)[:count], first_logit)
        assert batches == want


def test_each_draw_gets_its_own_images_objective() -> None:
    """Images of one value each, and a linear network: the loss of image n is n times its value."""
    values = torch.arange(1.0, 6) / 10
    images = values.view(-1, 1, 1, 1)
    factors = torch.arange(5.0)
    engine = Expectation(nn.Flatten(), draws=9, chunk=7)
    found = engine.gradients(images, lambda logits, rows: factors[rows] * logits[:, 0])
    torch.testing.assert_close(found.losses, factors * values)
    torch.testing.assert_close(found.images.flatten(), factors)
    torch.testing.assert_close(found.logits[:, 0], values)


def test_what_is_judged_is_one_draw(images: Tensor) -> None:
    model = Shaky(20, 1.0)
    got = seeded(lambda: Expectation(model, draws=50).logits(images))
    assert torch.equal(got, seeded(lambda: Engine(model).logits(images)))


def test_every_draw_of_a_gradient_pass_is_counted(images: Tensor) -> None:
    queries, rows = Queries(Expectation(Shaky(20, 1.0), draws=5), 6, budget=8), torch.tensor([0, 2])
    queries.gradients(images[:2], rows, first_logit)
    queries.logits(images[:2], rows)
    list(queries.class_gradients(images[:1], torch.tensor([1]), torch.tensor([[0, 1]]), torch.tensor([0])))
    assert queries.forwards.tolist() == [6, 5, 6, 0, 0, 0]
    assert queries.backwards.tolist() == [5, 10, 5, 0, 0, 0]
    with pytest.raises(BudgetError, match=r"^image 0 has a budget of 8 forward passes"):
        queries.gradients(images[:2], rows, first_logit)


def test_no_images(images: Tensor) -> None:
    found = Expectation(Shaky(20, 1.0), draws=3).gradients(images[:0], first_logit)
    assert found.images.shape == (0, 1, 5, 4)
    assert list(Expectation(Shaky(20, 1.0)).class_gradients(images[:0], torch.zeros(0, 1), torch.zeros(0))) == []


class Sometimes(nn.Module):
    """The square root of what noise makes of the image: its gradient is infinite in some draws."""

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        return (flat * (torch.rand(len(flat), 1) > 0.5)).sqrt()


def test_an_image_that_breaks_in_one_draw_is_marked() -> None:
    images = torch.full((4, 1, 1, 2), 0.5)
    found = seeded(lambda: Expectation(Sometimes(), draws=20).gradients(images, first_logit))
    assert found.broken.all()
    assert found.images.isfinite().all()
    assert not Expectation(nn.Flatten(), draws=20).gradients(images, first_logit).broken.any()


@pytest.mark.parametrize("attack", [FGSM(eps=0.1), BIM(eps=0.1, steps=3), PGD(eps=0.1, steps=3, random_start=False)])
def test_attacks_that_average_find_the_way(attack: Attack) -> None:
    """The first logit falls by eps |w|_1 at most, and an attack that sees the signs of w reaches that."""
    model = Shaky(400, 1.0)
    images = 0.3 + 0.4 * torch.rand(30, 1, 20, 20, generator=torch.Generator().manual_seed(3))
    goal = Untargeted(torch.zeros(30, dtype=torch.int64))
    most = 0.1 * model.weight.abs().sum()

    def fall(engine: nn.Module | Engine) -> float:
        result = attack.replace(**({"early_stop": False} if hasattr(attack, "early_stop") else {}))(
            engine, images, goal, rng=generator(0)
        )
        change = ((result.images - images).flatten(1) @ model.weight)[~result.already]
        return float(-change.mean() / most)

    assert fall(model) < 0.7
    assert fall(Expectation(model, draws=400)) > 0.9


@pytest.mark.parametrize("attack", [PGD(eps=0.1, steps=2), DeepFool(steps=3), DDN(steps=3)], ids=lambda a: a.name)
def test_the_same_seed_gives_the_same_bits(attack: Attack) -> None:
    problem = trained()
    engine = Expectation(defended(problem.model, "resize-pad|noise"), draws=5)
    images, goal = problem.images[:20], Untargeted(problem.labels[:20])
    first, again, other = (attack(engine, images, goal, rng=generator(seed)) for seed in (0, 0, 1))
    assert same(first, again)
    assert not same(first, other)


@pytest.mark.parametrize("draws", [0, -1, 1.5, True, "4"])
def test_bad_numbers_of_draws(draws: Any) -> None:
    message = f"draws must be a whole number, at least 1, got {draws!r}."
    with pytest.raises(ParameterError, match=f"^{re.escape(message)}$"):
        Expectation(nn.Flatten(), draws=draws)


def test_errors_are_the_engines() -> None:
    behind = defended(nn.Flatten(), "noise:gradient=none")
    with pytest.raises(InputError, match=r"gives no gradients: attack it as a black box\.$"):
        Expectation(behind).gradients(torch.rand(2, 1, 4, 4), first_logit)
    bad = torch.stack([torch.zeros(1, 2, 2), torch.full((1, 2, 2), torch.nan)])
    with pytest.raises(InputError, match=r"NaN or infinite logits, first for image 1 of the batch\.$"):
        Expectation(nn.Flatten(), draws=3).gradients(bad, first_logit)


class Flickering(nn.Module):
    """Two classes by the mean of an image, and in every third draw the other one."""

    def forward(self, images: Tensor) -> Tensor:
        lead = images.flatten(1).mean(1) - 0.5
        lead = torch.where(torch.rand(len(images)) < 1 / 3, -lead, lead)
        return 20 * torch.stack([lead, -lead], 1)


ATTACKS = [
    FGSM(eps=0.3),
    BIM(eps=0.3, steps=4, step=0.1),
    PGD(eps=0.3, steps=4),
    APGD(eps=0.3, steps=4),
    DDN(steps=40),
    Square(eps=0.3, queries=20),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_what_errs_in_some_draws_is_attacked(attack: Attack) -> None:
    """A third of the images err in the first draw, untouched; whoever leaves them as they are flatters the network."""
    images = torch.full((60, 1, 3, 3), 0.6)
    goal = Untargeted(torch.zeros(60, dtype=torch.int64))
    model = Flickering()
    model.random = True  # type: ignore[assignment]
    result = attack(Expectation(model, draws=8), images, goal, rng=generator(0))
    assert not result.already.any()
    assert ((result.images - images).flatten(1).abs().amax(1) > 0).all()


class Threshold(nn.Module):
    """Class 0 where the mean of an image is above one half, else 1."""

    def forward(self, images: Tensor) -> Tensor:
        lead = images.flatten(1).mean(1) - 0.5
        return 20 * torch.stack([lead, -lead], 1)


def test_what_errs_in_every_draw_is_left() -> None:
    images = torch.full((4, 1, 3, 3), 0.9)
    model = defended(Threshold(), "noise:sigma=0.01")
    result = PGD(eps=0.1)(Expectation(model, draws=4), images, Untargeted(torch.ones(4, dtype=torch.int64)))
    assert result.already.all()
    assert torch.equal(result.images, images)


@pytest.mark.parametrize("attack", [PGD(eps=0.2, steps=40), APGD(eps=0.2, steps=40), BIM(eps=0.2, step=0.01, steps=40)])
def test_images_leave_only_where_every_draw_errs(attack: Attack) -> None:
    """The boundary is at 0.5, where half of the draws err: an image that leaves there comes back."""
    images = torch.full((40, 1, 1, 1), 0.6)
    goal = Untargeted(torch.zeros(40, dtype=torch.int64))
    model = defended(Threshold(), "noise:sigma=0.05")
    result = attack(Expectation(model, draws=32), images, goal, rng=generator(0))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        right = sum((Engine(model).predict(result.images) == 0).float() for _ in range(200)) / 200
    assert torch.as_tensor(right).mean() < 0.1


def test_randomness_is_seen_wherever_it_is() -> None:
    behind = defended(defended(Threshold(), "noise"), "gaussian")
    assert behind.random
    assert Engine(behind).random
    assert Engine(nn.Sequential(defended(Threshold(), "noise"))).random
    assert not Engine(defended(Threshold(), "gaussian")).random


@pytest.mark.parametrize("network", [Flickering(), nn.Sequential(Flickering())], ids=["module", "within another"])
def test_an_expectation_finds_out_whether_anything_is_random(network: nn.Module) -> None:
    images, goal = torch.full((60, 1, 3, 3), 0.6), Untargeted(torch.zeros(60, dtype=torch.int64))
    assert not PGD(eps=0.1, steps=2)(Expectation(network, draws=2), images, goal).already.any()
    plain = Expectation(Threshold(), draws=2)
    wrong = PGD(eps=0.1, steps=2)(plain, images, Untargeted(torch.ones(60, dtype=torch.int64)))
    assert wrong.already.all()
    assert int(wrong.forwards.max()) == 2, "a network that is not random is not asked again"
