"""Squeezers: fewer bits, and smoothing by medians, by alike patches, by a Gaussian and by total variation.

They remove detail that a classifier should not need, and with it what an attack hides there (Xu, Evans and Qi 2018,
arXiv 1704.01155).  As defenses they fall to attacks that know of them (He et al. 2017, arXiv 1706.04701): always read
the adaptive accuracy beside the oblivious one.  Feature squeezing compares predictions before and after: `detector.py`.

`bits`, `median`, `nlm` and `tv` pass gradients straight through or not at all; `gaussian` is differentiable by itself.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from foolscope.defenses.defense import Transform
from foolscope.defenses.non_local_means import denoise
from foolscope.errors import ParameterError
from foolscope.images import check_images, from_uint8, to_uint8
from foolscope.spec import parameter

_CHUNK_VALUES = 32_767
"""Values that are worked on together, with borders: the most that torch leaves to one thread.

They stay in the cache, and no threads are woken for microseconds of work, which takes long where processors are busy.
"""

_TRUNCATE = 4.0
_TV_STEP = 0.25


def _gradient() -> Any:
    """The field of a squeezer that has no gradient worth following."""
    return parameter("straight-through", "what an adaptive attack differentiates", choices=("straight-through", "none"))


@dataclass(frozen=True, kw_only=True)
class BitDepth(Transform):
    """Round every value to `depth` bits: round(x (2^depth - 1)) / (2^depth - 1), halves to even."""

    name: ClassVar[str] = "bits"
    summary: ClassVar[str] = "round every value to a few bits"
    source: ClassVar[str] = "Xu, Evans, Qi 2018, arXiv 1704.01155"

    depth: int = parameter(5, "bits that are left of each value", low=1, high=8)
    gradient: str = _gradient()

    def apply(self, images: Tensor) -> Tensor:
        """The rounded images: float32 (N, C, H, W), no gradient."""
        steps = 2**self.depth - 1
        return _in_chunks(check_images(images).detach(), 0, lambda chunk: chunk.mul(steps).round_().div_(steps))


@dataclass(frozen=True, kw_only=True)
class Median(Transform):
    """The median of the `size` x `size` window around each pixel, channel by channel.

    Of an even number of values it is the upper of the two in the middle, and an even window reaches one pixel further
    up and left; edges are mirrored, the last pixel included: SciPy's `median_filter(..., mode="reflect")`, as
    EvadeML-Zoo calls it.
    """

    name: ClassVar[str] = "median"
    summary: ClassVar[str] = "median of a small window around each pixel"
    source: ClassVar[str] = "Xu, Evans, Qi 2018, arXiv 1704.01155"

    size: int = parameter(2, "width and height of the window, in pixels", low=2, high=7)
    gradient: str = _gradient()

    def apply(self, images: Tensor) -> Tensor:
        """The smoothed images: float32 (N, C, H, W), no gradient, every value one of the channel's own."""
        source = check_images(images).detach()
        return _in_chunks(source, self.size - 1, lambda chunk: _median(chunk, self.size))


@dataclass(frozen=True, kw_only=True)
class NonLocalMeans(Transform):
    """The mean of the pixels in a window, weighted by how much the patches around them are alike.

    OpenCV's `fastNlMeansDenoisingColored` (gray: `fastNlMeansDenoising`) of the image in 8 bits, pixel by pixel, as
    EvadeML-Zoo calls it: `non_local_means_color_13_3_2` is search 13, patch 3, strength 2.
    """

    name: ClassVar[str] = "nlm"
    summary: ClassVar[str] = "mean of the pixels around, weighted by how alike their patches are"
    source: ClassVar[str] = "Buades, Coll, Morel 2005; Xu, Evans, Qi 2018, arXiv 1704.01155"

    search: int = parameter(13, "width of the window that is averaged, odd", low=1, high=35)
    patch: int = parameter(3, "width of the patches that are compared, odd", low=1, high=15)
    strength: float = parameter(2.0, "difference of alike patches, in levels of 255", low=0.1, high=255)
    gradient: str = _gradient()

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("search", "patch"):
            if getattr(self, field) % 2 == 0:
                raise ParameterError(f"nlm: {field} must be odd, got {getattr(self, field)}.")

    def apply(self, images: Tensor) -> Tensor:
        """The denoised images: float32 (N, C, H, W), multiples of 1/255, no gradient."""
        levels = denoise(to_uint8(check_images(images)), self.search, self.patch, self.strength)
        return torch.empty_like(images, requires_grad=False).copy_(from_uint8(levels))


