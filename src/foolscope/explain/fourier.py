"""Which frequencies mislead a network: Fourier heat maps, and what is left of images and noises in a band.

Heat map (Yin et al. 2019, arXiv 1906.08988): the error rate under one wave of a fixed norm, for every frequency.

    x' = x + r v U_f,   U_f(y, x) ~ cos(2 pi (f_v y + f_h x) + pi / 4),  ||U_f||_2 = 1,  r = -1 or 1 at random

v is the l2 norm in each channel, so a color image moves by sqrt(3) v; the paper takes 4 on CIFAR-10 and 15.7 on
ImageNet.  The sign r is drawn for each image, channel and frequency.  Where we deviate: f and -f have the same U, so
half of the plane is computed and the other half mirrored; and the authors' code forgets v under random signs, ours does
not.  As theirs, ours does not clip unless asked to, because clipping shortens the norm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from foolscope.data.imageset import ImageSet
from foolscope.errors import InputError, ParameterError
from foolscope.explain.frequencies import CORNER, Band, Bins, HalfPlane, Profile, Watch, axis, filtered
from foolscope.explain.layers import engine_of
from foolscope.explain.saliency import check_classes
from foolscope.images import check_images
from foolscope.measure import Mean, Proportion, accuracy, mean_interval
from foolscope.models.engine import Engine
from foolscope.norms import expand, l2
from foolscope.randomness import Streams, draw_seed, generator

BANDS = (Band(0, 1 / 16), Band(1 / 16, 1 / 8), Band(1 / 8, 1 / 4), Band(1 / 4, CORNER))
"""Octaves; together the whole plane."""

_LARGEST_REACH = 31
_PHASE = math.pi / 4


@dataclass(frozen=True, kw_only=True)
class FourierHeatMap:
    """Errors under a wave of each frequency.

    `vertical` (R,) and `horizontal` (S,) are the axes in cycles per pixel, 0 in the middle.  `errors` (R, S) counts the
    wrong ones of `images` images, int64; `clean` is the error rate without a wave.  `radial` is the mean error rate
    over rings, with intervals over the images.  `norm` is v, the wave's l2 norm in each channel, and `clipped` whether
    images were clipped to [0, 1].
    """

    model: str
    data: str
    vertical: Tensor
    horizontal: Tensor
    errors: Tensor
    images: int
    clean: Proportion
    radial: Profile
    norm: float
    clipped: bool

    @property
    def rate(self) -> Tensor:
        """Error rates (R, S) in [0, 1], float64."""
        return self.errors.double() / self.images

    def at(self, row: int, column: int) -> Proportion:
        """The error rate at one frequency with its interval."""
        return Proportion(int(self.errors[row, column]), self.images)


@dataclass(frozen=True, kw_only=True)
class BandAccuracy:
    """Accuracy on what a band holds of the images."""

    band: Band
    accuracy: Proportion


@dataclass(frozen=True, kw_only=True)
class NoiseBand:
    """What one band of a noise does.

    `fooled` is the share of images that the band alone fools, of those that are right without and wrong with the whole
    noise; `energy` is the band's share of the noise's squared l2 norm on these, in [0, 1].
    """

    band: Band
    fooled: Proportion
    energy: Mean
    renormalized: bool


def fourier_heatmap(
    model: nn.Module | Engine,
    data: ImageSet,
    norm: float,
    *,
    reach: int | None = None,
    clip: bool = False,
    rng: torch.Generator | None = None,
    watch: Watch | None = None,
) -> FourierHeatMap:
    """The error rate on `data` under a wave of l2 norm `norm` a channel, for every frequency.

    `reach` is the highest frequency along each axis in cycles a side (default: all below Nyquist, 31 x 31 frequencies
    for images of 32 pixels, but at most 31, which the paper shows of ImageNet).  `rng` decides the signs (default:
    seed 0), `clip` cuts the images to [0, 1].  (2 reach + 1)^2 / 2 forward passes an image; models need no gradients.
    Raises `ParameterError` for a norm that is not above 0 and a reach above Nyquist, `InputError` where data and model
    do not fit.
    """
    engine = engine_of(model)
    if not 0 < norm < math.inf:
        raise ParameterError(f"norm must be above 0: 4 is usual for 32 x 32 pixels, 15.7 for 224 x 224; got {norm:g}.")
    data.check_against(engine.model)
    images, labels = data.images, data.labels
    if not len(images):
        raise InputError(f"a Fourier heat map needs at least one image, {data.name} has none.")
    height, width = images.shape[2:]
    vertical, horizontal = (
        axis(side, reach=min((side - 1) // 2, _LARGEST_REACH) if reach is None else reach) for side in (height, width)
    )
    half = HalfPlane.of(height, width, vertical, horizontal)
    streams = Streams(draw_seed(rng or generator(0)), images)
    wrong = torch.empty(len(images), len(half), dtype=torch.bool)
    for number in range(len(half)):
        signs = torch.where(streams.uniform((images.shape[1],)) < 0.5, -norm, norm)
        waved = images + signs[:, :, None, None] * fourier_basis(half, number)
        wrong[:, number] = engine.predict(waved.clamp_(0, 1) if clip else waved) != labels
        if watch:
            watch(number + 1, len(half))
    axes = vertical.double() / height, horizontal.double() / width
    return FourierHeatMap(
        model=engine.info.name,
        data=data.name,
        vertical=axes[0],
        horizontal=axes[1],
        errors=wrong.sum(0)[half.place],
        images=len(images),
        clean=accuracy(engine.predict(images) != labels),
        radial=_radial(wrong, half, Bins.rings(*axes)),
        norm=float(norm),
        clipped=clip,
    )


def fourier_basis(half: HalfPlane, number: int) -> Tensor:
    """U of one frequency: float32 (H, W) with l2 norm 1, whose DFT is 0 but at that frequency and its mirror image."""
    wave = (half.angles(slice(number, number + 1))[0] + _PHASE).cos()
    basis: Tensor = (wave / torch.linalg.vector_norm(wave)).float()
    return basis


def band_accuracy(model: nn.Module | Engine, data: ImageSet, bands: Sequence[Band] = BANDS) -> tuple[BandAccuracy, ...]:
    """Accuracy on low-, band- and high-passed images (`band_passed`).

    Raises `InputError` where data and model do not fit.
    """
    engine = engine_of(model)
    data.check_against(engine.model)
    images = data.images
    return tuple(
        BandAccuracy(band=band, accuracy=accuracy(engine.predict(band_passed(images, band)) == data.labels))
        for band in bands
    )


def band_passed(images: Tensor, band: Band) -> Tensor:
    """What the band holds of `images` (N, C, H, W), clipped to [0, 1].

    Each channel keeps its mean, whatever the band: without it, high-passed images would be half below black.
    """
    check_images(images)
    means = images.mean((2, 3), keepdim=True)
    passed: Tensor = (filtered(images - means, band) + means).clamp_(0, 1)
    return passed


def noise_bands(
    model: nn.Module | Engine,
    originals: Tensor,
    adversarial: Tensor,
    labels: Tensor,
    bands: Sequence[Band] = BANDS,
    *,
    renormalize: bool = False,
) -> tuple[NoiseBand, ...]:
    """Which band of an adversarial noise carries the fooling: only what it holds is added to the originals again.

    Counted are the images that are right in `originals` and wrong in `adversarial` (both (N, C, H, W), `labels` (N,)).
    With `renormalize` what the band holds is scaled to the whole noise's l2 norm, which asks for the direction alone;
    images are clipped to [0, 1] either way.  Raises `InputError` for images or labels that break the contract.
    """
    engine = engine_of(model)
    labels = check_classes(engine, originals, labels)
    check_images(adversarial, "adversarial images")
    if adversarial.shape != originals.shape:
        raise InputError(
            f"adversarial images must have the originals' shape {tuple(originals.shape)}, "
            f"got {tuple(adversarial.shape)}."
        )
    right, fooled = engine.predict(originals) == labels, engine.predict(adversarial) != labels
    rows = (right & fooled).nonzero()[:, 0]
    originals, labels, noise = originals[rows], labels[rows], (adversarial - originals)[rows]
    energy = l2.length(noise)
    found = []
    for band in bands:
        part = filtered(noise, band) if len(rows) else noise
        length = l2.length(part)
        if renormalize:
            part = part * expand(torch.where(length > 0, energy / length, torch.ones_like(length)), part)
        wrong = engine.predict((originals + part).clamp(0, 1)) != labels if len(rows) else rows.bool()
        share = mean_interval((length / energy).square())
        found.append(NoiseBand(band=band, fooled=accuracy(wrong.cpu()), energy=share, renormalized=renormalize))
    return tuple(found)


def _radial(wrong: Tensor, half: HalfPlane, rings: Bins) -> Profile:
    """Every image's error rate on each ring, from the half of the plane: `wrong` is (N, F)."""
    weights = torch.zeros(len(half), len(rings.coordinate), dtype=torch.float64)
    ones = torch.ones(half.place.numel(), dtype=torch.float64)
    weights.index_put_((half.place.flatten(), rings.index), ones, accumulate=True)
    return rings.profile(wrong.double() @ weights / rings.members)
