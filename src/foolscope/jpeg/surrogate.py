"""JPEG by tensor operations: libjpeg's pixels on any device, bit for bit, and a smooth gradient behind them.

One chain of steps is run in two kinds of numbers: color conversion, chroma downsampling, DCT, quantization, and back.

*Integers* give the pixels.  They are libjpeg-turbo's own fixed-point arithmetic: 13-bit DCT constants (its 'islow' DCT:
Loeffler, Ligtenberg and Moschytz 1989) with 2 more bits between the passes, 16-bit color constants, chroma means with
biases that alternate, edges replicated where libjpeg does it, and triangular ('fancy') upsampling.

*Reals* give the gradient: the same steps, in which nothing is rounded but the quantized coefficients, and those by

    r(u) = n + d/2 + 2 d^3,  n = round(u),  d = u - n          r'(u) = 1/2 + 6 d^2

continuous and 1 steep on average: a coefficient in the middle between two levels, which a little moves, passes four
times the gradient of one that sits on a level.  It is the mean of straight-through rounding, r' = 1, and of 4 times the
cubic of Shin and Song 2017 ('JPEG-resistant adversarial images', n + d^3), which is not continuous.  Straight-through
does not see which coefficients are erased, and PGD with it is much weaker on `cifar-cnn`; the cubic alone is a little
stronger there, and weaker on MNIST.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from foolscope.jpeg.codec import BLOCK, check_settings, compress

_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * BLOCK,) * 4,
)
"""Quantization tables of ITU-T T.81, annex K, at quality 50."""

_DCT = (
    (8192, 8192, 8192, 8192),
    (11363, 9633, 6437, 2260),
    (10703, 4433, -4433, -10703),
    (9633, -2259, -11362, -6436),
    (8192, -8192, -8192, 8192),
    (6437, -11362, 2261, 9633),
    (4433, -10704, 10704, -4433),
    (2260, -6436, 9633, -11363),
)
"""The left half of the DCT, times 2^13 sqrt(8): even rows are symmetric, odd rows antisymmetric.

These are the butterflies of the islow DCT multiplied out, with its rounded constants; nothing is rounded inside a pass.
"""

_CENTER = 128
_FANCY_WIDTH = 3
"""libjpeg interpolates chroma from this many columns on, and repeats it below."""

_CHUNK_VALUES = 32 * 3 * 32 * 32
"""Values that a processor works on together: they stay in its cache."""


def surrogate(images: Tensor, quality: int = 75, subsampling: str = "420") -> Tensor:
    """What `compress` gives, to the bit, by tensor operations on the images' device; differentiable.

    Arguments, result and errors are those of `compress`.  The gradient is that of the smooth chain in the module's
    docstring; it can be taken once, not twice.
    """
    check_settings(images, quality, subsampling)
    return _SmoothBackwards.apply(images, _exact, quality, subsampling)  # type: ignore[no-any-return]


def differentiable(images: Tensor, quality: int = 75, subsampling: str = "420") -> Tensor:
    """`compress` forwards, `surrogate` backwards: the real codec's speed, with the surrogate's gradient."""
    return _SmoothBackwards.apply(images, compress, quality, subsampling)  # type: ignore[no-any-return]


class _SmoothBackwards(torch.autograd.Function):
    """Any function with libjpeg's pixels forwards, the smooth chain backwards: computed there, and there alone."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, codec: Callable[[Tensor, int, str], Tensor], quality: int, subsampling: str
    ) -> Tensor:
        ctx.save_for_backward(images)
        ctx.settings = quality, subsampling
        return codec(images, quality, subsampling)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (images,), (quality, subsampling) = ctx.saved_tensors, ctx.settings
        out = torch.empty_like(images)
        for rows in _chunks(images):
            with torch.enable_grad():
                x = images[rows].detach().requires_grad_()
                pixels = _round_trip(x * 255, quality, subsampling, _Reals) / 255
            (out[rows],) = torch.autograd.grad(pixels, x, gradient[rows])
        return out, None, None, None


def _exact(images: Tensor, quality: int, subsampling: str) -> Tensor:
    """The codec's pixels, laid out as `images` are."""
    out = torch.empty_like(images, requires_grad=False)
    for rows in _chunks(images):
        levels = images[rows].detach().mul(255).round_().to(torch.int32)
        out[rows] = _round_trip(levels, quality, subsampling, _Integers)
    # A tensor, because CUDA multiplies by the reciprocal of a number, which is not the nearest float32.
    return out.div_(torch.full((), 255.0, device=images.device))


