"""Chains of filters: as values, as spec strings, as files, and the chains that AGV found.

    clarendon:strength=0.8,intensity=1.1|juno       a spec: filters from left to right, and chains by their names
    agv-a   agv-b   agv-a-code   agv-b-code         the thesis' chains; "-code": in its code's reading of the ids

A file is JSON, with the filters by name:

    {"format": "foolscope-chain", "version": 1, "title": "mine",
     "filters": [{"name": "juno", "strength": 0.4, "intensity": 0.9}]}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from torch import Tensor

from foolscope.errors import ParameterError, SpecError, nearest
from foolscope.filters import thesis
from foolscope.filters.batch import apply
from foolscope.filters.chain_file import LONGEST, read_chain, write_chain
from foolscope.filters.styles import FILTERS, Filter
from foolscope.registry import Registry
from foolscope.spec import Parameters, Spec, format_value, parameter, parse_pipeline, split


@dataclass(frozen=True)
class Chain:
    """1 to 10 filters, applied one after the other.  Chains with the same filters are equal, whatever their title.

    Raises `ParameterError` for another number of filters, and for something that is none.
    """

    filters: tuple[Filter, ...]
    title: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "filters", tuple(self.filters))
        if not 1 <= len(self.filters) <= LONGEST:
            raise ParameterError(f"a chain has 1 to {LONGEST} filters, got {len(self.filters)}.")
        for item in self.filters:
            if not isinstance(item, Filter):
                raise ParameterError(f"a chain is made of filters such as Juno(strength=0.5), got {item!r}.")

    def __call__(self, images: Tensor) -> Tensor:
        """The filtered `images`: float (N, C, H, W) in [0, 1] to the same shape and range, differentiable.

        Raises `InputError` for other shapes, and for gray images where a filter would color them.
        """
        kinds = [type(item) for item in self.filters]
        strengths, intensities = ([getattr(item, key) for item in self.filters] for key in ("strength", "intensity"))
        return apply(kinds, strengths, intensities, images)

    def spec(self) -> str:
        """The shortest spec string that `parse_chain` builds this chain from, extremes allowed."""
        return "|".join(item.spec() for item in self.filters)

    def to_json(self) -> str:
        """The chain as a file's text, which `from_json` reads."""
        return write_chain(self.filters, self.title)

    @classmethod
    def from_json(cls, text: str | bytes, ids: str = "thesis", name: str = "chain") -> Self:
        """The chain in a file's text: one of ours, or one of the thesis'.

        `ids` says how the numbers in a file of the thesis are read, as its text ('thesis') or its code ('code') has
        them.  `name` is what messages call the file.  Parameters need not be in the usual range: a strength from 0 to 1
        and an intensity from 0.1 to 5 are taken.
        Raises `CorruptError` for text that is no such file, `ParameterError` for parameters beyond these limits.
        """
        if ids not in thesis.IDS:
            raise SpecError(f"ids must be {' or '.join(thesis.IDS)}, got '{ids}'.")
        filters, title = read_chain(text, thesis.IDS[ids], name)
        return cls(tuple(filters), title)


def _published(content: Mapping[str, Any], title: str, ids: str) -> Chain:
    return Chain(Chain.from_json(json.dumps(dict(content)), ids).filters, title)


AGV_A = _published(thesis.AGV_A, "AGV-A", "thesis")
AGV_B = _published(thesis.AGV_B, "AGV-B", "thesis")
AGV_A_CODE = _published(thesis.AGV_A, "AGV-A, read as the code does", "code")
AGV_B_CODE = _published(thesis.AGV_B, "AGV-B, read as the code does", "code")

CHAINS: Registry[Chain] = Registry(
    "chain",
    "foolscope filters",
    {"agv-a": AGV_A, "agv-b": AGV_B, "agv-a-code": AGV_A_CODE, "agv-b-code": AGV_B_CODE},
)
"""Every chain that a spec can call by name."""


def parse_chain(text: str, *, allow_extreme: bool = False) -> Chain:
    """The chain that `clarendon:strength=0.8,intensity=1.1|juno` or a name such as `agv-a` stands for.

    In a longer chain a name stands for its filters: `agv-a|juno`.  Intensities outside the usual range, 0.5 to 1.5, are
    refused unless `allow_extreme`.
    Raises `SpecError` for unknown names and options, `ParameterError` out of range and for more than 10 filters.
    """
    name = text.strip().lower()
    if not name:
        raise SpecError(f"an empty chain: name at least one filter; '{FILTERS.listing}' lists all.")
    if name in CHAINS:
        return CHAINS[name]
    if not all(part.strip() for part in split(text, "|")):
        raise SpecError(f"an empty filter in the chain '{text}': name one on each side of every '|'.")
    return Chain(tuple(item for spec in parse_pipeline(text) for item in _filters(spec, allow_extreme)))


def _filters(spec: Spec, allow_extreme: bool) -> tuple[Filter, ...]:
    if spec.name in CHAINS:
        if spec != Spec(spec.name):
            raise SpecError(f"the chain '{spec.name}' has no parameters: give its name alone.")
        return CHAINS[spec.name].filters
    if spec.name not in FILTERS:
        near = nearest(spec.name, [*FILTERS, *CHAINS])
        raise SpecError(f"unknown filter '{spec.name}'.{near} '{FILTERS.listing}' lists all.")
    made = FILTERS[spec.name].from_spec(spec)
    low, high = made.usual_intensity
    if not allow_extreme and not low <= made.intensity <= high:
        usual = f"between {format_value(low)} and {format_value(high)}"
        raise ParameterError(
            f"{made.name}: intensity must be {usual} unless extremes are allowed, got {format_value(made.intensity)}."
        )
    return (made,)


@dataclass(frozen=True, kw_only=True)
class ChainParameters(Parameters):
    """The parameters of what a chain does, be it an attack or a defense."""

    chain: str = parameter("agv-b", "filters in parentheses, (clarendon:strength=0.8|juno), or a chain's name")
    allow_extreme: bool = parameter(False, "take intensities outside 0.5 to 1.5 too")

    def __post_init__(self) -> None:
        super().__post_init__()
        name = self.chain.strip().lower()
        object.__setattr__(self, "chain", name if name in CHAINS else self.filters.spec())

    @property
    def filters(self) -> Chain:
        """The chain itself; not kept beside the fields, which alone make the name of a result."""
        return parse_chain(self.chain, allow_extreme=self.allow_extreme)
