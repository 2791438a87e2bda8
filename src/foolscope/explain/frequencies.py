"""The plane of spatial frequencies: axes in cycles per pixel, mirror symmetry, rings and directions, sinusoids, bands.

A sinusoid of frequency f = (vertical, horizontal) takes the value cos(2 pi (f_v y + f_h x) + phase) at pixel (y, x).
Along an axis an image holds frequencies up to 0.5 cycles per pixel (Nyquist), along the diagonal up to sqrt(0.5).
Real images do not tell f from -f, so half of the plane says all.  All planes have frequency 0 in the middle.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from foolscope.errors import InputError, ParameterError
from foolscope.measure import mean_interval

NYQUIST = 0.5
CORNER = math.sqrt(0.5)
CYCLES = "cycles per pixel"

Watch = Callable[[int, int], None]
"""Called with the number of frequencies that are done and of all.  Raising `Cancelled` in it stops."""

_ANGLES = 12


def axis(side: int, resolution: int | None = None, reach: int | None = None) -> Tensor:
    """Frequencies along a side of `side` pixels, ascending, as whole cycles a side: int64.

    All that the discrete Fourier transform has; with `resolution` that many, spread evenly; with `reach` those from
    -reach to reach.  Raises `ParameterError` for more than there are.
    """
    if reach is not None:
        largest = (side - 1) // 2
        if not 0 <= reach <= largest:
            raise ParameterError(
                f"reach must be between 0 and {largest} cycles a side for images of {side} pixels, got {reach}: more "
                f"is above the Nyquist frequency, {NYQUIST} {CYCLES}."
            )
        return torch.arange(-reach, reach + 1)
    count = side if resolution is None else resolution
    if not 1 <= count <= side:
        raise ParameterError(f"resolution must be between 1 and {side}, the image's side, got {resolution}.")
    places = torch.arange(count) - count // 2
    return (places.double() * side / count).round().long()


@dataclass(frozen=True)
class HalfPlane:
    """A grid of frequencies with each pair f, -f only once.

    `cycles` (F, 2) are the different ones, as whole cycles a side (vertical, horizontal), and `place` (R, S) says for
    every frequency of the grid which of them it is.  `height` and `width` are the image's.
    """

    height: int
    width: int
    cycles: Tensor
    place: Tensor

    @classmethod
    def of(cls, height: int, width: int, vertical: Tensor, horizontal: Tensor) -> HalfPlane:
        """The grid of the whole cycles `vertical` (R,) x `horizontal` (S,)."""
        rows, columns = torch.meshgrid(vertical, horizontal, indexing="ij")
        code = (rows % height) * width + columns % width
        mirrored = (-rows % height) * width + -columns % width
        distinct, place = torch.unique(torch.minimum(code, mirrored), return_inverse=True)
        return cls(height, width, torch.stack([distinct // width, distinct % width], 1), place)

    def __len__(self) -> int:
        return len(self.cycles)

    def angles(self, rows: slice) -> Tensor:
        """2 pi (f_v y + f_h x) of some of the frequencies at every pixel: float64 (n, H, W)."""
        cycles = self.cycles[rows]
        vertical = (cycles[:, :1] * torch.arange(self.height) % self.height).double() / self.height
        horizontal = (cycles[:, 1:] * torch.arange(self.width) % self.width).double() / self.width
        return 2 * math.pi * (vertical[:, :, None] + horizontal[:, None, :])


def sinusoids(height: int, width: int, frequencies: Tensor, phases: Tensor) -> Tensor:
    """cos(2 pi (f_v y + f_h x) + phase): `frequencies` (F, 2) in cycles per pixel, `phases` (P,) in radians.

    float32 (F, P, H, W), in [-1, 1].  Raises `ParameterError` for a frequency above Nyquist.
    """
    if frequencies.ndim != 2 or frequencies.shape[1] != 2:
        raise ParameterError(
            f"frequencies must have shape (F, 2): vertical and horizontal, got {tuple(frequencies.shape)}."
        )
    if len(frequencies) and float(frequencies.abs().max()) > NYQUIST:
        raise ParameterError(
            f"frequencies must be between -{NYQUIST} and {NYQUIST} {CYCLES} (Nyquist), got "
            f"{float(frequencies.abs().max()):g}: it would be seen as a lower one."
        )
    vertical, horizontal = frequencies.double().unbind(1)
    rows = vertical[:, None, None] * torch.arange(height)[:, None]
    columns = horizontal[:, None, None] * torch.arange(width)
    return shifted_cosines(2 * math.pi * (rows + columns), phases)


def shifted_cosines(angles: Tensor, phases: Tensor) -> Tensor:
    """cos(angle + phase) of float64 `angles` (n, H, W) for `phases` (P,): float32 (n, P, H, W)."""
    phases = phases.double()[:, None, None]
    return (angles.cos()[:, None] * phases.cos() - angles.sin()[:, None] * phases.sin()).float()


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Means along one coordinate of the plane: a curve of B points.

    `coordinate` (B,) is in `unit`: the radius in cycles per pixel, or the direction in degrees, 0 for waves that run
    to the right, 45 to the lower right and 90 downward.  `mean` (B,) is over the `members` (B,) frequencies at that
    coordinate and over `samples` samples, `low` and `high` its 95 % interval over the samples (infinite for one).
    """

    coordinate: Tensor
    unit: str
    mean: Tensor
    low: Tensor
    high: Tensor
    members: Tensor
    samples: int


