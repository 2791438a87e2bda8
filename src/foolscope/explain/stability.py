"""Explanations under attack: how maps change, and whether the noise falls where they point.

An attack that changes a map says little as long as random noise changes it as much (Ghorbani, Abid and Zou 2019, arXiv
1710.10547, find that on ImageNet random signs alone move most of the top pixels).  So every comparison stands beside
its null level: the same for random noise of the same l2 norm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from foolscope.errors import InputError, ParameterError
from foolscope.explain.frequencies import check_planes
from foolscope.explain.layers import gradient_engine
from foolscope.explain.maps import (
    Agreement,
    Explainer,
    agreement,
    check_maps,
    jointly_normalized,
    of_one_value,
    saliency_map,
)
from foolscope.explain.saliency import check_classes, pixel_ranking
from foolscope.explain.spectrum import white_noise
from foolscope.images import check_images
from foolscope.measure import Mean, mean_interval
from foolscope.models.engine import Engine
from foolscope.norms import expand, l2

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)

_HALVINGS = 30


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Maps of the originals for `original_classes` (N,) and of the adversarial images for `adversarial_classes` (N,).

    `original` and `adversarial` (N, H, W) are divided by their common maximum.  `agreement` compares them, and `null`
    the originals' with those of images under random noise of the same norm.
    """

    original_classes: Tensor
    adversarial_classes: Tensor
    original: Tensor
    adversarial: Tensor
    agreement: Agreement
    null: Agreement


@dataclass(frozen=True, kw_only=True)
class Stability:
    """Explanations before and after an attack.

    `true_class` has maps of the true class, `before` of the class predicted for the original and `after` of that
    predicted for the adversarial image, each for both images; `predicted` has what a user is shown: of either image,
    the map of its own prediction.  `noisy` are the images under random noise that the null levels are from.
    """

    true_class: Comparison
    before: Comparison
    after: Comparison
    predicted: Comparison
    noisy: Tensor


def explanation_stability(
    model: nn.Module | Engine,
    originals: Tensor,
    adversarial: Tensor,
    labels: Tensor,
    *,
    explain: Explainer = saliency_map,
    k: int | None = None,
    rng: torch.Generator | None = None,
) -> Stability:
    """Compare the explanations of `originals` and `adversarial`, both (N, C, H, W), with true classes `labels` (N,).

    `explain` is a method from `EXPLAINERS` or one of your own, `k` as for `agreement`; `rng` decides the random noise
    (default: seed 0).  Twelve maps an image are computed.
    Raises `InputError` for images or labels that break the contract and for models without gradients.
    """
    engine = gradient_engine(model, "an explanation")
    labels = check_classes(engine, originals, labels)
    check_images(adversarial, "adversarial images")
    if adversarial.shape != originals.shape:
        shapes = f"{tuple(originals.shape)}, got {tuple(adversarial.shape)}"
        raise InputError(f"adversarial images must have the originals' shape {shapes}.")
    noisy = equally_noisy(originals, adversarial, rng)
    before, after, random = (engine.predict(images) for images in (originals, adversarial, noisy))

    def compared(first: Tensor, second: Tensor, third: Tensor) -> Comparison:
        """Of the originals for the classes `first`, of the adversarial for `second`, of the noisy for `third`."""
        pairs = ((originals, first), (adversarial, second), (noisy, third))
        maps = [explain(engine, images, classes) for images, classes in pairs]
        shown = jointly_normalized(*maps[:2])
        return Comparison(
            original_classes=first,
            adversarial_classes=second,
            original=shown[0],
            adversarial=shown[1],
            agreement=agreement(maps[0], maps[1], k),
            null=agreement(maps[0], maps[2], k),
        )

    return Stability(
        true_class=compared(labels, labels, labels),
        before=compared(before, before, before),
        after=compared(after, after, after),
        predicted=compared(before, after, random),
        noisy=noisy,
    )


def equally_noisy(originals: Tensor, adversarial: Tensor, rng: torch.Generator | None = None) -> Tensor:
    """`originals` under Gaussian noise, as far from them in l2, after clipping to [0, 1], as `adversarial` is.

    The noise is scaled up until its clipped length is right, or until clipping leaves no more.
    """
    wanted = l2.length(adversarial - originals)
    noise = white_noise(adversarial - originals, rng)
    low, high = torch.zeros_like(wanted), torch.full_like(wanted, 64.0)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        short = l2.length((originals + expand(middle, noise) * noise).clamp(0, 1) - originals) < wanted
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    return (originals + expand(low, noise) * noise).clamp(0, 1)


@dataclass(frozen=True, kw_only=True)
class SalientEnergy:
    """Where a noise falls: its energy (squared l2 norm) on the most salient pixels, as shares of all.

    `pixels` (S,) are the shares of pixels taken, exactly, and what noise that ignores the map puts on them by chance.
    `energy` (N, S) are the shares of energy of each sample, NaN where there is no noise, and `means` their means with
    intervals.
    """

    pixels: Tensor
    energy: Tensor
    means: tuple[Mean, ...]


def energy_on_salient(noise: Tensor, maps: Tensor, shares: Sequence[float] = SHARES) -> SalientEnergy:
    """The share of the energy of `noise` (N, C, H, W) on the most salient pixels of `maps` (N, H, W).

    It is NaN, and not part of the means, of a map of one value, and where there is no noise.
    Each of `shares`, above 0 and up to 1, is rounded to whole pixels, at least one.
    Raises `InputError` for noise or maps of other shapes or that are not finite, `ParameterError` for other shares.
    """
    check_planes(noise, "noise")
    check_maps(maps)
    if maps.shape != (len(noise), *noise.shape[2:]):
        raise InputError(f"maps of noise {tuple(noise.shape)} must have its samples and size, got {tuple(maps.shape)}.")
    if not shares or not all(0 < share <= 1 for share in shares):
        raise ParameterError(f"shares of pixels must be above 0 and at most 1, got {tuple(shares)}.")
    count = maps[0].numel()
    energy = noise.double().square().sum(1).flatten(1)
    summed = energy.gather(1, pixel_ranking(maps)).cumsum(1) / energy.sum(1, keepdim=True)
    taken = torch.tensor([max(1, round(share * count)) for share in shares])
    found = summed[:, taken - 1].masked_fill(of_one_value(maps)[:, None], torch.nan).cpu()
    means = tuple(mean_interval(column[~column.isnan()]) for column in found.unbind(1))
    return SalientEnergy(pixels=taken.double() / count, energy=found, means=means)
