"""The filters written down a second time: slowly, in float64, image by image, from the recipes alone.

Nothing of foolscope is used, and what can be written in another way is: tone curves in Lagrange's form, the hue by the
standard library's `colorsys` and the vignette by Pythagoras, pixel by pixel.  The first effects are Pillow's too, which
`test_effects.py` uses as a third opinion in 8 bits.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Picture = NDArray[np.float64]
"""(H, W, 3) in [0, 1]."""


def luma(image: Picture) -> Picture:
    return np.asarray(np.dot(image, [0.299, 0.587, 0.114]))


def brightness(image: Picture, factor: float) -> Picture:
    return np.clip(image * factor, 0, 1)


def contrast(image: Picture, factor: float) -> Picture:
    mean = float(luma(image).mean())
    return np.clip(factor * image + (1 - factor) * mean, 0, 1)


def saturation(image: Picture, factor: float) -> Picture:
    return np.clip(factor * image + (1 - factor) * luma(image)[..., None], 0, 1)


def gamma(image: Picture, amount: float) -> Picture:
    low, high = float(image.min()), float(image.max())
    if high == low:
        return image
    return np.clip(np.interp(np.power((image - low) / (high - low), 1 / amount), [0, 1], [low, high]), 0, 1)


def tone_curve(channel: Picture, slope: float) -> Picture:
    nodes = np.array([0.0, 64.0, 128.0, 255.0])
    ordinates = np.array([0.0, np.clip(64 * slope, 0, 255), np.clip(128 * slope, 0, 255), 255.0])
    weights = np.ones_like(channel)[None].repeat(4, 0)
    for i, node in enumerate(nodes):  # Lagrange's form
        for j, other in enumerate(nodes):
            if i != j:
                weights[i] *= (255 * channel - other) / (node - other)
    return np.clip(np.tensordot(ordinates, weights, 1), 0, 255) / 255


def tone_curves(image: Picture, red: float, green: float, blue: float) -> Picture:
    slopes = (red, green, blue)
    return np.stack([tone_curve(image[..., i], slope) for i, slope in enumerate(slopes)], -1)


def vignette(image: Picture, amount: float) -> Picture:
    height, width = image.shape[:2]
    out = image.copy()
    for row in range(height):
        for column in range(width):
            down, across = row / (height - 1) - 0.5, column / (width - 1) - 0.5  # -1/2 to 1/2 from side to side
            out[row, column] *= 1 - amount * (np.hypot(down, across) / np.hypot(0.5, 0.5)) ** 2
    return np.clip(out, 0, 1)


def is_blue(pixel: Picture) -> bool:
    """OpenCV's 8-bit units: H 90 to 130, S 50 to 255, V 30 to 230."""
    hue, saturated, value = colorsys.rgb_to_hsv(*map(float, pixel))
    return 90 <= 180 * hue <= 130 and 50 <= 255 * saturated <= 255 and 30 <= 255 * value <= 230


def clarendon(image: Picture, a: float) -> Picture:
    return tone_curves(saturation(contrast(image, 1.2 * a), 2.0 * a), 0.6 * a, 1.0 * a, 1.2 * a)


def gingham(image: Picture, a: float) -> Picture:
    return contrast(saturation(brightness(image, 1.1 * a), 1.1 * a), 0.7 * a)


def reyes(image: Picture, a: float) -> Picture:
    flat = brightness(saturation(contrast(image, 0.8 * a), 0.7 * a), 1.2 * a)
    return tone_curves(gamma(flat, 1.2 * a), 1.1 * a, 1.1 * a, 1.0 * a)


def juno(image: Picture, a: float) -> Picture:
    return gamma(saturation(contrast(image, 1.15 * a), 1.1 * a), 1.3 * a)


def lark(image: Picture, a: float) -> Picture:
    dark = gamma(image, 0.8 * a)
    guide, bluer = gamma(dark, 1.3), tone_curves(dark, 0.8 * a, 0.8 * a, 1.2 * a)
    chosen = np.apply_along_axis(is_blue, -1, guide)
    return np.where(chosen[..., None], bluer, dark)


def hudson(image: Picture, a: float) -> Picture:
    cool = tone_curves(contrast(brightness(image, 1 + 0.2 * a), 1 - 0.1 * a), 1 - 0.1 * a, 1, 1 + 0.1 * a)
    return vignette(cool, 0.2 * a)


def slumber(image: Picture, a: float) -> Picture:
    return tone_curves(brightness(saturation(image, 1 - 0.34 * a), 1 + 0.05 * a), 1 + 0.06 * a, 1, 1 - 0.2 * a)


def stinson(image: Picture, a: float) -> Picture:
    return brightness(saturation(contrast(image, 1 - 0.25 * a), 1 - 0.15 * a), 1 + 0.15 * a)


def rise(image: Picture, a: float) -> Picture:
    flat = brightness(saturation(contrast(image, 1 - 0.1 * a), 1 - 0.1 * a), 1 + 0.05 * a)
    return vignette(tone_curves(flat, 1 + 0.1 * a, 1 + 0.03 * a, 1 - 0.15 * a), 0.15 * a)


def perpetua(image: Picture, a: float) -> Picture:
    pastel = saturation(brightness(contrast(image, 1 - 0.15 * a), 1 + 0.08 * a), 1 + 0.1 * a)
    return tone_curves(pastel, 1 - 0.1 * a, 1 + 0.05 * a, 1 + 0.05 * a)


STYLES: dict[str, Callable[[Picture, float], Picture]] = {
    style.__name__: style for style in (clarendon, gingham, reyes, juno, lark, hudson, slumber, stinson, rise, perpetua)
}


def picture(image: Tensor) -> Picture:
    """An image (C, H, W) as the reference takes it: a gray one has three equal channels."""
    return image.double().expand(3, -1, -1).permute(1, 2, 0).numpy()


def mixed(image: Picture, name: str, strength: float, intensity: float) -> Picture:
    """Eq. 3.1 of the thesis."""
    return (1 - strength) * image + strength * STYLES[name](image, intensity)
