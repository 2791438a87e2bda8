"""A chain of photo filters before a classifier.

What AGV does to fool a network can be put before one too: as a transformation that an attack must survive, and as the
photo application through which most images have gone.  It promises no robustness: its gradients are exact, and a chain
that changes much costs clean accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from foolscope.defenses.defense import Transform
from foolscope.filters.chain import ChainParameters
from foolscope.images import check_images
from foolscope.spec import parameter


@dataclass(frozen=True, kw_only=True)
class PhotoFilter(ChainParameters, Transform):
    """Apply a chain of photo filters."""

    name: ClassVar[str] = "filter"
    summary: ClassVar[str] = "apply a chain of photo filters"
    source: ClassVar[str] = "the filters of Baia, Di Bari, Poggioni 2021, doi 10.1007/978-3-030-72699-7_35"
    example: ClassVar[str] = "filter:chain=(gingham:strength=0.5|juno)"
    exact: ClassVar[bool] = True

    gradient: str = parameter(
        "differentiable",
        "what an adaptive attack differentiates: the filters themselves, the identity, nothing",
        choices=("differentiable", "straight-through", "none"),
    )

    def apply(self, images: Tensor) -> Tensor:
        """The filtered images: float32 (N, C, H, W), differentiable.

        Raises `InputError` for gray images where a filter would color them.
        """
        return self.filters(check_images(images))
