"""Whether a defense gains: the same images, without it and with it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foolscope.experiments.experiment import Arrays
from foolscope.measure import Proportion


@dataclass(frozen=True)
class Gain:
    """How many images a defense turns right and how many wrong, and how likely so unequal numbers are by chance.

    `p` is that of the exact two-sided sign test on the images that change (McNemar 1947), times the number of gains
    that the largest was chosen from (Bonferroni).
    """

    won: int
    lost: int
    p: float

    @classmethod
    def of(cls, before: NDArray[np.bool_], after: NDArray[np.bool_], choices: int = 1) -> Gain:
        """From which images (N,) are right without and with the defense."""
        from scipy.stats import binomtest

        won, lost = int((after & ~before).sum()), int((before & ~after).sum())
        p = binomtest(won, won + lost).pvalue if won + lost else 1.0
        return cls(won, lost, min(1.0, choices * float(p)))

    @property
    def is_shown(self) -> bool:
        """Whether it is a gain, and none that chance explains."""
        return self.won > self.lost and self.p < 0.05

    def __str__(self) -> str:
        return f"{self.won:,} images won, {self.lost:,} lost"


def helps_most(shares: Sequence[Sequence[Proportion]]) -> tuple[int, int]:
    """The victim and the radius, by their places, where a defense gains most over the first victim, the plain one."""
    places = itertools.product(range(1, len(shares)), range(len(shares[0])))
    return max(places, key=lambda at: shares[at[0]][at[1]].value - shares[0][at[1]].value)


def gain(arrays: Arrays, place: int, choices: int) -> Gain:
    """What the victim at `place` gains over the first one on the same images."""
    plain, behind = (arrays[f"prediction_{n}"] == arrays["label"] for n in (0, place))
    return Gain.of(plain, behind, choices)
