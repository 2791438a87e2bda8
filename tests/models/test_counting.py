"""Passes are counted for each image."""

from __future__ import annotations

import torch
from torch import nn

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
