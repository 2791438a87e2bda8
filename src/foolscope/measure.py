"""Measures with intervals: accuracy and success, distances between images, what survives an 8-bit file.

Shares come with Wilson's interval (1927), which stays inside [0, 1] and is honest for few samples and near 0 and 1,
where the textbook's p +- 1.96 sqrt(p (1 - p) / n) is not.  SSIM is that of Wang, Bovik, Sheikh and Simoncelli (2004),
IEEE Trans. Image Processing 13(4), with the settings that they publish.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from foolscope import norms
from foolscope.errors import InputError
from foolscope.images import check_images, check_labels

Z_95 = 1.959963984540054
"""The standard normal's 97.5 % quantile: the z of a two-sided 95 % interval."""

_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2
_CHUNK_VALUES = 1 << 18


@dataclass(frozen=True)
class Proportion:
    """`successes` of `trials`, as a share with its 95 % Wilson interval; all shares are in [0, 1].

    Raises `InputError` for counts that are negative or more successes than trials.
    """

    successes: int
    trials: int

    def __post_init__(self) -> None:
        if not 0 <= self.successes <= self.trials:
            raise InputError(f"a proportion needs 0 <= successes <= trials, got {self.successes} of {self.trials}.")

    @property
    def value(self) -> float:
        """The share; NaN of 0 trials."""
        return self.successes / self.trials if self.trials else math.nan

    @property
    def low(self) -> float:
        """Lower end of the interval; 0 of 0 trials."""
        return self._interval()[0]

    @property
    def high(self) -> float:
        """Upper end of the interval; 1 of 0 trials."""
        return self._interval()[1]

    def _interval(self) -> tuple[float, float]:
        """(s + z^2/2 -+ z sqrt(s f / n + z^2/4)) / (n + z^2), with s successes and f failures."""
        successes, trials = self.successes, self.trials
        if not trials:
            return 0.0, 1.0
        center = successes + Z_95**2 / 2
        reach = Z_95 * math.sqrt(successes * (trials - successes) / trials + Z_95**2 / 4)
        # The ends that are exactly 0 or 1 are set: rounding would miss them.
        low = (center - reach) / (trials + Z_95**2) if successes else 0.0
        high = (center + reach) / (trials + Z_95**2) if successes < trials else 1.0
        return low, high

    def __str__(self) -> str:
        if not self.trials:
            return "no samples"
        return f"{100 * self.value:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}]"


@dataclass(frozen=True)
class Mean:
    """The mean of `count` values with its 95 % interval from `low` to `high`."""

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]" if self.count else "no samples"


@dataclass(frozen=True)
class Distances:
    """How far each adversarial image is from its original; every field has shape (N,).

    `l0` counts pixels (positions, over all channels) and is int64, the others are float32.  `l1`, `l2`, `linf` are
    norms of the difference of images in [0, 1]; `ssim` is 1 and `psnr` infinite for equal images.
    """

    l0: Tensor
    l1: Tensor
    l2: Tensor
    linf: Tensor
    ssim: Tensor
    psnr: Tensor


def accuracy(correct: Tensor) -> Proportion:
    """The share of True in bool (N,): accuracy of 'is the prediction right?', success rate of 'is it fooled?'.

    Raises `InputError` for another shape or type.
    """
    _check_flags(correct, "correct")
    return Proportion(int(correct.sum()), len(correct))


def per_class(
    correct: Tensor, labels: Tensor, class_names: Sequence[str] | None = None
) -> list[tuple[str, Proportion]]:
    """`accuracy` of each class, in the classes' order; a class without samples is 0 of 0.

    `labels` is int64 (N,).  Without `class_names` the classes are called 0, 1, ... up to the largest label.
    Raises `InputError` for labels out of range or another number of them.
    """
    _check_flags(correct, "correct")
    labels = check_labels(labels, len(correct), len(class_names) if class_names is not None else None)
    if class_names is None:
        class_names = [str(i) for i in range(int(labels.max()) + 1 if len(labels) else 0)]
    trials = torch.bincount(labels, minlength=len(class_names)).tolist()
    successes = torch.bincount(labels[correct], minlength=len(class_names)).tolist()
    return [(name, Proportion(s, t)) for name, s, t in zip(class_names, successes, trials, strict=True)]


def survives_saving(success: Tensor, saved_success: Tensor) -> Proportion:
    """Of the attacks that succeed on float images, the share that still do on what an 8-bit file keeps.

    Both are bool (N,): `success` judges the predictions of the float images, `saved_success` those of
    `images.quantize` of them.  Raises `InputError` where their shapes differ.
    """
    _check_flags(success, "success")
    _check_flags(saved_success, "saved_success")
    if success.shape != saved_success.shape:
        lengths = f"{len(success)} and {len(saved_success)}"
        raise InputError(f"success and saved_success must have the same length, got {lengths}.")
    return accuracy(saved_success[success])


