"""A network under examination: what its attacks fool of the images that it classifies right."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from foolscope.attacks import Attack, Untargeted, Watch
from foolscope.attacks.losses import check_classes, margin
from foolscope.models.engine import Engine, Precision, answers_differ
from foolscope.models.expectation import Expectation
from foolscope.norms import NORMS, expand, linf
from foolscope.randomness import Streams, generator, seeded

_VOTES = 25
"""Answers of a network that draws random numbers, of which the majority is its prediction."""

_RANDOM_POINTS = 100


class Probe:
    """The images of a batch that `engine` classifies right, and who fools them.

    `images` (n, C, H, W) and `labels` (n,) are these; `stands` (n,) are those that no attack inside the ball has
    fooled yet.  All that is random follows from `seed`.
    """

    def __init__(self, engine: Engine, images: Tensor, labels: Tensor, seed: int, watch: Watch | None) -> None:
        self.engine, self.seed, self.watch = engine, seed, watch
        with seeded(self.seed, self.engine.device):
            first, second = engine.logits(images), engine.logits(images)
        check_classes(first.shape[1], "masking.examine", engine.info.name)
        self.random = answers_differ(first, second)
        right = ~self.wrong(images, labels)
        self.images, self.labels = images[right], labels[right]
        self.stands = torch.ones_like(self.labels, dtype=torch.bool)

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def lead(self) -> float:
        """By how much the highest logit leads: 95 % of the images have a smaller lead."""
        highest = self.engine.logits(self.images).topk(2, dim=1).values
        return float((highest[:, 0] - highest[:, 1]).quantile(0.95))

    def twin(self, precision: Precision, draws: int | None = None) -> Engine:
        """An engine for the same network: in another precision, with means over `draws` if given or if it has any."""
        own = self.engine
        count = draws or (own.draws if isinstance(own, Expectation) else None)
        if count:
            return Expectation(own.model, draws=count, precision=precision, device=own.device, chunk=own.chunk)
        return Engine(own.model, precision=precision, device=own.device, chunk=own.chunk)

    def wrong(self, images: Tensor, labels: Tensor) -> Tensor:
        """Which images (n, C, H, W) are misclassified (n,), by a random network in most of its answers."""
        with seeded(self.seed, self.engine.device):
            if not self.random:
                return self.engine.predict(images) != labels
            votes = sum((self.engine.predict(images) != labels).int() for _ in range(_VOTES))
            return torch.as_tensor(votes) * 2 > _VOTES

    def fooled(self, attack: Attack, engine: Engine | None = None, *, rows: Tensor | None = None) -> Tensor:
        """Which images (n,) the network errs on after `attack` on `engine`, by default itself.

        Only those that `rows` (n,) marks are attacked; without it all are.
        """
        chosen = torch.arange(len(self)) if rows is None else rows.nonzero()[:, 0]
        fallen = torch.zeros_like(self.stands)
        if len(chosen):
            images, goal = self.images[chosen], Untargeted(self.labels[chosen])
            result = attack(engine or self.engine, images, goal, rng=generator(self.seed), watch=self.watch)
            fallen[chosen] = self.wrong(result.images, goal.labels)
        return fallen

    def found_at_random(self, eps: float, norm: str, rows: Tensor) -> Tensor:
        """Which of the images that `rows` (n,) marks are fooled by the worst of many random points of the ball.

        Worst is where another class leads most, so that a network that draws random numbers is judged once.  In linf
        every other point is a corner, where the ball reaches farthest.
        """
        chosen = rows.nonzero()[:, 0]
        fallen = torch.zeros_like(self.stands)
        if len(chosen) == 0:
            return fallen
        images, labels = self.images[chosen], self.labels[chosen]
        streams = Streams(self.seed, self.images)[chosen]
        worst, highest = images, torch.full_like(images[:, 0, 0, 0], -torch.inf)
        with seeded(self.seed, self.engine.device):
            for point in range(_RANDOM_POINTS):
                noise = NORMS[norm].random_point(streams, tuple(images.shape[1:]), eps)
                if NORMS[norm] is linf and point % 2:
                    noise = noise.sign() * eps
                tried = (images + noise).clamp(0, 1)
                lead = margin(self.engine.logits(tried), labels)
                worst = torch.where(expand(lead > highest, images), tried, worst)
                highest = torch.maximum(lead, highest)
        fallen[chosen] = self.wrong(worst, labels)
        return fallen
