"""What an experiment shows, as data: figures, tables and sentences that somebody else draws and writes.

Experiments know nothing of Matplotlib or HTML.  They describe a figure by these records, and `report.gallery` draws
them, writes the same numbers as CSV and Parquet, and makes the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foolscope.measure import Mean, Proportion


@dataclass(frozen=True)
class Line:
    """A curve: points, and the interval of each where there is one; what is not finite is not drawn.

    A reference is what others are compared with.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    is_reference: bool = field(default=False, kw_only=True)

    @classmethod
    def of(cls, name: str, points: Sequence[tuple[float, Proportion | Mean]], *, percent: bool = False) -> Line:
        """A line of shares or means with their intervals, shares in percent if wanted."""
        scale = 100.0 if percent else 1.0
        values = [value for _, value in points]
        return cls(
            name,
            [x for x, _ in points],
            [scale * value.value for value in values],
            [scale * value.low for value in values],
            [scale * value.high for value in values],
        )


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Lines over one axis.

    `y_range` None is chosen by the values; `nyquist` marks 0.5 cycles per pixel on an axis of frequencies; `whole` says
    that the axis counts.
    """

    title: str
    lines: tuple[Line, ...]
    x: str
    y: str
    y_range: tuple[float | None, float | None] = (0.0, None)
    log: bool = False
    nyquist: bool = False
    whole: bool = False


@dataclass(frozen=True, kw_only=True)
class Plane:
    """Values (R, S) over the plane of spatial frequencies, whose axes are in cycles per pixel, 0 in the middle."""

    title: str
    vertical: Sequence[float]
    horizontal: Sequence[float]
    values: NDArray[np.float64]
    unit: str
    limits: tuple[float, float] | None = None
    log: bool = False


@dataclass(frozen=True, kw_only=True)
class Bars:
    """Values of a few categories, for every group: its name, and (value, low, high) of each category."""

    title: str
    categories: tuple[str, ...]
    groups: tuple[tuple[str, tuple[tuple[float, float, float], ...]], ...]
    y: str
    x: str = ""
    y_range: tuple[float | None, float | None] = (0.0, None)


Panel = Chart | Plane | Bars


@dataclass(frozen=True, eq=False)
class Picture:
    """An image (C, H, W) in [0, 1], a `noise` (C, H, W) of any range, or a `map` (H, W) in [0, 1]."""

    values: NDArray[Any]
    kind: str = "image"
    tells: str = ""


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Rows of pictures under the names of their columns, each row with a line of text."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Picture | None, ...]], ...]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure: `name` is that of its files, `caption` says what is to be seen, `content` is panels or pictures."""

    name: str
    caption: str
    content: tuple[Panel, ...] | Pictures


@dataclass(frozen=True, kw_only=True)
class Animation:
    """Figures of one size, one after the other."""

    name: str
    caption: str
    frames: tuple[Figure, ...]


Value = str | int | float | None | Proportion | Mean


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table: `name` is that of its files; the first column of each row is its head."""

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One key number beside the seed's: `seed` is what the report says, None where it gives none."""

    what: str
    seed: str | None
    ours: Value
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that an experiment shows: `told` are sentences with its numbers, `compared` the table 'seed, ours, why'."""

    told: tuple[str, ...]
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    compared: tuple[Compared, ...] = ()
    animations: tuple[Animation, ...] = field(default=())
