"""All attacks on one axis: accuracy against how far they moved the images, whatever bounds them, or nothing does.

Radii of different norms, and filters, which have none, cannot be compared; what they did to the images can.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from foolscope.experiments.cells import PLAIN
from foolscope.experiments.results import Curve, Point, Results, Unrestricted
from foolscope.report.figures import (
    ALONE,
    LINE,
    MUTED,
    Styles,
    draw_labels,
    frame,
    inline,
    percent_axis,
    series_colors,
    settings,
)
from foolscope.report.markup import Html

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DISTORTIONS = {"linf": "mean ℓ∞ distance", "l2": "mean ℓ2 distance", "ssim": "1 − mean SSIM"}  # noqa: RUF001 -- a minus
"""What the charts are drawn over, and how their axes are called."""


def comparable(results: Results) -> list[Curve]:
    """What attacks did to the network without a defense: a curve each, of an attack without a radius its one point.

    Empty where all attacks have radii of the same norm, whose own chart says it all.
    """
    curves = [curve for curve in results.curves if curve.defense == PLAIN]
    free = [_as_curve(found) for found in results.unrestricted if found.defense == PLAIN]
    return [*curves, *free] if len({curve.norm for curve in (*curves, *free)}) > 1 else []


def _as_curve(found: Unrestricted) -> Curve:
    point = Point(eps=float("inf"), **vars(found.outcome))
    return Curve(attack=found.attack, norm="", defense=found.defense, mode=found.mode, points=(point,))


def distortion_chart(
    curves: Sequence[Curve], across: str, styles: Styles, *, width: int, height: int, name: str
) -> Html:
    """Accuracy in percent against the mean distance `across`, one of `DISTORTIONS`: a line or one mark an attack."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(settings(name)):
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        place = frame(curves, width, height)
        axes = figure.add_axes(place)
        colors = series_colors(curves)
        for curve in curves:
            _draw(axes, curve, across, colors[curve.attack])
        percent_axis(axes)
        axes.set_xlim(left=0)
        axes.set_xlabel(DISTORTIONS[across], color=MUTED, labelpad=8)
        axes.grid(axis="x", color=LINE, linewidth=1)
        draw_labels(axes, curves, colors, place[2] * width, place[3] * height)
        label = f"Accuracy of every attack against the {DISTORTIONS[across]}; its numbers are in the tables."
        return inline(figure, styles, label)


def _draw(axes: Axes, curve: Curve, across: str, color: str) -> None:
    seen = [(_far(point, across), point.accuracy) for point in curve.points]
    known = [(x, share) for x, share in seen if x is not None]
    for x, share in known if len(curve.points) == 1 else ():
        axes.plot([x, x], [100 * share.low, 100 * share.high], color=color, linewidth=1.5, alpha=0.5)
    axes.plot(
        [x for x, _ in known], [100 * share.value for _, share in known], color=color, linewidth=2,
        marker=ALONE if len(curve.points) == 1 else "o", markersize=5.5, markeredgewidth=0, clip_on=False, zorder=3,
    )  # fmt: skip


def _far(point: Point, across: str) -> float | None:
    value = point.distances[across]
    return 1 - value if across == "ssim" and value is not None else value
