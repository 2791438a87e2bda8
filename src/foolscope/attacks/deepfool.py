"""DeepFool (Moosavi-Dezfooli et al. 2016, arXiv 1511.04599): steps to the nearest boundary of a linear model.

    f_k = z_k - z_y,  w_k = grad f_k          at the current image, for the classes k nearest to the label y
    k   = argmin |f_k| / |w_k|*               |.|* the dual norm: l2 for l2, l1 for linf
    x   = x + |f_k| / |w_k|^2 w_k  (l2)       or  x + |f_k| / |w_k|_1 sign(w_k)  (linf)

until x_0 + (1 + overshoot) (x - x_0), cut to the box [0, 1], is no longer classified as y.

Two deviations make it nearer and cheaper.  A step goes 0.8 of the way (`step`; the paper: 1), because short steps see
where the boundary bends.  And after the first step only those classes are looked at again that it found nearest
(`follow`; the paper: all), because each costs a backward pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from foolscope.attacks.losses import cross_entropy
from foolscope.attacks.minimum_norm import MinimumNormAttack, Nearest, rounding
from foolscope.norms import expand
from foolscope.spec import parameter


@dataclass(frozen=True, kw_only=True)
class DeepFool(MinimumNormAttack):
    """DeepFool: repeated steps to the nearest boundary of a linear model of the network.  Untargeted."""

    name: ClassVar[str] = "deepfool"
    summary: ClassVar[str] = "steps to the nearest boundary of a linear model"
    source: ClassVar[str] = "Moosavi-Dezfooli, Fawzi, Frossard 2016, arXiv 1511.04599"
    takes_targets: ClassVar[bool] = False

    norm: str = parameter("l2", "norm of the distance", choices=("l2", "linf"))
    steps: int = parameter(50, "number of steps at most", low=1)
    step: float = parameter(0.8, "share of the way to that boundary which a step goes", low=0.01, high=1)
    overshoot: float = parameter(0.02, "how far beyond the linear model's boundary, as a share of the way", low=0)
    candidates: int = parameter(10, "classes looked at, the label's among them (all, if there are fewer)", low=2)
    follow: int = parameter(3, "classes looked at again after the first step", low=1)

    @property
    def passes(self) -> int:
        first = self.candidates - 1
        return first + (self.steps - 1) * min(first, self.follow)

    def _search(self, nearest: Nearest) -> None:
        places = nearest.standing
        x = seen = nearest.block.images[places]
        labels = nearest.goal(places).classes
        others = nearest.logits[places].scatter(1, labels[:, None], -torch.inf)
        classes = others.topk(min(self.candidates, others.shape[1]) - 1, dim=1).indices
        done = 0
        for _ in range(self.steps):
            moves, distances, logits = self._steps(nearest, places, seen, classes)
            done += classes.shape[1]
            nearest.offer(places, seen, logits)
            stays = nearest.distances[places].isinf() & distances.isfinite().any(1)
            nearest.abandon(places[~stays], seen[~stays])
            losses = nearest.goal(places).objective(cross_entropy, logits)
            places, x, moves = places[stays], x[stays], moves[stays]
            nearest.report(done, self.passes, places, losses)
            if len(places) == 0:
                return
            kept = distances[stays].topk(min(self.follow, classes.shape[1]), dim=1, largest=False).indices
            classes = classes[stays].gather(1, kept)
            x = (x + self.step * moves).clamp_(0, 1)
            originals = nearest.block.images[places]
            seen = nearest.seen((originals + (1 + self.overshoot) * (x - originals)).clamp_(0, 1))
        nearest.offer(places, seen, nearest.block.queries.logits(seen, nearest.block.rows[places]))
        nearest.abandon(places, seen)

    def _steps(self, nearest: Nearest, places: Tensor, seen: Tensor, classes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The steps (n, C, H, W) to the nearest boundaries, the distances (n, k) of all, and the logits (n, K)."""
        labels, precision = nearest.goal(places).classes, nearest.block.queries.engine.precision
        moves, every, logits = torch.empty_like(seen), [], []
        for part in nearest.block.queries.class_gradients(seen, nearest.block.rows[places], classes, labels):
            rows, slopes = part.rows, part.gradients
            own = part.logits.gather(1, labels[rows, None])
            lost = rounding(part.logits, labels[rows], precision)[:, None]
            gaps = (own - part.logits.gather(1, classes[rows])).abs() + 2 * lost
            flat = slopes.flatten(2)
            rise = flat.square().sum(2) if self.norm == "l2" else flat.abs().sum(2)
            distances = gaps / (rise.sqrt() if self.norm == "l2" else rise)
            distances = torch.where(rise > 0, distances, torch.inf)
            best = distances.argmin(1)
            chosen = torch.arange(len(best), device=best.device), best
            slope, length = slopes[chosen], gaps[chosen] / rise[chosen]
            moves[rows] = expand(length, slope) * (slope if self.norm == "l2" else slope.sign())
            every.append(distances)
            logits.append(part.logits)
        return moves, torch.cat(every), torch.cat(logits)
