"""The pictures of an evolution: the front, its growth, and the contact sheet."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from foolscope.experiments.evolved import Evolved, Found
from foolscope.filters import Chain
from foolscope.images import from_uint8, to_uint8
from foolscope.measure import Mean, Proportion
from foolscope.report.figures import INK, LINE, MUTED, SERIES_COLORS, TEXT, Styles, inline, settings
from foolscope.report.markup import Html

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHEET_CHAINS = 12
"""So many chains the contact sheet shows at most."""

STRIP_WIDTH = 836
"""How wide a row of the sheet is shown, in pixels of the page."""

_TILE, _SPACE = 96, 4


def shown_places(evolved: Evolved) -> list[int]:
    """Which chains of the front the sheet shows and the charts number: all, or some from the first to the last."""
    count = len(evolved.front)
    return list(dict.fromkeys(np.linspace(0, count - 1, min(count, SHEET_CHAINS)).round().astype(int).tolist()))


@dataclass(frozen=True)
class Mark:
    """One chain in a chart of the front: shares in percent, distances as they are, each with its 95 % interval."""

    name: str
    x: tuple[float, float, float]
    y: tuple[float, float, float]
    published: bool


def marks(evolved: Evolved, across: str) -> list[Mark]:
    """The front's chains by their number, and the published ones by name, as the first model sees them.

    `across` is 'detection' or 'linf'.  Chains that `shown_places` leaves out have no name.
    """
    shown = shown_places(evolved)
    names = [str(place + 1) if place in shown else "" for place in range(len(evolved.front))]
    front = [_mark(name, found, across, False) for name, found in zip(names, evolved.front, strict=True)]
    return [*front, *(_mark(found.chain.title, found, across, True) for found in evolved.published)]


def _mark(name: str, found: Found, across: str, published: bool) -> Mark:
    seen = found.judged[0]
    x = found.distances["linf"] if across == "linf" else seen.detection
    assert x is not None, "only where there is a detector"
    return Mark(name, (x.value, x.low, x.high) if across == "linf" else _percent(x), _percent(seen.asr), published)


def _percent(share: Proportion | Mean) -> tuple[float, float, float]:
    return (100 * share.value, 100 * share.low, 100 * share.high)


def front_chart(evolved: Evolved, styles: Styles, *, across: str, width: int, height: int, name: str) -> Html:
    """Attack success against detection or against the mean linf distance, as `across` says."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    clean = evolved.clean[0].detection if across == "detection" else None
    with rc_context(settings(name)):
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        axes = figure.add_axes((56 / width, 48 / height, 1 - 80 / width, 1 - 66 / height))
        for mark in marks(evolved, across):
            _draw_mark(axes, mark)
        _plain_axes(axes)
        axes.set_ylim(0, 100)
        axes.set_xlim(left=-0.02 * axes.get_xlim()[1])
        axes.set_xlabel(_AXES[across], color=MUTED)
        axes.set_ylabel("attack success in %", color=MUTED)
        if clean is not None:
            axes.axvline(100 * clean.value, color=MUTED, linewidth=1, linestyle=(0, (2, 3)))
        label = f"Attack success against {_AXES[across]} of every chain; the numbers are in the table of chains."
        return inline(figure, styles, label)


_AXES = {"detection": "detection rate in %", "linf": "mean ℓ∞ distance"}


def _draw_mark(axes: Axes, mark: Mark) -> None:
    color = MUTED if mark.published else SERIES_COLORS[0]
    (x, left, right), (y, low, high) = mark.x, mark.y
    axes.plot([left, right], [y, y], color=color, linewidth=1, alpha=0.4)
    axes.plot([x, x], [low, high], color=color, linewidth=1, alpha=0.4)
    axes.plot([x], [y], color=color, marker="s" if mark.published else "o", markersize=6, markeredgewidth=0)
    axes.annotate(
        mark.name,
        (x, y),
        xytext=(6, 5),
        textcoords="offset points",
        color=MUTED if mark.published else INK,
        fontsize=TEXT - 1,
    )


def growth_chart(evolved: Evolved, styles: Styles, *, width: int, height: int, name: str) -> Html:
    """The front's hypervolume on the searched images against the queries asked."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(settings(name)):
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        axes = figure.add_axes((56 / width, 48 / height, 1 - 80 / width, 1 - 66 / height))
        x = [step.queries / 1000 for step in evolved.history]
        axes.plot(x, [step.hypervolume for step in evolved.history], color=SERIES_COLORS[0], linewidth=2, marker="o")
        _plain_axes(axes)
        axes.set_ylim(0, 1)
        axes.set_xlim(left=0)
        axes.set_xlabel("queries in thousands", color=MUTED)
        axes.set_ylabel("hypervolume", color=MUTED)
        label = "Hypervolume of the front against queries; its numbers are in the table of steps."
        return inline(figure, styles, label)


def _plain_axes(axes: Axes) -> None:
    axes.grid(color=LINE, linewidth=1)
    axes.set_axisbelow(True)
    axes.tick_params(colors=LINE, labelcolor=MUTED, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def contact_sheet(evolved: Evolved) -> NDArray[np.uint8]:
    """The sheet's images untouched in the first row, then by each chain, at most 12: uint8 (H, W, 3)."""
    chains = [evolved.front[place].chain for place in shown_places(evolved)]
    rows = [_row(evolved, chain) for chain in (None, *chains)]
    space = np.full((_SPACE, *rows[0].shape[1:]), 255, dtype=np.uint8)
    return np.concatenate([part for row in rows for part in (row, space)][:-1])


def _row(evolved: Evolved, chain: Chain | None) -> NDArray[np.uint8]:
    """The sheet's images, filtered or not, side by side with a white space between them."""
    images = from_uint8(evolved.sheet)
    tiles = [_tile(image) for image in to_uint8(images if chain is None else chain(images))]
    space = np.full((tiles[0].shape[0], _SPACE, 3), 255, dtype=np.uint8)
    return np.concatenate([part for tile in tiles for part in (tile, space)][:-1], axis=1)


def _tile(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An image (H, W, C) in color: small ones with visible pixels, large ones reduced."""
    color = np.broadcast_to(image, (*image.shape[:2], 3))
    side = max(color.shape[:2])
    if side <= _TILE:
        times = max(1, _TILE // side)
        return color.repeat(times, 0).repeat(times, 1)
    from PIL import Image

    scale = _TILE / side
    size = (max(1, round(color.shape[1] * scale)), max(1, round(color.shape[0] * scale)))
    return np.asarray(Image.fromarray(np.ascontiguousarray(color)).resize(size, Image.Resampling.LANCZOS))


def sheet_png(evolved: Evolved) -> bytes:
    """The contact sheet as a PNG."""
    return _png(contact_sheet(evolved))


def strip_png(evolved: Evolved, chain: Chain | None) -> bytes:
    """One row of the contact sheet as a PNG; None: untouched."""
    return _png(_row(evolved, chain))


def _png(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