@dataclass(frozen=True)
class Bins:
    """A division of the plane (R, S): `index` (R * S,) is each frequency's bin, -1 where it has none."""

    index: Tensor
    coordinate: Tensor
    unit: str

    @classmethod
    def rings(cls, vertical: Tensor, horizontal: Tensor) -> Bins:
        """Rings around 0, as wide as the frequencies are apart; axes in cycles per pixel, corners included."""
        width = max([float(a.diff().max()) for a in (vertical, horizontal) if len(a) > 1], default=1.0)
        number = (radius(vertical, horizontal) / width).round().flatten().long()
        present, index = torch.unique(number, return_inverse=True)
        return cls(index, present * width, CYCLES)

    @classmethod
    def directions(cls, vertical: Tensor, horizontal: Tensor) -> Bins:
        """Twelve directions from 0 to 180 degrees, without 0 and without the corners, which only diagonals have."""
        degrees = torch.rad2deg(torch.atan2(vertical.double()[:, None], horizontal.double()[None, :])) % 180
        number = (degrees * _ANGLES / 180).round().long().flatten() % _ANGLES
        far = radius(vertical, horizontal).flatten()
        number[(far == 0) | (far > NYQUIST + 1e-9)] = _ANGLES
        present, index = torch.unique(number, return_inverse=True)
        kept = present < _ANGLES
        index[index >= int(kept.sum())] = -1
        return cls(index, present[kept].double() * 180 / _ANGLES, "degrees")

    def means(self, values: Tensor) -> Tensor:
        """The mean of (N, R, S) over each bin's frequencies: float64 (N, B)."""
        inside = self.index >= 0
        sums = torch.zeros(len(values), len(self.coordinate), dtype=torch.float64)
        sums.index_add_(1, self.index[inside], values.flatten(1)[:, inside].double())
        return sums / self.members

    @property
    def members(self) -> Tensor:
        """The number of frequencies in each bin (B,)."""
        return torch.bincount(self.index[self.index >= 0], minlength=len(self.coordinate))

    def profile(self, means: Tensor) -> Profile:
        """The curve of the samples' `means` (N, B)."""
        intervals = [mean_interval(column) for column in means.unbind(1)]
        mean, low, high = (
            torch.tensor([getattr(interval, name) for interval in intervals], dtype=torch.float64)
            for name in ("value", "low", "high")
        )
        return Profile(
            coordinate=self.coordinate,
            unit=self.unit,
            mean=mean,
            low=low,
            high=high,
            members=self.members,
            samples=len(means),
        )


def radius(vertical: Tensor, horizontal: Tensor) -> Tensor:
    """The length of every frequency of a grid: float64 (R, S), in the axes' unit."""
    return torch.hypot(vertical.double()[:, None], horizontal.double()[None, :])


@dataclass(frozen=True, order=True)
class Band:
    """The frequencies f with low <= |f| < high, in cycles per pixel; `high` at the corner includes it.

    Raises `ParameterError` unless 0 <= low < high <= sqrt(0.5).
    """

    low: float = 0.0
    high: float = CORNER

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= CORNER + 1e-9:
            raise ParameterError(
                f"a band needs 0 <= low < high <= {CORNER:.4f} {CYCLES} (the corner of the plane; Nyquist is {NYQUIST} "
                f"along an axis), got {self.low:g} to {self.high:g}."
            )

    def __str__(self) -> str:
        return f"{self.low:.3f} to {self.high:.3f} {CYCLES}"

    def mask(self, height: int, width: int) -> Tensor:
        """Which frequencies of `torch.fft.fft2` of an image lie in the band: bool (H, W), 0 first."""
        length = radius(torch.fft.fftfreq(height, dtype=torch.float64), torch.fft.fftfreq(width, dtype=torch.float64))
        below = length < self.high if self.high < CORNER - 1e-9 else torch.ones_like(length, dtype=torch.bool)
        return (length >= self.low) & below


def filtered(x: Tensor, band: Band) -> Tensor:
    """What the band holds of `x` (N, C, H, W): an ideal filter by the discrete Fourier transform; periodic edges."""
    mask = band.mask(*x.shape[-2:]).to(x.device)
    kept: Tensor = torch.fft.ifft2(torch.fft.fft2(x.double()) * mask).real
    return kept.to(x.dtype)


def check_planes(x: Tensor, what: str) -> Tensor:
    """Return `x` if it is a finite float tensor (N, C, H, W) with N at least 1.  Raises `InputError`."""
    if not isinstance(x, Tensor) or x.ndim != 4 or not x.dtype.is_floating_point or not x.numel():
        found = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise InputError(f"{what} must be a float tensor (N, C, H, W) of at least one sample, got {found}.")
    finite = x.flatten(1).isfinite().all(1)
    if not finite.all():
        raise InputError(f"{what} must be finite: sample {int((~finite).nonzero()[0])} has NaN or infinite values.")
    return x.detach()
