"""What minimum-norm attacks share: the nearest image found so far, and how its change is shortened at the end.

They have no radius: they look for the nearest image that reaches the goal, so that one run says at every radius which
images are fooled, those whose `AttackResult.distance` is at most that radius.

Two things are done for all of them, beyond their papers.  An image counts as found where the wanted class leads by more
than float32 can lose from one batch to another: who searches the boundary returns images that lie on it, and a later
look must see what the attack saw.  And the change that was found is shortened by a few forward passes, which look for
the boundary between the image and what was found (Croce and Hein's final search, 2020, arXiv 1907.02044, by the
Illinois rule instead of fixed steps).  With `quantize` every image is rounded to 8 bits before the network sees it.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from foolscope.attacks.attack import Attack, Block
from foolscope.attacks.goal import Goal, Loss
from foolscope.attacks.losses import check_classes, margin
from foolscope.images import quantize
from foolscope.models.engine import Gradients, Precision
from foolscope.norms import NORMS, l0
from foolscope.spec import parameter

_ROUNDING = {"float32": 1e-5, "float64": 1e-5, "bfloat16": 4e-3}
"""What a precision can lose of a logit, as a share of the largest that matters."""

_MATTER = 10


def rounding(logits: Tensor, classes: Tensor, precision: Precision = "float32") -> Tensor:
    """The lead (N,) of `classes` over the best other, or of that over them, that may be lost between batches.

    Only `classes` and the upper half of the logits, 10 at most, tell how large logits are: masked ones can be huge.
    """
    own = logits.gather(1, classes[:, None])
    highest = logits.topk(min(_MATTER, max(2, (logits.shape[1] + 1) // 2)), dim=1).values
    return _ROUNDING[precision] * torch.cat([own, highest], 1).abs().amax(1)


def movable(gradients: Tensor, images: Tensor) -> Tensor:
    """The gradients (N, C, H, W) without the values that the box [0, 1] holds back, where images must go up them."""
    return gradients.masked_fill(((images <= 0) & (gradients < 0)) | ((images >= 1) & (gradients > 0)), 0)


def length(norm: str, noise: Tensor) -> Tensor:
    """The length (N,) in `l0` (changed pixels), `l1`, `l2` or `linf`."""
    return l0(noise).to(noise.dtype) if norm == "l0" else NORMS[norm].length(noise)


def cosine(first: float, last: float, step: int, steps: int) -> float:
    """From `first` at step 0 to `last` at step `steps` along half a cosine."""
    return last + (first - last) * (1 + math.cos(math.pi * step / steps)) / 2


def project(norm: str, noise: Tensor, radius: Tensor) -> Tensor:
    """The nearest point of balls of `radius` (N,); in `l0` the `radius` pixels that changed most are kept."""
    if norm != "l0":
        return NORMS[norm].project(noise, radius)
    change = noise.square().sum(1).flatten(1)
    order = change.sort(dim=1, descending=True, stable=True).indices
    ranks = torch.arange(order.shape[1], device=noise.device).expand_as(order)
    kept = torch.empty_like(order).scatter_(1, order, ranks) < radius[:, None]
    return noise * kept.view_as(noise[:, :1])


@dataclass(frozen=True, kw_only=True)
class MinimumNormAttack(Attack):
    """Base of the attacks that look for the nearest image that reaches the goal.

    An image for which none is found is returned as the search left it.
    """

    minimum_norm: ClassVar[bool] = True

    norm: str = parameter("l2", "norm of the distance", choices=("l2",))
    refine: int = parameter(5, "forward passes that shorten what was found", low=0)

    @abstractmethod
    def _search(self, nearest: Nearest) -> None:
        """Offer images to `nearest`; tell it where images were left that nothing was found for."""

    def _perturb(self, block: Block) -> Tensor:
        logits = block.look()
        check_classes(logits, self.name, block.queries.engine.info.name)
        nearest = Nearest(block, self.norm, logits, self._confidence())
        if not block.already.all():
            self._search(nearest)
            nearest.shorten(self.refine)
        return nearest.images

    def _confidence(self) -> float:
        """By how much the wanted class has to lead."""
        return 0.0


class Nearest:
    """The nearest images found so far for a block, image by image; `distances` (N,) are infinite where none is."""

    def __init__(self, block: Block, norm: str, logits: Tensor, confidence: float) -> None:
        self.block, self.norm, self.confidence = block, norm, confidence
        self.logits = logits
        self.images = block.images.clone()
        self.distances = torch.full_like(logits[:, 0], torch.inf)
        self._excess = torch.zeros_like(self.distances)

    @property
    def standing(self) -> Tensor:
        """The places of the images that do not reach the goal untouched."""
        return (~self.block.already).nonzero()[:, 0]

    def seen(self, images: Tensor) -> Tensor:
        """The images as the network is shown them, and as they would be returned."""
        return quantize(images) if self.block.quantize else images

    def gradients(self, images: Tensor, places: Tensor, loss: Loss) -> Gradients:
        """One forward and backward pass of what the goal makes of `loss`."""
        goal = self.goal(places)
        return self.block.queries.gradients(
            images, self.block.rows[places], lambda logits, rows: goal[rows].objective(loss, logits)
        )

    def goal(self, places: Tensor) -> Goal:
        """The goal of the images at `places`."""
        return self.block.goal[places]

    def excess(self, places: Tensor, logits: Tensor) -> Tensor:
        """By how much more than it must the wanted class leads (n,): positive where the goal is reached for sure."""
        needed = rounding(logits, self.goal(places).classes).clamp_min(self.confidence)
        return self.goal(places).objective(margin, logits) - needed

    def offer(self, places: Tensor, images: Tensor, logits: Tensor) -> Tensor:
        """Keep the images that reach the goal and are nearer than what was found; return which reach it (n,)."""
        excess = self.excess(places, logits)
        reached = excess > 0
        if reached.any():
            distances = length(self.norm, images - self.block.images[places])
            nearer = (reached & (distances < self.distances[places])).nonzero()[:, 0]
            if len(nearer) and self.block.queries.engine.precision == "bfloat16":
                sharp = self.block.queries.logits(images[nearer], self.block.rows[places[nearer]])
                excess[nearer] = self.excess(places[nearer], sharp)
                nearer = nearer[excess[nearer] > 0]
            kept = places[nearer]
            self.images[kept], self.distances[kept] = images[nearer], distances[nearer]
            self._excess[kept] = excess[nearer]
        return reached

    def abandon(self, places: Tensor, images: Tensor) -> None:
        """The search ends for `places` at `images`, which are returned where nothing was found."""
        lost = self.distances[places].isinf()
        self.images[places[lost]] = images[lost]

    def report(self, step: int, steps: int, active: Tensor, objective: Tensor) -> None:
        """Tell how far the search is: `active` are the places still searched, `objective` (n,) what is maximized."""
        gone = torch.ones_like(self.block.already)
        gone[active] = False
        succeeded = int((gone & (self.block.already | self.distances.isfinite())).sum())
        self.block.report(step, steps, len(active), succeeded, float(objective.mean()))

    def shorten(self, passes: int) -> None:
        """Look for the boundary between each image and what was found for it.

        In l2 the change is scaled; in other norms it is projected onto smaller balls, which takes from it what the norm
        notices and leaves the rest.
        """
        places = self.distances.isfinite().nonzero()[:, 0]
        originals, noise = self.block.images[places], self.images[places] - self.block.images[places]
        longest = self.distances[places]
        low, high = torch.zeros_like(longest), torch.ones_like(longest)
        below = self.excess(places, self.logits[places]).clamp_max(-torch.finfo(longest.dtype).tiny)
        above, aim = self._excess[places].clone(), rounding(self.logits[places], self.goal(places).classes)
        before: Tensor | None = None
        for _ in range(passes if len(places) else 0):
            # Aimed just beyond the boundary: on it, rounding would decide whether the image counts.
            share = high - (high - low) * (above - aim).clamp_min(0) / (above - below)
            radius = share * longest
            part = project(self.norm, noise, radius.ceil() if self.norm == "l0" else radius)
            tried = self.seen((originals + part).clamp_(0, 1))
            logits = self.block.queries.logits(tried, self.block.rows[places])
            self.offer(places, tried, logits)
            excess = self.excess(places, logits)
            reached = excess > 0
            if before is not None:  # an end that stays twice counts half, or the other would creep towards it
                below = torch.where(reached & before, below / 2, below)
                above = torch.where(~reached & ~before, above / 2, above)
            low, below = torch.where(reached, low, share), torch.where(reached, below, excess)
            high, above = torch.where(reached, share, high), torch.where(reached, excess, above)
            before = reached
