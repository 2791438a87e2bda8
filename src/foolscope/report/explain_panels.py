"""The panels of a chart: curves with intervals, values of a few categories, planes of frequencies."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from foolscope.experiments import findings
from foolscope.experiments.findings import Line
from foolscope.report.explain_figures import MAGNITUDES, Canvas, Chart, Colors
from foolscope.report.figures import TEXT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DASHES = (
    "solid", (0, (5, 2.5)), (0, (1.2, 1.8)), (0, (5, 2, 1.2, 2)), (0, (8, 2)), (0, (3, 1.5)),
    (0, (4.5, 1.4, 1.2, 1.4, 1.2, 1.4)),
)  # fmt: skip
"""One more than there are colors, so that lines differ in the one where they share the other."""
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_DECADES = 1e-8
_LINE_HEIGHT = 1.5 * TEXT
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_LEFT, _RIGHT = 62, 24
_TICK = 60
"""Pixels that a number below an axis has at least."""
_MOST_BANDS = 8
"""Lines that have their intervals drawn at most: of more, the bands hide each other."""


class Panel(ABC):
    """One part of a chart, with a title of its own."""

    least_width: ClassVar[float]

    @abstractmethod
    def height(self, width: float) -> float:
        """The height in pixels at this width."""

    @abstractmethod
    def draw(self, canvas: Canvas, left: float, top: float, width: float) -> None:
        """Draw it at this place."""


@dataclass(frozen=True, kw_only=True)
class Panels(Chart):
    """Panels in rows, as many side by side as there is room for."""

    panels: tuple[Panel, ...]

    @property
    def is_picture(self) -> bool:  # type: ignore[override]
        """Whether any panel is a plane."""
        return any(isinstance(panel, Plane) for panel in self.panels)

    def height(self, width: float) -> float:
        return sum(self._row_heights(width))

    def draw(self, canvas: Canvas) -> None:
        columns, top = self._columns(canvas.width), 0.0
        for number, height in enumerate(self._row_heights(canvas.width)):
            for place, panel in enumerate(self.panels[number * columns : (number + 1) * columns]):
                panel.draw(canvas, place * canvas.width / columns, top, canvas.width / columns)
            top += height

    def _columns(self, width: float) -> int:
        """As many as fit, spread evenly over the rows."""
        count = len(self.panels)
        most = max(1, int(width // max(panel.least_width for panel in self.panels)))
        return math.ceil(count / math.ceil(count / most))

    def _row_heights(self, width: float) -> list[float]:
        columns = self._columns(width)
        rows = [self.panels[begin : begin + columns] for begin in range(0, len(self.panels), columns)]
        return [max(panel.height(width / columns) for panel in row) for row in rows]


@dataclass(frozen=True, kw_only=True)
class Curves(findings.Chart, Panel):
    """Lines over one axis, with a legend above where there is more than one."""

    least_width: ClassVar[float] = 380

    def height(self, width: float) -> float:
        return _head_height(self.title) + len(self._legend(width)) * _LINE_HEIGHT + 200 + 56

    def draw(self, canvas: Canvas, left: float, top: float, width: float) -> None:
        from matplotlib.ticker import FuncFormatter, MaxNLocator

        colors = canvas.colors
        y = _write_head(canvas, left, top, self.title, self.y)
        styles = _line_styles(self.lines, colors)
        for row in self._legend(width):
            _write_legend(canvas, left, y, [(self.lines[n].name, styles[n]) for n in row])
            y += _LINE_HEIGHT
        axes = canvas.axes(left + _LEFT, y + 10, width - _LEFT - _RIGHT, 186)
        for line, (color, dash, _) in zip(self.lines, styles, strict=True):
            is_point = np.isfinite(np.array(line.y, dtype=float)).sum() == 1
            axes.plot(
                list(line.x), list(line.y), color=color, linestyle=dash, linewidth=1.8, zorder=3,
                marker=_MARKERS[0] if is_point else "none", markersize=6.5, markeredgewidth=0,
            )  # fmt: skip
            if len(self.lines) <= _MOST_BANDS:
                _draw_intervals(axes, line, color)
        if self.log:
            axes.set_yscale("log", nonpositive="clip")
            axes.yaxis.set_major_formatter(FuncFormatter(_logarithmic))
        else:
            axes.set_ylim(*self._range())
        first, last = min(min(line.x) for line in self.lines), max(max(line.x) for line in self.lines)
        if self.nyquist and last > 0.5:
            axes.axvline(0.5, color=colors.muted, linewidth=1, linestyle=(0, (1, 2)))
            axes.text(
                0.495, 0.97, "Nyquist", transform=axes.get_xaxis_transform(), color=colors.muted, fontsize=TEXT - 2,
                ha="right", va="top",
            )  # fmt: skip
        if first == last:
            axes.set_xlim(first - 1, last + 1)
            axes.set_xticks([first], [f"{first:g}"])
        else:
            ticks = max(3, int(width // _TICK))
            axes.set_xlim(first, last)
            axes.xaxis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 5, 10], integer=self.whole))
        axes.set_xlabel(self.x, color=colors.muted)
        _plain(axes, colors)

    def _range(self) -> tuple[float, float]:
        """The axis from the lowest to the highest value, with what is asked for; never empty."""
        tops = [v for line in self.lines for v in (*line.y, *(line.high or ())) if math.isfinite(v)]
        low, high = self.y_range
        bottom = min([0.0, *tops]) if low is None else low
        top = 1.06 * max(tops, default=1.0) if high is None else high
        return bottom, top if top > bottom else bottom + 1

    def _legend(self, width: float) -> list[list[int]]:
        """The lines' numbers, row by row, as the names fit."""
        return _legend_rows([line.name for line in self.lines], width) if len(self.lines) > 1 else []


