"""Who survives: non-dominated sorting and crowding distance, as in NSGA-II (Deb et al. 2002, doi 10.1109/4235.996017).

All objectives are minimized.  A candidate that violates the constraint is worse than any that does not, and better
than one that violates it more (Deb's rule).  Sorting, crowding and hypervolume are pymoo's (Blank and Deb 2020,
doi 10.1109/ACCESS.2020.2990567).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def survivors(objectives: Array, violations: Array, count: int, seed: int) -> list[int]:
    """Indices of the `count` best of (n, k) objectives with constraint violations (n,), 0 where there is none.

    Whole fronts survive in their order; of the front that does not fit, those with most space around them.  Equal
    crowding distances are told apart by `seed`.
    """
    from pymoo.core.population import Population
    from pymoo.core.problem import Problem
    from pymoo.operators.survival.rank_and_crowding import RankAndCrowding

    feasible = np.flatnonzero(violations <= 0)
    chosen: list[int] = []
    if len(feasible):
        population: Any = Population.new("F", objectives[feasible])
        rng = np.random.default_rng(seed)
        places = RankAndCrowding().do(Problem(), population, n_survive=count, random_state=rng, return_indices=True)
        chosen = [int(place) for place in feasible[places]]
    others = np.flatnonzero(violations > 0)
    ranked = others[np.argsort(violations[others], kind="stable")]
    return chosen + [int(place) for place in ranked[: max(0, count - len(chosen))]]


def front(objectives: Array, violations: Array) -> list[int]:
    """Indices of those that none dominates; equal ones do not dominate each other."""
    if not len(objectives):
        return []
    chosen = np.flatnonzero(violations <= max(0.0, violations.min()))
    points = objectives[chosen]
    better = (points[:, None] <= points[None]).all(2) & (points[:, None] < points[None]).any(2)
    return [int(i) for i in chosen[~better.any(0)]]


def hypervolume(objectives: Array) -> float:
    """Volume of the part of the unit cube that the points (n, k) dominate."""
    if not len(objectives):
        return 0.0
    from pymoo.indicators.hv import HV

    return float(HV(ref_point=np.ones(objectives.shape[1]))(objectives))
