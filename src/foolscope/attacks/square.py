"""Square (Andriushchenko et al. 2020, arXiv 1912.00049): random search with squares, for networks without gradients.

    x_0      = x + eps * (a random sign for each channel and column)                       vertical stripes, linf
    x_{t+1}  = x_t with a square at a random place changed, where that raises the objective, else x_t

The objective is the margin, for a given target the cross-entropy; only logits are asked for.  A square covers a share
p of the image: p is 0.8 at first and halved after 10, 50, 200, 500, 1,000, 2,000, 4,000, 6,000 and 8,000 of 10,000
queries, at another budget after as large a share of it.  Its side is round(sqrt(p * height * width)).

In linf a square's values become x + eps or x - eps, by a random sign for each channel.  In l2 the change is made of
bumps: two pyramids of opposite sign fill a square, and the budget for them is taken from a second square, whose change
is removed, and from what the length still lacks of eps.

Deviations: a sign that would change nothing is turned, so that no query is spent on an image that the network has just
seen (in one channel half of them would be); every image has its own places and signs, and x_0 counts as a query.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import torch
from torch import Tensor

from foolscope.attacks.attack import LARGEST_EPS, Attack, Block
from foolscope.attacks.ball import Ball
from foolscope.attacks.goal import Loss, Targeted
from foolscope.attacks.losses import cross_entropy, margin
from foolscope.norms import NORMS, expand, l2
from foolscope.randomness import Streams
from foolscope.spec import parameter

_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
_OF_QUERIES = 10_000
_TILES = 5
_SMALLEST_BUMP = 3
_TINY = 1e-12

_DRAWN = 32
"""Queries for which random numbers are drawn at once, and after which the watch is told."""

Undo = Callable[[Tensor], None]
"""Takes a change back, but for the images (n,) that keep it."""


def share(query: int, queries: int, first: float = 0.8) -> float:
    """P at `query` (from 0) of `queries`: the share of the image that a square covers."""
    position = query * _OF_QUERIES // queries
    return first / 2.0 ** sum(position > bound for bound in _HALVINGS)


@dataclass(frozen=True, kw_only=True)
class Square(Attack):
    """Square Attack: random squares are kept where they bring the network nearer to an error; black box.

    `queries` bounds the versions of an image that the network is shown on the way; two more passes look at the
    untouched image and judge the returned one.  A model that does not declare its number of classes is asked for it
    once, by the first image, before the count begins.
    """

    name: ClassVar[str] = "square"
    summary: ClassVar[str] = "random squares, kept where they help, black box"
    source: ClassVar[str] = "Andriushchenko, Croce, Flammarion, Hein 2020, arXiv 1912.00049"
    needs_gradients: ClassVar[bool] = False

    eps: float = parameter(8 / 255, "radius in `norm`", low=0, high=LARGEST_EPS)
    norm: str = parameter("linf", "norm of the ball", choices=("l2", "linf"))
    queries: int = parameter(5000, "most versions of an image that the network is shown", low=1)
    share: float = parameter(0.8, "share of the image that the first squares cover", low=1e-4, high=1)
    early_stop: bool = parameter(True, "images leave as soon as they fool the network, if it is not random")

    @property
    def passes(self) -> int:
        return 1 + self.queries

    @property
    def budget(self) -> int:
        return 2 + self.queries

    def _perturb(self, block: Block) -> Tensor:
        logits = block.look()
        found = block.images.clone()
        hunt = _Hunt(self, block, (~block.already).nonzero()[:, 0])
        hunt.report(0, block.goal.objective(cross_entropy, logits))
        for query in range(self.queries if self.eps else 0):
            if len(hunt.places) == 0:
                break
            hunt.ask(query, found)
        found[hunt.places] = hunt.ball.returned(hunt.x)
        return found


class _Hunt:
    """The images at `places` of a block that are still at work, and the best version `x` of each so far."""

    def __init__(self, attack: Square, block: Block, places: Tensor) -> None:
        self.attack, self.block, self.places = attack, block, places
        self.ball = Ball.around(block.images[places], NORMS[attack.norm], attack.eps, block.quantize)
        self.streams = block.streams[places]
        self.x = self.ball.originals.clone(memory_format=torch.contiguous_format)
        self.best = torch.full_like(self.x[:, 0, 0, 0], -torch.inf)
        self.reached = torch.zeros_like(places, dtype=torch.bool)
        self.leaves = attack.early_stop and not block.queries.random
        self.loss: Loss = cross_entropy if isinstance(block.goal, Targeted) else margin
        self.search = _Signs(self.x) if attack.norm == "linf" else _Bumps(self.x)
        self.numbers = self.x.flatten(1)[:, :0]

    def ask(self, query: int, found: Tensor) -> None:
        """Show the network one more version of every image; those that reach the goal are written to `found`."""
        attack, block, goal = self.attack, self.block, self.block.goal[self.places]
        if query == 0:
            undo = self.search.start(self.x, self.ball, self.streams)
        else:
            turn = (query - 1) % _DRAWN
            if turn == 0:
                self.numbers = self.streams.uniform((_DRAWN, self.search.numbers))
            covered = share(query, attack.queries, attack.share)
            undo = self.search.change(self.x, self.ball, covered, self.numbers[:, turn])
        shown = self.ball.returned(self.x)
        logits = block.queries.logits(shown, block.rows[self.places])
        reached, objective = goal.reached(logits), goal.objective(self.loss, logits)
        better = (objective > self.best) & (reached | ~self.reached)
        self.best, self.reached = torch.where(better, objective, self.best), self.reached | reached
        left = self.leaves and bool(reached.any())
        if left:
            found[self.places[reached]] = shown[reached]
        if not better.all():
            undo(better)
        if left:
            self._select(~reached)
        if left or (1 + query) % _DRAWN == 0 or 1 + query == attack.queries:
            self.report(1 + query, goal.objective(cross_entropy, logits))

    def report(self, asked: int, objective: Tensor) -> None:
        """Tell the watch what the network was just asked."""
        gone = len(self.block.rows) - len(self.places)
        self.block.report(1 + asked, self.attack.passes, len(self.places), gone, float(objective.mean()))

    def _select(self, stay: Tensor) -> None:
        self.places, self.ball, self.streams = self.places[stay], self.ball[stay], self.streams[stay]
        self.x, self.best, self.reached = self.x[stay], self.best[stay], self.reached[stay]
        self.numbers = self.numbers[stay]


@dataclass(frozen=True)
class _Windows:
    """One square an image: its pixels' numbers (n, C, side * side), the same in all channels."""

    pixels: Tensor

    @classmethod
    def at(cls, where: Tensor, side: int, images: Tensor) -> _Windows:
        """Squares in `images` (n, C, H, W) at random places: `where` (n, 2), in [0, 1), decides on them."""
        channels, height, width = images.shape[1:]
        down = (where[:, 0] * (height - side + 1)).long()
        right = (where[:, 1] * (width - side + 1)).long()
        inside = _inside(side, width).to(where.device)
        return cls((down * width + right)[:, None, None].add(inside).expand(-1, channels, -1))

    def of(self, images: Tensor) -> Tensor:
        """The squares' values (n, C, side * side)."""
        return images.flatten(2).gather(2, self.pixels)

    def put(self, images: Tensor, values: Tensor) -> None:
        """Write values (n, C, side * side) into the squares."""
        images.view(*images.shape[:2], -1).scatter_(2, self.pixels, values)


