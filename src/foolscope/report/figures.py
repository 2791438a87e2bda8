"""Charts as SVG that lives in a page: its text is text, its colors are the page's, its bytes are always the same.

Matplotlib draws with stand-in colors.  What it writes into `style` attributes becomes classes with the page's color
variables, so that a chart follows dark and light and a strict Content-Security-Policy lets it pass.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from foolscope.experiments.results import Curve
from foolscope.report.markup import Html, escape
from foolscope.report.words import Radii, short_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SERIES = 6
"""So many colors there are for attacks; the page defines them as --series-1, --series-2, ..."""

_STAND_INS = {
    "#000101": "var(--ink)",
    "#000102": "var(--muted)",
    "#000103": "var(--line)",
    **{f"#0002{number:02x}": f"var(--series-{number})" for number in range(1, SERIES + 1)},
}
INK, MUTED, LINE, *SERIES_COLORS = _STAND_INS
"""What charts draw with; the page's colors stand in their place."""

_DASHES: dict[str, Any] = {
    "none": "solid",
    "oblivious": (0, (5, 2.5)),
    "straight-through": (0, (1.2, 1.8)),
    "differentiable": (0, (4, 1.6, 1.2, 1.6)),
    "black box": (0, (8, 1.6, 1.2, 1.6, 1.2, 1.6)),
}
_MARKERS = {"none": "o", "oblivious": "s", "straight-through": "^", "differentiable": "v", "black box": "P"}
ALONE = "D"
"""The mark of a curve that is a single point."""

TEXT = 12.0
_GAP, _KEY = 14, 24


@dataclass
class Styles:
    """The classes that charts have asked for: style text to class name."""

    classes: dict[str, str] = field(default_factory=dict)

    def of(self, style: str) -> str:
        """The class of a style, the same for equal ones."""
        return self.classes.setdefault(style, f"f{len(self.classes)}")

    def css(self) -> str:
        """All classes as a style sheet."""
        return "\n".join(f".{name} {{ {style} }}" for style, name in self.classes.items())


def accuracy_chart(
    curves: Sequence[Curve], radii: Radii, styles: Styles, *, width: int, height: int, name: str, label: str
) -> Html:
    """Accuracy in percent against epsilon, a line for every curve, each labeled at its end.

    The lowest of each network has a 95 % band: those of all would lie over each other.

    `width` and `height` are pixels at natural size, `name` makes the drawing's ids its own, and `label` says in words
    what is to be seen.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(settings(name)):
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        place = frame(curves, width, height)
        axes = figure.add_axes(place)
        _draw_axes(axes, radii, place[2] * width)
        colors = series_colors(curves)
        lowest = _lowest(curves)
        for curve in curves:
            _draw_curve(axes, curve, radii, colors[curve.attack], banded=curve in lowest)
        draw_labels(axes, curves, colors, place[2] * width, place[3] * height)
        return inline(figure, styles, label)


def settings(name: str) -> dict[Any, Any]:
    """Matplotlib's settings for a chart of this name: text stays text, and equal charts are equal bytes."""
    return {"svg.fonttype": "none", "svg.hashsalt": name, "font.size": TEXT, "text.parse_math": False}


def series_colors(curves: Sequence[Curve]) -> dict[str, str]:
    """A color for each attack."""
    attacks = dict.fromkeys(curve.attack for curve in curves)
    return {attack: SERIES_COLORS[place % SERIES] for place, attack in enumerate(attacks)}


def frame(curves: Sequence[Curve], width: int, height: int) -> tuple[float, float, float, float]:
    """The plot's place in shares of the figure: room for the labels at the right, by their longest."""
    longest = max(len(text) for text in _labels(curves))
    left, right, bottom, top = 50, 0.56 * TEXT * longest + _GAP + _KEY + 10, 48, 10
    return left / width, bottom / height, max(0.3, 1 - (left + right) / width), 1 - (bottom + top) / height


def _draw_axes(axes: Axes, radii: Radii, width: float) -> None:
    ticks = [0.0, *(radii.scaled(value) for value in radii.values)]
    axes.set_xlim(0, ticks[-1])
    axes.set_xticks(ticks, _tick_labels(ticks, width))
    axes.set_xlabel(radii.axis, color=MUTED, labelpad=8)
    percent_axis(axes)


