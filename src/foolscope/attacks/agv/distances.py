"""How far filtered images are from their originals, as an objective of the search.

`linf` and `l2` are norms of the difference of images in [0, 1].  `color` is the mean over the pixels of CIEDE2000, the
color difference that fits what eyes see (Luo, Cui and Rigg 2001; formulas as Sharma, Wu and Dalal 2005 print them, doi
10.1002/col.20070), which Zhao, Liu and Larson 2020 (arXiv 1911.02466) use to hide perturbations.  It needs no network,
unlike LPIPS; 1 is about the least difference that is seen, 100 that of black and white.

`Frechet` is the distance of two Gaussians (Dowson and Landau 1982) between features, FID where the features are
Inception's (Heusel et al. 2017, arXiv 1706.08500).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from foolscope.errors import InputError
from foolscope.norms import l2, linf

Distance = Callable[[Tensor, Tensor], Tensor]
"""(originals, images), both (N, C, H, W), to one number an image (N,), or one for all ()."""

_XYZ_FROM_RGB = (
    (0.412456439089692, 0.357576077643909, 0.180437483266399),
    (0.212672851405623, 0.715152155287818, 0.072174993306560),
    (0.019333895582329, 0.119192025881303, 0.950304078536368),
)
_CHUNK_PIXELS = 1 << 16


def color_difference(originals: Tensor, images: Tensor) -> Tensor:
    """Mean CIEDE2000 over the pixels of each image (N,), float32; pixels are sRGB, white is D65.

    Gray images count as RGB with equal channels.
    """
    size = max(1, _CHUNK_PIXELS // max(1, originals[0, 0].numel())) if len(originals) else 1
    chunks = [slice(begin, begin + size) for begin in range(0, len(originals), size)]
    parts = [ciede2000(lab(originals[rows]), lab(images[rows])).flatten(1).mean(1) for rows in chunks]
    return torch.cat([originals.new_empty(0), *(part.float() for part in parts)])


def lab(images: Tensor) -> Tensor:
    """CIE L*a*b* of sRGB images, float64 (N, 3, H, W): L in [0, 100]."""
    srgb = images.double().expand(-1, 3, -1, -1)
    linear = torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    matrix = torch.tensor(_XYZ_FROM_RGB, dtype=torch.float64, device=images.device)
    matrix = matrix / matrix.sum(1, keepdim=True)  # relative to white, so that gray has a = b = 0
    xyz = torch.einsum("ij,njhw->nihw", matrix, linear)
    cube_root, straight = xyz.clamp_min(1e-12) ** (1 / 3), xyz * (29 / 6) ** 2 / 3 + 4 / 29
    x, y, z = torch.where(xyz > (6 / 29) ** 3, cube_root, straight).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def ciede2000(first: Tensor, second: Tensor) -> Tensor:
    """Color difference of L*a*b* colors (N, 3, ...), per pixel (N, ...); all three weights are 1."""
    (l1, a1, b1), (l2_, a2, b2) = first.unbind(1), second.unbind(1)
    chroma = (torch.hypot(a1, b1) + torch.hypot(a2, b2)) / 2
    stretch = 1.5 - 0.5 * _saturated(chroma)
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = torch.hypot(a1, b1), torch.hypot(a2, b2)
    h1, h2 = _hue(a1, b1), _hue(a2, b2)
    gray = c1 * c2 == 0
    turn = torch.where(gray, 0, (h2 - h1 + math.pi) % (2 * math.pi) - math.pi)
    lightness, chroma = (l1 + l2_) / 2, (c1 + c2) / 2
    hue = torch.where(gray, h1 + h2, h1 + turn / 2)
    d_chroma, d_hue = c2 - c1, 2 * (c1 * c2).sqrt() * (turn / 2).sin()
    offset = (lightness - 50) ** 2
    s_lightness = 1 + 0.015 * offset / (20 + offset).sqrt()
    s_chroma, s_hue = 1 + 0.045 * chroma, 1 + 0.015 * chroma * _hue_weight(hue)
    blue = (hue.rad2deg() % 360 - 275) / 25
    rotation = -2 * _saturated(chroma) * (math.pi / 3 * (-(blue**2)).exp()).sin()
    terms = ((l2_ - l1) / s_lightness, d_chroma / s_chroma, d_hue / s_hue)
    squared = terms[0] ** 2 + terms[1] ** 2 + terms[2] ** 2 + rotation * terms[1] * terms[2]
    return squared.clamp_min(0).sqrt()


def _saturated(chroma: Tensor) -> Tensor:
    return (chroma**7 / (chroma**7 + 25.0**7)).sqrt()


def _hue(a: Tensor, b: Tensor) -> Tensor:
    """The hue's angle in [0, 2 pi)."""
    return torch.atan2(b, a) % (2 * math.pi)


def _hue_weight(hue: Tensor) -> Tensor:
    terms = ((-0.17, 1, -30), (0.24, 2, 0), (0.32, 3, 6), (-0.20, 4, -63))
    waves = [weight * (n * hue + math.radians(shift)).cos() for weight, n, shift in terms]
    return 1 + torch.stack(waves).sum(0)


class Frechet:
    """Frechet distance between the features of originals and images: one number for all of them.

        d^2 = |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))        m, S: mean and covariance of the features

    With S = X^T X the trace of (S1 S2)^(1/2) is the sum of the singular values of X1 X2^T, also where there are fewer
    images than features and S is singular.

    `features` maps images (N, C, H, W) to (N, D).  Distances compare only where N is the same: few images make it
    large.  Raises `InputError` for features of another shape and for fewer than 2 images.
    """

    def __init__(self, features: Callable[[Tensor], Tensor]) -> None:
        self.features = features

    def __call__(self, originals: Tensor, images: Tensor) -> Tensor:
        (m1, x1), (m2, x2) = (self._moments(x) for x in (originals, images))
        root = torch.linalg.svdvals(x1 @ x2.T).sum()
        squared: Tensor = (m1 - m2).square().sum() + x1.square().sum() + x2.square().sum() - 2 * root
        return squared.clamp_min(0)

    def _moments(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The features' mean (D,) and a triangular X (min(N, D), D) with X^T X their covariance."""
        with torch.no_grad():
            found = self.features(images)
        if found.ndim != 2 or len(found) != len(images) or len(images) < 2:
            shape = f"({len(images)}, D) with at least 2 images"
            raise InputError(f"fid needs features of shape {shape}, got {tuple(found.shape)}.")
        found = found.detach().double().cpu()
        mean = found.mean(0)
        return mean, torch.linalg.qr((found - mean) / (len(found) - 1) ** 0.5, mode="r").R


DISTANCES: Mapping[str, Distance] = {
    "linf": lambda originals, images: linf.length(images - originals),
    "l2": lambda originals, images: l2.length(images - originals),
    "color": color_difference,
}
"""The distances that need nothing else.  `ssim` (as 1 - SSIM) and `fid` are given to the evaluator."""
