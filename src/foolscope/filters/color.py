"""Color: luma, hue, and ranges in hue, saturation and value.

luma is ITU-R BT.601's: 0.299 R + 0.587 G + 0.114 B.  Hue, saturation and value are those of the hexcone (Smith 1978,
SIGGRAPH): value = max, saturation = (max - min) / max, hue in degrees with red at 0, green at 120 and blue at 240.
OpenCV's 8-bit hue is half of it.

The channels are dimension 1 everywhere, whatever follows.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from foolscope.errors import ParameterError

LUMA = (0.299, 0.587, 0.114)

Range = tuple[float, float]
"""A closed range.  A hue range may run through 0: (340, 20)."""


def luma(images: Tensor) -> Tensor:
    """The luma of every pixel: (N, C, ...) to (N, 1, ...).  A gray image is its own."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.unbind(1)
    return (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue).unsqueeze(1)


def hue(images: Tensor) -> Tensor:
    """The hue of every pixel, in degrees from 0 to 360: (N, 3, ...) to (N, 1, ...).  Gray pixels have 0."""
    high, low = images.amax(1, keepdim=True), images.amin(1, keepdim=True)
    span = torch.where(high > low, high - low, torch.ones_like(high))
    red, green, blue = (channel.unsqueeze(1) for channel in images.unbind(1))
    sextant = torch.where(
        red == high,
        ((green - blue) / span) % 6,
        torch.where(green == high, 2 + (blue - red) / span, 4 + (red - green) / span),
    )
    return 60 * sextant * (high > low)


def range_excess(images: Tensor, hue: Range, saturation: Range, value: Range, memory: Tensor | None = None) -> Tensor:
    """At most 0 where a pixel lies in all three ranges, above elsewhere: (N, 3, ...) to (N, 1, ...), no gradient.

    The colors of one hue are a half-plane that ends at the gray axis, so a range of hues up to 180 degrees wide is
    where two linear forms have the right sign: no hue is computed and nothing divided.  Gray pixels lie in every range
    of hues.  `memory` (3, N, 1, ...) is what to work in, and the result a part of it.
    Raises `ParameterError` for other ranges of hues.
    """
    channels = images.detach().split_with_sizes([1, 1, 1], 1)
    excess, high, low = images.new_empty(3, *channels[0].shape) if memory is None else memory
    _combined(channels, _outside(*hue)[0], excess)
    torch.maximum(excess, _combined(channels, _outside(*hue)[1], high), out=excess)
    torch.maximum(torch.maximum(channels[0], channels[1], out=high), channels[2], out=high)
    torch.minimum(torch.minimum(channels[0], channels[1], out=low), channels[2], out=low)
    if saturation[1] < 1:
        torch.maximum(excess, torch.sub((1 - saturation[1]) * high, low), out=excess)
    if saturation[0] > 0:
        torch.maximum(excess, low.sub_(high, alpha=1 - saturation[0]), out=excess)
    middle, half = (value[0] + value[1]) / 2, (value[1] - value[0]) / 2
    return torch.maximum(excess, high.sub_(middle).abs_().sub_(half), out=excess)


def _combined(channels: Sequence[Tensor], weights: Sequence[float], out: Tensor) -> Tensor:
    """The sum of the channels, each times its weight; one weight is 1."""
    lead = weights.index(1)
    first, *others = [index for index, weight in enumerate(weights) if weight and index != lead]
    torch.add(channels[lead], channels[first], alpha=weights[first], out=out)
    for index in others:
        out.add_(channels[index], alpha=weights[index])
    return out


@functools.cache
def _outside(low: float, high: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Two linear forms in (R, G, B), both at most 0 on the colors from hue `low` to hue `high` alone.

    The one that is positive for the 180 degrees after a hue is (1, 1, 1) x (the pure color of that hue).
    """
    if not 0 < (high - low) % 360 <= 180:
        raise ParameterError(f"a range of hues must be more than 0 and at most 180 degrees wide, got {low} to {high}.")
    forms = []
    for degrees, sign in ((low, -1), (high, 1)):
        red, green, blue = (min(max(abs((degrees / 60 - shift) % 6 - 3) - 1, 0), 1) for shift in (0, 2, 4))
        form = [sign * weight for weight in (blue - green, red - blue, green - red)]
        forms.append(tuple(weight / max(form) for weight in form))
    return forms[0], forms[1]
