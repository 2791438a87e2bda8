"""What a report on explanations is made of: the images that were explained, and one part for every method.

The records that the library gives become figures, a few measures for the table, and values for `explain.json`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from foolscope.data.imageset import ImageSet
from foolscope.experiments.findings import Line
from foolscope.explain import Profile
from foolscope.measure import Mean, Proportion
from foolscope.report.explain_figures import Chart
from foolscope.report.explain_slider import Slider
from foolscope.report.export import proportion

_DIGITS = 6
_SMALL = 100
_SHOWN = {True: 6, False: 4}


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """The images that a network was explained on.

    `data` has them with the classes that were explained, `files` the names of those that are files; `predictions` (N,)
    are the network's.  Of an attack there are its spec, the images `adversarial` (N, C, H, W) and the predictions
    `answers` (N,) on them.
    """

    model: str
    data: ImageSet
    class_names: tuple[str, ...] | None
    predictions: Tensor
    files: tuple[str, ...] | None = None
    attack: str | None = None
    adversarial: Tensor | None = None
    answers: Tensor | None = None

    @property
    def moved(self) -> Tensor:
        """The places (M,) of the images that the attack changed; none without an attack."""
        if self.adversarial is None:
            return self.predictions[:0]
        return (self.adversarial != self.data.images).flatten(1).any(1).nonzero()[:, 0]

    def named(self, label: int) -> str:
        """The name of a class, or its number."""
        return self.class_names[label] if self.class_names else self.data.label_name(label)

    def title(self, row: int) -> str:
        """'image 17: seven', 'cat.png: tabby'; a wrong prediction is told."""
        place = row if self.data.origin is None else int(self.data.origin[row])
        name = self.files[row] if self.files else f"image {place}"
        label, seen = int(self.data.labels[row]), int(self.predictions[row])
        wrong = "" if seen == label else f", seen as {self.named(seen)}"
        return f"{name}: {self.named(label)}{wrong}"

    def shown(self, rows: Tensor | None = None) -> list[int]:
        """Which of `rows` (default: all) are shown: the first few, fewer of large images and of attacked ones."""
        everything = range(len(self.predictions)) if rows is None else rows.tolist()
        count = _SHOWN[max(self.data.pixels.shape[1:3]) < _SMALL]
        return list(everything)[: count if self.adversarial is None else count // 2]


EVERYWHERE = (-math.inf, math.inf)
POSITIVE = (0.0, math.inf)
SHARE = (0.0, 1.0)
"""Where the values of a measure can lie."""


@dataclass(frozen=True)
class Measure:
    """One line of a part's table: a number with its interval, and what it is without a cause."""

    what: str
    value: float
    low: float | None = None
    high: float | None = None
    null: float | None = None

    @classmethod
    def of(
        cls, what: str, value: Mean | Proportion, null: float | None = None, within: tuple[float, float] = EVERYWHERE
    ) -> Measure:
        """Of a mean or a share; a finite interval ends where values must lie `within`, as Student's t does not know."""
        low, high = (
            min(max(end, within[0]), within[1]) if math.isfinite(end) else end for end in (value.low, value.high)
        )
        return cls(what, value.value, low, high, null)


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one method found: `told` is a paragraph each, `data` goes into `explain.json`.

    `arrays` and `animations` are files beside the page, by their names without ending; `slider` is on the page alone.
    """

    method: str
    title: str
    told: tuple[str, ...]
    charts: tuple[Chart, ...]
    measures: tuple[Measure, ...]
    data: dict[str, Any]
    arrays: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    animations: Mapping[str, bytes] = field(default_factory=dict)
    slider: Slider | None = None


def line(name: str, profile: Profile, *, is_reference: bool = False) -> Line:
    """A profile as a curve with its interval."""
    parts = (profile.coordinate, profile.mean, profile.low, profile.high)
    return Line(name, *(part.tolist() for part in parts), is_reference=is_reference)


def as_json(value: Any, leave_out: Sequence[str] = ()) -> Any:
    """Records, tensors and numbers as values that JSON can hold; what is not finite becomes None.

    Records become objects of their fields, without those in `leave_out`; numbers have six significant digits.
    """
    if isinstance(value, Proportion):
        return proportion(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: as_json(getattr(value, f.name), leave_out) for f in fields(value) if f.name not in leave_out}
    if isinstance(value, Tensor):
        return as_json(value.tolist(), leave_out)
    if isinstance(value, Mapping):
        return {str(key): as_json(entry, leave_out) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(entry, leave_out) for entry in value]
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    return value
