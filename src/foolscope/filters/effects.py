"""Photographic effects: pure, differentiable functions on batches of images of any size.

    brightness f     f x
    contrast f       m + f (x - m)                              m: mean luma of the image
    saturation f     l + f (x - l)                              l: luma of the pixel
    gamma g          lo + (hi - lo) ((x - lo)/(hi - lo))^(1/g)  lo, hi: least and largest value of the image
    tone curve k     the cubic through (0, 0), (64, 64k), (128, 128k), (255, 255), on a scale of 0 to 255, the ordinates
                     clipped to it first
    hue rotation     every hue turned by the same angle, value and saturation kept (hexcone model)
    selective color  tone curves where hue, saturation and value of the pixel lie in given ranges
    sharpness f      b + f (x - b)                              b: mean of 3 x 3 pixels, the middle one counting 5 times
    vignette a       x (1 - a r^2)                              r: distance from the center, 1 in the corners
    blur s           Gaussian of standard deviation s pixels
    grain a          x + a n                                    n: gradient noise of three octaves, in [-1, 1]

Every effect clips its result to [0, 1].  Images are float (N, C, H, W) in [0, 1]; an amount is a number or one number a
sample (N,), and gradients flow to both.  The first five are those of the thesis on AGV, with its constants.

A gray image counts as the color image with three equal channels.  So saturation, hue and selective color leave it as it
is, and tone curves of its own for each channel, which would color it, raise `InputError`.
"""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from foolscope.errors import InputError, ParameterError
from foolscope.filters.color import Range, hue, luma, range_excess
from foolscope.norms import expand
from foolscope.randomness import generator

Amount = float | Tensor
"""A number, or one number a sample (N,)."""

_ABSCISSAS = (64 / 255, 128 / 255)
_OCTAVES = 3
_LARGEST_SIGMA = 100


def brightness(images: Tensor, factor: Amount) -> Tensor:
    """Multiply every value by `factor`."""
    return (images * expand(factor, images)).clamp(0, 1)


def contrast(images: Tensor, factor: Amount) -> Tensor:
    """Move every value away from the image's mean luma, or towards it with a `factor` below 1."""
    mean = luma(images).mean((2, 3), keepdim=True)
    return (mean + expand(factor, images) * (images - mean)).clamp(0, 1)


def saturation(images: Tensor, factor: Amount) -> Tensor:
    """Move every value away from the pixel's luma, or towards it with a `factor` below 1."""
    gray = luma(images)
    return (gray + expand(factor, images) * (images - gray)).clamp(0, 1)


def gamma(images: Tensor, amount: Amount) -> Tensor:
    """Raise every value to the power 1 / `amount` between the extrema of the whole image, all channels together.

    Raises `ParameterError` for an amount of 0 or less.
    """
    _check_positive(amount, "gamma")
    low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    span = (high - low).clamp_min(torch.finfo(images.dtype).tiny)
    share = (images - low) / span
    # The power's slope is infinite at 0, so 0 is kept out of it.
    above = share > 0
    power = torch.where(above, share, torch.ones_like(share)) ** (1 / expand(amount, images))
    return (low + span * torch.where(above, power, torch.zeros_like(share))).clamp(0, 1)


def tone_curves(images: Tensor, *slopes: Amount) -> Tensor:
    """Apply a tone curve to every channel: one slope for all, or red, green and blue each their own.

    Raises `InputError` for three slopes on gray images.
    """
    check_slopes(slopes, images.shape[1])
    bent = []
    for slope, plane in zip(slopes, images.chunk(len(slopes), 1), strict=True):
        offset, rise = curve(expand(slope, images))
        bent.append(plane + plane * (1 - plane) * (offset + rise * plane))
    return torch.cat(bent, 1).clamp(0, 1)


def check_slopes(slopes: tuple[Amount, ...], channels: int) -> None:
    """Raise `ParameterError` unless there are one or three slopes, `InputError` for three on gray images."""
    if len(slopes) not in (1, 3):
        raise ParameterError(f"tone curves need one slope or three (red, green, blue), got {len(slopes)}.")
    if len(slopes) > channels:
        raise InputError("tone curves for red, green and blue would color gray images: give one slope for all.")


