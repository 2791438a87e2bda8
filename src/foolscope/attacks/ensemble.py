"""`ensemble`: four attacks that fail differently, one after the other, each on what still stands.

    1. APGD on the cross-entropy
    2. APGD on the targeted DLR, towards the nearest classes
    3. FMN, which looks for the nearest adversarial image; what it finds is projected onto the ball
    4. Square, which needs no gradients, so that networks that hide theirs are found out

It is AutoAttack's protocol 'standard' (Croce and Hein 2020, arXiv 2003.01690) with as many steps, targets and queries,
so that robust accuracies compare.  AutoAttack's third member is FAB towards every target; FMN takes a ninth of its
gradient passes, and after the second member hardly any image is left for either.

Its members need gradients but for the last one: on a black box take `square` itself.  Both norms of APGD and Square are
known, l2 and linf.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from foolscope.attacks.apgd import APGD
from foolscope.attacks.attack import LARGEST_EPS, Attack, Block
from foolscope.attacks.ball import Ball
from foolscope.attacks.fmn import FMN
from foolscope.attacks.square import Square
from foolscope.norms import NORMS
from foolscope.randomness import Streams
from foolscope.spec import parameter


@dataclass(frozen=True, kw_only=True)
class Ensemble(Attack):
    """APGD on two losses, FMN and Square, each on the images that those before it left standing."""

    name: ClassVar[str] = "ensemble"
    summary: ClassVar[str] = "APGD on two losses, FMN and Square, each on what still stands"
    source: ClassVar[str] = "Croce, Hein 2020, arXiv 2003.01690"

    eps: float = parameter(8 / 255, "radius in `norm`", low=0, high=LARGEST_EPS)
    norm: str = parameter("linf", "norm of the ball", choices=("l2", "linf"))
    steps: int = parameter(100, "number of steps of each climb of APGD, and of FMN", low=1)
    targets: int = parameter(9, "nearest classes that APGD climbs towards, one after the other", low=1)
    queries: int = parameter(5000, "most versions of an image that Square shows the network", low=1)
    early_stop: bool = parameter(True, "images leave as soon as they fool the network")

    @property
    def members(self) -> tuple[Attack, ...]:
        """The attacks in their order."""
        climb = APGD(eps=self.eps, norm=self.norm, steps=self.steps, early_stop=self.early_stop)
        return (
            climb,
            climb.replace(loss="dlr-targeted", targets=self.targets),
            FMN(norm=self.norm, steps=self.steps),
            Square(eps=self.eps, norm=self.norm, queries=self.queries, early_stop=self.early_stop),
        )

    @property
    def passes(self) -> int:
        return sum(member.passes for member in self.members)

    def _perturb(self, block: Block) -> Tensor:
        block.look()
        found, standing = block.images.clone(), (~block.already).nonzero()[:, 0]
        streams, done = block.streams[standing], 0
        for number, member in enumerate(self.members):
            if len(standing) == 0:
                break
            part = self._part(block, standing, streams, done, member)
            tried = member._perturb(part)
            if member.minimum_norm:
                ball = Ball.around(part.images, NORMS[self.norm], self.eps, block.quantize)
                tried = ball.returned(ball.inside(tried))
            reached = block.reached(tried, standing)
            chosen = reached if number else torch.ones_like(reached)
            found[standing[chosen]] = tried[chosen]
            standing, streams, done = standing[~reached], streams[~reached], done + member.passes
        return found

    def _part(self, block: Block, places: Tensor, streams: Streams, done: int, member: Attack) -> Block:
        """The images at `places` as a block of their own, whose reports go on from the `done` passes before."""
        gone, passes = len(block.rows) - len(places), self.passes  # reckoned once: it builds all members

        def report(step: int, steps: int, active: int, succeeded: int, objective: float) -> None:
            if member.minimum_norm:  # it knows no radius: whom it fooled in the ball is not known before its end
                active, succeeded = len(places), 0
            block.report(done + step, passes, active, gone + succeeded, objective)

        return replace(
            block,
            images=block.images[places],
            goal=block.goal[places],
            rows=block.rows[places],
            streams=streams,
            already=torch.zeros_like(places, dtype=torch.bool),
            report=report,
        )
