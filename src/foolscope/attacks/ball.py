"""What an attack with a radius may return: in the ball around each image, in the box [0, 1], and in 8 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from foolscope.images import quantize
from foolscope.norms import Norm, expand, linf

_LEVEL_ERROR = 1e-4
"""Rounding errors of a float32 bound, in steps of 1/255."""

_HALVINGS = 10


@dataclass(frozen=True)
class Ball:
    """What lies within `eps` of `originals` (n, C, H, W) in `norm` and within `low` and `high`.

    The two are the box [0, 1], cut with the ball in linf.  With `quantized` what is returned is on the 8-bit grid, and
    in linf so are the bounds.
    """

    norm: Norm
    eps: float
    quantized: bool
    originals: Tensor
    low: Tensor
    high: Tensor

    @classmethod
    def around(cls, originals: Tensor, norm: Norm, eps: float, quantized: bool) -> Self:
        """The balls around these images."""
        if norm is not linf:
            edge = originals[:, :1, :1, :1]
            return cls(norm, eps, quantized, originals, torch.zeros_like(edge), torch.ones_like(edge))
        low = (originals - eps).clamp_min_(0)
        high = (originals + eps).clamp_max_(1)
        if quantized:
            low = low.mul_(255).sub_(_LEVEL_ERROR).ceil_().div_(255)
            high = high.mul_(255).add_(_LEVEL_ERROR).floor_().div_(255)
            nearest, empty = quantize(originals), low > high  # no multiple of 1/255 lies in the ball
            low, high = torch.where(empty, nearest, low), torch.where(empty, nearest, high)
        return cls(norm, eps, quantized, originals, low, high)

    def __getitem__(self, rows: Tensor) -> Self:
        kept = self.originals[rows], self.low[rows], self.high[rows]
        return type(self)(self.norm, self.eps, self.quantized, *kept)

    def inside(self, x: Tensor) -> Tensor:
        """Onto the ball, then the box; the second never leads out of the first, because the original is in the box."""
        if self.norm is not linf:
            x = self.originals + self.norm.project(x - self.originals, self.eps)
        return torch.clamp(x, self.low, self.high)

    def returned(self, x: Tensor, rows: Tensor | slice = slice(None)) -> Tensor:
        """`x`, versions of the originals at `rows`, as they will be returned: in the ball also after rounding."""
        return self._on_grid(x, self.originals[rows]) if self.quantized else x

    def _on_grid(self, x: Tensor, originals: Tensor) -> Tensor:
        """`x` in 8 bits; where rounding leads out of the ball, as much of the noise as stays inside when it is rounded.

        In linf the bounds are on the grid, and rounding never leads out.
        """
        norm, longest = self.norm, self.eps * (1 + 1e-6)
        rounded, noise = quantize(x), x - originals
        fits = norm.length(rounded - originals) <= longest
        if norm is linf or fits.all():
            return rounded
        best, low, high = quantize(originals), torch.zeros_like(noise[:, 0, 0, 0]), torch.ones_like(noise[:, 0, 0, 0])
        for _ in range(_HALVINGS):
            share = (low + high) / 2
            tried = quantize(originals + expand(share, noise) * noise)
            inside = norm.length(tried - originals) <= longest
            best = torch.where(expand(inside, best), tried, best)
            low, high = torch.where(inside, share, low), torch.where(inside, high, share)
        return torch.where(expand(fits, best), rounded, best)
