"""Measures against published, hand-computed and skimage's values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import structural_similarity
from torch import Tensor

from foolscope import measure
from foolscope.errors import InputError
from foolscope.images import quantize
from foolscope.measure import Proportion


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [  # Newcombe 1998, Statistics in Medicine 17, Table I, method 3: the score interval without continuity correction
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_as_published(successes: int, trials: int, low: float, high: float) -> None:
    share = Proportion(successes, trials)
    assert share.value == successes / trials
    assert share.low == pytest.approx(low, abs=5e-5)
    assert share.high == pytest.approx(high, abs=5e-5)


def test_wilson_at_the_ends() -> None:
    z2 = 1.959963984540054**2
    none, every = Proportion(0, 50), Proportion(50, 50)
    assert (none.value, none.low, every.value, every.high) == (0, 0, 1, 1)
    assert none.high == pytest.approx(z2 / (50 + z2))
    assert every.low == pytest.approx(50 / (50 + z2))
    empty = Proportion(0, 0)
    assert math.isnan(empty.value)
    assert (empty.low, empty.high) == (0.0, 1.0)


def test_proportions_as_text() -> None:
    assert str(Proportion(832, 1000)) == "83.2 % [80.8, 85.4]"
    assert str(Proportion(0, 20)) == "0.0 % [0.0, 16.1]"
    assert str(Proportion(0, 0)) == "no samples"


@given(st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_inverts_the_score_test(counts: tuple[int, int]) -> None:
    successes, trials = counts
    share = Proportion(successes, trials)
    assert 0 <= share.low <= share.value <= share.high <= 1
    for end in (share.low, share.high):
        if 0 < end < 1:  # an end is a share p whose distance to the seen one is 1.96 of its own standard errors
            assert abs(share.value - end) == pytest.approx(measure.Z_95 * math.sqrt(end * (1 - end) / trials), rel=1e-6)
    other = Proportion(trials - successes, trials)
    assert other.low == pytest.approx(1 - share.high, abs=1e-12)
    assert other.high == pytest.approx(1 - share.low, abs=1e-12)


@pytest.mark.parametrize(("successes", "trials"), [(-1, 5), (6, 5), (0, -1)])
def test_impossible_counts(successes: int, trials: int) -> None:
    message = f"^a proportion needs 0 <= successes <= trials, got {successes} of {trials}\\.$"
    with pytest.raises(InputError, match=message):
        Proportion(successes, trials)


def test_accuracy_counts_the_true_ones() -> None:
    assert measure.accuracy(torch.tensor([True, False, True])) == Proportion(2, 3)
    assert measure.accuracy(torch.zeros(0, dtype=torch.bool)) == Proportion(0, 0)


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        (torch.tensor([1, 0]), r"torch.int64 \(2,\)"),
        (torch.zeros(2, 2, dtype=torch.bool), r"torch.bool \(2, 2\)"),
        ([True], "list"),
    ],
)
def test_flags_that_are_none(flags: Tensor, found: str) -> None:
    with pytest.raises(InputError, match=f"^correct must be a bool tensor of shape \\(N,\\), got {found}\\.$"):
        measure.accuracy(flags)
    with pytest.raises(InputError, match=f"^correct must be a bool tensor of shape \\(N,\\), got {found}\\.$"):
        measure.per_class(flags, torch.zeros(2, dtype=torch.int64))
    with pytest.raises(InputError, match=f"^saved_success must be a bool tensor of shape \\(N,\\), got {found}\\.$"):
        measure.survives_saving(torch.tensor([True, True]), flags)


def test_per_class() -> None:
    correct, labels = torch.tensor([True, False, True, True]), torch.tensor([2, 2, 0, 2])
    named = measure.per_class(correct, labels, ["cat", "dog", "frog"])
    assert named == [("cat", Proportion(1, 1)), ("dog", Proportion(0, 0)), ("frog", Proportion(2, 3))]
    numbered = measure.per_class(correct, labels)
    assert numbered == [("0", Proportion(1, 1)), ("1", Proportion(0, 0)), ("2", Proportion(2, 3))]
    assert measure.per_class(correct[:0], labels[:0]) == []


def test_per_class_refuses_labels_without_a_name() -> None:
    with pytest.raises(InputError, match=r"^labels must be class indices from 0 to 1, found 0 to 2\.$"):
        measure.per_class(torch.tensor([True, True]), torch.tensor([0, 2]), ["cat", "dog"])
    with pytest.raises(InputError, match=r"^labels must have shape \(2,\), one for each image, got \(1,\)\.$"):
        measure.per_class(torch.tensor([True, True]), torch.tensor([0]), ["cat", "dog"])


def test_survival_counts_only_what_succeeded_before() -> None:
    success, saved = torch.tensor([True, True, True, False]), torch.tensor([True, False, True, True])
    assert measure.survives_saving(success, saved) == Proportion(2, 3)
    assert measure.survives_saving(~success & False, saved) == Proportion(0, 0)
    with pytest.raises(InputError, match=r"^success and saved_success must have the same length, got 4 and 3\.$"):
        measure.survives_saving(success, saved[:3])


def test_mean_interval_by_hand() -> None:
    found = measure.mean_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    reach = 2.7764451052 * math.sqrt(2.5) / math.sqrt(5)  # t(0.975, 4), from the tables
    assert (found.value, found.count) == (3.0, 5)
    assert found.low == pytest.approx(3 - reach)
    assert found.high == pytest.approx(3 + reach)
    assert str(found) == "3 [1.037, 4.963]"
    assert measure.mean_interval(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])) == found
    equal = measure.mean_interval(torch.full((10,), 0.5))
    assert (equal.low, equal.value, equal.high) == (0.5, 0.5, 0.5)


def test_mean_interval_of_one_and_of_none() -> None:
    one, none = measure.mean_interval([2.0]), measure.mean_interval([])
    assert (one.value, one.low, one.high, one.count) == (2.0, -math.inf, math.inf, 1)
    assert math.isnan(none.value)
    assert (none.low, none.high, none.count) == (-math.inf, math.inf, 0)
    assert str(none) == "no samples"


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_mean_interval_refuses_what_has_no_mean(value: float) -> None:
    with pytest.raises(InputError, match=f"^a mean needs finite values: value 1 is {value}\\.$"):
        measure.mean_interval([1.0, value])


def noisy(images: Tensor, deviation: float) -> Tensor:
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(9))
    return (images + deviation * noise).clamp(0, 1)


@pytest.mark.parametrize("deviation", [0.0, 0.001, 0.03, 0.3])
@pytest.mark.parametrize("shape", [(4, 3, 32, 32), (4, 1, 28, 28), (2, 3, 97, 64), (3, 3, 11, 17), (2, 1, 11, 11)])
def test_ssim_is_skimages(shape: tuple[int, ...], deviation: float) -> None:
    sharp = torch.rand(shape, generator=torch.Generator().manual_seed(3))
    for images in (sharp, F.avg_pool2d(sharp, 5, 1, 2), torch.full(shape, 0.7)):
        others = noisy(images, deviation)
        want = [
            structural_similarity(
                a.double().numpy(),
                b.double().numpy(),
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
                data_range=1,
                channel_axis=0,
            )
            for a, b in zip(images, others, strict=True)
        ]
        torch.testing.assert_close(measure.ssim(images, others), torch.tensor(want).float(), atol=1e-6, rtol=0)


def test_ssim_of_flat_images_by_hand() -> None:
    a, b = torch.full((1, 3, 16, 16), 0.2), torch.full((1, 3, 16, 16), 0.6)
    want = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert measure.ssim(a, b).item() == pytest.approx(want, abs=1e-6)


def test_ssim_of_images_smaller_than_the_window() -> None:
    generator = torch.Generator().manual_seed(4)
    a, b = torch.rand(1, 1, 3, 3, generator=generator), torch.rand(1, 1, 3, 3, generator=generator)
    line = torch.tensor([math.exp(-0.5 / 1.5**2), 1.0, math.exp(-0.5 / 1.5**2)], dtype=torch.float64)
    weights = torch.outer(line, line) / line.sum() ** 2  # one window, 3 x 3, the image itself
    x, y = a[0, 0].double(), b[0, 0].double()
    mean_x, mean_y = (weights * x).sum(), (weights * y).sum()
    var_x, var_y = (weights * (x - mean_x) ** 2).sum(), (weights * (y - mean_y) ** 2).sum()
    covariance = (weights * (x - mean_x) * (y - mean_y)).sum()
    want = (2 * mean_x * mean_y + 1e-4) / (mean_x**2 + mean_y**2 + 1e-4)
    want *= (2 * covariance + 9e-4) / (var_x + var_y + 9e-4)
    assert measure.ssim(a, b).item() == pytest.approx(want.item(), abs=1e-6)
    # A row of four pixels has a window of 3 x 3 at most, and one pixel is its own window.
    assert measure.ssim(a[:, :, :1], a[:, :, :1]).item() == 1
    one, other = torch.full((1, 1, 1, 1), 0.5), torch.full((1, 1, 1, 1), 0.25)
    assert measure.ssim(one, other).item() == pytest.approx((0.25 + 1e-4) / (0.3125 + 1e-4), abs=1e-6)


def test_ssim_in_a_large_batch_is_what_it_is_alone() -> None:
    images = torch.rand(90, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    others = noisy(images, 0.1)
    alone = torch.cat([measure.ssim(images[i : i + 1], others[i : i + 1]) for i in (0, 84, 85, 89)])  # 85 a chunk
    torch.testing.assert_close(measure.ssim(images, others)[[0, 84, 85, 89]], alone, atol=1e-7, rtol=0)
    assert torch.equal(measure.ssim(images, images), torch.ones(90))
    assert measure.ssim(images[:0], images[:0]).shape == (0,)


def test_psnr_by_hand() -> None:
    a = torch.full((3, 1, 10, 10), 0.5)
    b = a.clone()
    b[0] += 0.1
    b[1, 0, 0, 0] += 0.5  # mean squared error 0.25 / 100
    torch.testing.assert_close(measure.psnr(a, b), torch.tensor([20.0, -10 * math.log10(0.0025), math.inf]))


def test_distances_by_hand() -> None:
    original = torch.zeros(2, 3, 12, 12)
    adversarial = original.clone()
    adversarial[0, :, 0, 0] = 0.4  # one pixel, three channels
    adversarial[0, 1, 5, 5] = 0.2
    found = measure.distances(original, adversarial)
    assert found.l0.tolist() == [2, 0]
    torch.testing.assert_close(found.l1, torch.tensor([1.4, 0.0]))
    torch.testing.assert_close(found.l2, torch.tensor([math.sqrt(3 * 0.16 + 0.04), 0.0]))
    torch.testing.assert_close(found.linf, torch.tensor([0.4, 0.0]))
    torch.testing.assert_close(found.psnr, torch.tensor([10 * math.log10(432 / 0.52), math.inf]))
    assert torch.equal(found.ssim, measure.ssim(original, adversarial))
    assert found.ssim[0] < 1
    assert found.ssim[1] == 1


def test_measures_leave_the_images_alone() -> None:
    a = quantize(torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(6)))
    b = noisy(a, 0.1)
    before = a.clone(), b.clone()
    measure.distances(a, b)
    assert torch.equal(a, before[0])
    assert torch.equal(b, before[1])


@pytest.mark.parametrize("function", [measure.ssim, measure.psnr, measure.distances])
def test_images_that_cannot_be_compared(function: Callable[[Tensor, Tensor], object]) -> None:
    good = torch.rand(2, 3, 16, 16)
    cases = [
        (good, good[:1], "images to compare must have the same shape, got (2, 3, 16, 16) and (1, 3, 16, 16)."),
        (good, good.double(), "the second images must be float32 in [0, 1], got torch.float64."),
        (good.fill_(0) - 1, good, "the first images must be in [0, 1], found values from -1 to -1."),
    ]
    for a, b, message in cases:
        with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
            function(a, b)
