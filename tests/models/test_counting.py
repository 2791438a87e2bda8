"""Passes are counted for each image."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from foolscope.errors import BudgetError
from foolscope.models.counting import Queries
from foolscope.models.engine import Engine
from foolscope.randomness import generator


def test_every_image_pays_for_its_own_passes() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    images = torch.rand(5, 3, 2, 2, generator=generator(0))
    engine = Engine(model, chunk=2)
    queries = Queries(engine, 5)
    assert queries.forwards.tolist() == queries.backwards.tolist() == [0] * 5
    assert queries.forwards.dtype == queries.backwards.dtype == torch.int64

    rows = torch.tensor([3, 0, 4])
    assert torch.equal(queries.logits(images[rows], rows), engine.logits(images[rows]))
    queries.logits(images, torch.arange(5))
    assert queries.forwards.tolist() == [2, 1, 1, 2, 2]
    assert queries.backwards.tolist() == [0] * 5

    places: list[int] = []

    def objective(logits: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        places.extend(rows.tolist())
        return logits.square().sum(1)

    found = queries.gradients(images[rows], rows, objective)
    assert places == [0, 1, 2]  # places in the images given, not their numbers
    want = engine.gradients(images[rows], lambda logits, rows: logits.square().sum(1))
    assert torch.equal(found.images, want.images)
    assert torch.equal(found.losses, want.losses)
    assert queries.forwards.tolist() == [3, 1, 1, 3, 3]
    assert queries.backwards.tolist() == [1, 0, 0, 1, 1]


def test_no_images_cost_nothing() -> None:
    queries = Queries(Engine(nn.Flatten()), 3)
    queries.logits(torch.zeros(0, 1, 2, 2), torch.zeros(0, dtype=torch.int64))
    assert queries.forwards.tolist() == [0, 0, 0]


def test_a_budget_is_held_before_the_pass_that_would_exceed_it() -> None:
    seen: list[int] = []

    class Watched(nn.Flatten):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(len(images))
            return super().forward(images)

    queries, rows = Queries(Engine(Watched()), 3, budget=2), torch.tensor([0, 2])
    images = torch.rand(2, 1, 2, 2, generator=generator(0))
    queries.logits(images, rows)
    queries.gradients(images, rows, lambda logits, places: logits.sum(1))
    seen.clear()
    message = r"^image 2 has a budget of 2 forward passes, and more are asked for\.$"
    for call in (
        lambda: queries.logits(images[:1], rows[1:]),
        lambda: queries.gradients(images[:1], rows[1:], lambda logits, places: logits.sum(1)),
        lambda: list(queries.class_gradients(images[:1], rows[1:], torch.tensor([[1]]), torch.tensor([0]))),
    ):
        with pytest.raises(BudgetError, match=message):
            call()
    with pytest.raises(BudgetError, match=r"^image 1 has a budget of 2 "):
        queries.logits(images[[0, 0, 0]], torch.tensor([1, 1, 1]))
    assert seen == []
    assert queries.forwards.tolist() == [2, 0, 2]
    assert queries.backwards.tolist() == [1, 0, 1]
    queries.logits(images, torch.tensor([1, 1]))
    assert queries.forwards.tolist() == [2, 2, 2]


class Rooted(nn.Module):
    """The root of the first pixel and the other: at 0 the root has an infinite slope."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.flatten(1)
        return torch.stack([flat[:, 0].sqrt(), flat[:, 1]], 1)


def test_an_image_with_a_broken_gradient_is_marked_and_has_none_from_then_on() -> None:
    queries, rows = Queries(Engine(Rooted(), chunk=2), 5), torch.tensor([4, 1, 3])
    images = torch.full((3, 1, 1, 2), 0.25)

    def slopes() -> tuple[list[float], list[bool]]:
        found = queries.gradients(images, rows, lambda logits, places: logits.sum(1))
        return found.images[:, 0, 0, 0].tolist(), found.broken.tolist()

    assert slopes() == ([1, 1, 1], [False] * 3)
    images[1, 0, 0, 0] = 0
    assert slopes() == ([1, 0, 1], [False, True, False])
    assert queries.broken.tolist() == [False, True, False, False, False]
    images[1, 0, 0, 0] = 0.25
    assert slopes() == ([1, 0, 1], [False, True, False])
    images[2, 0, 0, 0] = 0
    parts = list(queries.class_gradients(images, rows, torch.zeros(3, 1, dtype=torch.long), torch.ones(3).long()))
    assert torch.cat([part.broken for part in parts]).tolist() == [False, True, True]
    assert torch.cat([part.gradients for part in parts])[:, 0, 0, 0, 0].tolist() == [1, 0, 0]
    assert queries.broken.tolist() == [False, True, False, True, False]
    assert queries.forwards.tolist() == queries.backwards.tolist() == [0, 4, 0, 4, 4]