@dataclass(frozen=True, kw_only=True)
class Gaussian(Transform):
    """Convolve with a Gaussian, cut off at four standard deviations; edges are mirrored, the last pixel included."""

    name: ClassVar[str] = "gaussian"
    summary: ClassVar[str] = "blur with a Gaussian"
    source: ClassVar[str] = "Xu, Evans, Qi 2018, arXiv 1704.01155"
    exact: ClassVar[bool] = True

    sigma: float = parameter(1.0, "standard deviation in pixels", low=0.1, high=20)
    gradient: str = parameter(
        "differentiable",
        "what an adaptive attack differentiates: the blur itself, the identity, nothing",
        choices=("differentiable", "straight-through", "none"),
    )

    def apply(self, images: Tensor) -> Tensor:
        """The blurred images: float32 (N, C, H, W), differentiable."""
        radius = int(_TRUNCATE * self.sigma + 0.5)
        return _in_chunks(check_images(images), 2 * radius, lambda chunk: _blurred(chunk, self.sigma, radius))


@dataclass(frozen=True, kw_only=True)
class TotalVariation(Transform):
    """Minimize |u - x|^2 / 2 + weight TV(u), channel by channel, by Chambolle's projection of the dual.

        u = x - div p      p <- (p - t grad u) / (1 + t |grad u| / weight)      t = 1/4, p = 0 at first

    grad takes forward differences and is 0 across the last row and column, div is its negative adjoint, TV(u) the sum
    of |grad u|.  The number of steps is fixed, so that an image does not depend on its batch; scikit-image's
    `denoise_tv_chambolle` with `eps=0` and one iteration more does the same.  The result is clipped to [0, 1].
    """

    name: ClassVar[str] = "tv"
    summary: ClassVar[str] = "nearest image of little total variation"
    source: ClassVar[str] = "Rudin, Osher, Fatemi 1992; Chambolle 2004; Guo et al. 2018, arXiv 1711.00117"

    weight: float = parameter(0.1, "weight of the total variation against the squared difference", low=0.001, high=10)
    steps: int = parameter(50, "steps of the projection", low=1, high=10_000)
    gradient: str = _gradient()

    def apply(self, images: Tensor) -> Tensor:
        """The flattened images: float32 (N, C, H, W), no gradient."""
        source = check_images(images).detach()
        return _in_chunks(source, 0, lambda chunk: _total_variation(chunk, self.weight, self.steps))


