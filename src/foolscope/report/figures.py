"""Charts as SVG that lives in a page: its text is text, its colors are the page's, its bytes are always the same.

Matplotlib draws with stand-in colors.  What it writes into `style` attributes becomes classes with the page's color
variables, so that a chart follows dark and light and a strict Content-Security-Policy lets it pass.
"""

from __future__ import annotations

import io
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
_INK, _MUTED, _LINE, *_SERIES = _STAND_INS
_DASHES: dict[str, Any] = {"none": "solid", "oblivious": (0, (5, 2.5)), "adaptive": (0, (1.2, 1.8))}
_MARKERS = {"none": "o", "oblivious": "s", "adaptive": "^"}
_TEXT = 12.0
_MOST_TICKS = 9


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
    """Accuracy in percent against epsilon, a line and a 95 % band for every curve, each labeled at its end.

    `width` and `height` are pixels at natural size, `name` makes the drawing's ids its own, and `label` says in words
    what is to be seen.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    settings = {"svg.fonttype": "none", "svg.hashsalt": name, "font.size": _TEXT, "text.parse_math": False}
    with rc_context(settings):
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        axes = figure.add_axes(_frame(curves, width, height))
        _draw_axes(axes, radii)
        colors = dict(zip(dict.fromkeys(curve.attack for curve in curves), _cycled(len(curves)), strict=False))
        for curve in curves:
            _draw_curve(axes, curve, radii, colors[curve.attack])
        _draw_labels(axes, curves, radii, colors)
        return inline(figure, styles, label)


def _cycled(count: int) -> list[str]:
    return [_SERIES[index % SERIES] for index in range(count)]


def _frame(curves: Sequence[Curve], width: int, height: int) -> tuple[float, float, float, float]:
    """The plot's place in shares of the figure: room for the labels at the right, by their longest."""
    longest = max(len(text) for text in _labels(curves))
    left, right, bottom, top = 50, 0.56 * _TEXT * longest + 30, 48, 10
    return left / width, bottom / height, max(0.3, 1 - (left + right) / width), 1 - (bottom + top) / height


def _draw_axes(axes: Axes, radii: Radii) -> None:
    ticks = [0.0, *(radii.scaled(value) for value in radii.values)]
    axes.set_xlim(0, ticks[-1])
    axes.set_ylim(0, 100)
    if len(ticks) <= _MOST_TICKS:
        axes.set_xticks(ticks, [f"{tick:.4g}" for tick in ticks])
    axes.set_yticks(range(0, 101, 20), [f"{tick} %" for tick in range(0, 101, 20)])
    axes.set_xlabel(radii.axis, color=_MUTED, labelpad=8)
    axes.grid(axis="y", color=_LINE, linewidth=1)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_LINE, labelcolor=_MUTED, length=4)
    axes.tick_params(axis="y", length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(_LINE)


def _draw_curve(axes: Axes, curve: Curve, radii: Radii, color: str) -> None:
    x = [radii.scaled(point.eps) for point in curve.points]
    shares = [point.accuracy for point in curve.points]
    low, high = [100 * share.low for share in shares], [100 * share.high for share in shares]
    axes.fill_between(x, low, high, color=color, alpha=0.13, linewidth=0)
    axes.plot(
        x, [100 * share.value for share in shares], color=color, linewidth=2, linestyle=_DASHES[curve.mode],
        marker=_MARKERS[curve.mode], markersize=5.5, markeredgewidth=0, clip_on=False, zorder=3,
    )  # fmt: skip


def _labels(curves: Sequence[Curve]) -> list[str]:
    """'pgd', 'pgd oblivious'."""
    names = short_names(curve.attack for curve in curves)
    return [names[curve.attack] + ("" if curve.mode == "none" else f" {curve.mode}") for curve in curves]


def _draw_labels(axes: Axes, curves: Sequence[Curve], radii: Radii, colors: dict[str, str]) -> None:
    """Write every line's name beside its end, pushed apart where ends meet, with a hairline from end to name."""
    height = axes.get_position().height * axes.figure.get_size_inches()[1] * 72
    ends = [100 * curve.points[-1].accuracy.value for curve in curves]
    places = spread(ends, 100 * 1.3 * _TEXT / height)
    for curve, text, end, place in zip(curves, _labels(curves), ends, places, strict=True):
        last = radii.scaled(curve.points[-1].eps)
        axes.annotate(
            text,
            (last, end),
            xytext=(1 + 20 / (axes.get_position().width * axes.figure.get_size_inches()[0] * 72), place / 100),
            textcoords="axes fraction",
            color=colors[curve.attack],
            verticalalignment="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colors[curve.attack], "linewidth": 0.8, "shrinkA": 1, "shrinkB": 4},
        )


def spread(values: Sequence[float], gap: float) -> list[float]:
    """Move values apart, in their order, until neighbors are `gap` from each other; as low as they can stay above 0."""
    order = sorted(range(len(values)), key=lambda index: (values[index], -index))
    places = [0.0] * len(values)
    floor = 0.0
    for index in order:
        places[index] = max(values[index], floor)
        floor = places[index] + gap
    ceiling = max(100.0, gap * (len(values) - 1))
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
