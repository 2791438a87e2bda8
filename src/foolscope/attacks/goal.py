"""What an attack wants: a goal owns the sign of the loss and decides whether it is reached."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from foolscope.errors import InputError
from foolscope.images import check_labels

Loss = Callable[[Tensor, Tensor], Tensor]
"""(logits (n, K), classes (n,)) to one number a sample (n,), larger where the class is less likely."""


class Goal(ABC):
    """One class a sample, and what the attack wants with it."""

    @property
    @abstractmethod
    def classes(self) -> Tensor:
        """int64 (N,)."""

    @abstractmethod
    def reached(self, logits: Tensor) -> Tensor:
        """Whether the predictions are what the attack wants: bool (N,)."""

    @abstractmethod
    def objective(self, loss: Loss, logits: Tensor) -> Tensor:
        """What the attack maximizes (N,)."""

    @abstractmethod
    def with_classes(self, classes: Tensor) -> Self:
        """The same goal for other samples."""

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, rows: Tensor | slice) -> Self:
        return self.with_classes(self.classes[rows])

    def checked(self, count: int, num_classes: int) -> Self:
        """The goal with int64 classes.  Raises `InputError` unless there are `count`, all in [0, num_classes)."""
        return self.with_classes(check_labels(self.classes, count, num_classes, self._what()))

    def to(self, like: Tensor) -> Self:
        """The goal on the device of `like`."""
        return self.with_classes(self.classes.to(like.device))

    def _what(self) -> str:
        return "labels"


@dataclass(frozen=True, eq=False)
class Untargeted(Goal):
    """Any prediction but the true one.  `labels` are the true classes, int64 (N,)."""

    labels: Tensor

    @property
    def classes(self) -> Tensor:
        return self.labels

    def reached(self, logits: Tensor) -> Tensor:
        return logits.argmax(1) != self.labels

    def objective(self, loss: Loss, logits: Tensor) -> Tensor:
        return loss(logits, self.labels)

    def with_classes(self, classes: Tensor) -> Self:
        return type(self)(classes)


@dataclass(frozen=True, eq=False)
class Targeted(Goal):
    """One prediction asked for.  `targets` are the wanted classes, int64 (N,)."""

    targets: Tensor

    @property
    def classes(self) -> Tensor:
        return self.targets

    def reached(self, logits: Tensor) -> Tensor:
        return logits.argmax(1) == self.targets

    def objective(self, loss: Loss, logits: Tensor) -> Tensor:
        return -loss(logits, self.targets)

    def with_classes(self, classes: Tensor) -> Self:
        return type(self)(classes)

    def _what(self) -> str:
        return "targets"


def every_target(labels: Tensor, num_classes: int) -> tuple[Tensor, Targeted]:
    """Every image towards every class but its own `labels` (N,): all pairs of source and target.

    Returns the images' rows, int64 (N (K - 1),), and as many targets: all of the first image, then of the next.
    """
    rows, targets = (labels[:, None] != torch.arange(num_classes, device=labels.device)).nonzero().unbind(1)
    return rows, Targeted(targets)


def check_goal(goal: object) -> Goal:
    """Return `goal`.  Raises `InputError` where it is a bare tensor or something else."""
    if not isinstance(goal, Goal):
        raise InputError(f"an attack needs a goal, Untargeted(labels) or Targeted(targets), got {type(goal).__name__}.")
    return goal
