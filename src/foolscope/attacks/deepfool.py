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

from foolscope.attacks.losses import cross_entropy
from foolscope.attacks.minimum_norm import MinimumNormAttack, Nearest
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
        labels, classes = nearest.rivals(places, self.candidates - 1)
        done = 0
        for _ in range(self.steps):
            found = nearest.boundaries(places, seen, labels, classes)
            moves, distances, logits = found.moves, found.distances, found.logits
            done += classes.shape[1]
            nearest.offer(places, seen, logits)
            stays = nearest.distances[places].isinf() & distances.isfinite().any(1)
            nearest.abandon(places[~stays], seen[~stays])
            losses = nearest.goal(places).objective(cross_entropy, logits)
            places, labels, x, moves = places[stays], labels[stays], x[stays], moves[stays]
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