@dataclass(frozen=True, kw_only=True)
class Dots(findings.Bars, Panel):
    """Values of a few categories with their intervals, one mark for each of the `groups`."""

    least_width: ClassVar[float] = 380

    def height(self, width: float) -> float:
        lines = 1 + max(name.count("\n") for name in self.categories)
        below = 30 + lines * _LINE_HEIGHT + (16 if self.x else 0)
        return _head_height(self.title) + len(self._legend(width)) * _LINE_HEIGHT + 166 + below

    def draw(self, canvas: Canvas, left: float, top: float, width: float) -> None:
        colors = canvas.colors
        y = _write_head(canvas, left, top, self.title, self.y)
        styles = [
            (colors.series[n % len(colors.series)], "none", _MARKERS[n % len(_MARKERS)])
            for n in range(len(self.groups))
        ]
        for row in self._legend(width):
            _write_legend(canvas, left, y, [(self.groups[n][0], styles[n]) for n in row])
            y += _LINE_HEIGHT
        axes = canvas.axes(left + _LEFT, y + 10, width - _LEFT - _RIGHT, 156)
        for number, (_, values) in enumerate(self.groups):
            color, _, marker = styles[number]
            shift = (number - (len(self.groups) - 1) / 2) * 0.18
            for place, (value, low, high) in enumerate(values):
                if not math.isfinite(value):
                    continue
                if math.isfinite(low) and math.isfinite(high):
                    axes.plot([place + shift] * 2, [low, high], color=color, linewidth=1.5)
                axes.plot(
                    [place + shift],
                    [value],
                    color=color,
                    marker=marker,
                    markersize=6.5,
                    markeredgewidth=0,
                    clip_on=False,
                )
        axes.set_xlim(-0.5, len(self.categories) - 0.5)
        axes.set_xticks(range(len(self.categories)), list(self.categories))
        axes.set_ylim(*self._range())
        axes.set_xlabel(self.x, color=colors.muted)
        _plain(axes, colors)

    def _range(self) -> tuple[float, float]:
        values = [v for _, group in self.groups for triple in group for v in triple if math.isfinite(v)]
        low, high = self.y_range
        bottom = min([0.0, *values]) * 1.1 if low is None else low
        top = 1.1 * max(values, default=1.0) if high is None else high
        return bottom, top if top > bottom else bottom + 1

    def _legend(self, width: float) -> list[list[int]]:
        return _legend_rows([name for name, _ in self.groups], width) if len(self.groups) > 1 else []


