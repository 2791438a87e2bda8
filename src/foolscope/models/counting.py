"""Count what every image costs, the forward and backward passes that an attack spends on it, and hold a budget of them.

And stop what cannot go on: from the pass on in which an image's gradient is NaN or infinite, that image's are zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from foolscope.errors import BudgetError
from foolscope.models.engine import ClassGradients, Engine, Gradients, Objective


class Queries:
    """An engine that counts.  `forwards` and `backwards` are int64 (count,), one number an image.

    `broken` (count,) marks the images that had a NaN or infinite gradient, `random` says whether the network draws
    random numbers.  With a `budget` no image has more forward
    passes than that: what would be one more raises `BudgetError`.
    """

    def __init__(self, engine: Engine, count: int, budget: int | None = None, *, random: bool = False) -> None:
        self.engine, self.budget, self.random = engine, budget, random
        self.forwards = torch.zeros(count, dtype=torch.int64)
        self.backwards = torch.zeros(count, dtype=torch.int64)
        self.broken = torch.zeros(count, dtype=torch.bool)

    def logits(self, images: Tensor, rows: Tensor) -> Tensor:
        """Logits of `images`, which are versions of the images numbered `rows`; these may repeat."""
        self._count(rows)
        return self.engine.logits(images)

    def gradients(self, images: Tensor, rows: Tensor, objective: Objective) -> Gradients:
        """Like `Engine.gradients`; `objective` gets places in `images`, not numbers from `rows`."""
        self._count(rows, self.engine.draws, backwards=1)
        passed = self.engine.gradients(images, objective)
        gradients, broken = self._stopped(rows, passed.images, passed.broken)
        return replace(passed, images=gradients, broken=broken)

    def class_gradients(
        self, images: Tensor, rows: Tensor, classes: Tensor, labels: Tensor
    ) -> Iterator[ClassGradients]:
        """Like `Engine.class_gradients`: 1 forward and k backward passes an image."""
        self._count(rows, self.engine.draws, backwards=classes.shape[1])
        for part in self.engine.class_gradients(images, classes, labels):
            gradients, broken = self._stopped(rows[part.rows], part.gradients, part.broken)
            yield replace(part, gradients=gradients, broken=broken)

    def _count(self, rows: Tensor, draws: int = 1, backwards: int = 0) -> None:
        """`draws` forward passes more for every time that an image is among `rows`, with so many backward ones each."""
        counted = draws * torch.bincount(rows.cpu(), minlength=len(self.forwards))
        if self.budget is not None and (over := self.forwards + counted > self.budget).any():
            first = int(over.nonzero()[0])
            raise BudgetError(f"image {first} has a budget of {self.budget:,} forward passes, and more are asked for.")
        self.forwards += counted
        self.backwards += counted * backwards

    def _stopped(self, rows: Tensor, gradients: Tensor, broken: Tensor) -> tuple[Tensor, Tensor]:
        """Zero gradients (n, ...) for those of `rows` that are broken now or were before, and which these are (n,)."""
        self.broken[rows[broken].cpu()] = True
        if not self.broken.any():
            return gradients, broken
        broken = self.broken[rows.cpu()].to(broken.device)
        return gradients.masked_fill(broken.view(-1, *[1] * (gradients.ndim - 1)), 0), broken