def _in_chunks(images: Tensor, border: int, squeeze: Callable[[Tensor], Tensor]) -> Tensor:
    """What `squeeze` makes of the images, a few at a time; it adds `border` rows and columns to them."""
    channels, height, width = images.shape[1:]
    size = max(1, _CHUNK_VALUES // (channels * (height + border) * (width + border) or 1))
    out = torch.empty_like(images, requires_grad=False)
    for begin in range(0, len(images), size):
        out[begin : begin + size] = squeeze(images[begin : begin + size])
    return out


def _mirrored(images: Tensor, dim: int, before: int, after: int) -> Tensor:
    """`images` with so many rows (dim 2) or columns (dim 3) more, mirrored at the edges, the last one included."""
    length = images.shape[dim]
    place = torch.arange(-before, length + after, device=images.device) % (2 * length)
    return images.index_select(dim, torch.minimum(place, 2 * length - 1 - place))


def _median(images: Tensor, size: int) -> Tensor:
    """The value of rank size^2 / 2, from 0, of each window.

    Neighboring windows share their sorted columns, and those their halves: see `_sorted_windows`.  Of the last two
    lists a and b that make up a window, the value of rank k (from 1) is the least of max(a_i, b_j) with i + j = k.
    """
    for dim in (2, 3):
        images = _mirrored(images, dim, size // 2, (size - 1) // 2)
    a, b = _halves(_sorted_windows([images], 2, size), 3, size)
    rank = size * size // 2 + 1
    bounds = []
    for i in range(max(0, rank - len(b)), min(rank, len(a)) + 1):
        ends = [values[number - 1] for values, number in ((a, i), (b, rank - i)) if number]
        bounds.append(functools.reduce(torch.maximum, ends))
    return functools.reduce(torch.minimum, bounds)


def _sorted_windows(values: list[Tensor], dim: int, width: int) -> list[Tensor]:
    """Merge sorted lists along `dim`: entry n of the result at x is of rank n among the lists at x to x + width - 1."""
    return values if width == 1 else _merged(*_halves(values, dim, width))


def _halves(values: list[Tensor], dim: int, width: int) -> tuple[list[Tensor], list[Tensor]]:
    """The sorted lists of the two parts of each window: the largest power of two below `width`, and the rest."""
    half = 1 << (width - 1).bit_length() - 1
    length = values[0].shape[dim] - width + 1
    left = _sorted_windows(values, dim, half)
    right = left if width == 2 * half else _sorted_windows(values, dim, width - half)
    return [v.narrow(dim, 0, length) for v in left], [v.narrow(dim, half, length) for v in right]


def _merged(a: list[Tensor], b: list[Tensor]) -> list[Tensor]:
    """Two sorted lists as one, element by element: Batcher's odd-even merge (1968), for lists of any length."""
    if not a or not b:
        return a or b
    if len(a) == len(b) == 1:
        return [torch.minimum(a[0], b[0]), torch.maximum(a[0], b[0])]
    first, second = _merged(a[::2], b[::2]), _merged(a[1::2], b[1::2])
    merged = [first[0]]
    for low, high in zip(second, first[1:], strict=False):
        merged += [torch.minimum(low, high), torch.maximum(low, high)]
    return merged + second[len(first) - 1 :] + first[1 + len(second) :]


def _blurred(images: Tensor, sigma: float, radius: int) -> Tensor:
    """Rows first, then columns, as sums of shifted images."""
    weights = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in range(-radius, radius + 1)]
    for dim in (2, 3):
        bordered, length = _mirrored(images, dim, radius, radius), images.shape[dim]
        images = bordered.narrow(dim, 0, length) * (weights[0] / sum(weights))
        for offset in range(1, 2 * radius + 1):
            images = images.add(bordered.narrow(dim, offset, length), alpha=weights[offset] / sum(weights))
    return images.clamp(0, 1)


def _total_variation(images: Tensor, weight: float, steps: int) -> Tensor:
    """Chambolle's u after `steps` updates of p; see `TotalVariation`."""
    flat = images.clone()
    slopes, duals = ([torch.zeros_like(images) for _ in range(2)] for _ in range(2))
    ends = [(flat[..., :-1, :], flat[..., 1:, :]), (flat[..., :-1], flat[..., 1:])]
    for _ in range(steps):
        for (here, there), slope in zip(ends, slopes, strict=True):
            torch.sub(there, here, out=slope[..., : here.shape[2], : here.shape[3]])
        scale = torch.hypot(*slopes).mul_(_TV_STEP / weight).add_(1)
        flat.copy_(images)
        for (here, there), slope, dual in zip(ends, slopes, duals, strict=True):
            flat -= dual.sub_(slope, alpha=_TV_STEP).div_(scale)
            there += dual[..., : here.shape[2], : here.shape[3]]
    return flat.clamp_(0, 1)
