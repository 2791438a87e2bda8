"""Styles: the photo filters that an attack chains.

A filter paints an image with several effects (`effects`), whose amounts its `intensity` a multiplies; its `strength` s
then mixes the result x' with the image it was given (eq. 3.1 of the thesis on AGV):

    x'' = (1 - s) x + s x'

Clarendon, Gingham, Reyes, Juno and Lark are those of AGV (Baia, Di Bari, Poggioni 2021, doi
10.1007/978-3-030-72699-7_35), with the constants of its reference implementation.  Hudson, Slumber, Stinson, Rise and
Perpetua were added by the same authors (Baia et al. 2022, Sensors 22(3) 967), whose paper gives their names and search
ranges and no recipe: the recipes here are ours, after what the Instagram filters of these names look like.  In ours a
factor is 1 + a d, so that a larger intensity changes the image more.  In the thesis' it is a f, which moves through 1.

Gingham, Juno, Lark and Stinson can be used on gray images; the others would color them.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from foolscope.filters.canvas import Canvas
from foolscope.filters.effects import Amount
from foolscope.registry import Registry
from foolscope.spec import Parameters, parameter

Interval = tuple[float, float]

_AGV = "Baia, Di Bari, Poggioni 2021, doi 10.1007/978-3-030-72699-7_35"
_SENSORS = "named in Baia et al. 2022, doi 10.3390/s22030967; the recipe is foolscope's"


@dataclass(frozen=True, kw_only=True)
class Filter(Parameters):
    """Base of all filters.  Subclasses write `paint`.

    `strength_range` and `intensity_range` are those that the filter's authors search.  `usual_intensity` is what a spec
    may ask for; beyond it, up to the field's own limits, lie images that no photographer would make.
    """

    listing: ClassVar[str] = "foolscope filters"
    summary: ClassVar[str]
    source: ClassVar[str]
    usual_intensity: ClassVar[Interval] = (0.5, 1.5)
    strength_range: ClassVar[Interval]
    intensity_range: ClassVar[Interval]
    takes_gray: ClassVar[bool] = False

    strength: float = parameter(1.0, "share of the filtered image in the result", low=0, high=1)
    intensity: float = parameter(1.0, "factor of every effect; 0.5 to 1.5 unless extremes are allowed", low=0.1, high=5)

    def __call__(self, images: Tensor) -> Tensor:
        """The filtered `images`: float (N, C, H, W) in [0, 1] to the same shape and range."""
        from foolscope.filters.batch import apply

        return apply((type(self),), (self.strength,), (self.intensity,), images)

    @classmethod
    def style(cls, images: Tensor, intensity: Amount = 1.0) -> Tensor:
        """The images (N, C, H, W) at full strength; `intensity` is a number or one number a sample (N,)."""
        from foolscope.filters.batch import apply

        return apply((cls,), (1.0,), (intensity,), images)

    @staticmethod
    @abstractmethod
    def paint(canvas: Canvas, a: Amount) -> None:
        """Run the recipe at intensity `a`, a number or a tensor as the canvas takes it."""


class _Thesis(Filter):
    """What the thesis' five filters share."""

    source: ClassVar[str] = _AGV
    strength_range: ClassVar[Interval] = (0.1, 1.0)


class _Later(Filter):
    """What the later five filters share."""

    source: ClassVar[str] = _SENSORS
    strength_range: ClassVar[Interval] = (0.7, 1.0)
    intensity_range: ClassVar[Interval] = (1.0, 1.15)


class Clarendon(_Thesis):
    """More contrast and color, less red, more blue."""

    name: ClassVar[str] = "clarendon"
    summary: ClassVar[str] = "more contrast and color, less red, more blue"
    intensity_range: ClassVar[Interval] = (0.8, 1.3)

    @staticmethod
    def paint(canvas: Canvas, a: Amount) -> None:
        canvas.contrast(1.2 * a)
        canvas.saturation(2.0 * a)
        canvas.tone_curves(0.6 * a, 1.0 * a, 1.2 * a)


class Gingham(_Thesis):
    """Brighter and flatter: a white tint."""

    name: ClassVar[str] = "gingham"
    summary: ClassVar[str] = "brighter and flatter: a white tint"
    intensity_range: ClassVar[Interval] = (0.8, 1.3)
    takes_gray: ClassVar[bool] = True

    @staticmethod
    def paint(canvas: Canvas, a: Amount) -> None:
        canvas.brightness(1.1 * a)
        canvas.saturation(1.1 * a)
        canvas.contrast(0.7 * a)


