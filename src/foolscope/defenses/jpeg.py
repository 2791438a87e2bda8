"""JPEG compression as a defense (Dziugaite, Ghahramani and Roy 2016, arXiv 1608.00853).

It removes what an attack writes into high frequencies, as long as the attack does not know of it: always read the
adaptive accuracy beside the oblivious one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from foolscope.defenses.defense import Transform
from foolscope.jpeg.codec import SUBSAMPLINGS, compress
from foolscope.spec import parameter


@dataclass(frozen=True, kw_only=True)
class JPEG(Transform):
    """Save as JPEG and open again, by the real codec."""

    name: ClassVar[str] = "jpeg"
    summary: ClassVar[str] = "save as JPEG and open again, by the real codec"
    source: ClassVar[str] = "Dziugaite, Ghahramani, Roy 2016, arXiv 1608.00853"

    quality: int = parameter(75, "JPEG quality: 1 removes most, 100 least", low=1, high=100)
    subsampling: str = parameter("420", "chroma resolution: full, half width, half both", choices=SUBSAMPLINGS)
    gradient: str = parameter(
        "straight-through", "what an adaptive attack differentiates", choices=("straight-through", "none")
    )

    def apply(self, images: Tensor) -> Tensor:
        """The images after the codec: float32 (N, C, H, W), multiples of 1/255, no gradient."""
        return compress(images, self.quality, self.subsampling)
