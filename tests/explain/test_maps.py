"""How much maps agree: values worked out by hand, and SciPy's and scikit-image's."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from foolscope.errors import InputError, ParameterError, SpecError
from foolscope.explain import EXPLAINERS, agreement, jointly_normalized
from foolscope.measure import ssim
from tests.explain.networks import random, small


def test_a_map_agrees_with_itself() -> None:
    maps = random(3, 8, 9)
    found = agreement(maps, maps)
    assert found.rank_correlation.tolist() == pytest.approx([1, 1, 1])
    assert found.intersection.tolist() == [1, 1, 1]
    assert found.ssim.tolist() == pytest.approx([1, 1, 1])
    assert found.center_shift.tolist() == [0, 0, 0]
    assert (found.k, found.k_chance) == (7, 7 / 72)


def test_by_hand() -> None:
    first, second = torch.zeros(1, 4, 5), torch.zeros(1, 4, 5)
    first[0, 0, 0], first[0, 0, 4] = 3.0, 1.0  # center (0, 1)
    second[0, 3, 0], second[0, 0, 4] = 1.0, 1.0  # center (1.5, 2)
    found = agreement(first, second, k=2)
    assert found.intersection.tolist() == [0.5]
    assert found.center_shift.tolist() == pytest.approx([math.hypot(1.5, 1)])
    assert found.k_chance == 0.1


@given(seed=st.integers(0, 2**32), values=st.integers(2, 30))
def test_ranks_with_ties_are_those_of_scipy(seed: int, values: int) -> None:
    first, second = ((random(2, 5, 6, seed=seed + i) * values).floor() for i in (0, 1))
    found = agreement(first, second).rank_correlation
    for row in range(2):
        expected = spearmanr(first[row].flatten(), second[row].flatten()).statistic
        assert found[row].item() == pytest.approx(expected, abs=1e-12)


def test_maps_of_very_different_size_do_not_agree() -> None:
    """SSIM sees maps divided by their common maximum: a faint copy is not the same map."""
    maps = random(2, 16, 16)
    found = agreement(maps, 0.1 * maps)
    assert found.rank_correlation.tolist() == pytest.approx([1, 1])
    x, y = jointly_normalized(maps, 0.1 * maps)
    assert float(x.max()) == 1
    assert float(y.max()) == pytest.approx(0.1)
    assert torch.equal(found.ssim.float(), ssim(x[:, None], y[:, None]))
    assert float(found.ssim.max()) < 0.5


def test_what_is_not_defined_is_nan_and_not_counted() -> None:
    maps = random(3, 6, 6)
    other = maps.flip(1).clone()
    other[0], other[1] = 0.0, 0.5
    found = agreement(maps, other)
    assert found.rank_correlation.isnan().tolist() == [True, True, False]
    assert found.center_shift.isnan().tolist() == [True, False, False]
    means = found.means()
    assert [means[name].count for name in ("rank_correlation", "intersection", "ssim", "center_shift")] == [1, 1, 1, 2]


@pytest.mark.parametrize("name", EXPLAINERS)
def test_every_method_gives_maps(name: str) -> None:
    maps = EXPLAINERS[name](small(), random(2, 3, 12, 12), torch.tensor([0, 1]))
    assert maps.shape == (2, 12, 12)
    assert float(maps.min()) >= 0
    assert float(maps.max()) > 0


def test_bad_input() -> None:
    maps = random(2, 4, 4)
    with pytest.raises(
        InputError, match=r"^maps to compare must have the same shape, got \(2, 4, 4\) and \(1, 4, 4\)\.$"
    ):
        agreement(maps, maps[:1])
    with pytest.raises(
        InputError,
        match=r"^maps must have shape \(N, H, W\), got \(2, 1, 4, 4\); pixel_saliency makes "
        r"them of \(N, C, H, W\)\.$",
    ):
        agreement(maps[:, None], maps)
    with pytest.raises(
        InputError,
        match=r"^maps must be finite and at least 0: take the magnitude of signed ones "
        r"\(pixel_saliency\)\.$",
    ):
        agreement(maps, maps - 0.5)
    with pytest.raises(ParameterError, match=r"^k must be between 1 and the 16 pixels of a map, got 17\.$"):
        agreement(maps, maps, 17)
    with pytest.raises(
        SpecError,
        match=r"^unknown method 'gradcam'\. Did you mean grad-cam\? 'foolscope explain --method list' "
        r"lists all\.$",
    ):
        EXPLAINERS["gradcam"]