class Reyes(_Thesis):
    """Flat, pale and bright, slightly yellow."""

    name: ClassVar[str] = "reyes"
    summary: ClassVar[str] = "flat, pale and bright, slightly yellow"
    intensity_range: ClassVar[Interval] = (0.8, 1.1)

    @staticmethod
    def paint(canvas: Canvas, a: Amount) -> None:
        canvas.contrast(0.8 * a)
        canvas.saturation(0.7 * a)
        canvas.brightness(1.2 * a)
        canvas.gamma(1.2 * a)
        canvas.tone_curves(1.1 * a, 1.1 * a, 1.0 * a)


class Juno(_Thesis):
    """More contrast and color, brighter middle tones."""

    name: ClassVar[str] = "juno"
    summary: ClassVar[str] = "more contrast and color, brighter middle tones"
    intensity_range: ClassVar[Interval] = (0.5, 1.5)
    takes_gray: ClassVar[bool] = True

    @staticmethod
    def paint(canvas: Canvas, a: Amount) -> None:
        canvas.contrast(1.15 * a)
        canvas.saturation(1.1 * a)
        canvas.gamma(1.3 * a)


class Lark(_Thesis):
    """Darker middle tones, bluer blues.

    What is blue is decided after a gamma correction with 1.3.  The thesis' ranges are in OpenCV's 8-bit units: hue 90
    to 130, saturation 50 to 255, value 30 to 230.
    """

    name: ClassVar[str] = "lark"
    summary: ClassVar[str] = "darker middle tones, bluer blues"
    intensity_range: ClassVar[Interval] = (0.9, 1.1)
    takes_gray: ClassVar[bool] = True

    @staticmethod
    def paint(canvas: Canvas, a: Amount) -> None:
        canvas.gamma(0.8 * a)
        canvas.selective_color(
            0.8 * a,
            0.8 * a,
            1.2 * a,
            hue=(180, 260),
            saturation=(50 / 255, 1),
            value=(30 / 255, 230 / 255),
            guide_gamma=1.3,
        )


class Hudson(_Later):
    """Cool and bright, darker corners."""

    name: ClassVar[str] = "hudson"
    summary: ClassVar[str] = "cool and bright, darker corners"

    @staticmethod
    def paint(canvas: Canvas, a: Amount) -> None:
        canvas.brightness(1 + 0.2 * a)
        canvas.contrast(1 - 0.1 * a)
        canvas.tone_curves(1 - 0.1 * a, 1.0, 1 + 0.1 * a)
        canvas.vignette(0.2 * a)


class Slumber(_Later):
    """Pale and warm, as if half asleep."""

    name: ClassVar[str] = "slumber"
    summary: ClassVar[str] = "pale and warm, as if half asleep"

    @staticmethod
    def paint(canvas: Canvas, a: Amount) -> None:
        canvas.saturation(1 - 0.34 * a)
        canvas.brightness(1 + 0.05 * a)
        canvas.tone_curves(1 + 0.06 * a, 1.0, 1 - 0.2 * a)


class Stinson(_Later):
    """Washed out and bright."""

    name: ClassVar[str] = "stinson"
    summary: ClassVar[str] = "washed out and bright"
    takes_gray: ClassVar[bool] = True

    @staticmethod
    def paint(canvas: Canvas, a: Amount) -> None:
        canvas.contrast(1 - 0.25 * a)
        canvas.saturation(1 - 0.15 * a)
        canvas.brightness(1 + 0.15 * a)


class Rise(_Later):
    """A warm glow, softly darker corners."""

    name: ClassVar[str] = "rise"
    summary: ClassVar[str] = "a warm glow, softly darker corners"

    @staticmethod
    def paint(canvas: Canvas, a: Amount) -> None:
        canvas.contrast(1 - 0.1 * a)
        canvas.saturation(1 - 0.1 * a)
        canvas.brightness(1 + 0.05 * a)
        canvas.tone_curves(1 + 0.1 * a, 1 + 0.03 * a, 1 - 0.15 * a)
        canvas.vignette(0.15 * a)


class Perpetua(_Later):
    """Pastel: greener and bluer, yellow lights."""

    name: ClassVar[str] = "perpetua"
    summary: ClassVar[str] = "pastel: greener and bluer, yellow lights"
    intensity_range: ClassVar[Interval] = (1.1, 1.45)

    @staticmethod
    def paint(canvas: Canvas, a: Amount) -> None:
        canvas.contrast(1 - 0.15 * a)
        canvas.brightness(1 + 0.08 * a)
        canvas.saturation(1 + 0.1 * a)
        canvas.tone_curves(1 - 0.1 * a, 1 + 0.05 * a, 1 + 0.05 * a)


FILTERS: Registry[type[Filter]] = Registry(
    "filter",
    "foolscope filters",
    {kind.name: kind for kind in (Clarendon, Gingham, Reyes, Juno, Lark, Hudson, Slumber, Stinson, Rise, Perpetua)},
)
"""Every filter that a spec string can name."""