@dataclass(frozen=True, kw_only=True)
class Plane(findings.Plane, Panel):
    """Values over the plane of frequencies, 0 in the middle, downward frequencies below, with their scale.

    With `log` the color follows the logarithm, over eight decades at most.
    """

    least_width: ClassVar[float] = 270

    def height(self, width: float) -> float:
        return _head_height(self.title) + self._side(width) + 64

    def draw(self, canvas: Canvas, left: float, top: float, width: float) -> None:
        from matplotlib.colors import LogNorm, Normalize
        from matplotlib.ticker import FuncFormatter, LogLocator

        colors, side = canvas.colors, self._side(width)
        y = _write_head(canvas, left, top, self.title, self.unit)
        axes = canvas.axes(left + _LEFT, y + 4, side, side)
        low, high = self.limits or (float(self.values.min()), float(self.values.max()))
        log = self.log and high > 0
        bounds = (max(low, high * _DECADES), high) if log else (low, high)
        bounds = bounds if bounds[1] > bounds[0] else (bounds[0] - 0.5, bounds[0] + 0.5)
        norm = LogNorm(*bounds) if log and bounds[0] > 0 else Normalize(*bounds)
        (left_edge, right_edge), (upper, lower) = _edges(self.horizontal), _edges(self.vertical)
        extent = (left_edge, right_edge, lower, upper)
        drawn = axes.imshow(
            self.values.clip(*bounds), cmap=MAGNITUDES, norm=norm, extent=extent, interpolation="none", aspect="auto"
        )
        axes.set_xlabel("horizontal (cycles per pixel)", color=colors.muted)
        axes.set_ylabel("vertical (cycles per pixel)", color=colors.muted, labelpad=3)
        for ticked, frequencies in ((axes.xaxis, self.horizontal), (axes.yaxis, self.vertical)):
            ticks = _ticks(frequencies, side)
            ticked.set_ticks(ticks, [f"{tick:g}".replace("-", "\u2212") for tick in ticks])
        axes.set_xlim(left_edge, right_edge)
        axes.set_ylim(lower, upper)
        _plain(axes, colors, grid=False)
        axes.tick_params(length=3)
        bar = canvas.axes(left + _LEFT + side + 10, y + 4, 10, side)
        canvas.figure.colorbar(drawn, cax=bar)
        bar.tick_params(colors=colors.line, labelcolor=colors.muted, length=3, which="both")
        bar.minorticks_off()
        if log:
            bar.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if bounds[1] < 100 * bounds[0] else (1,)))
            bar.yaxis.set_major_formatter(FuncFormatter(_logarithmic))
        for spine in bar.spines.values():
            spine.set_visible(False)

    def _side(self, width: float) -> float:
        return min(300.0, width - _LEFT - 66)


def _draw_intervals(axes: Axes, line: Line, color: str) -> None:
    """A band where a line's intervals are finite; the interval of a single point is a bar."""
    if line.low is None or line.high is None:
        return
    low, high = np.array(line.low, dtype=float), np.array(line.high, dtype=float)
    there = np.isfinite(low) & np.isfinite(high)
    if there.sum() == 1:
        axes.vlines(np.array(line.x)[there], low[there], high[there], color=color, linewidth=1.5)
    elif there.any():
        axes.fill_between(list(line.x), low, high, where=list(there), color=color, alpha=0.16, linewidth=0)


