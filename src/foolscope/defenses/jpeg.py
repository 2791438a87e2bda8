"""JPEG compression as a defense (Dziugaite, Ghahramani and Roy 2016, arXiv 1608.00853).

It removes what an attack writes into high frequencies, as long as the attack does not know of it: always read the
adaptive accuracy beside the oblivious one.  With `gradient=differentiable` the pixels are the real codec's too; the
gradient is that of a smooth JPEG (`foolscope.jpeg.surrogate`), which knows what quantization erases and is the stronger
attack.  Images of any size are taken, also smaller than a block of 8 x 8; gray ones have no chroma, and `subsampling`
means nothing to them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from foolscope.defenses.defense import Transform
from foolscope.jpeg import SUBSAMPLINGS, compress, differentiable
from foolscope.spec import parameter


def subsampling() -> Any:
    """The field of a defense that compresses colors."""
    return parameter("420", "chroma resolution: full, half width, half both", choices=SUBSAMPLINGS)


def codec(gradient: str) -> Callable[[Tensor, int, str], Tensor]:
    """`compress`, with the smooth gradient where `gradient` asks for one."""
    return differentiable if gradient == "differentiable" else compress


@dataclass(frozen=True, kw_only=True)
class JPEG(Transform):
    """Save as JPEG and open again, by the real codec."""

    name: ClassVar[str] = "jpeg"
    summary: ClassVar[str] = "save as JPEG and open again, by the real codec"
    source: ClassVar[str] = "Dziugaite, Ghahramani, Roy 2016, arXiv 1608.00853"

    quality: int = parameter(75, "JPEG quality: 1 removes most, 100 least", low=1, high=100)
    subsampling: str = subsampling()
    gradient: str = parameter(
        "straight-through",
        "what an adaptive attack differentiates: the identity, a smooth JPEG, nothing",
        choices=("straight-through", "differentiable", "none"),
    )

    def apply(self, images: Tensor) -> Tensor:
        """The images after the codec: float32 (N, C, H, W), multiples of 1/255; a gradient if it is differentiable."""
        return codec(self.gradient)(images, self.quality, self.subsampling)