def percent_axis(axes: Axes) -> None:
    """Percents upwards with lines across, and only the lower edge drawn."""
    axes.set_ylim(0, 100)
    axes.set_yticks(range(0, 101, 20), [f"{tick} %" for tick in range(0, 101, 20)])
    axes.grid(axis="y", color=LINE, linewidth=1)
    axes.set_axisbelow(True)
    axes.tick_params(colors=LINE, labelcolor=MUTED, length=4)
    axes.tick_params(axis="y", length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(LINE)


def _tick_labels(ticks: Sequence[float], width: float) -> list[str]:
    """The radii as text; empty where one would touch the next, from the largest radius down.  0 always has its own."""
    texts = [f"{tick:.4g}" for tick in ticks]
    left = math.inf
    for place in [len(ticks) - 1, 0, *range(len(ticks) - 2, 0, -1)]:
        center, half = ticks[place] / ticks[-1] * width, 0.32 * TEXT * len(texts[place]) + 6
        free = center + half <= left and (place in (0, len(ticks) - 1) or center - half >= 0.7 * TEXT)
        texts[place] = texts[place] if free else ""
        left = center - half if free and place else left
    return texts


def _lowest(curves: Sequence[Curve]) -> list[Curve]:
    """Of each network, plain or defended, the curve that the least accuracy lies under, of those with most points."""
    return [
        min(
            (curve for curve in curves if curve.defense == defense),
            key=lambda curve: (-len(curve.points), sum(point.accuracy.value for point in curve.points)),
        )
        for defense in dict.fromkeys(curve.defense for curve in curves)
    ]


def _kind(curve: Curve) -> str:
    """The curve's mode without the average over draws, which a line does not tell."""
    return curve.mode.partition(" + ")[0]


def _draw_curve(axes: Axes, curve: Curve, radii: Radii, color: str, *, banded: bool) -> None:
    x = [radii.scaled(point.eps) for point in curve.points]
    shares = [point.accuracy for point in curve.points]
    low, high = [100 * share.low for share in shares], [100 * share.high for share in shares]
    if banded:
        axes.fill_between(x, low, high, color=color, alpha=0.14, linewidth=0)
    axes.plot(
        x, [100 * share.value for share in shares], color=color, linewidth=2, linestyle=_DASHES[_kind(curve)],
        marker=_MARKERS[_kind(curve)], markersize=5.5, markeredgewidth=0, clip_on=False, zorder=3,
    )  # fmt: skip


def _labels(curves: Sequence[Curve]) -> list[str]:
    """'pgd', 'pgd oblivious'."""
    names = short_names(curve.attack for curve in curves)
    return [names[curve.attack] + ("" if curve.mode == "none" else f" {curve.mode}") for curve in curves]


def draw_labels(axes: Axes, curves: Sequence[Curve], colors: dict[str, str], width: float, height: float) -> None:
    """Write every line's name beside its end, with a piece of the line or its mark, pushed apart where ends meet.

    Lines that end together are named in the order that they run in.  `width` and `height` are the plot's, in pixels.
    """
    ends = [(100 * c.points[-1].accuracy.value, sum(point.accuracy.value for point in c.points)) for c in curves]
    places = spread(ends, 100 * 1.6 * TEXT / height)
    for curve, text, place in zip(curves, _labels(curves), places, strict=True):
        alone = len(curve.points) == 1
        axes.plot(
            [1 + _GAP / width, 1 + (_GAP + _KEY) / width], [place / 100] * 2, transform=axes.transAxes,
            color=colors[curve.attack], linewidth=0 if alone else 2, linestyle=_DASHES[_kind(curve)],
            marker=ALONE if alone else _MARKERS[_kind(curve)], markersize=4.5, markeredgewidth=0, markevery=[1],
            clip_on=False,
        )  # fmt: skip
        axes.text(
            1 + (_GAP + _KEY + 7) / width, place / 100, text, transform=axes.transAxes,
            color=colors[curve.attack], verticalalignment="center_baseline",
        )  # fmt: skip


def spread(ends: Sequence[tuple[float, float]], gap: float) -> list[float]:
    """Places between 0 and 100 for labels of lines that end at the first number of each pair.

    Neighbors are `gap` apart; the second number orders those that end together.  Where there is no room for all, they
    go above 100.
    """
    order = sorted(range(len(ends)), key=lambda index: ends[index])
    places, floor = [0.0] * len(ends), 0.0
    for index in order:
        places[index] = max(ends[index][0], floor)
        floor = places[index] + gap
    ceiling = max(100.0, gap * (len(ends) - 1))
    for index in reversed(order):
        places[index] = min(places[index], ceiling)
        ceiling = places[index] - gap
    return places


def inline(figure: Figure, styles: Styles, label: str) -> Html:
    """A figure as an `svg` element without size, styles, scripts or metadata of its own."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    view = re.search(r'viewBox="[^"]*"', text)
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text[text.index("<svg") :], flags=re.S)
    body = re.sub(r'style="([^"]*)"', lambda found: f'class="{styles.of(_page_style(found[1]))}"', body)
    body = re.sub(r"<svg[^>]*>", "", body).replace("xlink:href", "href")
    used = set(re.findall(r"#([\w-]+)", body))  # other ids say nothing, and would repeat in every chart of a page
    body = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", body)
    opening = f'<svg {view[0] if view else ""} role="img" aria-label="{escape(label)}">'
    return Html(re.sub(r"\s*\n\s*", "\n", opening + body.strip()))


def _page_style(style: str) -> str:
    """A style with the page's colors and font."""
    style = re.sub(r"font-family: [^;]*;? ?", "", style)
    for stand_in, color in _STAND_INS.items():
        style = style.replace(stand_in, color)
    return style
