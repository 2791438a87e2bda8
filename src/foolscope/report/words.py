"""How names and numbers are written in a report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from foolscope.experiments.examined import reference_radius
from foolscope.experiments.results import Results
from foolscope.filters import Chain
from foolscope.measure import Proportion
from foolscope.spec import format_value

NORM_SYMBOLS = {"l0": "ℓ0", "l1": "ℓ1", "l2": "ℓ2", "linf": "ℓ∞"}
"""How a norm's name is printed."""

NONE = "–"  # noqa: RUF001 -- the dash that stands for 'no number' in a table
"""What stands where there is no number."""

_LEVELS = 255


@dataclass(frozen=True)
class Radii:
    """The radii of one norm, ascending, and how they are written: in units of 1/255 where all are multiples of it."""

    norm: str
    values: tuple[float, ...]

    @property
    def in_levels(self) -> bool:
        """Whether these are 8-bit levels."""
        whole = all(math.isclose(value * _LEVELS, round(value * _LEVELS), rel_tol=1e-9) for value in self.values)
        return self.norm == "linf" and whole and any("/255" in format_value(value) for value in self.values)

    def scaled(self, value: float) -> float:
        """A radius as the chart's axis shows it."""
        return value * _LEVELS if self.in_levels else value

    def text(self, value: float) -> str:
        """A radius as the tables show it: `8/255`, `0.3`, `0`."""
        return f"{round(value * _LEVELS)}/255" if self.in_levels and value else format_value(value)

    @property
    def axis(self) -> str:
        """The label of the chart's axis."""
        unit = "units of 1/255" if self.in_levels else "images in [0, 1]"
        return f"radius ε in {NORM_SYMBOLS.get(self.norm, self.norm)} ({unit})"

    @property
    def reference(self) -> float:
        """The radius that the summary speaks of: 8/255 or 0.3 in linf where attacked, else the middle one."""
        return reference_radius(self.norm, self.values)


def radii_by_norm(results: Results) -> list[Radii]:
    """The radii above 0 that were attacked, one entry a norm, in the order of the attacks."""
    found: dict[str, set[float]] = {}
    for curve in results.curves:
        found.setdefault(curve.norm, set()).update(point.eps for point in curve.points if point.eps > 0)
    return [Radii(norm, tuple(sorted(values))) for norm, values in found.items() if values]


def class_name(results: Results, label: int) -> str:
    """The name of a class, or its number where it has none."""
    names = results.class_names
    return names[label] if names is not None and label < len(names) else str(label)


def defense_name(spec: str) -> str:
    """A defense's spec, or what stands for having none."""
    return spec or "no defense"


def meeting(defense: str, mode: str) -> str:
    """How a network meets an attack: 'no defense', 'jpeg:quality=50, oblivious'."""
    return f"{defense}, {mode}" if defense else defense_name(defense)


def gradient_notes(results: Results) -> list[str]:
    """A sentence for each defense that gradient attacks could not follow in two ways: which there is, and why."""
    if not any(record.attack.needs_gradients for record in results.records):
        return []
    notes = []
    for victim in results.victims[1:]:
        modes = {record.mode.partition(" + ")[0] for record in results.records if record.victim == victim}
        told = _FOLLOWED[frozenset(modes & {"straight-through", "differentiable"})]
        notes += [f"{victim} {told}."] if told else []
    return notes


_FOLLOWED = {
    frozenset({"straight-through", "differentiable"}): "",
    frozenset({"straight-through"}): "has no smooth stand-in: adaptive gradients pass it straight through",
    frozenset({"differentiable"}): "has a derivative of its own, which adaptive attacks follow",
    frozenset[str](): "lets no gradients pass: gradient attacks meet it obliviously alone",
}


def short_names(attacks: Iterable[str]) -> dict[str, str]:
    """An attack's bare name for its spec, where no other attack of these has it."""
    specs = list(dict.fromkeys(attacks))
    bare = [spec.partition(":")[0] for spec in specs]
    return {spec: name if bare.count(name) == 1 else spec for spec, name in zip(specs, bare, strict=True)}


def percent(share: Proportion) -> str:
    """'12.1 %', or a dash of no samples; 100 and 0 are written only where nothing is missing."""
    if not share.trials:
        return NONE
    value = 100 * share.value
    if 0 < share.successes < share.trials:
        value = min(max(value, 0.1), 99.9)
    return f"{value:.1f}\u00a0%"


def interval(share: Proportion) -> str:
    """'[8.6, 16.7]', the 95 % interval in percent, or nothing of no samples."""
    return f"[{100 * share.low:.1f},\u00a0{100 * share.high:.1f}]" if share.trials else ""


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits, or all before the point, and thousands separated; or a dash."""
    if value is None or not math.isfinite(value):
        return NONE
    if abs(value) >= 10**digits:
        return f"{value:,.0f}"
    if value and abs(value) < 1e-4:
        return f"{value:.1e}"
    value = float(f"{value:.{digits}g}")  # or 0.09998 has a place more than 0.1
    places = max(0, digits - 1 - (math.floor(math.log10(abs(value))) if value else 0))
    return f"{value:,.{min(places, digits + 3)}f}"


def duration(seconds: float) -> str:
    """'8.1 s', '12 min', '3.4 h'."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f}\u00a0{unit}"
    return f"{seconds:.1f}\u00a0s"


def listed(items: Sequence[str], conjunction: str = "and") -> str:
    """'a', 'a and b', 'a, b and c'."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {conjunction} {items[-1]}"


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """'1 image', '10,000 images'."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def short_chain(chain: Chain) -> str:
    """A chain with two decimals, `juno 0.40/0.90 | reyes 1.00/1.00`: each filter's strength and intensity."""
    return " | ".join(f"{item.name} {item.strength:.2f}/{item.intensity:.2f}" for item in chain.filters)


def weakest_told(results: Results) -> str:
    """What the weakest number is made of, without a full stop."""
    told = "every image under the attack that is worst for it"
    if any(results.is_random(victim) for victim in results.victims):
        told += "; of a network that draws random numbers, all images under the one attack that leaves least"
    return told
