"""Maps: every method by its name, and how much two maps of the same image agree.

A map is float (N, H, W), one value of at least 0 a pixel.  Two maps are compared by the measures of Ghorbani, Abid and
Zou 2019 (arXiv 1710.10547) and of Adebayo et al. 2018 (arXiv 1810.03292): Spearman's rank correlation, the
intersection of the k most salient pixels, SSIM, and how far the center of mass moves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from foolscope.errors import InputError, ParameterError
from foolscope.explain.grad_cam import class_activation
from foolscope.explain.saliency import integrated_gradients, pixel_ranking, pixel_saliency, saliency, smooth_grad
from foolscope.measure import Mean, mean_interval, ssim
from foolscope.models.engine import Engine
from foolscope.registry import Registry

Explainer = Callable[[nn.Module | Engine, Tensor, Tensor], Tensor]
"""(model, images (N, C, H, W), labels (N,)) to maps (N, H, W), at least 0 and not normalized."""


def saliency_map(model: nn.Module | Engine, images: Tensor, labels: Tensor) -> Tensor:
    """The largest magnitude of `saliency` over the channels: (N, H, W)."""
    return pixel_saliency(saliency(model, images, labels))


def smooth_grad_map(model: nn.Module | Engine, images: Tensor, labels: Tensor) -> Tensor:
    """The largest magnitude of `smooth_grad` over the channels: (N, H, W)."""
    return pixel_saliency(smooth_grad(model, images, labels))


def integrated_gradients_map(model: nn.Module | Engine, images: Tensor, labels: Tensor) -> Tensor:
    """The largest magnitude of `integrated_gradients` over the channels: (N, H, W)."""
    return pixel_saliency(integrated_gradients(model, images, labels))


def grad_cam_map(model: nn.Module | Engine, images: Tensor, labels: Tensor) -> Tensor:
    """Grad-CAM enlarged to the images, not normalized: (N, H, W)."""
    return class_activation(model, images, labels).maps(*images.shape[-2:])


EXPLAINERS: Registry[Explainer] = Registry(
    "method",
    "foolscope explain --method list",
    {
        "saliency": saliency_map,
        "smooth-grad": smooth_grad_map,
        "integrated-gradients": integrated_gradients_map,
        "grad-cam": grad_cam_map,
    },
)
"""Every method that gives maps."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How much two maps of each of N images agree; all float64 (N,), NaN where a map has one value everywhere.

    `rank_correlation` is Spearman's, -1 to 1, of all pixels.  `intersection` is
    the share of the `k` most salient pixels that both have, 0 to 1; `k_chance`, k / pixels, is what random maps share.
    `ssim` is that of the maps divided by their common maximum.  `center_shift` is the distance of their centers of
    mass in pixels (defined for a map of one value, if that is not 0).
    """

    rank_correlation: Tensor
    intersection: Tensor
    ssim: Tensor
    center_shift: Tensor
    k: int
    k_chance: float

    def means(self) -> Mapping[str, Mean]:
        """The mean of each measure over the images where it is defined, with its interval."""
        names = ("rank_correlation", "intersection", "ssim", "center_shift")
        values = {name: getattr(self, name) for name in names}
        return {name: mean_interval(value[~value.isnan()]) for name, value in values.items()}


def agreement(first: Tensor, second: Tensor, k: int | None = None) -> Agreement:
    """Compare maps (N, H, W) of the same images.

    `k` is the number of most salient pixels (default: a tenth; Ghorbani et al. take 100 of CIFAR's 1,024 and 1,000 of
    ImageNet's 50,176).  Raises `InputError` for maps of different shapes, with negative or infinite values, and
    `ParameterError` for a k that is not between 1 and the number of pixels.
    """
    first, second = (check_maps(maps).detach().cpu() for maps in (first, second))
    if first.shape != second.shape:
        raise InputError(
            f"maps to compare must have the same shape, got {tuple(first.shape)} and {tuple(second.shape)}."
        )
    pixels = first[0].numel() if len(first) else 1
    k = max(1, pixels // 10) if k is None else k
    if not 1 <= k <= pixels:
        raise ParameterError(f"k must be between 1 and the {pixels} pixels of a map, got {k}.")
    x, y = jointly_normalized(first, second)
    flat = of_one_value(first) | of_one_value(second)
    return Agreement(
        rank_correlation=_rank_correlation(first, second),
        intersection=_intersection(first, second, k).masked_fill(flat, torch.nan),
        ssim=ssim(x[:, None], y[:, None]).double().masked_fill(flat, torch.nan),
        center_shift=torch.linalg.vector_norm(_center(first) - _center(second), dim=1),
        k=k,
        k_chance=k / pixels,
    )


def jointly_normalized(*maps: Tensor) -> tuple[Tensor, ...]:
    """Maps (N, H, W) of the same images, divided by the largest value that any of them has for the image: in [0, 1].

    Each by its own maximum, a faint map would look as strong as a strong one.
    """
    peak = torch.stack([m.flatten(1).amax(1) for m in maps]).amax(0)[:, None, None]
    return tuple(m.float() / peak.clamp_min(torch.finfo(torch.float32).tiny) for m in maps)


def of_one_value(maps: Tensor) -> Tensor:
    """Which maps (N, H, W) rank no pixel above another: bool (N,)."""
    flat = maps.flatten(1)
    return flat.amax(1) == flat.amin(1)


def check_maps(maps: Tensor) -> Tensor:
    """Return `maps` if they are finite (N, H, W) of at least 0.  Raises `InputError`."""
    if not isinstance(maps, Tensor) or maps.ndim != 3:
        found = tuple(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
        raise InputError(f"maps must have shape (N, H, W), got {found}; pixel_saliency makes them of (N, C, H, W).")
    if maps.numel() and not (maps.isfinite().all() and float(maps.min()) >= 0):
        raise InputError("maps must be finite and at least 0: take the magnitude of signed ones (pixel_saliency).")
    return maps


def _rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Pearson's correlation of the ranks, of which equals share their mean (N,)."""
    from scipy.stats import rankdata

    ranks = [torch.from_numpy(rankdata(m.flatten(1).numpy(), axis=1)).double() for m in (first, second)]
    x, y = (r - r.mean(1, keepdim=True) for r in ranks)
    return (x * y).sum(1) / (x.square().sum(1) * y.square().sum(1)).sqrt()


def _intersection(first: Tensor, second: Tensor, k: int) -> Tensor:
    top = [torch.zeros_like(m.flatten(1)).scatter_(1, pixel_ranking(m)[:, :k], 1) for m in (first, second)]
    return (top[0] * top[1]).sum(1).double() / k


def _center(maps: Tensor) -> Tensor:
    """The center of mass (N, 2), NaN where there is no mass."""
    mass = maps.double()
    total = mass.sum((1, 2))
    rows, columns = (torch.arange(n, dtype=torch.float64) for n in maps.shape[1:])
    return torch.stack([mass.sum(2) @ rows, mass.sum(1) @ columns], 1) / total[:, None]
