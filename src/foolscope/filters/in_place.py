"""The same effects as `effects`, without gradients: in place, in few passes over memory that stays in cache.

What makes it fast, all of it exact up to rounding:

- Brightness, contrast and saturation are linear, x' = a x + b l + c with the pixel's luma l, and so is one after the
  other as long as nothing needs clipping in between.  A factor of at most 1 never leads out of [0, 1]: so a run of such
  effects, and a last one with any factor, is a single pass.
- The mean luma of an image is the luma of its mean color.
- A tone curve is a polynomial, by Horner's rule.
- gamma is exp(log(x) / g), and a second gamma of the same image, which selective color may ask for, starts from the
  same logarithm.  OpenCV's logarithm takes a ninth of the time that torch's takes.
- Operations are chosen so that at most one operand is a number a sample: with two, torch leaves its vector code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from foolscope.filters.canvas import Canvas
from foolscope.filters.color import LUMA, Range, range_excess
from foolscope.filters.effects import Amount, check_slopes, curve

_LEAST = -80.0
"""The least logarithm: e to a power below -87 is a denormal number, and takes five hundred times as long."""


class Workspace:
    """Memory for `count` images like `like` (N, C, H, W), allocated once and used for every chunk and filter."""

    def __init__(self, count: int, like: Tensor) -> None:
        channels, pixels = like.shape[1], like.shape[2] * like.shape[3]
        self.shape = like.shape[1:]
        # One allocation: the memory of several large ones would go back to the system, and be cleared, every time.
        memory = like.new_empty(3 * channels + 3, count, pixels)
        self.result, self.scratch, self.logarithm = (
            memory[begin * channels : (begin + 1) * channels].view(count, channels, pixels) for begin in range(3)
        )
        self.planes = memory[-3:].unsqueeze(2)
        self.weights = like.new_tensor(LUMA)[None]


@dataclass
class _Linear:
    """x' = scale x + luma l + shift, not yet painted.  `leaves` says that it may lead out of [0, 1]."""

    scale: Amount = 1.0
    luma: Amount = 0.0
    shift: Amount = 0.0
    leaves: bool = False

    def multiply(self, factor: Amount) -> None:
        self.scale = self.scale * factor
        # A zero stays a number: as a tensor it would cost a pass.
        self.luma, self.shift = (
            term if isinstance(term, float) and term == 0 else term * factor for term in (self.luma, self.shift)
        )
        self.leaves = bool(((factor < 0) | (factor > 1)).any()) if isinstance(factor, Tensor) else not 0 <= factor <= 1


@dataclass
class _Power:
    """The last gamma correction: low + exp(exponent log(x - low) + (1 - exponent) span), `span` a logarithm too."""

    low: Tensor | None
    """None where it is 0 for every image."""

    span: Tensor
    exponent: Amount