def curve(slope: Amount) -> tuple[Amount, Amount]:
    """A tone curve as x + x (1 - x)(offset + rise x), which every cubic through (0, 0) and (1, 1) can be written as."""
    first, second = (
        ((x * slope).clamp(0, 1) if isinstance(slope, Tensor) else min(max(x * slope, 0), 1)) for x in _ABSCISSAS
    )
    first, second = ((y - x) / (x * (1 - x)) for x, y in zip(_ABSCISSAS, (first, second), strict=True))
    rise = (second - first) / (_ABSCISSAS[1] - _ABSCISSAS[0])
    return first - rise * _ABSCISSAS[0], rise


def hue_rotation(images: Tensor, degrees: Amount) -> Tensor:
    """Turn every hue by `degrees`: 120 turns red into green, green into blue and blue into red."""
    if images.shape[1] == 1:
        return images.clamp(0, 1)
    high, low = images.amax(1, keepdim=True), images.amin(1, keepdim=True)
    turned = (hue(images) + expand(degrees, images)) / 60
    # The channel's distance from `high`, in shares of the span, rises and falls once around the circle of hues.
    place = (turned + turned.new_tensor([5.0, 3.0, 1.0]).view(1, 3, 1, 1)) % 6
    return (high - (high - low) * torch.minimum(place, 4 - place).clamp(0, 1)).clamp(0, 1)


def selective_color(
    images: Tensor,
    *slopes: Amount,
    hue: Range,
    saturation: Range,
    value: Range,
    guide: Tensor | None = None,
) -> Tensor:
    """Apply tone curves, but only to pixels of a certain color.

    `hue` is a range in degrees, more than 0 and at most 180 wide, `saturation` and `value` are ranges in [0, 1]; with
    `guide` (N, 3, H, W) it is its pixels' color that counts.  The choice of pixels has no gradient.
    Raises `ParameterError` for another range of hues and for one of saturations that takes gray pixels in.
    """
    if not saturation[0] > 0:
        raise ParameterError(f"selective color needs a least saturation above 0, got {saturation[0]}.")
    if images.shape[1] == 1:
        return images.clamp(0, 1)
    excess = range_excess(images if guide is None else guide, hue, saturation, value)
    return torch.where(excess <= 0, tone_curves(images, *slopes), images.clamp(0, 1))


def sharpness(images: Tensor, factor: Amount) -> Tensor:
    """Move every value away from the mean of its surroundings, or towards it with a `factor` below 1.

    As in Pillow's `ImageEnhance.Sharpness`, pixels at the border, which lack some of the surroundings, stay.
    """
    height, width = images.shape[2:]
    if min(height, width) < 3:
        return images.clamp(0, 1)
    kernel = torch.ones(3, 3, dtype=images.dtype, device=images.device)
    kernel[1, 1] = 5
    inner = F.conv2d(images.flatten(0, 1).unsqueeze(1), (kernel / kernel.sum()).view(1, 1, 3, 3))
    border = torch.ones(height, width, dtype=torch.bool, device=images.device)
    border[1:-1, 1:-1] = False
    mean = torch.where(border, images, F.pad(inner.view(*images.shape[:2], height - 2, width - 2), (1, 1, 1, 1)))
    return (mean + expand(factor, images) * (images - mean)).clamp(0, 1)


def vignette(images: Tensor, amount: Amount) -> Tensor:
    """Darken the image away from its center; `amount` is the share that the corners lose."""
    down, across = (
        (2 * torch.arange(side, dtype=images.dtype, device=images.device) + 1 - side) / max(side - 1, 1)
        for side in images.shape[2:]
    )
    radius = (down.square()[:, None] + across.square()) / 2
    return (images * (1 - expand(amount, images) * radius)).clamp(0, 1)


