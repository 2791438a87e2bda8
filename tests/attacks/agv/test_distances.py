"""Distances against scikit-image, closed forms and hand-computed numbers."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import Tensor

from foolscope.attacks.agv import DISTANCES, Frechet, color_difference
from foolscope.attacks.agv.distances import ciede2000, lab
from foolscope.errors import InputError
from foolscope.randomness import generator
from tests.attacks.agv.worlds import colors

# Rows of the test data that Sharma, Wu and Dalal 2005 print: chosen for the cases that implementations get wrong.
SHARMA = (
    ((50.0000, 2.6772, -79.7751), (50.0000, 0.0000, -82.7485), 2.0425),
    ((50.0000, 0.0000, 0.0000), (50.0000, -1.0000, 2.0000), 2.3669),
    ((50.0000, 2.4900, -0.0010), (50.0000, -2.4900, 0.0009), 7.1792),
    ((50.0000, 2.4900, -0.0010), (50.0000, -2.4900, 0.0011), 7.2195),
    ((50.0000, 2.5000, 0.0000), (58.0000, 24.0000, 15.0000), 19.4535),
    ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
)


@pytest.mark.parametrize(("first", "second", "expected"), SHARMA)
def test_ciede2000_on_the_published_data(first: tuple[float, ...], second: tuple[float, ...], expected: float) -> None:
    one, other = (torch.tensor(color, dtype=torch.float64).view(1, 3) for color in (first, second))
    assert float(ciede2000(one, other)) == pytest.approx(expected, abs=5e-5)
    assert float(ciede2000(other, one)) == pytest.approx(expected, abs=5e-5)


def test_color_difference_is_that_of_scikit_image() -> None:
    first, second = torch.rand(2, 4, 3, 9, 7, generator=generator(0)).unbind()

    def rows(images: Tensor) -> NDArray[np.float64]:
        return np.asarray(rgb2lab(images.permute(0, 2, 3, 1).numpy().astype(np.float64)))

    # Both know sRGB's matrix to about 4 digits.
    np.testing.assert_allclose(lab(first).permute(0, 2, 3, 1).numpy(), rows(first), atol=0.02)
    expected = deltaE_ciede2000(rows(first), rows(second)).mean((1, 2))
    np.testing.assert_allclose(color_difference(first, second).numpy(), expected, rtol=1e-3)


def test_color_difference_of_gray_images_and_of_none() -> None:
    black, white = torch.zeros(2, 1, 3, 3), torch.ones(2, 1, 3, 3)
    torch.testing.assert_close(color_difference(black, white), torch.full((2,), 100.0), atol=1e-3, rtol=0)
    gray = torch.rand(2, 1, 3, 3, generator=generator(1))
    torch.testing.assert_close(color_difference(gray, white), color_difference(gray.expand(-1, 3, -1, -1), white))
    images = colors(3)
    assert torch.equal(color_difference(images, images), torch.zeros(3))
    assert color_difference(images[:0], images[:0]).shape == (0,)


def test_many_images_are_as_one_by_one() -> None:
    first, second = torch.rand(2, 3, 3, 200, 180, generator=generator(2)).unbind()
    alone = [color_difference(first[i : i + 1], second[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(color_difference(first, second), torch.cat(alone))


def test_norms_by_hand() -> None:
    first = torch.zeros(1, 3, 1, 2)
    second = torch.tensor([[0.3, 0.0], [0.0, 0.4], [0.0, 0.0]]).view(1, 3, 1, 2)
    assert float(DISTANCES["linf"](first, second)) == pytest.approx(0.4)
    assert float(DISTANCES["l2"](first, second)) == pytest.approx(0.5)


def test_the_frechet_distance_of_gaussians_by_hand() -> None:
    """Features that are shifted by d and scaled by c on one axis: |d|^2 + (1 - c)^2 times the variance."""
    features = torch.randn(400, 2, generator=generator(3), dtype=torch.float64)
    variance = float(features[:, 0].var())
    moved = features * torch.tensor([3.0, 1.0], dtype=torch.float64)
    shift = torch.tensor([0.5, -2.0], dtype=torch.float64) - moved.mean(0) + features.mean(0)
    distance = Frechet(lambda images: images.flatten(1))
    as_images = [part.view(400, 1, 1, 2) for part in (features, moved + shift)]
    # The axes are not quite uncorrelated, so the closed form holds to the correlation's square.
    expected = 0.5**2 + 2.0**2 + (3 - 1) ** 2 * variance
    assert float(distance(*as_images)) == pytest.approx(expected, rel=0.01)
    assert float(distance(as_images[0], as_images[0])) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("count", "dimensions"), [(40, 3), (3, 3), (2, 5), (6, 40), (5, 1)])
def test_the_frechet_distance_is_that_of_the_covariances(count: int, dimensions: int) -> None:
    """By eigenvalues; also where fewer images than features make the covariances singular."""
    draws = torch.randn(2, count, dimensions, generator=generator(4), dtype=torch.float64)
    first, second = draws[0], 0.3 + 1.7 * draws[1]
    s1, s2 = (features.T.cov().view(dimensions, dimensions) for features in (first, second))
    root = torch.linalg.eigvals(s1 @ s2).real.clamp_min(0).sqrt().sum()
    expected = (first.mean(0) - second.mean(0)).square().sum() + s1.trace() + s2.trace() - 2 * root
    images = [features.view(count, 1, 1, dimensions) for features in (first, second)]
    found = Frechet(lambda images: images.flatten(1))(*images)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("count", "shape", "message"),
    [
        (3, (3, 2, 2), "fid needs features of shape (3, D) with at least 2 images, got (3, 2, 2)."),
        (3, (2, 4), "fid needs features of shape (3, D) with at least 2 images, got (2, 4)."),
        (1, (1, 4), "fid needs features of shape (1, D) with at least 2 images, got (1, 4)."),
    ],
)
def test_features_of_another_shape_are_refused(count: int, shape: tuple[int, ...], message: str) -> None:
    images = colors(count)
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        Frechet(lambda _: torch.zeros(shape))(images, images)
