"""An attack without a radius."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from foolscope.attacks import Attack
from foolscope.attacks.attack import Block
from foolscope.spec import parameter


@dataclass(frozen=True, kw_only=True)
class Darken(Attack):
    """Multiplies every image; asks the network nothing."""

    name: ClassVar[str] = "darken"
    needs_gradients: ClassVar[bool] = False

    share: float = parameter(0.1, "what remains of the light", low=0, high=1)

    @property
    def passes(self) -> int:
        return 1

    def _perturb(self, block: Block) -> Tensor:
        return block.images * self.share
