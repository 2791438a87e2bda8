"""Sheets of pictures: images, the maps that explain them, and the maps laid over the images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foolscope.images import to_uint8
from foolscope.report.explain_figures import MAGNITUDES, SIGNED, Canvas, Chart
from foolscope.report.figures import TEXT

LARGEST = 224
"""So many pixels a side a picture has at most; larger ones are reduced."""

CLIPPED_AT = 0.99
"""The share of values that colors tell apart; those above have the strongest one."""

_GAP, _CAPTION, _HEAD = 10.0, 21.0, 24.0
_SIDE = 201.0
_BAR = 150.0
_STRENGTH = 0.8


@dataclass(frozen=True, eq=False)
class Picture:
    """Pixels to show: RGB uint8 (H, W, 3); `tells` says in words what they are."""

    pixels: NDArray[np.uint8]
    tells: str


@dataclass(frozen=True, kw_only=True)
class Sheet(Chart):
    """Rows of pictures under the names of their columns; each row has a line of text above it.

    `scales` say what colors mean: (color map, lowest, highest, what).
    """

    is_picture: ClassVar[bool] = True
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Picture | None, ...]], ...]
    scales: tuple[tuple[str, str, str, str], ...] = ()

    def height(self, width: float) -> float:
        side, aspect = self._side(width)
        return len(self.rows) * (_HEAD + _CAPTION + side * aspect + 14) + self._scale_rows(width) * 46

    def draw(self, canvas: Canvas) -> None:
        side, aspect = self._side(canvas.width)
        top = 0.0
        for told, pictures in self.rows:
            canvas.write(0, top + 4, shortened(told, canvas.width), canvas.colors.ink, bold=True)
            for place, (name, picture) in enumerate(zip(self.columns, pictures, strict=True)):
                left = place * (side + _GAP)
                if picture is None:
                    continue
                canvas.write(left, top + _HEAD, shortened(name, side), canvas.colors.muted)
                axes = canvas.axes(left, top + _HEAD + _CAPTION, side, side * aspect)
                axes.imshow(_fitting(picture.pixels, side), interpolation="none", aspect="auto")
                axes.set_axis_off()
            top += _HEAD + _CAPTION + side * aspect + 14
        self._draw_scales(canvas, top)

    def _side(self, width: float) -> tuple[float, float]:
        """A picture's width, and its height as a multiple of it."""
        height, wide = next(p.pixels.shape[:2] for _, row in self.rows for p in row if p is not None)
        count = len(self.columns)
        return min(_SIDE, (width - (count - 1) * _GAP) / count), height / wide

    def _scale_rows(self, width: float) -> int:
        return len(self.scales) if width < 600 else bool(self.scales)

    def _draw_scales(self, canvas: Canvas, top: float) -> None:
        left = 0.0
        for number, (colors, low, high, what) in enumerate(self.scales):
            if canvas.width < 600:
                left, top = 0.0, top + (46 if number else 0)
            axes = canvas.axes(left, top + 4, _BAR, 10)
            axes.imshow(np.linspace(0, 1, 64)[None], cmap=colors, aspect="auto", interpolation="none")
            axes.set_axis_off()
            canvas.write(left, top + 18, low, canvas.colors.muted)
            canvas.write(left + _BAR, top + 18, high, canvas.colors.muted, align="right")
            canvas.write(left + _BAR + 10, top + 3, what, canvas.colors.muted)
            left += _BAR + 10 + 0.6 * TEXT * len(what) + 20


def shortened(text: str, width: float) -> str:
    """As much of a text as so many pixels hold."""
    most = max(4, int(width / (0.56 * TEXT)))
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def image_picture(image: Tensor, tells: str) -> Picture:
    """An image (C, H, W) in [0, 1]."""
    return Picture(_reduced(_color(image)), tells)


def map_picture(values: Tensor, tells: str, *, signed: bool = False) -> Picture:
    """A map (H, W) in [0, 1], or in [-1, 1] where it is `signed`, in its colors."""
    return Picture(_reduced(_colored(values, signed)), tells)


def overlay_picture(image: Tensor, values: Tensor, tells: str) -> Picture:
    """A map (H, W) in [0, 1] over its image (C, H, W) in gray: the larger the value, the less of the image is seen."""
    gray = _color(image.mean(0, keepdim=True)).astype(np.float64)
    share = _STRENGTH * values.clamp(0, 1).sqrt().double().cpu().numpy()[..., None]
    mixed = (1 - share) * gray + share * _colored(values, False)
    return Picture(_reduced(mixed.round().astype(np.uint8)), tells)


def noise_picture(noise: Tensor, tells: str) -> Picture:
    """A noise (C, H, W) around gray, as large as fits."""
    peak = float(noise.abs().max())
    return Picture(_reduced(_color(0.5 + noise / (2 * peak or 1.0))), tells)


def _color(image: Tensor) -> NDArray[np.uint8]:
    pixels = to_uint8(image.clamp(0, 1)[None])[0]
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def _colored(values: Tensor, signed: bool) -> NDArray[np.uint8]:
    from matplotlib import colormaps

    level = (values.double() + 1) / 2 if signed else values.double()
    shades = colormaps[SIGNED if signed else MAGNITUDES](level.clamp(0, 1).cpu().numpy())[..., :3]
    return np.asarray((255 * shades).round(), dtype=np.uint8)


def _fitting(pixels: NDArray[np.uint8], side: float) -> NDArray[np.uint8]:
    """With no more than two pixels for each of the page's, where there are many."""
    return pixels if pixels.shape[1] < 2 * side else _reduced(pixels, round(1.5 * side))


def _reduced(pixels: NDArray[np.uint8], largest: int = LARGEST) -> NDArray[np.uint8]:
    from PIL import Image

    side = max(pixels.shape[:2])
    if side <= largest:
        return pixels
    size = tuple(max(1, round(n * largest / side)) for n in (pixels.shape[1], pixels.shape[0]))
    return np.asarray(Image.fromarray(pixels).resize((size[0], size[1]), Image.Resampling.BOX))


def signed_map(maps: Tensor) -> Tensor:
    """What a brighter pixel does, all channels together: (C, H, W) to (H, W)."""
    return maps.sum(0)


def on_one_scale(*maps: Tensor) -> list[Tensor]:
    """Maps (H, W), signed or not, divided by the 99th percentile of the magnitudes of all; by the largest if that is 0.

    A few strong pixels would leave everything else dark.
    """
    values = torch.stack([m.abs().flatten() for m in maps]).flatten().double()
    peak = float(values.quantile(CLIPPED_AT)) or float(values.max()) or 1.0
    return [m / peak for m in maps]
