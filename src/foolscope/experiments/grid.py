"""Epsilon grids: what `--eps` understands, and what is used where it is not given."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from foolscope.attacks import ATTACKS, Attack, parse_attack
from foolscope.errors import ParameterError, SpecError
from foolscope.spec import format_value, parse_spec, parse_value, split

_LONGEST = 1000

_GRAY = {
    "linf": (0.05, 0.1, 0.15, 0.2, 0.25, 0.3),
    "l2": (0.5, 1.0, 1.5, 2.0, 2.5, 3.0),
    "l1": (5.0, 10.0, 20.0, 30.0, 40.0),
    "l0": (5.0, 10.0, 20.0, 40.0, 80.0),
}
_COLOR = {
    "linf": (1 / 255, 2 / 255, 4 / 255, 8 / 255, 16 / 255),
    "l2": (0.125, 0.25, 0.5, 1.0, 2.0),
    "l1": (2.0, 4.0, 8.0, 12.0, 24.0),
    "l0": (2.0, 5.0, 10.0, 20.0, 40.0),
}
_COLOR_VALUES = 3 * 32 * 32


UNRESTRICTED = ""
"""The norm of attacks that no radius bounds, such as filters."""


@dataclass(frozen=True)
class AttackGrid:
    """One attack and the radii that its result is told at, ascending, all above 0; 0 is the clean accuracy.

    A minimum-norm attack is run once for all of them.  An unrestricted attack has none and is run once.
    """

    attack: Attack
    eps: tuple[float, ...]

    @property
    def norm(self) -> str:
        """The norm that `eps` is measured in, or `UNRESTRICTED`."""
        return norm_of(self.attack)

    @property
    def label(self) -> str:
        """The attack's spec without its radius."""
        return without_eps(self.attack)

    @property
    def attacks(self) -> tuple[Attack, ...]:
        """What is run: the attack with each of its radii, or once."""
        if eps_of(self.attack) is None:
            return (self.attack,)
        return tuple(self.attack.replace(eps=eps) for eps in self.eps)


def norm_of(attack: Attack) -> str:
    """The name of the norm that an attack's radii are measured in, or `UNRESTRICTED`."""
    if eps_of(attack) is None and not attack.minimum_norm:
        return UNRESTRICTED
    return str(getattr(attack, "norm", "linf"))


def eps_of(attack: Attack) -> float | None:
    """The attack's radius; None of an unrestricted and of a minimum-norm one."""
    return getattr(attack, "eps", None)


def without_eps(attack: Attack) -> str:
    """The attack's spec without `eps`: what all points of a curve share."""
    spec = parse_spec(attack.spec())
    return str(replace(spec, options=tuple((key, value) for key, value in spec.options if key != "eps")))


def parse_eps(text: str) -> tuple[float, ...]:
    """Read `0:0.3:0.05` (first, last, step), `1/255,2/255,8/255`, or one number.

    Raises `SpecError` where that cannot be read, `ParameterError` for radii that are negative or not finite.
    """
    values: list[float] = []
    for item in text.split(","):
        numbers = [float(parse_value(part.strip(), float, "eps")) for part in item.split(":")]
        if len(numbers) == 1:
            values += numbers
        elif len(numbers) == 3:
            values += _range(item, *numbers)
        else:
            raise SpecError(f"eps: '{item}' is neither a number nor FIRST:LAST:STEP.")
    for value in values:
        if not (math.isfinite(value) and value >= 0):
            raise ParameterError(f"eps must be at least 0, got {format_value(value)}.")
    return tuple(sorted(set(values)))


def _range(item: str, first: float, last: float, step: float) -> list[float]:
    if not (step > 0 and last >= first and math.isfinite((last - first) / step)):
        raise SpecError(f"eps: '{item}' needs FIRST <= LAST and STEP > 0.")
    count = int((last - first) / step + 1e-9) + 1
    if count > _LONGEST:
        raise SpecError(f"eps: '{item}' are {count:,} values, more than {_LONGEST:,}.")
    return [float(f"{first + index * step:.10g}") for index in range(count)]


def parse_eps_by_norm(texts: Iterable[str]) -> dict[str, tuple[float, ...]]:
    """Read several `--eps` values: `0:0.3:0.1` for every norm, `l2=0:2:0.5` for one.  The key '' stands for every.

    Values of the same norm add up.  Raises `SpecError` and `ParameterError` as `parse_eps` does.
    """
    grids: dict[str, tuple[float, ...]] = {}
    for text in texts:
        norm, equals, grid = text.partition("=")
        if equals and norm not in _COLOR:
            raise SpecError(f"eps: unknown norm '{norm}' in '{text}': {', '.join(_COLOR)} can bound an attack.")
        key = norm if equals else ""
        grids[key] = tuple(sorted({*grids.get(key, ()), *parse_eps(grid if equals else text)}))
    return grids


