"""A chain of photo filters as an attack: unrestricted, black box, the same change for every image.

AGV (Baia, Di Bari and Poggioni 2021, doi 10.1007/978-3-030-72699-7_35) evolves such chains until they fool a network;
its two published ones are `agv-a` and `agv-b`.  The attack itself searches nothing: it filters each image once.  No
radius bounds what a filter changes, so read its success beside its distances.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from foolscope.attacks.attack import Attack, Block
from foolscope.attacks.losses import cross_entropy
from foolscope.filters.chain import ChainParameters
from foolscope.norms import expand


@dataclass(frozen=True, kw_only=True)
class FilterAttack(ChainParameters, Attack):
    """A fixed chain of photo filters.

    Two forward passes an image: one sees which images are misclassified untouched, the other judges the filtered ones.
    """

    name: ClassVar[str] = "filter"
    summary: ClassVar[str] = "a fixed chain of photo filters, such as one that AGV found"
    source: ClassVar[str] = "Baia, Di Bari, Poggioni 2021, doi 10.1007/978-3-030-72699-7_35"
    example: ClassVar[str] = "filter:chain=(clarendon:strength=0.8|juno)"
    needs_gradients: ClassVar[bool] = False

    @property
    def passes(self) -> int:
        return 1

    def _perturb(self, block: Block) -> Tensor:
        logits = block.look()
        mean = float(block.goal.objective(cross_entropy, logits).mean())
        done = int(block.already.sum())
        block.report(1, self.passes, len(block.rows) - done, done, mean)
        return torch.where(expand(block.already, block.images), block.images, self.filters(block.images))