class InPlaceCanvas(Canvas):
    """Paints `source` (n, C, pixels) into the workspace; `source` itself stays.

    Amounts are numbers or tensors (n, 1, 1).  `painted` is the result: (n, C, pixels), `source` or memory of the
    workspace.  Rounding can lead it out of [0, 1] by the last bit.
    """

    def __init__(self, source: Tensor, workspace: Workspace) -> None:
        self._now, self._workspace = source, workspace
        count = len(source)
        self._result, self._scratch = workspace.result[:count], workspace.scratch[:count]
        self._logarithm, self._planes = workspace.logarithm[:count], workspace.planes[:, :count]
        self._linear: _Linear | None = None
        self._power: _Power | None = None

    @property
    def painted(self) -> Tensor:
        self._settle()
        return self._now

    @property
    def images(self) -> Tensor:
        """For the effects that have no version in place: the images as (n, C, H, W)."""
        return self.painted.view(-1, *self._workspace.shape)

    @images.setter
    def images(self, images: Tensor) -> None:
        self._power = None
        self._now = self._result.copy_(images.flatten(2))

    def brightness(self, factor: Amount) -> None:
        self._pending().multiply(factor)

    def contrast(self, factor: Amount) -> None:
        linear = self._pending()
        mean = self._now.mean(2, keepdim=True)
        if mean.shape[1] == 3:
            mean = torch.matmul(self._workspace.weights, mean)
        mean = (linear.scale + linear.luma) * mean + linear.shift
        linear.multiply(factor)
        linear.shift = linear.shift + (1 - factor) * mean

    def saturation(self, factor: Amount) -> None:
        if self._now.shape[1] == 1:
            return
        linear = self._pending()
        whole, shift = linear.scale + linear.luma, linear.shift
        linear.multiply(factor)
        linear.luma, linear.shift = linear.luma + (1 - factor) * whole, shift

    def _pending(self) -> _Linear:
        """The linear map to go on with: the one at hand, unless its result must be clipped first."""
        if self._linear is not None and self._linear.leaves:
            self._settle()
        if self._linear is None:
            self._linear = _Linear()
        return self._linear

    def _settle(self) -> None:
        """Paint the linear map at hand."""
        if self._linear is None:
            return
        linear, shift = self._linear, self._linear.shift
        self._linear = self._power = None
        if isinstance(linear.luma, Tensor) or linear.luma != 0:
            gray = torch.matmul(self._workspace.weights, self._now, out=self._planes[0])
            shift = _scaled_and_shifted(gray, linear.luma, shift, gray)
        self._now = _scaled_and_shifted(self._now, linear.scale, shift, self._result)
        if linear.leaves:
            self._now.clamp_(0, 1)

    def gamma(self, amount: Amount) -> None:
        now = self.painted
        low, high = now.amin((1, 2), keepdim=True), now.amax((1, 2), keepdim=True)
        # The floor is that of the pixels: with a lower one a large exponent would raise a flat image above itself.
        span = (high - low).clamp_min_(math.exp(_LEAST)).log_()
        self._power = _Power(low if low.any() else None, span, 1 / amount)
        above = now if self._power.low is None else torch.sub(now, low, out=self._logarithm)
        _log_(torch.clamp_min(above, math.exp(_LEAST), out=self._logarithm))
        self._now = self._raised(self._power.exponent, self._power, self._result)

    def _raised(self, exponent: Amount, power: _Power, out: Tensor) -> Tensor:
        _exp_(_scaled_and_shifted(self._logarithm, exponent, (1 - exponent) * power.span, out).clamp_min_(_LEAST))
        return out if power.low is None else out.add_(power.low)

    def tone_curves(self, *slopes: Amount) -> None:
        self._curve(self.painted, slopes, None)

    def selective_color(
        self, *slopes: Amount, hue: Range, saturation: Range, value: Range, guide_gamma: float = 1.0
    ) -> None:
        now = self.painted
        if now.shape[1] == 1:
            return
        if self._power is None:
            super().selective_color(*slopes, hue=hue, saturation=saturation, value=value, guide_gamma=guide_gamma)
            return
        guide = self._raised(self._power.exponent / guide_gamma, self._power, self._scratch)
        chosen = range_excess(guide, hue, saturation, value, self._planes).le_(0)
        self._curve(now, slopes, chosen)

    def _curve(self, now: Tensor, slopes: tuple[Amount, ...], chosen: Tensor | None) -> None:
        """Tone curves, on the pixels where `chosen` (n, 1, pixels) is 1 and not 0.

        With x + x (1 - x)(p + q x) a curve is x + x (p + x (q - p - q x)).
        """
        check_slopes(slopes, now.shape[1])
        self._power = None
        planes = zip(now.chunk(len(slopes), 1), self._scratch.chunk(len(slopes), 1), strict=True)
        for slope, (x, rest) in zip(slopes, planes, strict=True):
            offset, rise = curve(slope)
            _scaled_and_shifted(x, -rise, rise - offset, rest)
            torch.addcmul(_tensor(offset, x), x, rest, out=rest)
        if chosen is not None:
            self._scratch.mul_(chosen)
        self._now = torch.addcmul(now, now, self._scratch, out=self._result).clamp_(0, 1)


def _scaled_and_shifted(x: Tensor, scale: Amount, shift: Amount, out: Tensor) -> Tensor:
    """Compute scale x + shift, in one pass unless both are numbers of a sample."""
    if isinstance(shift, float) and shift == 0:
        return torch.mul(x, scale, out=out)
    if not isinstance(scale, Tensor):
        return torch.add(_tensor(shift, x), x, alpha=scale, out=out)
    if isinstance(shift, Tensor) and shift.shape[2:] == x.shape[2:]:
        return torch.addcmul(shift, x, scale, out=out)
    return torch.mul(x, scale, out=out).add_(shift)


def _tensor(amount: Amount, like: Tensor) -> Tensor:
    return amount if isinstance(amount, Tensor) else like.new_tensor(amount)


def _log_(x: Tensor) -> None:
    if not _opencv_takes(x):
        x.log_()
        return
    import cv2

    values = x.view(1, -1).numpy()
    cv2.log(values, values)


def _exp_(x: Tensor) -> Tensor:
    if not _opencv_takes(x):
        return x.exp_()
    import cv2

    values = x.view(1, -1).numpy()
    cv2.exp(values, values)
    return x


def _opencv_takes(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)
