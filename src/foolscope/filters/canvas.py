"""What a style paints on: images that change effect by effect.

A style is written once, against `Canvas`.  `Canvas` itself runs the pure functions of `effects`, through which
gradients flow; `InPlaceCanvas` gives the same images several times faster where none are needed.
"""

from __future__ import annotations

from torch import Tensor

from foolscope.filters import effects
from foolscope.filters.color import Range
from foolscope.filters.effects import Amount


class Canvas:
    """`images` (N, C, H, W), and one method for each effect; see `effects` for what they do."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def brightness(self, factor: Amount) -> None:
        self.images = effects.brightness(self.images, factor)

    def contrast(self, factor: Amount) -> None:
        self.images = effects.contrast(self.images, factor)

    def saturation(self, factor: Amount) -> None:
        self.images = effects.saturation(self.images, factor)

    def gamma(self, amount: Amount) -> None:
        self.images = effects.gamma(self.images, amount)

    def tone_curves(self, *slopes: Amount) -> None:
        self.images = effects.tone_curves(self.images, *slopes)

    def hue_rotation(self, degrees: Amount) -> None:
        self.images = effects.hue_rotation(self.images, degrees)

    def selective_color(
        self, *slopes: Amount, hue: Range, saturation: Range, value: Range, guide_gamma: float = 1.0
    ) -> None:
        """The pixels are chosen by their color after a gamma correction with `guide_gamma`."""
        guide = effects.gamma(self.images, guide_gamma)
        self.images = effects.selective_color(
            self.images, *slopes, hue=hue, saturation=saturation, value=value, guide=guide
        )

    def sharpness(self, factor: Amount) -> None:
        self.images = effects.sharpness(self.images, factor)

    def vignette(self, amount: Amount) -> None:
        self.images = effects.vignette(self.images, amount)

    def blur(self, sigma: Amount) -> None:
        self.images = effects.blur(self.images, sigma)

    def grain(self, amount: Amount, seed: int = 0, cell: float = 4.0) -> None:
        self.images = effects.grain(self.images, amount, seed, cell)
