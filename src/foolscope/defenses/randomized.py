"""Defenses that draw random numbers: resizing and padding, JPEG of a random quality, Gaussian noise.

They draw anew whenever they run, for each image on its own, from torch's generators (noise from that of the images'
device), which attacks seed: the same seed gives the same bits.  An attack that follows the gradient of a single draw
is misled, and the defense looks better than it is.  Average the gradients over draws, by an `Expectation` in the
network's place (`foolscope.models.expectation`): expectation over transformation (Athalye, Engstrom, Ilyas and Kwok
2018, arXiv 1707.07397; Athalye, Carlini and Wagner 2018, arXiv 1802.00420, for these defenses).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from foolscope.defenses.defense import Transform
from foolscope.defenses.jpeg import codec, subsampling
from foolscope.errors import ParameterError
from foolscope.images import check_images
from foolscope.jpeg.codec import check_settings
from foolscope.spec import parameter


def _gradient(itself: str) -> Any:
    """The field of a defense that is followed as `itself`, unless one asks for less."""
    return parameter(
        "differentiable",
        f"what an adaptive attack differentiates: {itself}, the identity, nothing",
        choices=("differentiable", "straight-through", "none"),
    )


@dataclass(frozen=True, kw_only=True)
class ResizePad(Transform):
    """Shrink to a random size, and pad with zeros to the old one, at a random place.

    The share of the old size is uniform from `scale` to 1, the same for height and width, and the interpolation is
    bilinear.  Xie et al. enlarge images of 299 pixels to at most 331, by nearest neighbors, for a network that takes
    those; here the network keeps its input, and images become smaller in the same proportion.
    """

    name: ClassVar[str] = "resize-pad"
    summary: ClassVar[str] = "shrink to a random size, pad at a random place"
    source: ClassVar[str] = "Xie, Wang, Zhang, Ren, Yuille 2018, arXiv 1711.01991"
    random: ClassVar[bool] = True
    exact: ClassVar[bool] = True

    scale: float = parameter(0.9, "smallest size, as a share of the image's", low=0.1, high=1)
    gradient: str = _gradient("the interpolation itself")

    def apply(self, images: Tensor) -> Tensor:
        """The padded images: float32 (N, C, H, W), differentiable."""
        share, *places = torch.rand(3, len(check_images(images)), dtype=torch.float64)
        share = self.scale + (1 - self.scale) * share
        down, across = (
            _interpolation(size, share, place).to(images) for size, place in zip(images.shape[2:], places, strict=True)
        )
        out = down[:, None] @ images @ across[:, None].mT
        # Weights that add up to 1 may lead out of the box by a rounding error, which must not stop a gradient.
        out = out - (out - out.clamp(0, 1)).detach()
        return torch.empty_like(images, requires_grad=False).copy_(out)


@dataclass(frozen=True, kw_only=True)
class RandomJPEG(Transform):
    """Save each image as JPEG of a random quality, uniform from `low` to `high`, and open it again.

    The range is that of Das et al., who draw one of four qualities for each block of 8 x 8 pixels.
    """

    name: ClassVar[str] = "random-jpeg"
    summary: ClassVar[str] = "save as JPEG of a random quality and open again"
    source: ClassVar[str] = "Das et al. 2018 (SHIELD), arXiv 1802.06816"
    random: ClassVar[bool] = True

    low: int = parameter(20, "lowest quality", low=1, high=100)
    high: int = parameter(80, "highest quality", low=1, high=100)
    subsampling: str = subsampling()
    gradient: str = _gradient("a smooth JPEG")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low > self.high:
            raise ParameterError(f"random-jpeg: low must not be above high, got {self.low} and {self.high}.")

    def apply(self, images: Tensor) -> Tensor:
        """The images after the codec: float32 (N, C, H, W), multiples of 1/255; a gradient if it is differentiable."""
        check_settings(images, self.low, self.subsampling)  # of the whole batch, before it is cut
        drawn = torch.randint(self.low, self.high + 1, (len(images),))
        out = torch.empty_like(images, requires_grad=False)
        for quality in sorted(set(drawn.tolist())):
            rows = (drawn == quality).nonzero()[:, 0].to(images.device)
            out[rows] = codec(self.gradient)(images[rows], quality, self.subsampling)
        return out


@dataclass(frozen=True, kw_only=True)
class Noise(Transform):
    """Add Gaussian noise to every value, and clip to [0, 1].

    Randomized smoothing (Cohen et al.) does so without clipping, to a network that was trained with such noise, and
    takes the majority of many draws; one draw certifies nothing.
    """

    name: ClassVar[str] = "noise"
    summary: ClassVar[str] = "add Gaussian noise"
    source: ClassVar[str] = "Cohen, Rosenfeld, Kolter 2019, arXiv 1902.02918"
    random: ClassVar[bool] = True
    exact: ClassVar[bool] = True

    sigma: float = parameter(8 / 255, "standard deviation, of values from 0 to 1", low=0.001, high=1)
    gradient: str = _gradient("the sum, where it is not clipped")

    def apply(self, images: Tensor) -> Tensor:
        """The noisy images: float32 (N, C, H, W), differentiable."""
        return (check_images(images) + self.sigma * torch.randn_like(images)).clamp(0, 1)


def _interpolation(size: int, share: Tensor, place: Tensor) -> Tensor:
    """Matrices (N, size, size) from `size` values to as many, among which they are shrunk and zeros.

    `share` (N,) of `size` is what they are shrunk to, `place` (N,) in [0, 1) says where they begin.
    """
    length = (share * size).round().clamp_min(1)
    begin = (place * (size - length + 1)).floor()
    position = torch.arange(size, dtype=torch.float64) - begin[:, None]
    inside = (position >= 0) & (position < length[:, None])
    source = ((position + 0.5) * size / length[:, None] - 0.5).clamp(0, size - 1)
    weights = (1 - (source[..., None] - torch.arange(size)).abs()).clamp_min(0)
    return weights * inside[..., None]
