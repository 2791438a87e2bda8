"""What the racing strategy draws: amounts that crowd at the edges of their ranges, and weightings in order."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from foolscope.attacks.agv import Evaluator, Search
from foolscope.attacks.agv.genome import Genomes, Pool
from foolscope.attacks.agv.judge import Judge
from foolscope.attacks.agv.racing import FIRST, weightings
from foolscope.attacks.agv.run import Run
from foolscope.randomness import generator
from tests.attacks.agv.worlds import Bright, colors, labeled, named, settings, world


def running(evaluator: Evaluator | None = None, **changes: Any) -> Run:
    """A run before its first step."""
    return Run(
        judge=Judge(settings(**changes), evaluator or world()),
        generator=generator(5),
        step=1,
        population=[],
        memo={},
        report=lambda run: None,
    )


def test_amounts_follow_the_arcsine_law() -> None:
    pool, draws = Pool("thesis", "arcsine"), torch.linspace(0, 1, 10_001, dtype=torch.float64)[:, None, None]
    values = pool.random(torch.cat([torch.zeros_like(draws), draws, 1 - draws], 2)).values[:, 0]
    assert values.min() == 0
    assert values.max() == 1
    torch.testing.assert_close(values[:, 0], 1 - values[:, 1])
    for bound in (0.01, 0.25, 0.5, 0.9):
        share = float((values[:, 0] <= bound).double().mean())
        assert share == pytest.approx(2 / math.pi * math.asin(math.sqrt(bound)), abs=1e-3)


@pytest.mark.parametrize(("strategy", "law"), [("plain", "uniform"), ("racing", "arcsine"), ("gradient", "arcsine")])
def test_the_plain_strategy_alone_draws_uniform_amounts(strategy: str, law: Any) -> None:
    run, draws = running(strategy=strategy), torch.rand(7, 2, 3, generator=generator(1), dtype=torch.float64)
    expected = Pool("thesis", law).random(draws)
    assert torch.equal(run.judge.pool.random(draws).values, expected.values)


def test_weightings_sum_to_1_and_success_weighs_less_and_less() -> None:
    weights = weightings(running(objective="detection,linf,l2"), 500)
    assert weights.shape == (500, 3)
    torch.testing.assert_close(weights.sum(1), torch.ones(500, dtype=torch.float64))
    assert bool((weights[1:, 0] <= weights[:-1, 0]).all())
    # uniform on the simplex of three weights: a mean of 1/3, and each below x with probability 1 - (1 - x)^2
    assert weights.mean(0).tolist() == pytest.approx([1 / 3] * 3, abs=0.04)
    assert float((weights < 0.2).double().mean()) == pytest.approx(1 - 0.8**2, abs=0.04)
    assert torch.equal(weightings(running(objective="detection"), 3), torch.ones(3, 1, dtype=torch.float64))


def test_chains_are_refined_in_the_order_of_what_they_fool_on_few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    from foolscope.attacks.agv import racing

    model, pixels = named(0), colors(60)
    evaluator = Evaluator(model, pixels, labeled(model, pixels), detectors=[Bright()])
    seen: list[tuple[Genomes, torch.Tensor]] = []

    def refine(run: Run, genomes: Genomes, rows: torch.Tensor) -> Genomes:
        seen.append((genomes, rows))
        return genomes

    monkeypatch.setattr(racing, "evolved", refine)
    search = Search(settings(batch=60), evaluator, seed=2)
    search.run()
    (genomes, rows), judge = seen[0], Judge(search.settings, evaluator.fresh())
    assert len(genomes) == search.settings.population
    assert len(rows) == racing.REFINED == 2 * FIRST
    looked = judge.rough(genomes, judge.evaluator.right[0].nonzero()[:, 0])
    # the race saw nearly all of these images
    assert looked.losses[0] < looked.losses[-1]