def _logarithmic(value: float, place: int | None = None) -> str:
    """A tick's number: '0.05', '100', '2·10⁻⁴'."""
    power = math.floor(math.log10(value) + 1e-9)
    if -2 <= power <= 2:
        return f"{value:g}"
    digit, raised = f"{value / 10**power:.0f}", f"10{str(power).translate(_RAISED)}"
    return raised if digit == "1" else f"{digit}·{raised}"


def _ticks(frequencies: Sequence[float], side: float) -> Sequence[float]:
    """Round frequencies within these: five, or three where there is little room."""
    reach = max(abs(f) for f in frequencies)
    if not reach:
        return (0.0,)
    power = 10.0 ** math.floor(math.log10(reach / 2) + 1e-9)
    step = power * max(digit for digit in (1, 2, 5) if digit * power <= reach / 2 * (1 + 1e-9))
    return (-2 * step, 0.0, 2 * step) if side < 200 else (-2 * step, -step, 0.0, step, 2 * step)


def _edges(frequencies: Sequence[float]) -> tuple[float, float]:
    """Half a step beyond the first and the last frequency."""
    half = (frequencies[-1] - frequencies[0]) / max(1, len(frequencies) - 1) / 2 or 0.5
    return frequencies[0] - half, frequencies[-1] + half


def _head_height(title: str) -> float:
    return 6 + (_LINE_HEIGHT if title else 0) + _LINE_HEIGHT


def _write_head(canvas: Canvas, left: float, top: float, title: str, unit: str) -> float:
    """The title and, below it, what the vertical axis or the colors show; returns where to go on."""
    if title:
        canvas.write(left, top + 6, title, canvas.colors.ink, bold=True)
    canvas.write(left, top + 6 + (_LINE_HEIGHT if title else 0), unit, canvas.colors.muted)
    return top + _head_height(title)


_Style = tuple[str, object, str]


def _line_styles(lines: Sequence[Line], colors: Colors) -> list[_Style]:
    """Color, dash and no marker: references are gray and dotted."""
    found: list[_Style] = []
    for line in lines:
        number = sum(style[0] != colors.muted for style in found)
        own = (colors.series[number % len(colors.series)], _DASHES[number % len(_DASHES)], "none")
        found.append((colors.muted, (0, (1.2, 1.8)), "none") if line.is_reference else own)
    return found


def _legend_rows(names: Sequence[str], width: float) -> list[list[int]]:
    rows: list[list[int]] = [[]]
    used = 0.0
    for number, name in enumerate(names):
        wide = _entry_width(name)
        if rows[-1] and used + wide > width:
            rows.append([])
            used = 0.0
        rows[-1].append(number)
        used += wide
    return rows


def _entry_width(name: str) -> float:
    return 30 + 0.58 * TEXT * len(name) + 18


def _write_legend(canvas: Canvas, left: float, top: float, entries: Sequence[tuple[str, _Style]]) -> None:
    from matplotlib.lines import Line2D

    for name, (color, dash, marker) in entries:
        ends = (left + 1, left + 22) if marker == "none" else (left + 12,)
        places = [canvas.place(x, top + 0.65 * TEXT) for x in ends]
        canvas.figure.add_artist(
            Line2D(
                [x for x, _ in places], [y for _, y in places], color=color, linewidth=1.8,
                linestyle="none" if marker != "none" else dash, marker=None if marker == "none" else marker,  # type: ignore[arg-type]
                markersize=6.5, markeredgewidth=0,
            )
        )  # fmt: skip
        canvas.write(left + 29, top, name, canvas.colors.ink)
        left += _entry_width(name)


def _plain(axes: Axes, colors: Colors, grid: bool = True) -> None:
    if grid:
        axes.grid(axis="y", color=colors.line, linewidth=1)
        axes.set_axisbelow(True)
    axes.minorticks_off()
    axes.patch.set_visible(False)
    axes.tick_params(colors=colors.line, labelcolor=colors.muted, length=0)
    axes.tick_params(axis="x", pad=6)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom" and grid)
        spine.set_color(colors.line)
