"""Saliency: how fast a class's score changes with every pixel, and two smoother relatives.

    saliency                w = dS_c / dI                           Simonyan, Vedaldi, Zisserman 2013, arXiv 1312.6034
    SmoothGrad              mean of w over I + noise                Smilkov et al. 2017, arXiv 1706.03825
    integrated gradients    (I - B) x mean of w from B to I         Sundararajan, Taly, Yan 2017, arXiv 1703.01365

S_c is the logit, not the probability: near certainty, a probability's gradient vanishes whatever the image.

Where we deviate: SmoothGrad's noisy images are clipped to [0, 1], because that is what a model takes, and each image
has noise of its own, so that a batch gives what its images give alone.  The integral is taken by Gauss and Legendre's
rule, which is exact for polynomials of degree 2 steps - 1 and converges faster than the paper's sum.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foolscope.errors import InputError, ParameterError
from foolscope.explain.layers import gradient_engine
from foolscope.images import check_images, check_labels
from foolscope.models.engine import Engine, Objective
from foolscope.randomness import Streams, draw_seed, generator


def saliency(model: nn.Module | Engine, images: Tensor, labels: Tensor) -> Tensor:
    """dS_c / dI of the logits S of classes `labels` (N,) at `images` (N, C, H, W): signed, float32 (N, C, H, W).

    In logits per unit of image, that is per step from black to white.  The pixels where its magnitude is largest are
    those that need to change least to move the score (`pixel_saliency`, `pixel_ranking`).
    Raises `InputError` for images or labels that break the contract, for models without gradients, and where these
    are NaN or infinite.
    """
    engine, labels = _checked(model, images, labels, "saliency")
    return score_gradients(engine, images, labels)


def smooth_grad(
    model: nn.Module | Engine,
    images: Tensor,
    labels: Tensor,
    *,
    samples: int = 25,
    noise: float = 0.15,
    rng: torch.Generator | None = None,
) -> Tensor:
    """The mean of `samples` saliencies under Gaussian noise of standard deviation `noise`: (N, C, H, W).

    The paper sets 10 to 20 % of the image's range and 50 samples, and sees little gain above 50.  `rng` decides the
    noise (default: seed 0).  Raises as `saliency`, and `ParameterError` for fewer than 1 sample or negative noise.
    """
    if samples < 1 or not noise >= 0:
        raise ParameterError(f"SmoothGrad needs samples >= 1 and noise >= 0, got {samples} and {noise:g}.")
    engine, labels = _checked(model, images, labels, "SmoothGrad")
    total = torch.zeros_like(images)
    streams = Streams(draw_seed(rng or generator(0)), images)
    for _ in range(samples):
        noisy = (images + noise * streams.normal(tuple(images.shape[1:]))).clamp_(0, 1)
        total += score_gradients(engine, noisy, labels)
    return total / samples


def integrated_gradients(
    model: nn.Module | Engine, images: Tensor, labels: Tensor, *, baseline: Tensor | float = 0.0, steps: int = 32
) -> Tensor:
    """What every pixel adds to the score on the straight way from `baseline` to the image: (N, C, H, W), in logits.

    `baseline` is a gray level or an image that broadcasts to `images`, in [0, 1]; black by default.  The maps sum up to
    S_c(image) - S_c(baseline) but for the error of the integral, which `completeness_gap` tells.
    Raises as `saliency`, and `ParameterError` for fewer than 1 step or a baseline outside [0, 1].
    """
    from numpy.polynomial.legendre import leggauss

    if steps < 1:
        raise ParameterError(f"integrated gradients need steps >= 1, got {steps}.")
    engine, labels = _checked(model, images, labels, "integrated gradients")
    begin = _baseline(images, baseline)
    total = torch.zeros_like(images)
    nodes, weights = leggauss(steps)
    for node, weight in zip(((nodes + 1) / 2).tolist(), (weights / 2).tolist(), strict=True):
        total += weight * score_gradients(engine, torch.lerp(begin, images, node), labels)
    return (images - begin) * total


def completeness_gap(
    model: nn.Module | Engine, images: Tensor, labels: Tensor, maps: Tensor, *, baseline: Tensor | float = 0.0
) -> Tensor:
    """What integrated gradients `maps` miss: their sum less S_c(image) + S_c(baseline), in logits (N,).

    Far from 0 it asks for more `steps`.
    """
    engine, labels = _checked(model, images, labels, "integrated gradients")
    begin = _baseline(images, baseline)
    ends = (engine.logits(x).gather(1, labels[:, None])[:, 0] for x in (images, begin))
    return maps.flatten(1).sum(1) - next(ends) + next(ends)


def pixel_saliency(maps: Tensor) -> Tensor:
    """One value a pixel, the largest magnitude over the channels (Simonyan et al., 3.1): (N, C, H, W) to (N, H, W)."""
    return maps.abs().amax(1)


def pixel_ranking(maps: Tensor) -> Tensor:
    """Pixels from the most to the least salient: (N, C, H, W) or (N, H, W) to int64 (N, H * W), row by row.

    Pixel y * W + x; of equals, the first comes first.
    """
    values = pixel_saliency(maps) if maps.ndim == 4 else maps
    return values.flatten(1).argsort(dim=1, descending=True, stable=True)


def class_score(labels: Tensor) -> Objective:
    """The logit of each image's class as an objective."""
    return lambda logits, rows: logits.gather(1, labels.to(logits.device)[rows, None])[:, 0]


def score_gradients(engine: Engine, images: Tensor, labels: Tensor) -> Tensor:
    """dS_c / dI of checked images and labels.  Raises `InputError` where it is NaN or infinite."""
    found = engine.gradients(images, class_score(labels))
    if found.broken.any():
        first = int(found.broken.nonzero()[0])
        raise InputError(f"{engine.info.name} has NaN or infinite gradients, first for image {first} of the batch.")
    return found.images


def check_classes(engine: Engine, images: Tensor, labels: Tensor) -> Tensor:
    """Return `labels` as int64 (N,).  Raises `InputError` for images or labels that break the contract."""
    check_images(images)
    classes = engine.num_classes(images) if len(images) else None
    return check_labels(labels, len(images), classes).to(images.device)


def _checked(model: nn.Module | Engine, images: Tensor, labels: Tensor, what: str) -> tuple[Engine, Tensor]:
    engine = gradient_engine(model, what)
    return engine, check_classes(engine, images, labels)


def _baseline(images: Tensor, baseline: Tensor | float) -> Tensor:
    begin = torch.as_tensor(baseline, dtype=images.dtype, device=images.device)
    if begin.numel() and not (float(begin.min()) >= 0 and float(begin.max()) <= 1):
        raise ParameterError(
            f"the baseline must be in [0, 1], found values from {float(begin.min()):g} to {float(begin.max()):g}."
        )
    return begin.expand_as(images)
