"""The hyperparameters of AGV, with the thesis' values as defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from foolscope.attacks.agv.genome import Pool
from foolscope.errors import ParameterError
from foolscope.spec import Parameters, parameter

OBJECTIVES = {"detection": 1.0, "linf": 1.0, "l2": 1.0, "ssim": 1.0, "color": 100.0, "fid": 200.0}
"""What can be minimized beside 1 - ASR, and the value that counts as 1; that of `l2` is of images from 0 to 1."""

OF_SETS = ("fid",)
"""Objectives that compare two sets of images, not image with image: they need 2 images and give no gradient."""

STRATEGIES = ("racing", "gradient", "plain")


@dataclass(frozen=True, kw_only=True)
class Evolution(Parameters):
    """What the universal search and the per-image attack share."""

    filters: int = parameter(5, "filters in a chain", low=1, high=10)
    pool: str = parameter("thesis", "filters to choose from: thesis (its five), all, or (NAME,NAME)")
    population: int = parameter(10, "chains that survive a generation", low=2, high=1000)
    epochs: int = parameter(3, "passes over the images, or generations of the per-image attack", low=1, high=10_000)
    samples: int = parameter(5, "inner strategy: points around each chain's amounts", low=2)
    generations: int = parameter(3, "inner strategy: steps", low=0)
    rate: float = parameter(0.1, "inner strategy: length of the first step, as a share of the search ranges", low=0)
    decay: float = parameter(0.75, "inner strategy: factor on the rate after each step", low=0, high=1)
    mutation: float = parameter(0.5, "probability that a gene is replaced", low=0, high=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        Pool(self.pool)

    def rates(self) -> list[float]:
        """The inner strategy's rate in each of its generations."""
        return [self.rate * self.decay**generation for generation in range(self.generations)]


@dataclass(frozen=True, kw_only=True)
class Settings(Evolution):
    """How the universal search runs: one chain for all images.

    ASR is the attack success rate.  Against the `label` it is the share, of the images that the network classifies
    right untouched, that it no longer does; against the `prediction` the share of all images whose prediction changes,
    as the thesis counts.  The search maximizes one of them; every result has both.
    """

    name: ClassVar[str] = "agv"
    listing: ClassVar[str] = "foolscope evolve"

    batch: int = parameter(100, "images that a generation looks at", low=1)
    objective: str = parameter(
        "detection", "minimized beside 1 - ASR, one or (ONE,ANOTHER): detection, linf, l2, ssim, color, fid"
    )
    against: str = parameter("label", "what an attack must change", choices=("label", "prediction"))
    several: str = parameter("worst", "how several models' rates become one", choices=("worst", "mean"))
    max_linf: float | None = parameter(None, "largest mean linf distance (none: unlimited)", low=0, high=1)
    strategy: str = parameter(
        "racing",
        "racing: few images first, detection where it decides; gradient: the same as a white box; plain: as the thesis",
        choices=STRATEGIES,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = [name for name in self.objectives if name not in OBJECTIVES]
        if unknown or len(set(self.objectives)) < len(self.objectives):
            known = ", ".join(OBJECTIVES)
            raise ParameterError(
                f"agv: objective must be one or several of {known}, each once, got '{self.objective}'."
            )

    @property
    def objectives(self) -> tuple[str, ...]:
        """What is minimized beside 1 - ASR."""
        return tuple(self.objective.replace(" ", "").split(","))

    @property
    def distances(self) -> tuple[str, ...]:
        """The objectives that are distances."""
        return tuple(name for name in self.objectives if name != "detection")

    @property
    def least_images(self) -> int:
        """The number of images that a chain must be tried on, for every objective to be defined."""
        return 2 if any(name in OF_SETS for name in self.objectives) else 1