@cache
def _inside(side: int, width: int) -> Tensor:
    """The numbers (side * side,) of a square's pixels, counted from its first one, where rows are `width` long."""
    step = torch.arange(side)
    return (step[:, None] * width + step).flatten()


class _Search(ABC):
    """How images are changed: in place, and what is returned takes it back but for the images that it is given."""

    numbers: int
    """Random numbers that a change takes."""

    @abstractmethod
    def start(self, x: Tensor, ball: Ball, streams: Streams) -> Undo:
        """The first change."""

    @abstractmethod
    def change(self, x: Tensor, ball: Ball, share: float, numbers: Tensor) -> Undo:
        """A square that covers `share` of the images; `numbers` (n, any) are uniform in [0, 1)."""


class _Signs(_Search):
    """In linf every value is at an end of its range."""

    def __init__(self, images: Tensor) -> None:
        self.numbers = 2 + images.shape[1]

    def start(self, x: Tensor, ball: Ball, streams: Streams) -> Undo:
        up = streams.uniform((x.shape[1], 1, x.shape[3])) < 0.5
        x.copy_(torch.where(up, ball.high, ball.low))
        return _nothing

    def change(self, x: Tensor, ball: Ball, share: float, numbers: Tensor) -> Undo:
        windows = _Windows.at(numbers[:, :2], side_of(share, x), x)
        before, low, high = windows.of(x), windows.of(ball.low), windows.of(ball.high)
        up = numbers[:, 2:, None] < 0.5
        after = torch.where(up, high, low)
        idle = (after == before).flatten(1).all(1)
        if idle.any():
            after = torch.where(up ^ idle[:, None, None], high, low)
        windows.put(x, after)
        return lambda keep: windows.put(x, torch.where(keep[:, None, None], after, before))


