"""The figures of explanations: where they are drawn, and as what they are written.

A chart is drawn in the page's colors, once for wide and once for narrow windows, and in fixed colors for files.  All
places are pixels at natural size, from the left upper corner.  Matplotlib is imported where it is used.
"""

from __future__ import annotations

import base64
import io
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from foolscope.report.figures import INK, LINE, MUTED, SERIES_COLORS, TEXT, Styles, inline, settings
from foolscope.report.markup import Html, tag

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAGNITUDES = "cividis"
"""Colors of what is at least 0: the same order of lightness for every kind of color vision."""

SIGNED = "RdBu_r"
"""Colors of what has a sign: blue below 0, red above."""

_MARGIN = 16.0
_PIXELATED = 100

WIDTHS = {"wide": 836, "narrow": 350}
"""Natural widths, as in the page's style sheet."""


@dataclass(frozen=True)
class Colors:
    """What a chart is drawn with."""

    ink: str
    muted: str
    line: str
    series: tuple[str, ...]


PAGE = Colors(INK, MUTED, LINE, tuple(SERIES_COLORS))
"""Stand-ins for the page's colors, dark or light."""

FILE = Colors(
    "#1b1f24", "#59636e", "#d9dee3", ("#0b62a8", "#b54708", "#047857", "#9c3f74", "#7a6200", "#3f4f9e")
)  # fmt: skip
"""The page's light colors, for files on white."""


@dataclass(frozen=True, kw_only=True)
class Chart(ABC):
    """A figure: `name` is that of its files, `label` says in words what it shows, `caption` stands below it."""

    is_picture: ClassVar[bool] = False
    """Whether pixels are what it shows, so that a PNG is worth having beside the SVG."""

    name: str
    label: str
    caption: str

    @abstractmethod
    def height(self, width: float) -> float:
        """The height in pixels at this width."""

    @abstractmethod
    def draw(self, canvas: Canvas) -> None:
        """Draw everything."""


@dataclass(frozen=True)
class Canvas:
    """A Matplotlib figure of `width` x `height` pixels, measured from the left upper corner inside its margin."""

    figure: Figure
    colors: Colors
    width: float
    height: float
    margin: float = 0.0

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """New axes."""
        (x, upper), (right, lower) = self.place(left, top), self.place(left + width, top + height)
        return self.figure.add_axes((x, lower, right - x, upper - lower))

    def place(self, left: float, top: float) -> tuple[float, float]:
        """A place in shares of the whole figure, from its left lower corner."""
        around = 2 * self.margin
        return (left + self.margin) / (self.width + around), 1 - (top + self.margin) / (self.height + around)

    def write(self, left: float, top: float, text: str, color: str, *, bold: bool = False, align: str = "left") -> None:
        """A line of text whose upper edge is `top`."""
        self.figure.text(
            *self.place(left, top + TEXT),
            text,
            color=color,
            weight="bold" if bold else "normal",
            ha=align,
            va="baseline",
        )


def on_page(chart: Chart, styles: Styles) -> Html:
    """The chart for wide and for narrow windows, with its caption."""
    drawings = []
    for kind, width in WIDTHS.items():
        with _drawn(chart, width, PAGE, kind) as figure:
            svg = inline(figure, styles, chart.label)
        svg = Html(re.sub(r"data:image/png;base64,\s*([\w+/=\s]+)", _smaller, svg))
        drawings.append(tag("div", svg, class_=kind))
    return tag("figure", *drawings, tag("figcaption", chart.caption), class_="chart")


def _smaller(embedded: re.Match[str]) -> str:
    """A picture inside an SVG, a PNG in base64, as a data URL that takes less room.

    By a palette where it has few colors, as maps have; photographs as JPEG, since the PNG file has them exactly.
    """
    from PIL import Image

    picture: Image.Image = Image.open(io.BytesIO(base64.b64decode(embedded[1]))).convert("RGB")
    buffer = io.BytesIO()
    if picture.getcolors(256):
        picture.quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    elif picture.width > _PIXELATED:
        picture.save(buffer, "JPEG", quality=90, subsampling=0)
        return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    else:
        picture.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def svg_file(chart: Chart) -> bytes:
    """The chart as a file of its own, on white."""
    buffer = io.BytesIO()
    with _drawn(chart, WIDTHS["wide"], FILE) as figure:
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def png_file(chart: Chart, scale: float = 2.0) -> bytes:
    """The chart as a PNG on white, with so many pixels for each of the page's."""
    buffer = io.BytesIO()
    with _drawn(chart, WIDTHS["wide"], FILE) as figure:
        figure.savefig(buffer, format="png", dpi=72 * scale, metadata={"Software": None})
    return buffer.getvalue()


def gif_file(charts: Sequence[Chart], width: float, seconds: float = 0.6) -> bytes:
    """Charts of one size as an endless animation; the last one stays longer."""
    from PIL import Image

    frames = []
    for chart in charts:
        buffer = io.BytesIO()
        with _drawn(chart, width, FILE) as figure:
            figure.savefig(buffer, format="png", dpi=72 * 1.5)
        frames.append(Image.open(buffer).convert("RGB").quantize(128, dither=Image.Dither.NONE))
    durations = [round(1000 * seconds)] * (len(frames) - 1) + [round(3000 * seconds)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return buffer.getvalue()


@contextmanager
def _drawn(chart: Chart, width: float, colors: Colors, kind: str = "file") -> Iterator[Figure]:
    """The figure, while the settings hold that it must be written with."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    height, margin = chart.height(width), _MARGIN if colors is FILE else 0.0
    size = ((width + 2 * margin) / 72, (height + 2 * margin) / 72)
    with rc_context(settings(f"{chart.name}-{kind}")):
        figure = Figure(figsize=size, dpi=72)
        chart.draw(Canvas(figure, colors, width, height, margin))
        yield figure