def mean_interval(values: Tensor | Sequence[float]) -> Mean:
    """The mean of (N,) values with its 95 % interval by Student's t: m -+ t(0.975, N - 1) s / sqrt(N).

    One value has an infinite interval and none a NaN mean.  Raises `InputError` for values that are not finite, such
    as the PSNR of equal images.
    """
    from scipy.special import stdtrit

    sample = torch.as_tensor(values, dtype=torch.float64).flatten()
    if not sample.isfinite().all():
        bad = int((~sample.isfinite()).nonzero()[0])
        raise InputError(f"a mean needs finite values: value {bad} is {sample[bad].item()}.")
    count = len(sample)
    mean = sample.mean().item()
    if count < 2:
        return Mean(mean, -math.inf, math.inf, count)
    reach = float(stdtrit(count - 1, 0.975)) * sample.std().item() / math.sqrt(count)
    return Mean(mean, mean - reach, mean + reach, count)


def distances(original: Tensor, adversarial: Tensor) -> Distances:
    """All distances between images (N, C, H, W) in [0, 1].  Raises `InputError` for images that break the contract."""
    _check_pair(original, adversarial)
    difference = adversarial - original
    return Distances(
        l0=norms.l0(difference),
        l1=norms.l1.length(difference),
        l2=norms.l2.length(difference),
        linf=norms.linf.length(difference),
        ssim=ssim(original, adversarial),
        psnr=psnr(original, adversarial),
    )


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of images in [0, 1], in dB: 10 log10(1 / mean squared error), float32 (N,).

    Infinite for equal images.  Raises `InputError` for images that break the contract or differ in shape.
    """
    _check_pair(a, b)
    error = (a - b).flatten(1).square().mean(1, dtype=torch.float64)
    return (-10 * error.log10()).float()


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of images in [0, 1], mean over channels: float32 (N,), 1 for equal images.

    Gaussian window of 11 x 11 with sigma 1.5, K1 = 0.01, K2 = 0.03, covariances of the population, mean over the
    places where the window lies inside the image: skimage's `structural_similarity(gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False, data_range=1)`.  Where an image's side is shorter than 11 pixels, the window is cut to
    the largest odd side that fits (skimage refuses these).
    Raises `InputError` for images that break the contract or differ in shape.
    """
    _check_pair(a, b)
    if not a.numel():
        return a.new_ones(len(a))
    size = max(1, _CHUNK_VALUES // a[0].numel())
    chunks = [slice(begin, begin + size) for begin in range(0, len(a), size)]
    return torch.cat([_ssim(a[rows].detach(), b[rows].detach()) for rows in chunks])


def _ssim(a: Tensor, b: Tensor) -> Tensor:
    # float64: variances of flat regions are differences of nearly equal numbers.
    x, y = a.double(), b.double()
    mean_x, mean_y = _blur(x), _blur(y)
    variances = _blur(x * x + y * y) - mean_x**2 - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    structure = (2 * covariance + _C2) / (variances + _C2)
    return (luminance * structure).flatten(1).mean(1).float()


def _blur(x: Tensor) -> Tensor:
    """Weighted means over the window, where it lies inside: rows first, then columns, every channel by itself.

    Eleven shifted sums, because torch's convolution of one channel in float64 takes twenty times as long.
    """
    side = min(_WINDOW, *(length - 1 + length % 2 for length in x.shape[2:]))
    weights = [math.exp(-0.5 * (offset / _SIGMA) ** 2) for offset in range(-(side // 2), side // 2 + 1)]
    for dim in (2, 3):
        length = x.shape[dim] - side + 1
        total = x.narrow(dim, 0, length) * (weights[0] / sum(weights))
        for offset in range(1, side):
            total.add_(x.narrow(dim, offset, length), alpha=weights[offset] / sum(weights))
        x = total
    return x


def _check_pair(a: Tensor, b: Tensor) -> None:
    check_images(a, "the first images")
    check_images(b, "the second images")
    if a.shape != b.shape:
        raise InputError(f"images to compare must have the same shape, got {tuple(a.shape)} and {tuple(b.shape)}.")


def _check_flags(flags: Tensor, what: str) -> None:
    if not isinstance(flags, Tensor) or flags.dtype != torch.bool or flags.ndim != 1:
        found = f"{flags.dtype} {tuple(flags.shape)}" if isinstance(flags, Tensor) else type(flags).__name__
        raise InputError(f"{what} must be a bool tensor of shape (N,), got {found}.")