def default_eps(norm: str, shape: Sequence[int]) -> tuple[float, ...]:
    """The usual radii for images of this (C, H, W): up to 0.3 for gray digits, 16/255 for color.

    l2, l1 and l0 grow with the image, so that the change per pixel stays comparable.
    """
    channels, height, width = shape
    if channels == 1:
        return _GRAY[norm]
    share = channels * height * width / _COLOR_VALUES
    if norm == "l0":
        return tuple(sorted({float(max(1, round(count * share))) for count in _COLOR[norm]}))
    scale = {"linf": 1.0, "l2": math.sqrt(share), "l1": share}[norm]
    return tuple(float(f"{eps * scale:.3g}") if norm != "linf" else eps for eps in _COLOR[norm])


def split_attacks(text: str) -> list[str]:
    """Split `fgsm,pgd:steps=20,norm=l2` into specs: a part that is KEY=VALUE belongs to the attack before it."""
    specs: list[str] = []
    for part in split(text, ","):
        if "=" in part.partition(":")[0] and specs:
            specs[-1] += ("," if ":" in specs[-1] else ":") + part
        else:
            specs.append(part)
    return [spec.strip() for spec in specs]


def specs_and_eps(grids: Sequence[AttackGrid]) -> tuple[list[str], dict[str, tuple[float, ...]]]:
    """The attacks and the radii a norm from which `attack_grids` makes these grids again.

    Where the attacks of a norm have different radii, those with a single one name it themselves, and the others have
    the default ones.
    """
    together = {grid.norm: grid.eps for grid in grids if grid.eps}
    for grid in grids:
        if together.get(grid.norm) != grid.eps:
            together.pop(grid.norm, None)
    return [grid.label if grid.norm in together else _with_eps(grid) for grid in grids], together


def _with_eps(grid: AttackGrid) -> str:
    """The attack's spec with its only radius, if it has one, also where that is the default."""
    if len(grid.eps) != 1 or eps_of(grid.attack) is None:
        return grid.label
    return f"{grid.label}{',' if ':' in grid.label else ':'}eps={format_value(grid.eps[0])}"


def attack_grids(
    attacks: Sequence[str | Attack], eps: Mapping[str, tuple[float, ...]], shape: Sequence[int]
) -> tuple[AttackGrid, ...]:
    """Give every attack its radii: those of `eps`, else the one that its spec names, else the default ones.

    Raises `SpecError` for unknown names, options, an attack that is given twice or has radii by both, and radii in a
    norm that no attack has, `ParameterError` where all radii are 0.
    """
    grids: dict[str, AttackGrid] = {}
    for given in attacks:
        attack = parse_attack(given) if isinstance(given, str) else given
        own = not isinstance(given, str) or any(key == "eps" for key, _ in parse_spec(given).options)
        if isinstance(given, str) and own and (eps.get(norm_of(attack)) or eps.get("")):
            raise SpecError(f"'{given}' names its own eps, and so does --eps: leave one of the two out.")
        grid = AttackGrid(attack, _radii(attack, eps, own, shape))
        if not grid.eps and grid.norm != UNRESTRICTED:
            raise ParameterError(f"{grid.label}: no radius above 0 is given; 0 is the clean accuracy, always shown.")
        if grid.label in grids:
            hint = " Several radii of one attack: --eps 0.1,0.2." if grids[grid.label].eps != grid.eps else ""
            raise SpecError(f"the attack '{grid.label}' is given twice.{hint}")
        grids[grid.label] = grid
    if not grids:
        raise SpecError(f"no attack is given; there are {', '.join(ATTACKS)}.")
    used = dict.fromkeys(grid.norm for grid in grids.values() if grid.norm != UNRESTRICTED)
    for norm in eps:
        if not used or (norm and norm not in used):
            found = f"those asked for are in {', '.join(used)}" if used else "those asked for have no radius"
            raise SpecError(f"eps: no attack is in {norm or 'any norm'}; {found}.")
    return tuple(grids.values())


def _radii(attack: Attack, eps: Mapping[str, tuple[float, ...]], own: bool, shape: Sequence[int]) -> tuple[float, ...]:
    """The radii above 0 that an attack is tried at; `own` says that its own `eps` goes before the default ones."""
    norm, radius = norm_of(attack), eps_of(attack)
    if norm == UNRESTRICTED:
        return ()
    chosen = eps.get(norm) or eps.get("") or ((radius,) if own and radius is not None else default_eps(norm, shape))
    return tuple(value for value in sorted(chosen) if value > 0)
