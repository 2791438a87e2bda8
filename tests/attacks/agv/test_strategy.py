"""The inner strategy minimizes, and every parameter follows its own component of the gradient."""

from __future__ import annotations

import pytest
import torch

from foolscope.attacks.agv.strategy import SIGMA, descend, points
from foolscope.randomness import generator


@pytest.mark.parametrize("seed", range(3))
def test_a_quadratic_with_a_known_optimum(seed: int) -> None:
    rng = generator(seed)
    best = torch.tensor([0.2, 0.9, 0.5, 0.35], dtype=torch.float64)
    center = torch.full((4,), 0.6, dtype=torch.float64)
    begin, rate = float((center - best).norm()), 0.02
    for _ in range(400):
        around = points(center, torch.randn(5, 4, generator=rng, dtype=torch.float64))
        losses = (around - best).square().sum(1)
        center = descend(center, around, losses, rate)
        rate *= 0.985
    assert begin > 0.5
    assert (center - best).abs().max() < 0.03


def test_every_parameter_moves_by_its_own_component() -> None:
    """The losses fall along the first parameter, rise along the second, and do not know the third."""
    noise = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], dtype=torch.float64)
    center = torch.full((3,), 0.5, dtype=torch.float64)
    around = points(center, noise)
    assert torch.allclose(around, 0.5 + SIGMA * noise)
    losses = 7 - 2 * around[:, 0] + 1 * around[:, 1]
    moved = descend(center, around, losses, 0.1) - center
    # The standardized losses are those of +-2, +-1, 0, 0 over their deviation; each component is a mean over 6 points.
    deviation = (10 / 6) ** 0.5
    expected = 0.1 * torch.tensor([2 * 2 / 6, -2 * 1 / 6, 0], dtype=torch.float64) / deviation
    torch.testing.assert_close(moved, expected)


def test_many_centers_at_once_are_as_one_by_one() -> None:
    rng = generator(1)
    centers = torch.rand(4, 6, generator=rng, dtype=torch.float64)
    around = points(centers, torch.randn(5, 4, 6, generator=rng, dtype=torch.float64))
    losses = torch.rand(5, 4, generator=rng, dtype=torch.float64)
    together = descend(centers, around, losses, 0.1)
    for place in range(4):
        torch.testing.assert_close(together[place], descend(centers[place], around[:, place], losses[:, place], 0.1))


def test_points_and_centers_stay_in_the_cube() -> None:
    rng = generator(2)
    center = torch.tensor([0.0, 1.0, 0.001, 0.999], dtype=torch.float64)
    around = points(center, torch.randn(50, 4, generator=rng, dtype=torch.float64))
    assert around.min() >= 0
    assert around.max() <= 1
    moved = descend(center, around, around.sum(1), 50.0)
    assert moved.min() >= 0
    assert moved.max() <= 1


def test_equal_losses_leave_the_center_where_it_is() -> None:
    center = torch.tensor([0.25, 0.75], dtype=torch.float64)
    around = points(center, torch.randn(5, 2, generator=generator(0), dtype=torch.float64))
    for loss in (0.0, 1.0, 1e-30, -3e5):
        assert torch.equal(descend(center, around, torch.full((5,), loss), 0.1), center)
