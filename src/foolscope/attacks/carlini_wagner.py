"""The attack of Carlini and Wagner (2017, arXiv 1608.04644) in l2 and linf, by Adam (Kingma and Ba 2015).

    x(w)  = 1/2 + tanh(w) / (2 s)                     cut to [0, 1]
    l2:     minimize  |x(w) - x|^2 + c f(x(w))
    linf:   minimize  sum max(|x(w) - x| - tau, 0) + c f(x(w))
    f     = max(kappa - lead, 0)                      lead: of the wanted class over the best other, in logits

In l2 c is searched for, image by image: it rises tenfold after a failure, and is halved in its bracket after a success.
In linf tau is 0.9 of the distance found, and after every failure half as much nearer to it, with c four times as large.
Deviations, all for nearer images with fewer passes:

- s is 0.2 and not 1 - 1e-6: pixels of 0 and 1, where tanh would be flat, move as easily as others.  What is found lies
  2 % nearer than with 0.99, on LeNet and on `cifar-cnn`.
- The first search begins where a linear model of the network puts the nearest boundary, at distance r, and the others
  at the nearest image found.  The model also gives the first c: in l2 twice, in linf a quarter of what is just enough.
- Adam's first rate is r, in l2 spread over all values.  At the paper's constant 0.01 every value moves by up to 0.005
  in the first step, which is 0.28 in l2 on 3 x 32 x 32 values, twice what is needed.  The rate falls whenever the loss
  has not fallen over a window of 20 steps, or a tenth of a search's if those are fewer.
- Every image ends its searches by itself: where the loss falls no more at the lowest rate, or at any before the goal is
  reached, the next search begins; an image that a whole search brought nothing leaves the batch.

In linf FMN finds nearer images in a tenth of the passes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor

from foolscope.attacks.losses import cross_entropy, margin
from foolscope.attacks.minimum_norm import MinimumNormAttack, Nearest, length
from foolscope.norms import expand, l2
from foolscope.spec import parameter

_SHRINK = 0.2
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8
_WINDOW, _WINDOWS = 20, 10
_GAIN = 0.999
_SLOWER, _SLOWEST, _LATER = 0.3, 0.05, {"l2": 0.3, "linf": 0.05}
_CLOSER = 0.1
_FIRST_WEIGHT, _LARGEST_RATE = {"l2": 2.0, "linf": 0.25}, 0.1
_LARGEST_WEIGHT = 1e10


@dataclass(frozen=True, kw_only=True)
class CarliniWagner(MinimumNormAttack):
    """Carlini and Wagner: gradient descent on the distance and a hinge on the logits, weighted against each other."""

    name: ClassVar[str] = "cw"
    summary: ClassVar[str] = "nearest image by descent on distance and margin, with a search for their weight"
    source: ClassVar[str] = "Carlini, Wagner 2017, arXiv 1608.04644"

    norm: str = parameter("l2", "norm of the distance", choices=("l2", "linf"))
    candidates: int = parameter(10, "classes whose boundaries are compared at first, the label's among them", low=2)
    searches: int | None = parameter(
        None, "searches at most, each with its c and tau (none: 9 in l2, 20 in linf)", low=1
    )
    steps: int = parameter(1000, "number of steps at most for each c", low=1)
    rate: float | None = parameter(None, "Adam's first learning rate (none: what a linear model says)", low=1e-9)
    kappa: float = parameter(0.0, "by how much the wanted class must lead, in logits", low=0)
    weight: float | None = parameter(None, "first c (none: what a linear model says)", low=1e-9)
    abort_early: bool = parameter(True, "end a search whose loss has stopped falling, and an image's last ones")

    @property
    def passes(self) -> int:
        return self.candidates - 1 + self._steps

    @property
    def _steps(self) -> int:
        return self._searches * self.steps

    @property
    def _searches(self) -> int:
        return self.searches or {"l2": 9, "linf": 20}[self.norm]

    def _confidence(self) -> float:
        return self.kappa

    def _search(self, nearest: Nearest) -> None:
        descent = _Descent(self, nearest)
        for step in range(self._steps):
            if not descent.step(step):
                return


@dataclass
class _State:
    """What a descent knows of each image that is still searched."""

    places: Tensor
    originals: Tensor
    w: Tensor
    first: Tensor
    """Adam's first moment, and `second` its second."""
    second: Tensor
    step: Tensor
    """Steps taken in this search, and `search` the searches ended."""
    search: Tensor
    weight: Tensor
    """c, between `low`, too small, and `high`, large enough."""
    low: Tensor
    high: Tensor
    tau: Tensor
    rate: Tensor
    fastest: Tensor
    reached: Tensor
    """Whether this search has reached the goal."""
    loss: Tensor
    """Sum over this window, and `before` that of the last one."""
    before: Tensor
    outset: Tensor
    """The distance that was known when this search began."""

    @classmethod
    def at(cls, places: Tensor, originals: Tensor, w: Tensor, like: Tensor) -> _State:
        """The first search's state; c, tau and the rates are still to be found."""
        zeros = torch.zeros(len(places), dtype=like.dtype, device=like.device)
        return cls(
            places=places,
            originals=originals,
            w=w,
            first=torch.zeros_like(w),
            second=torch.zeros_like(w),
            step=zeros.long(),
            search=zeros.long(),
            weight=zeros,
            low=zeros,
            high=zeros + torch.inf,
            tau=zeros,
            rate=zeros,
            fastest=zeros,
            reached=zeros.bool(),
            loss=zeros,
            before=zeros + torch.inf,
            outset=zeros + torch.inf,
        )

    def __getitem__(self, rows: Tensor) -> _State:
        return _State(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


class _Descent:
    """Adam on the images of a block that are still searched."""

    def __init__(self, attack: CarliniWagner, nearest: Nearest) -> None:
        self.attack, self.nearest = attack, nearest
        places = nearest.standing
        self.edge = math.atanh(_SHRINK)
        start = nearest.outset(places, attack.candidates)
        self.state = _State.at(places, nearest.block.images[places], self._inverse(start), nearest.distances)
        self.window = min(_WINDOW, max(1, attack.steps // _WINDOWS))

    def step(self, number: int) -> bool:
        """One step of every image; False where none is left."""
        x = self._box(self.state.w)
        seen = self.nearest.seen(x)
        passed = self.nearest.gradients(seen, self.state.places, margin)
        excess = self.nearest.excess(self.state.places, passed.logits)
        reached = self.nearest.offer(self.state.places, seen, passed.logits)
        losses = self.nearest.goal(self.state.places).objective(cross_entropy, passed.logits)
        gradients = passed.images
        if number == 0:
            self._begin(x, gradients)
            stays = gradients.flatten(1).any(1)
            self._leave(stays, self.state.originals)
            x, excess, gradients, reached = x[stays], excess[stays], gradients[stays], reached[stays]
        self._descend(x, gradients, excess)
        self.state.reached |= reached
        self.state.step = self.state.step + 1
        self._end_windows(seen if number else seen[stays])
        self.nearest.report(self.attack.candidates + number, self.attack.passes, self.state.places, losses)
        return len(self.state.places) > 0

    def _begin(self, x: Tensor, gradients: Tensor) -> None:
        """The first c, tau and rate, from the way to `x`, where the linear model of the network put the boundary."""
        state, attack = self.state, self.attack
        away, count = length(attack.norm, x - state.originals), x[0].numel()
        flat, tiny = gradients.flatten(1), torch.finfo(away.dtype).tiny
        first = _FIRST_WEIGHT[attack.norm]
        if attack.norm == "l2":
            state.weight = 2 * first * away / l2.length(gradients).clamp_min(tiny)
        else:
            state.weight, state.tau = first * count / flat.abs().sum(1).clamp_min(tiny), away
        if attack.weight is not None:
            state.weight = torch.full_like(away, attack.weight)
        state.weight = state.weight.clamp_max(_LARGEST_WEIGHT)
        spread = away if attack.norm == "linf" else away / math.sqrt(count)
        state.fastest = spread.clamp_max(_LARGEST_RATE)
        if attack.rate is not None:
            state.fastest = torch.full_like(away, attack.rate)
        state.rate = state.fastest

    def _descend(self, x: Tensor, gradients: Tensor, excess: Tensor) -> None:
        state = self.state
        noise, pull = x - state.originals, state.weight * (excess <= 0)
        if self.attack.norm == "l2":
            penalty, slope = noise.square().flatten(1).sum(1), 2 * noise
        else:
            beyond = noise.abs() - expand(state.tau, noise)
            penalty, slope = beyond.clamp_min(0).flatten(1).sum(1), noise.sign() * (beyond > 0)
        state.loss = state.loss + penalty - pull * excess
        slope = slope - expand(pull, slope) * gradients
        slope *= (1 - (_SHRINK * (2 * x - 1)).square()) / (2 * _SHRINK)
        state.first.lerp_(slope, 1 - _BETA_1)
        state.second.lerp_(slope.square(), 1 - _BETA_2)
        steps = state.step + 1
        scale = state.rate / (1 - _BETA_1**steps)
        root = (state.second / expand(1 - _BETA_2**steps, x)).sqrt_().add_(_EPSILON)
        state.w = (state.w - expand(scale, x) * state.first / root).clamp_(-self.edge, self.edge)

    def _end_windows(self, seen: Tensor) -> None:
        """At the end of each image's window: a lower rate, the next search, or no more."""
        state, attack = self.state, self.attack
        due = state.step % self.window == 0
        if not due.any():
            return
        flat = due & ~(state.loss < _GAIN * state.before)
        state.before, state.loss = torch.where(due, state.loss, state.before), torch.where(due, 0.0, state.loss)
        state.rate = torch.where(flat, state.rate * _SLOWER, state.rate)
        over = state.step >= attack.steps
        if attack.abort_early:
            over |= flat & (~state.reached | (state.rate < _SLOWEST * state.fastest))
        if over.any():
            self._end_searches(over, seen)

    def _end_searches(self, over: Tensor, seen: Tensor) -> None:
        """The next c (and tau) of the images whose search is over, which go on from the nearest one found."""
        state, distances = self.state, self.nearest.distances[self.state.places]
        succeeded, failed = over & state.reached, over & ~state.reached
        if self.attack.norm == "l2":
            state.high = torch.where(succeeded, state.weight, state.high)
            state.low = torch.where(failed, state.weight, state.low)
            bracketed = torch.where(state.low > 0, (state.low * state.high).sqrt(), state.high / 2)
            following = torch.where(state.high.isfinite(), bracketed, state.low * 10)
        else:
            state.low = state.low + failed
            closer = (1 - _CLOSER / 2**state.low) * distances
            state.tau = torch.where(over & distances.isfinite(), closer, state.tau)
            following = torch.where(failed, 4 * state.weight, state.weight)
        state.weight = torch.where(over, following, state.weight).clamp_max(_LARGEST_WEIGHT)
        state.search = state.search + over.long()
        gone = over & (state.search >= self.attack._searches)
        if self.attack.abort_early and self.attack.norm == "l2":
            gone |= succeeded & ~(distances < _GAIN * state.outset)
        elif self.attack.abort_early:
            gone |= failed & (state.low >= 3) & distances.isfinite()
        again = (over & ~gone).nonzero()[:, 0]
        found = again[distances[again].isfinite()]
        state.w[found] = self._inverse(self.nearest.images[state.places[found]])
        state.first[again], state.second[again] = 0, 0
        state.outset = torch.where(over, distances, state.outset)
        state.rate = torch.where(over, state.fastest * _LATER[self.attack.norm], state.rate)
        state.before = torch.where(over, torch.inf, state.before)
        state.step = torch.where(over, 0, state.step)
        state.reached = state.reached & ~over
        self._leave(~gone, seen)

    def _leave(self, stays: Tensor, seen: Tensor) -> None:
        self.nearest.abandon(self.state.places[~stays], seen[~stays])
        self.state = self.state[stays]

    def _box(self, w: Tensor) -> Tensor:
        """The images of w."""
        return (w.tanh() / (2 * _SHRINK) + 0.5).clamp_(0, 1)

    def _inverse(self, x: Tensor) -> Tensor:
        return (_SHRINK * (2 * x - 1)).atanh()
