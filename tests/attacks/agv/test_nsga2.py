"""Survival: against the known fronts of ZDT1-3, and against brute force."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from foolscope.attacks.agv.nsga2 import Array, front, hypervolume, survivors

Function = Callable[[Array, Array], Array]
"""(f1, g) to f2."""

ZDT: dict[str, Function] = {
    "zdt1": lambda f1, g: g * (1 - np.sqrt(f1 / g)),
    "zdt2": lambda f1, g: g * (1 - (f1 / g) ** 2),
    "zdt3": lambda f1, g: g * (1 - np.sqrt(f1 / g) - f1 / g * np.sin(10 * np.pi * f1)),
}
"""Zitzler, Deb and Thiele 2000, doi 10.1162/106365600568202, with 8 variables."""


def objectives(points: Array, f2: Function) -> Array:
    g = 1 + 9 * points[:, 1:].mean(1)
    return np.column_stack([points[:, 0], f2(points[:, 0], g)])


def known_front(f2: Function) -> Array:
    """On it g = 1; of ZDT3's curve only the parts that nothing dominates."""
    f1 = np.linspace(0, 1, 400)
    curve = np.column_stack([f1, f2(f1, np.ones_like(f1))])
    return curve[[not dominated(point, curve) for point in curve]]


def dominated(point: Array, others: Array) -> bool:
    return bool(((others <= point).all(1) & (others < point).any(1)).any())


def children(parents: Array, rng: np.random.Generator) -> Array:
    """Differential variation with some noise: this file's own, survival alone is tested."""
    a, b, c = (parents[rng.permutation(len(parents))] for _ in range(3))
    varied = np.where(rng.random(parents.shape) < 0.7, a + 0.6 * (b - c), a)
    noise = rng.normal(0, 0.1, parents.shape) * (rng.random(parents.shape) < 0.1)
    return np.clip(varied + noise, 0, 1)


@pytest.mark.parametrize("name", ZDT)
def test_survival_leads_to_the_known_front(name: str) -> None:
    rng, f2, size = np.random.default_rng(0), ZDT[name], 40
    points = rng.random((size, 8))
    for generation in range(120):
        points = np.concatenate([points, children(points, rng)])
        points = points[survivors(objectives(points, f2), np.zeros(len(points)), size, generation)]
    found, known = objectives(points, f2), known_front(f2)
    to_known = np.linalg.norm(found[:, None] - known, axis=2)
    assert to_known.min(1).max() < 0.03, "every survivor is near the front"
    assert to_known.min(0).mean() < 0.02, "the survivors are near all of the front (IGD)"
    low, scale = np.array([0.0, -1.0]), np.array([1.1, 2.1])  # ZDT3 reaches below 0; the corner is (1.1, 1.1)
    ours, best = (hypervolume((values - low) / scale) for values in (found, known))
    assert 0.97 * best < ours <= best * 1.001


def test_the_front_is_what_nothing_dominates() -> None:
    points = np.array([[0.1, 0.9], [0.5, 0.5], [0.5, 0.5], [0.5, 0.6], [0.9, 0.1], [0.95, 0.1]])
    assert front(points, np.zeros(6)) == [0, 1, 2, 4]


@hypothesis_settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=12))
def test_the_front_by_brute_force(rows: list[tuple[int, ...]]) -> None:
    points = np.array(rows, dtype=np.float64)
    expected = [place for place, point in enumerate(points) if not dominated(point, points)]
    assert front(points, np.zeros(len(points))) == expected


def test_a_violation_is_worse_than_any_objective() -> None:
    points, violations = np.array([[0.9, 0.9], [0.0, 0.0], [0.1, 0.1], [0.2, 0.2]]), np.array([0.0, 0.3, 0.1, 0.2])
    assert front(points, violations) == [0]
    assert front(points[1:], violations[1:]) == [1]
    for count, expected in ((1, [0]), (2, [0, 2]), (3, [0, 2, 3]), (4, [0, 2, 3, 1]), (9, [0, 2, 3, 1])):
        assert survivors(points, violations, count, seed=0) == expected
    assert survivors(points[1:], violations[1:], 2, seed=0) == [1, 2]


@hypothesis_settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 9)] * 2), min_size=1, max_size=12), st.integers(1, 12), st.integers(0, 99))
def test_survivors_are_whole_fronts_first(rows: list[tuple[int, int]], count: int, seed: int) -> None:
    points = np.array(rows, dtype=np.float64)
    chosen = survivors(points, np.zeros(len(points)), count, seed)
    assert len(chosen) == len(set(chosen)) == min(count, len(points))
    ranks, left, rank = np.zeros(len(points)), list(range(len(points))), 0
    while left:
        best = [left[place] for place in front(points[left], np.zeros(len(left)))]
        ranks[best], left, rank = rank, [place for place in left if place not in best], rank + 1
    others = [place for place in range(len(points)) if place not in chosen]
    assert all(ranks[i] <= ranks[j] for i in chosen for j in others)
    assert chosen == survivors(points, np.zeros(len(points)), count, seed)


def test_of_a_front_that_does_not_fit_those_with_most_space_survive() -> None:
    x = np.array([0.0, 0.02, 0.04, 0.3, 0.6, 1.0])
    line = np.column_stack([x, 1 - x])
    assert sorted(survivors(line, np.zeros(6), 4, seed=0)) == [0, 3, 4, 5]


def test_hypervolume_by_hand() -> None:
    assert hypervolume(np.empty((0, 2))) == 0
    assert hypervolume(np.array([[0.5, 0.5]])) == pytest.approx(0.25)
    assert hypervolume(np.array([[0.2, 0.5], [0.5, 0.2]])) == pytest.approx(0.8 * 0.5 + 0.5 * 0.3)
    assert hypervolume(np.array([[0.2, 0.5], [0.4, 0.6]])) == pytest.approx(0.4), "a dominated point adds nothing"
    assert hypervolume(np.array([[0.5, 1.2]])) == 0, "beyond the cube there is none"
    assert hypervolume(np.array([[0.5, 0.5, 0.0]])) == pytest.approx(0.25)