class _Bumps(_Search):
    """In l2 the change is made of bumps, and its length is eps."""

    def __init__(self, images: Tensor) -> None:
        self.numbers = 5 + images.shape[1]

    def start(self, x: Tensor, ball: Ball, streams: Streams) -> Undo:
        channels, height, width = x.shape[1:]
        side = max(1, min(height, width) // _TILES)
        down, right = height // side, width // side
        numbers = streams.uniform((down, right, 1 + channels))
        tiles = _bumps(side, numbers[..., 0]) * _signs(numbers[..., 1:])[..., None, None]
        top, left = (height - down * side) // 2, (width - right * side) // 2
        noise = torch.zeros_like(x)
        noise[:, :, top : top + down * side, left : left + right * side] = (
            tiles.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)
        )
        x.copy_(_stretched(noise, ball))
        return _nothing

    def change(self, x: Tensor, ball: Ball, share: float, numbers: Tensor) -> Undo:
        side = min(max(_SMALLEST_BUMP, side_of(share, x) | 1), *x.shape[2:])
        first, second = (_Windows.at(numbers[:, begin : begin + 2], side, x) for begin in (0, 2))
        noise = (x - ball.originals).contiguous()
        lacking = (ball.eps**2 - l2.length(noise).square()).clamp_min(0)
        old = first.of(noise)
        first.put(noise, torch.zeros_like(old))
        other = second.of(noise)
        second.put(noise, torch.zeros_like(other))
        budget = lacking[:, None] / x.shape[1] + old.square().sum(2) + other.square().sum(2)
        bump = _bumps(side, numbers[:, 4]).flatten(2) * _signs(numbers[:, 5:])[..., None]
        new = bump + old / (old.norm(dim=2, keepdim=True) + _TINY)
        first.put(noise, new * (budget.sqrt()[..., None] / (new.norm(dim=2, keepdim=True) + _TINY)))
        before = x.clone()
        x.copy_(_stretched(noise, ball))

        def undo(keep: Tensor) -> None:
            x.copy_(torch.where(expand(keep, x), x, before))

        return undo


def _nothing(keep: Tensor) -> None:
    """The first change is always kept."""


def side_of(share: float, images: Tensor) -> int:
    """The side of a square that covers about `share` of the images (n, C, H, W), and never all of a side."""
    height, width = images.shape[2:]
    return min(max(1, round(math.sqrt(share * height * width))), max(1, min(height, width) - 1))


def _stretched(noise: Tensor, ball: Ball) -> Tensor:
    """The images changed by as much of `noise` as makes its length eps, cut to the box."""
    scale = ball.eps / l2.length(noise).clamp_min(_TINY)
    return noise.mul_(expand(scale, noise)).add_(ball.originals).clamp_(0, 1)


def _signs(uniform: Tensor) -> Tensor:
    return torch.where(uniform < 0.5, 1.0, -1.0)


def _bumps(side: int, uniform: Tensor) -> Tensor:
    """Bumps (..., 1, side, side) that lie or stand, as `uniform` (...) decides."""
    shape = bump(side).to(uniform)
    return torch.where((uniform < 0.5)[..., None, None, None], shape, shape.T)


@cache
def bump(side: int) -> Tensor:
    """Two pyramids of opposite sign, one above the other, that fill a square (side, side); its length is 1."""
    if side == 1:
        return torch.ones(1, 1)
    upper, lower = (_pyramid(height, side) for height in (side // 2, side - side // 2))
    both = torch.cat([upper, -lower])
    scaled: Tensor = both / torch.linalg.vector_norm(both)
    return scaled


def _pyramid(height: int, width: int) -> Tensor:
    """Rectangles that grow around the center, the m-th with weight 1 / m^2; its length is 1."""
    found = torch.zeros(height, width)
    top, left = height // 2, width // 2
    for m in range(max(top, left) + 1):
        rows = slice(max(top - m, 0), min(top + m + 1, height))
        columns = slice(max(left - m, 0), min(left + m + 1, width))
        found[rows, columns] += 1 / (m + 1) ** 2
    scaled: Tensor = found / torch.linalg.vector_norm(found)
    return scaled
