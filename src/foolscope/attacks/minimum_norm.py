"""What minimum-norm attacks share: the nearest image found so far, and how its change is shortened at the end.

They have no radius: they look for the nearest image that reaches the goal, so that one run says at every radius which
images are fooled, those whose `AttackResult.distance` is at most that radius.

Three things are done for them, beyond their papers.  In l2 and linf a search starts where a linear model of the network
puts the nearest boundary (DeepFool's first step), or it might never leave the way to another one.  An image counts as
found where the wanted class leads by more than float32 can lose from one batch to another: who searches the boundary
returns images that lie on it, and a later look must see what the attack saw.  And what was found is moved nearer by a
few forward passes, which look for the boundary between the image and it (Croce and Hein's final search, 2020, arXiv
1907.02044, by the Illinois rule instead of fixed steps).  With `quantize` every image is rounded to 8 bits before the
network sees it.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from foolscope.attacks.attack import Attack, Block
from foolscope.attacks.goal import Goal, Loss, Targeted
from foolscope.attacks.losses import margin
from foolscope.images import quantize
from foolscope.models.engine import Gradients, Precision
from foolscope.norms import NORMS, expand, l0
from foolscope.spec import parameter

_ROUNDING = {"float32": 1e-5, "float64": 1e-5, "bfloat16": 4e-3}
"""What a precision can lose of a logit, as a share of the largest that matters."""

_MOST = 11
"""Of 15 further draws of a random network that have to reach the goal as the first one did."""

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
        nearest = Nearest(block, self.norm, logits, self._confidence())
        if not block.already.all():
            self._search(nearest)
            nearest.shorten(self.refine)
        return nearest.images

    def _confidence(self) -> float:
        """By how much the wanted class has to lead."""
        return 0.0


@dataclass(frozen=True)
class Boundaries:
    """The `moves` (n, C, H, W) to the nearest of the boundaries, zero where there is none, in l2 or linf.

    `distances` (n, k) are those to all of them, infinite where no gradient leads there; `logits` (n, K).
    """

    moves: Tensor
    distances: Tensor
    logits: Tensor


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
        """Keep the images that reach the goal and are nearer than what was found; return which reach it (n,).

        Where the network draws random numbers, what is nearer has to reach it in 12 of 16 draws.
        """
        excess = self.excess(places, logits)
        reached = excess > 0
        if reached.any():
            distances = length(self.norm, images - self.block.images[places])
            nearer = (reached & (distances < self.distances[places])).nonzero()[:, 0]
            if len(nearer) and self.block.queries.engine.precision == "bfloat16":
                sharp = self.block.queries.logits(images[nearer], self.block.rows[places[nearer]])
                excess[nearer] = self.excess(places[nearer], sharp)
                nearer = nearer[excess[nearer] > 0]
            if self.block.queries.random and len(nearer):
                sure = self.block.again(images[nearer], places[nearer], most=_MOST)
                reached[nearer[~sure]] = False
                nearer = nearer[sure]
            kept = places[nearer]
            self.images[kept], self.distances[kept] = images[nearer], distances[nearer]
            self._excess[kept] = excess[nearer]
        return reached

    def abandon(self, places: Tensor, images: Tensor) -> None:
        """The search ends for `places` at `images`, which are returned where nothing was found."""
        lost = self.distances[places].isinf()
        self.images[places[lost]] = images[lost]

    def rivals(self, places: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Whose boundaries matter: each image's class to leave (n,), and up to `count` to enter (n, k).

        Untargeted these are the label and the classes nearest to it in logits, targeted the best other and the target.
        """
        goal, logits = self.goal(places), self.logits[places]
        others = logits.scatter(1, goal.classes[:, None], -torch.inf)
        if isinstance(goal, Targeted):
            return others.argmax(1), goal.classes[:, None]
        return goal.classes, others.topk(min(count, logits.shape[1] - 1), dim=1).indices

    def boundaries(self, places: Tensor, seen: Tensor, left: Tensor, entered: Tensor) -> Boundaries:
        """Where a linear model of the network at `seen` puts the boundaries between `left` (n,) and `entered` (n, k).

        f_k = z_k - z_y, w_k = grad f_k: |f_k| / |w_k|* away, where |.|* is the dual norm (arXiv 1511.04599, eq. 8, 11).
        """
        precision = self.block.queries.engine.precision
        moves, every, logits = torch.empty_like(seen), [], []
        for part in self.block.queries.class_gradients(seen, self.block.rows[places], entered, left):
            rows, slopes = part.rows, part.gradients
            own = part.logits.gather(1, left[rows, None])
            lost = rounding(part.logits, left[rows], precision)[:, None]
            gaps = (own - part.logits.gather(1, entered[rows])).abs() + 2 * lost
            flat = slopes.flatten(2)
            rise = flat.square().sum(2) if self.norm == "l2" else flat.abs().sum(2)
            distances = gaps / (rise.sqrt() if self.norm == "l2" else rise)
            distances = torch.where(rise > 0, distances, torch.inf)
            best = distances.argmin(1)
            chosen = torch.arange(len(best), device=best.device), best
            slope = slopes[chosen]
            way = torch.where(rise[chosen] > 0, gaps[chosen] / rise[chosen], 0)
            moves[rows] = expand(way, slope) * (slope if self.norm == "l2" else slope.sign())
            every.append(distances)
            logits.append(part.logits)
        return Boundaries(moves, torch.cat(every), torch.cat(logits))

    def outset(self, places: Tensor, candidates: int) -> Tensor:
        """The images moved to the nearest boundary of a linear model, where a search begins (n, C, H, W).

        The margin's gradient leads to the class with the next logit, whose boundary need not be the nearest.
        """
        originals = self.block.images[places]
        found = self.boundaries(places, originals, *self.rivals(places, candidates - 1))
        return self.seen((originals + found.moves).clamp_(0, 1))

    def report(self, step: int, steps: int, active: Tensor, objective: Tensor) -> None:
        """Tell how far the search is: `active` are the places still searched, `objective` (n,) what is maximized."""
        gone = torch.ones_like(self.block.already)
        gone[active] = False
        succeeded = int((gone & (self.block.already | self.distances.isfinite())).sum())
        self.block.report(step, steps, len(active), succeeded, float(objective.mean()))

    def shorten(self, passes: int) -> None:
        """Look for the boundary between each image and what was found for it.

        In l2 the change is scaled; in other norms it is projected onto smaller balls, which takes from it what the norm
        notices and leaves the rest.  A network that draws random numbers has no such boundary.
        """
        if self.block.queries.random:
            return
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
