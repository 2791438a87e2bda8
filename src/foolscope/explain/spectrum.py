"""Spectra of noise: how its energy lies over spatial frequencies, beside white noise and beside the images' own.

    F = unitary DFT of a channel,  power |F|^2,  sum over frequencies of |F|^2 = ||noise||_2^2   (Parseval)

White noise of norm e has the power e^2 / (C H W) at every frequency, so what lies above that is where an attack writes.
The noise of FGSM has the same energy whatever it attacks: there, only the distribution tells anything (Fig. 15 and 16
of the report on interpreting adversarial attacks).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from foolscope.errors import InputError
from foolscope.explain.frequencies import Bins, Profile, axis, check_planes
from foolscope.measure import Mean, mean_interval
from foolscope.norms import expand, l2
from foolscope.randomness import Streams, draw_seed, generator

_CHUNK_VALUES = 1 << 22


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """The power of N samples over the frequencies, in squared units of the image range [0, 1].

    `vertical` (H,) and `horizontal` (W,) are the axes in cycles per pixel, 0 in the middle; `power` (C, H, W) is the
    mean of |F|^2 over the samples.  `energy` (N,) is each sample's sum, its squared l2 norm.  `radial` and `angular`
    are the mean power at a frequency of each ring and of each direction, over all channels.
    """

    vertical: Tensor
    horizontal: Tensor
    power: Tensor
    energy: Tensor
    radial: Profile
    angular: Profile

    @property
    def mean_energy(self) -> Mean:
        """The samples' mean energy with its interval."""
        return mean_interval(self.energy)


@dataclass(frozen=True, kw_only=True)
class NoiseSpectrum:
    """Spectra of a noise, of white noise with each sample's norm, and of the images, if given."""

    noise: Spectrum
    white: Spectrum
    images: Spectrum | None


def noise_spectrum(noise: Tensor, images: Tensor | None = None, *, rng: torch.Generator | None = None) -> NoiseSpectrum:
    """Spectra of `noise` (N, C, H, W), adversarial image less original, in units of the image range.

    Beside it the spectrum of Gaussian white noise, every sample scaled to the l2 norm of its noise and drawn by `rng`
    (default: seed 0), and that of `images` of the same shape, their mean included, as frequency 0.
    Raises `InputError` for noise that is not finite (N, C, H, W) with N at least 1, and for images of another shape.
    """
    noise = check_planes(noise, "noise").float()
    if images is not None and check_planes(images, "images").shape != noise.shape:
        raise InputError(f"images must have the noise's shape {tuple(noise.shape)}, got {tuple(images.shape)}.")
    return NoiseSpectrum(
        noise=power_spectrum(noise),
        white=power_spectrum(white_noise(noise, rng)),
        images=None if images is None else power_spectrum(images),
    )


def power_spectrum(x: Tensor) -> Spectrum:
    """The spectrum of any planes (N, C, H, W).  Raises `InputError` for values that are not finite and for none."""
    check_planes(x, "planes")
    count, channels, height, width = x.shape
    vertical, horizontal = axis(height).double() / height, axis(width).double() / width
    rings, directions = Bins.rings(vertical, horizontal), Bins.directions(vertical, horizontal)
    total = torch.zeros(channels, height, width, dtype=torch.float64)
    energy, radial, angular = [], [], []
    for power in _powers(x):
        total += power.sum(0)
        energy.append(power.flatten(1).sum(1))
        gray = power.mean(1)
        radial.append(rings.means(gray))
        angular.append(directions.means(gray))
    return Spectrum(
        vertical=vertical,
        horizontal=horizontal,
        power=total / count,
        energy=torch.cat(energy),
        radial=rings.profile(torch.cat(radial)),
        angular=directions.profile(torch.cat(angular)),
    )


def white_noise(like: Tensor, rng: torch.Generator | None = None) -> Tensor:
    """Gaussian white noise, each sample with the l2 norm of its sample in `like` (N, ...); drawn by `rng` (seed 0)."""
    noise = l2.steepest(Streams(draw_seed(rng or generator(0)), like).normal(tuple(like.shape[1:])))
    return noise * expand(l2.length(like), noise)


def _powers(x: Tensor) -> Iterator[Tensor]:
    """|F|^2 of a few samples after the other, 0 in the middle: float64 (n, C, H, W)."""
    size = max(1, _CHUNK_VALUES // x[0].numel())
    for begin in range(0, len(x), size):
        part = x[begin : begin + size].cpu().double()
        transform = torch.fft.fftshift(torch.fft.fft2(part, norm="ortho"), dim=(2, 3))
        yield transform.real.square() + transform.imag.square()
