"""The gradient strategy: its gradients are those of finite differences, and it goes down."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from foolscope.attacks.agv import Evaluator, Frechet, Search, descent
from foolscope.attacks.agv.descent import descended, loss, slopes
from foolscope.attacks.agv.genome import Genomes
from foolscope.attacks.agv.judge import Judge
from foolscope.attacks.agv.racing import weightings
from foolscope.attacks.agv.run import Run
from foolscope.errors import InputError
from foolscope.models.classifier import Classifier
from foolscope.randomness import generator
from tests.attacks.agv.worlds import SHAPE, colors, labeled, named, settings, world

ROWS = torch.arange(2, 11)
"""In the last image two pixels tie for the largest change: linf has a kink there."""


def calm() -> Tensor:
    """Images that no filter here drives to 0 or 1, where gradients would break off."""
    return 0.4 + 0.2 * torch.rand(12, *SHAPE, generator=generator(5))


def judge(models: int = 2, **changes: Any) -> Judge:
    nets, images = [named(seed) for seed in range(models)], calm()
    features = Frechet(lambda pixels: pixels.flatten(2).mean(2))
    labels = labeled(nets[0], images)
    evaluator = Evaluator(nets, images, labels, distances={"fid": features})
    return Judge(settings(**{"pool": "gingham,juno,clarendon", "objective": "linf", **changes}), evaluator)


def genomes(count: int = 3) -> Genomes:
    rng = generator(7)
    values = 0.2 + 0.4 * torch.rand(count, 2, 2, generator=rng, dtype=torch.float64)
    return Genomes(torch.randint(0, 3, (count, 2), generator=rng), values)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"several": "mean"},
        {"against": "prediction"},
        {"objective": "l2,color"},
        {"max_linf": 0.05},
        {"models": 1},
    ],
    ids=str,
)
def test_the_gradient_is_that_of_finite_differences(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foolscope.attacks.agv.genome._DECIMALS", 12)  # rounding has no slope
    tried, made = judge(**changes), genomes()
    weights = torch.rand(3, 1 + len(tried.settings.distances), generator=generator(0), dtype=torch.float64) + 0.5
    _, gradients = loss(tried, slopes(tried, made, ROWS), weights)
    step, numeric = 4e-4, torch.zeros_like(gradients)
    for gene in range(2):
        for amount in range(2):
            ends = []
            for sign in (1, -1):
                values = made.values.clone()
                values[:, gene, amount] += sign * step
                look = tried.rough(Genomes(made.kinds, values), ROWS)  # the black box's numbers
                objectives = torch.from_numpy(tried.rough_objectives(look))
                violations = torch.from_numpy(tried.violations(look.linf))
                ends.append((weights * objectives).sum(1) + 10.0 * violations)
            numeric[:, gene, amount] = (ends[0] - ends[1]) / (2 * step)
    assert numeric.abs().max() > 0.01
    torch.testing.assert_close(gradients, numeric, rtol=0.02, atol=1e-3)


def test_the_look_is_that_of_the_black_box_and_costs_as_much() -> None:
    tried, made = judge(objective="linf,fid"), genomes()
    look = tried.rough(made, ROWS)
    before = tried.evaluator.queries.clone()
    assert before.tolist() == [[0, 0] + [3] * 9 + [0]] * 2
    found = slopes(tried, made, ROWS)
    assert torch.equal(tried.evaluator.queries, 2 * before)
    assert found.look.images == look.images
    torch.testing.assert_close(found.look.losses, look.losses, rtol=1e-3, atol=1e-5)  # not rounded
    torch.testing.assert_close(found.look.distances, look.distances, rtol=1e-2, atol=1e-5)
    torch.testing.assert_close(found.look.linf, look.linf, rtol=1e-3, atol=1e-5)
    assert (found.distances[:, 0] != 0).any()
    assert (found.distances[:, 1] == 0).all(), "autograd cannot follow the Frechet distance"


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tried, made = judge(), genomes()
    whole = slopes(tried, made, ROWS)
    monkeypatch.setattr("foolscope.attacks.agv.descent._BLOCK_VALUES", 3 * calm()[0].numel())
    parts = slopes(tried, made, ROWS)
    for name in ("losses", "distances", "linf"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name), rtol=1e-4, atol=1e-6)


def test_a_distance_of_sets_has_no_gradient_and_is_measured_on_all_images(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = judge(objective="fid,linf")
    whole = slopes(tried, genomes(), ROWS)
    monkeypatch.setattr(descent, "_BLOCK_VALUES", 1)  # blocks of one image, for which it is not defined
    found = slopes(tried, genomes(), ROWS)
    assert not found.distances[:, 0].any()
    assert found.distances[:, 1].any()
    torch.testing.assert_close(found.look.distances, whole.look.distances, rtol=1e-4, atol=1e-6)


def test_a_chain_that_does_nothing_has_finite_gradients() -> None:
    tried = judge(objective="l2,color")
    images = tried.images
    still = Genomes(torch.tensor([[1, 1]]), torch.zeros(1, 2, 2, dtype=torch.float64))
    tried.pool._low[:, 0] = 0  # strength 0
    assert torch.equal(tried.pool.apply(still[0], images), images)
    found = slopes(tried, still, ROWS)
    assert found.losses.isfinite().all()
    assert found.distances.isfinite().all()
    assert found.linf.isfinite().all()


def run(tried: Judge) -> Run:
    return Run(judge=tried, generator=generator(0), step=1, population=[], memo={}, report=lambda _: None)


def test_it_goes_down_and_keeps_the_best_point() -> None:
    tried = judge(models=1, objective="linf", samples=4, generations=3)
    seen: list[Tensor] = []
    weights = weightings(run(tried), 3)
    made = genomes()
    better = descended(run(tried), made, ROWS)
    assert int(tried.evaluator.queries.sum()) == 4 * 3 * 3 * len(ROWS)
    for place in (made, better):
        seen.append(loss(tried, slopes(tried, place, ROWS), weights)[0])
    assert torch.equal(better.kinds, made.kinds)
    assert better.values.min() >= 0
    assert better.values.max() <= 1
    assert (seen[1] <= seen[0]).all()
    assert (seen[1] < seen[0] - 0.01).any()


def test_a_search_by_gradients() -> None:
    evaluator = world(models=2)
    search = Search(settings(strategy="gradient", objective="detection,linf"), evaluator, seed=1)
    front = search.run()
    assert front.candidates
    for found in front.candidates:
        again = evaluator.judge(found.chain, several="worst")
        assert (found.asr, found.asr_clean, found.detection) == (again.asr, again.asr_clean, again.detection)


def test_a_black_box_is_refused() -> None:
    model = Classifier(named(0), name="box", input_shape=SHAPE, num_classes=4, differentiable=False)
    images = colors(6)
    evaluator = Evaluator(model, images, labeled(model, images))
    search = Search(settings(strategy="gradient", objective="linf"), evaluator)
    with pytest.raises(InputError, match=r"^box gives no gradients: attack it as a black box\.$"):
        search.run()
