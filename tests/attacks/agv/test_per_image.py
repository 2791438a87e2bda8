"""The per-image attack: what it is bounded by, what it minimizes, and that it fools networks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from foolscope.attacks import AGV, Targeted, Untargeted, parse_attack
from foolscope.attacks.agv import DISTANCES
from foolscope.attacks.agv.per_image import fitness_of
from foolscope.data import load_data
from foolscope.errors import InputError, ParameterError
from foolscope.experiments import Store, audit
from foolscope.experiments.grid import UNRESTRICTED, attack_grids
from foolscope.models.classifier import Classifier
from foolscope.models.counting import Queries
from foolscope.models.engine import Engine
from foolscope.randomness import generator
from tests.attacks.agv.worlds import SHAPE, colors, labeled, named
from tests.attacks.cases import same, trained

QUICK: dict[str, Any] = {"filters": 2, "population": 4, "epochs": 2, "samples": 2, "generations": 2}


def test_a_chain_that_fools_goes_before_all_that_do_not_and_then_the_nearest() -> None:
    reached = torch.tensor([False, False, False, True, True, True])
    objective = torch.tensor([-3.0, 0.0, 900.0, 5.0, 0.1, 2.0], dtype=torch.float64)
    distance = torch.tensor([0.0, 0.1, 0.2, 50.0, 0.3, 0.0], dtype=torch.float64)
    found = fitness_of(reached, objective, distance)
    assert found.argsort(descending=True).tolist() == [0, 1, 2, 3, 4, 5]
    assert found[2] > -1 > found[3]
    assert found.min() >= -2
    assert found.max() < 1


@pytest.mark.parametrize("queries", [1, 3, 4, 5, 11, 23, 44, 45, 1000])
def test_the_budget_is_never_exceeded_and_spent_on_images_that_hold(queries: int) -> None:
    """44 versions are planned: 4 at first, then in each of 2 epochs 4 children with 2 points in 2 generations."""
    model, images = named(0), colors(10)
    with torch.no_grad():
        sure = model(images).argmin(1)  # the hardest target
    attack = AGV(**QUICK, queries=queries)
    result = attack(model, images, Targeted(sure))
    assert attack.passes == 1 + min(queries, 44)
    holding = ~result.success
    assert holding.any()
    assert (result.forwards[holding] == min(queries, 44) + 2).all(), "the first and the last look are not of the budget"
    assert (result.forwards[~holding] <= min(queries, 44) + 2).all()
    assert (result.backwards == 0).all()


def test_every_image_has_its_own_chain() -> None:
    """Equal colors would stay equal under one chain."""
    model, image = named(0), colors(1)
    images = torch.cat([image, image.roll(1, 3), image.roll(2, 3)])  # the same colors at other places
    result = AGV(**QUICK)(model, images, Targeted(torch.full((3,), 3)))
    sorted_pixels = [found.flatten(1).sort(1).values for found in result.images]
    assert not torch.allclose(sorted_pixels[0], sorted_pixels[1], atol=1e-3)


def test_more_queries_fool_more() -> None:
    model, images = named(0), colors(40)
    goal = Untargeted(labeled(model, images, wrong=0))
    shares = [float(AGV(queries=queries)(model, images, goal).success.double().mean()) for queries in (1, 10, 90)]
    assert shares[0] < shares[1] < shares[2]
    assert shares[2] > 0.5


def test_images_leave_as_soon_as_they_fool() -> None:
    model, images = named(1), colors(30)
    labels = labeled(model, images, wrong=3)
    result = AGV(**QUICK)(model, images, Untargeted(labels))
    fooled = result.success & ~result.already
    assert fooled.sum() >= 3
    assert (result.forwards[result.already] == 2).all()
    assert result.forwards[fooled].min() == 6, "the first chains of the population fool some"
    assert result.forwards[fooled].double().mean() < 20
    assert ((result.forwards[fooled] - 2) % 4 == 0).all(), "a population is shown at once"


@pytest.mark.parametrize("distance", ["linf", "l2", "color"])
def test_without_early_stop_the_rest_of_the_budget_makes_the_change_smaller(distance: str) -> None:
    model, images = named(1), colors(30)
    goal = Untargeted(labeled(model, images, wrong=0))
    first, longer = (AGV(**QUICK, distance=distance, early_stop=stop)(model, images, goal) for stop in (True, False))
    both = first.success & longer.success & ~first.already
    assert (longer.success | ~first.success).all(), "what fools once is kept"
    measured = [DISTANCES[distance](images, result.images)[both] for result in (first, longer)]
    assert (measured[1] <= measured[0] + 1e-6).all()
    assert measured[1].mean() < 0.95 * measured[0].mean()


def test_blocks_of_candidates_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = named(2), colors(8)
    goal = Untargeted(labeled(model, images, wrong=1))
    whole = AGV(**QUICK)(model, images, goal, rng=generator(4))
    monkeypatch.setattr("foolscope.attacks.agv.per_image._BLOCK_VALUES", 1)
    parts = AGV(**QUICK)(model, images, goal, rng=generator(4))
    assert torch.equal(parts.forwards, whole.forwards)
    assert torch.equal(parts.success, whole.success)
    torch.testing.assert_close(parts.images, whole.images, atol=1e-5, rtol=0)


def test_it_needs_no_gradients() -> None:
    model, images = named(0), colors(6)
    box = Classifier(model, name="box", input_shape=SHAPE, num_classes=4, differentiable=False)
    goal = Untargeted(labeled(model, images))
    results = [AGV(**QUICK)(either, images, goal) for either in (box, model)]
    assert torch.equal(results[0].success, results[1].success)


def test_gray_images_need_a_pool_that_does_not_color() -> None:
    data = load_data("digits", limit=6)
    model = trained().model
    message = "would color gray images; gingham, juno, lark, stinson do not."
    with pytest.raises(InputError, match=f"{re.escape(message)}$"):
        AGV()(model, data.images, Untargeted(data.labels))
    assert len(AGV(pool="lark")(model, data.images, Untargeted(data.labels)).images) == 6


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("agv:queries=0", "agv: queries must be at least 1, got 0."),
        ("agv:filters=11", "agv: filters must be between 1 and 10, got 11."),
        ("agv:distance=ssim", "agv: distance must be one of linf, l2, color, got 'ssim'."),
    ],
)
def test_bad_specs(spec: str, message: str) -> None:
    with pytest.raises(ParameterError, match=f"^{re.escape(message)}$"):
        parse_attack(spec)


def test_specs_build_the_same_again() -> None:
    attack = AGV(pool="juno,lark", queries=40, early_stop=False, distance="color")
    assert parse_attack(attack.spec()) == attack
    assert parse_attack("agv").passes == 1 + 490


def test_an_audit_takes_it_as_an_attack_without_radii(tmp_path: Path) -> None:
    (grid,) = attack_grids(["agv:queries=20"], {}, SHAPE)
    assert grid.norm == UNRESTRICTED
    assert grid.attacks == (AGV(queries=20),)
    attack, problem = AGV(pool="juno,lark", filters=2, queries=20), trained()
    results = audit(problem.model, load_data("digits"), [attack], limit=12, store=Store(tmp_path))
    (found,) = results.unrestricted
    assert found.outcome.accuracy.trials == 12
    moved = found.outcome.distances["linf"]
    assert moved is not None
    assert 0 < moved <= 1


def test_repeated_rows_are_counted_as_often_as_they_are_shown() -> None:
    queries = Queries(Engine(named(0)), 3)
    images, rows = colors(3)[[2, 0, 2, 2]], torch.tensor([2, 0, 2, 2])
    queries.logits(images, rows)
    assert queries.forwards.tolist() == [1, 0, 3]

    def objective(logits: Tensor, places: Tensor) -> Tensor:
        return logits.sum(1)

    queries.gradients(images, rows, objective)
    assert queries.forwards.tolist() == [2, 0, 6]
    assert queries.backwards.tolist() == [1, 0, 3]


def test_the_seed_decides() -> None:
    model, images = named(0), colors(10)
    goal = Untargeted(labeled(model, images, wrong=0))
    results = [AGV(**QUICK)(model, images, goal, rng=generator(seed)) for seed in (1, 1, 2)]
    assert same(results[0], results[1])
    assert not torch.equal(results[0].images, results[2].images)