def _chunks(images: Tensor) -> Iterator[slice]:
    """Rows that are worked on together: on an accelerator, all."""
    size = max(1, _CHUNK_VALUES // math.prod(images.shape[1:]) if images.device.type == "cpu" else len(images))
    for begin in range(0, len(images), size):
        yield slice(begin, begin + size)


class _Arithmetic(Protocol):
    """The steps in which integers and real numbers differ."""

    @staticmethod
    def transformed(values: Tensor, dim: int, *, inverse: bool) -> Tensor:
        """The DCT of blocks (8, 8, n) along dimension 0 or 1, or its inverse, times 2^13 sqrt(8)."""

    @staticmethod
    def shifted(values: Tensor, bits: int, bias: int | Tensor) -> Tensor:
        """`values` / 2^bits; integers are rounded down after `bias` was added."""

    @staticmethod
    def quantized(values: Tensor, steps: Tensor) -> Tensor:
        """`values` / `steps`, rounded."""


class _Integers:
    """int32, which no step leaves.  Products are sums of rows: not every device multiplies matrices of int32."""

    @staticmethod
    def transformed(values: Tensor, dim: int, *, inverse: bool) -> Tensor:
        lines = values.unbind(dim)
        if inverse:
            even, odd = (
                [_weighted(lines[first::2], column) for column in zip(*_DCT[first::2], strict=True)] for first in (0, 1)
            )
            pairs = list(zip(even, odd, strict=True))
            return torch.stack([*(a + b for a, b in pairs), *(a - b for a, b in reversed(pairs))], dim)
        pairs = list(zip(lines[: BLOCK // 2], reversed(lines), strict=False))
        halves = [a + b for a, b in pairs], [a - b for a, b in pairs]
        return torch.stack([_weighted(halves[row % 2], weights) for row, weights in enumerate(_DCT)], dim)

    @staticmethod
    def shifted(values: Tensor, bits: int, bias: int | Tensor) -> Tensor:
        return (values + bias) >> bits

    @staticmethod
    def quantized(values: Tensor, steps: Tensor) -> Tensor:
        """Halves away from zero."""
        return values.sign() * torch.div(values.abs() + steps // 2, steps, rounding_mode="floor")


class _Reals:
    """Floating point, differentiable."""

    @staticmethod
    def transformed(values: Tensor, dim: int, *, inverse: bool) -> Tensor:
        whole = [[*row, *(number * (-1) ** place for number in reversed(row))] for place, row in enumerate(_DCT)]
        matrix = torch.tensor(whole, dtype=values.dtype, device=values.device)
        matrix = matrix.T if inverse else matrix
        return matrix @ values if dim else (matrix @ values.reshape(BLOCK, -1)).view_as(values)

    @staticmethod
    def shifted(values: Tensor, bits: int, bias: int | Tensor) -> Tensor:
        return values / (1 << bits)

    @staticmethod
    def quantized(values: Tensor, steps: Tensor) -> Tensor:
        values = values / steps
        nearest = values.detach().round()
        beside = values - nearest
        return nearest + beside / 2 + 2 * beside**3


def _round_trip(levels: Tensor, quality: int, subsampling: str, numbers: type[_Arithmetic]) -> Tensor:
    """Levels (N, C, H, W) from 0 to 255 after compression."""
    luma, chroma = (_table(table, quality, levels.device) for table in (_LUMA, _CHROMA))
    if levels.shape[1] == 1:
        return _coded(levels - _CENTER, luma, numbers) + _CENTER
    y, colors = _to_ycc(levels, numbers)
    y = _coded(y, luma, numbers)
    height, width = levels.shape[2:]
    colors = _coded(_downsampled(colors, subsampling, numbers), chroma, numbers)
    colors = _upsampled(colors, height, width, subsampling, numbers)
    return _to_rgb(y, colors, numbers)


def _table(base: tuple[tuple[int, ...], ...], quality: int, device: torch.device) -> Tensor:
    """The quantization table (8, 8, 1) at `quality`, by libjpeg's rule."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    steps = [[min(255, max(1, (step * scale + 50) // 100)) for step in row] for row in base]
    return torch.tensor(steps, dtype=torch.int32, device=device)[..., None]


def _to_ycc(levels: Tensor, numbers: type[_Arithmetic]) -> tuple[Tensor, Tensor]:
    """Y (N, 1, H, W) and Cb, Cr (N, 2, H, W), all centered at 0."""
    r, g, b = levels.unbind(1)
    y = numbers.shifted(19595 * r + 38470 * g + 7471 * b, 16, 1 << 15) - _CENTER
    cb = numbers.shifted(-11059 * r - 21709 * g + 32768 * b, 16, (1 << 15) - 1)
    cr = numbers.shifted(32768 * r - 27439 * g - 5329 * b, 16, (1 << 15) - 1)
    return y[:, None], torch.stack([cb, cr], 1)


def _to_rgb(y: Tensor, colors: Tensor, numbers: type[_Arithmetic]) -> Tensor:
    cb, cr = colors.unbind(1)
    r, g, b = (numbers.shifted(color, 16, 1 << 15) for color in (91881 * cr, -22554 * cb - 46802 * cr, 116130 * cb))
    return (y + _CENTER + torch.stack([r, g, b], 1)).clamp(0, 255)


def _coded(planes: Tensor, table: Tensor, numbers: type[_Arithmetic]) -> Tensor:
    """Planes (N, c, h, w) of values from -128 to 127 after their DCT coefficients were quantized with `table`."""
    count, channels, height, width = planes.shape
    padded = _padded(_padded(planes, 2, -height % BLOCK), 3, -width % BLOCK)
    rows, columns = padded.shape[2] // BLOCK, padded.shape[3] // BLOCK
    blocks = padded.reshape(count, channels, rows, BLOCK, columns, BLOCK).permute(3, 5, 0, 1, 2, 4)
    values = blocks.reshape(BLOCK, BLOCK, -1)
    values = numbers.shifted(numbers.transformed(values, 1, inverse=False), 11, 1 << 10)
    values = numbers.shifted(numbers.transformed(values, 0, inverse=False), 15, 1 << 14)
    values = numbers.quantized(values, BLOCK * table) * table
    values = numbers.shifted(numbers.transformed(values, 0, inverse=True), 11, 1 << 10)
    values = numbers.shifted(numbers.transformed(values, 1, inverse=True), 18, 1 << 17).clamp(-_CENTER, _CENTER - 1)
    joined = values.view(blocks.shape).permute(2, 3, 4, 0, 5, 1).reshape(padded.shape)
    return joined[:, :, :height, :width]


def _weighted(values: Sequence[Tensor], weights: Sequence[int]) -> Tensor:
    total = values[0] * weights[0]
    for value, weight in zip(values[1:], weights[1:], strict=True):
        total.add_(value, alpha=weight)
    return total


def _padded(planes: Tensor, dim: int, more: int) -> Tensor:
    """`planes` with the last row (dim 2) or column (dim 3) repeated so many times."""
    if more == 0:
        return planes
    edge = planes.narrow(dim, planes.shape[dim] - 1, 1)
    return torch.cat([planes, *[edge] * more], dim)


def _downsampled(colors: Tensor, subsampling: str, numbers: type[_Arithmetic]) -> Tensor:
    """Means of 2 x 2 or 2 x 1 values.  The right edge is filled up to whole blocks before, the bottom edge after."""
    if subsampling == "444":
        return colors
    colors = _padded(colors, 3, -colors.shape[3] % (2 * BLOCK))
    columns = torch.arange(colors.shape[3] // 2, dtype=torch.int32, device=colors.device) % 2
    means = colors[..., ::2] + colors[..., 1::2]
    if subsampling == "422":
        return numbers.shifted(means, 1, columns)
    means = _padded(means, 2, means.shape[2] % 2)
    return numbers.shifted(means[:, :, ::2] + means[:, :, 1::2], 2, 1 + columns)


def _upsampled(colors: Tensor, height: int, width: int, subsampling: str, numbers: type[_Arithmetic]) -> Tensor:
    """Colors (N, 2, h, w) at full size: of the two nearest values of each axis, 3/4 and 1/4."""
    if subsampling == "444":
        return colors
    both = subsampling == "420"
    colors = colors[..., : (height + 1) // 2 if both else height, : (width + 1) // 2]
    if colors.shape[3] < _FANCY_WIDTH:
        colors = colors.repeat_interleave(2, 3)
        return (colors.repeat_interleave(2, 2) if both else colors)[..., :height, :width]
    if both:
        colors = torch.stack(_leaning(colors, 2), 3).flatten(2, 3)
    left, right = _leaning(colors, 3)
    bits, biases = (4, (8, 7)) if both else (2, (1, 2))
    shifted = [numbers.shifted(values, bits, bias) for values, bias in zip((left, right), biases, strict=True)]
    return torch.stack(shifted, 4).flatten(3)[..., :height, :width]


def _leaning(values: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Three times each value plus the one before it, and plus the one behind; edges are repeated."""
    length = values.shape[dim]
    before = torch.cat([values.narrow(dim, 0, 1), values.narrow(dim, 0, length - 1)], dim)
    behind = torch.cat([values.narrow(dim, 1, length - 1), values.narrow(dim, length - 1, 1)], dim)
    return 3 * values + before, 3 * values + behind
