"""Genomes: sequences of filters with a strength and an intensity each, and the operators that vary them.

A gene is a filter of the pool and a point (strength, intensity) of the unit square, which the filter's search ranges
turn into amounts.  So a step of one length means the same for every parameter, and no operator can leave the ranges.
The operators take uniform random numbers, not a generator: the universal search draws them from one generator, the
per-image attack from a stream of each image.

One-point crossover and mutation of each gene with a probability are those of AGV (Baia, Di Bari and Poggioni 2021,
doi 10.1007/978-3-030-72699-7_35).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from foolscope import filters
from foolscope.errors import ParameterError
from foolscope.filters.chain import Chain
from foolscope.filters.styles import FILTERS

_DECIMALS = 4
"""Of strengths and intensities."""

THESIS = ("clarendon", "gingham", "reyes", "juno", "lark")
"""The five filters of the thesis."""


@dataclass(frozen=True, eq=False)
class Genomes:
    """Any number of sequences of m filters.

    `kinds` int64 (..., m) are indices into a pool, `values` float64 (..., m, 2) points (strength, intensity) of the
    unit square.
    """

    kinds: Tensor
    values: Tensor

    def __len__(self) -> int:
        return len(self.kinds)

    def __getitem__(self, index: Any) -> Genomes:
        return Genomes(self.kinds[index], self.values[index])

    def __iter__(self) -> Iterator[Genomes]:
        return (self[place] for place in range(len(self)))

    @staticmethod
    def cat(parts: Sequence[Genomes]) -> Genomes:
        """All genomes of `parts`, along the first dimension."""
        return Genomes(torch.cat([part.kinds for part in parts]), torch.cat([part.values for part in parts]))

    def where(self, condition: Tensor, other: Genomes) -> Genomes:
        """The genes of this where `condition` (..., m), else those of `other`."""
        kinds = torch.where(condition, self.kinds, other.kinds)
        return Genomes(kinds, torch.where(condition[..., None], self.values, other.values))


class Pool:
    """The filters that a search may use, with their search ranges.

    `text` is `thesis` (its five), `all`, or names joined by commas.  `law` is how random points are distributed over
    the unit square: `uniform`, or by the `arcsine` law, which is densest at the edges, where filters do least and most.
    Raises `SpecError` for unknown filters and `ParameterError` for a name given twice, an empty one and none.
    """

    def __init__(self, text: str, law: Literal["uniform", "arcsine"] = "uniform") -> None:
        self.names = {"thesis": THESIS, "all": tuple(FILTERS)}.get(text) or tuple(text.replace(" ", "").split(","))
        if not all(self.names):
            what = f"has an empty name: '{text}'" if text.strip() else "is empty"
            raise ParameterError(f"agv: the pool {what}: name filters, such as juno,lark, or thesis, or all.")
        kinds = [FILTERS[name] for name in self.names]
        if len(set(self.names)) < len(self.names):
            raise ParameterError(f"agv: pool must name each filter once, got '{text}'.")
        ranges = torch.tensor([[kind.strength_range, kind.intensity_range] for kind in kinds], dtype=torch.float64)
        self._law = law
        self._low, self._span = ranges[..., 0], ranges[..., 1] - ranges[..., 0]

    def __len__(self) -> int:
        return len(self.names)

    def random(self, draws: Tensor) -> Genomes:
        """Genomes from uniform numbers in [0, 1): (..., m, 3) to m genes each."""
        points = draws[..., 1:].double()
        values = points if self._law == "uniform" else (math.pi / 2 * points).sin().square()
        return Genomes((draws[..., 0] * len(self)).long(), values)

    def offspring(self, first: Genomes, second: Genomes, mutation: float, draws: Tensor) -> Genomes:
        """A child of each pair of parents (..., m), from uniform numbers (..., 1 + 4 m).

        The child has the first parent's genes up to a random cut and the second's from there on; each gene is then
        replaced by a random one with probability `mutation`.
        """
        genes = first.kinds.shape[-1]
        place = torch.arange(genes, device=first.kinds.device)
        cut = 1 + (draws[..., :1] * (genes - 1)).long()
        crossed = first.where(place < cut, second)
        mutated = draws[..., 1 : 1 + genes] < mutation
        fresh = self.random(draws[..., 1 + genes :].view(*draws.shape[:-1], genes, 3))
        return fresh.where(mutated, crossed)

    def amounts(self, genomes: Genomes) -> Tensor:
        """Strengths and intensities, float64 (..., m, 2), rounded where no gradient is asked for.

        So a chain is what was tried, to the last bit, and can be read and typed.
        """
        low, span = self._low.to(genomes.values.device), self._span.to(genomes.values.device)
        exact = low[genomes.kinds] + span[genomes.kinds] * genomes.values
        return exact if exact.requires_grad else exact.round(decimals=_DECIMALS)

    def apply(self, genomes: Genomes, images: Tensor) -> Tensor:
        """Filter images (N, C, H, W): all by one genome (m,), or each by its own (N, m).

        Gradients flow to `genomes.values` and to the images.
        """
        amounts = self.amounts(genomes)
        if genomes.kinds.ndim == 1:
            names = [self.names[kind] for kind in genomes.kinds.tolist()]
            strength, intensity = amounts.T.to(images) if amounts.requires_grad else amounts.T.tolist()
            return filters.apply(names, strength, intensity, images)
        amounts = amounts.to(images)
        for gene in range(genomes.kinds.shape[1]):
            images = self._each(genomes.kinds[:, gene], amounts[:, gene], images)
        return images

    def _each(self, kinds: Tensor, amounts: Tensor, images: Tensor) -> Tensor:
        """One filter a row: rows of one filter are filtered together."""
        places, parts = [], []
        for kind in torch.unique(kinds).tolist():
            rows = (kinds == kind).nonzero()[:, 0].to(images.device)
            strength, intensity = amounts[rows].T
            places.append(rows)
            parts.append(filters.apply([self.names[kind]], strength[None], intensity[None], images[rows]))
        return torch.cat(parts)[torch.cat(places).argsort()] if parts else images

    def chain(self, genome: Genomes) -> Chain:
        """The chain that one genome (m,) stands for."""
        pairs = zip(genome.kinds.tolist(), self.amounts(genome).tolist(), strict=True)
        return Chain(filters=tuple(FILTERS[self.names[kind]](strength=s, intensity=a) for kind, (s, a) in pairs))
