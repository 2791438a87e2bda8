"""Count what every image costs: the numbers of forward and backward passes that an attack spent on it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from foolscope.models.engine import ClassGradients, Engine, Gradients, Objective


class Queries:
    """An engine that counts.  `forwards` and `backwards` are int64 (count,), one number an image."""

    def __init__(self, engine: Engine, count: int) -> None:
        self.engine = engine
        self.forwards = torch.zeros(count, dtype=torch.int64)
        self.backwards = torch.zeros(count, dtype=torch.int64)

    def logits(self, images: Tensor, rows: Tensor) -> Tensor:
        """Logits of `images`, which are versions of the images numbered `rows`; these may repeat."""
        self.forwards += self._counted(rows)
        return self.engine.logits(images)

    def gradients(self, images: Tensor, rows: Tensor, objective: Objective) -> Gradients:
        """Like `Engine.gradients`; `objective` gets places in `images`, not numbers from `rows`."""
        counted = self._counted(rows)
        self.forwards += counted
        self.backwards += counted
        return self.engine.gradients(images, objective)

    def class_gradients(
        self, images: Tensor, rows: Tensor, classes: Tensor, labels: Tensor
    ) -> Iterator[ClassGradients]:
        """Like `Engine.class_gradients`: 1 forward and k backward passes an image."""
        counted = self._counted(rows)
        self.forwards += counted
        self.backwards += counted * classes.shape[1]
        return self.engine.class_gradients(images, classes, labels)

    def _counted(self, rows: Tensor) -> Tensor:
        """How often each image is among `rows` (count,)."""
        return torch.bincount(rows.cpu(), minlength=len(self.forwards))