def blur(images: Tensor, sigma: Amount) -> Tensor:
    """Convolve with a Gaussian of standard deviation `sigma` pixels, cut at four of them; the border is repeated.

    Raises `ParameterError` for a sigma below 0 or above 100.
    """
    deviations = torch.as_tensor(sigma, dtype=images.dtype, device=images.device).view(-1).expand(len(images))
    if len(images) == 0:
        return images
    least, largest = (float(bound) for bound in deviations.detach().aminmax())
    if not 0 <= least <= largest <= _LARGEST_SIGMA:
        wrong = largest if least >= 0 else least
        raise ParameterError(f"blur: sigma must be between 0 and {_LARGEST_SIGMA} pixels, got {wrong:g}.")
    radius = math.ceil(4 * largest)
    offsets = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    exponents = -(offsets.square() / (2 * deviations.clamp_min(1e-3).square()[:, None]))
    weights = exponents.softmax(1).repeat_interleave(images.shape[1], 0)
    planes = images.flatten(0, 1).unsqueeze(0)
    across = F.pad(planes, (radius, radius, 0, 0), mode="replicate")
    planes = F.conv2d(across, weights[:, None, None, :], groups=len(weights))
    down = F.pad(planes, (0, 0, radius, radius), mode="replicate")
    return F.conv2d(down, weights[:, None, :, None], groups=len(weights)).view_as(images).clamp(0, 1)


def grain(images: Tensor, amount: Amount, seed: int = 0, cell: float = 4.0) -> Tensor:
    """Add gradient noise (Perlin 2002, doi 10.1145/566654.566636), the same to every image and channel.

    The coarsest of its three octaves has a grid of `cell` pixels, each further one half the cell and half the height.
    `seed` decides the pattern.  Raises `ParameterError` for a cell of 0 or less.
    """
    _check_positive(cell, "grain: cell")
    noise = _noise(*images.shape[2:], seed, cell).to(images)
    return (images + expand(amount, images) * noise).clamp(0, 1)


@functools.lru_cache(maxsize=16)
def _noise(height: int, width: int, seed: int, cell: float) -> Tensor:
    """Noise (H, W) in [-1, 1]."""
    rng = generator(seed)
    octaves = [0.5**octave * _octave(height, width, cell * 0.5**octave, rng) for octave in range(_OCTAVES)]
    return torch.stack(octaves).sum(0) / sum(0.5**octave for octave in range(_OCTAVES))


def _octave(height: int, width: int, cell: float, rng: torch.Generator) -> Tensor:
    """One octave: between the corners of a cell, the slopes there blend by the quintic 6 t^5 - 15 t^4 + 10 t^3."""
    rows, columns = math.floor(height / cell) + 2, math.floor(width / cell) + 2
    angle = 2 * math.pi * torch.rand(rows, columns, generator=rng)
    slope = torch.stack([angle.sin(), angle.cos()])
    down, across = ((torch.arange(side) + 0.5) / cell for side in (height, width))
    top, left = down.long(), across.long()
    v, u = (down - top)[:, None], across - left

    def corner(below: int, right: int) -> Tensor:
        toward = slope[:, (top + below)[:, None], left + right]
        return toward[0] * (v - below) + toward[1] * (u - right)

    fade_v, fade_u = (t**3 * (t * (6 * t - 15) + 10) for t in (v, u))
    upper = torch.lerp(corner(0, 0), corner(0, 1), fade_u.expand(height, width))
    lower = torch.lerp(corner(1, 0), corner(1, 1), fade_u.expand(height, width))
    # Two unit slopes meet in the middle of a cell at a height of at most sqrt(1/2).
    return math.sqrt(2) * torch.lerp(upper, lower, fade_v.expand(height, width))


def _check_positive(amount: Amount, what: str) -> None:
    least = float(amount.detach().min()) if isinstance(amount, Tensor) and amount.numel() else amount
    if isinstance(least, float | int) and not least > 0:
        raise ParameterError(f"{what} must be more than 0, got {least:g}.")
