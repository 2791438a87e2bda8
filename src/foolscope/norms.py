"""Norms as values: length, projection, steepest ascent and random points, per sample.

`l1`, `l2` and `linf` can bound an attack; `l0` counts the pixels (positions, over all channels) that changed.
Everywhere x is (N, ...) and the norm of a sample is taken over all its other dimensions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import overload

import torch
from torch import Tensor

from foolscope.randomness import Streams
from foolscope.registry import Registry

L1_SHARE = 0.05
"""Share of an image's values that one steepest step in l1 moves (Tramer and Boneh 2019, arXiv 1904.13000)."""


@overload
def expand(values: Tensor, like: Tensor) -> Tensor: ...
@overload
def expand(values: Tensor | float, like: Tensor) -> Tensor | float: ...
def expand(values: Tensor | float, like: Tensor) -> Tensor | float:
    """Give per-sample `values` (N,) the trailing dimensions of `like` (N, ...); a plain number stays as it is."""
    return values.view(-1, *[1] * (like.ndim - 1)) if isinstance(values, Tensor) and values.ndim else values


class Norm(ABC):
    """A norm that can bound a perturbation.  `eps` is a number or one number a sample (N,)."""

    name: str

    def __repr__(self) -> str:
        return self.name

    @abstractmethod
    def length(self, x: Tensor) -> Tensor:
        """The norm of each sample: (N, ...) to (N,)."""

    @abstractmethod
    def project(self, x: Tensor, eps: Tensor | float) -> Tensor:
        """The point of the ball of radius `eps` that is nearest to x in l2."""

    @abstractmethod
    def steepest(self, gradient: Tensor) -> Tensor:
        """A direction of norm 1 along which the loss rises fastest; 0 where the gradient is 0."""

    @abstractmethod
    def random_point(self, streams: Streams, shape: tuple[int, ...], eps: Tensor | float) -> Tensor:
        """Points drawn uniformly from the ball of radius `eps`; `shape` is one sample's."""


class _Linf(Norm):
    name = "linf"

    def length(self, x: Tensor) -> Tensor:
        return x.flatten(1).abs().amax(1)

    def project(self, x: Tensor, eps: Tensor | float) -> Tensor:
        bound = expand(eps, x)
        return x.clamp(-bound, bound) if not isinstance(bound, Tensor) else torch.clamp(x, -bound, bound)

    def steepest(self, gradient: Tensor) -> Tensor:
        return gradient.sign()

    def random_point(self, streams: Streams, shape: tuple[int, ...], eps: Tensor | float) -> Tensor:
        noise = streams.uniform(shape)
        return (2 * noise - 1) * expand(eps, noise)


class _L2(Norm):
    name = "l2"

    def length(self, x: Tensor) -> Tensor:
        length: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
        return length

    def project(self, x: Tensor, eps: Tensor | float) -> Tensor:
        length = self.length(x)
        scale = (eps / length.clamp_min(torch.finfo(x.dtype).tiny)).clamp_max(1)
        return x * expand(scale, x)

    def steepest(self, gradient: Tensor) -> Tensor:
        # Divided by the largest value first: squares of gradients below 1e-19 would vanish in float32.
        peak = expand(gradient.flatten(1).abs().amax(1), gradient)
        scaled = torch.where(peak > 0, gradient / peak, torch.zeros_like(gradient))
        length = expand(self.length(scaled).clamp_min(torch.finfo(gradient.dtype).tiny), gradient)
        return scaled / length

    def random_point(self, streams: Streams, shape: tuple[int, ...], eps: Tensor | float) -> Tensor:
        direction = self.steepest(streams.normal(shape))
        dimension = direction[0].numel() if len(direction) else 1
        radius = streams.uniform(()).pow(1 / dimension) * eps
        return direction * expand(radius, direction)


class _L1(Norm):
    name = "l1"

    def length(self, x: Tensor) -> Tensor:
        return x.flatten(1).abs().sum(1)

    def project(self, x: Tensor, eps: Tensor | float) -> Tensor:
        """By sorting (Duchi et al. 2008): |x| - theta with the theta that makes the lengths sum to eps.

        In float64, and where rounding to the type of x still ends outside the ball, a bit shorter than that.
        """
        flat = x.flatten(1)
        bound = torch.as_tensor(eps, dtype=torch.float64, device=x.device).expand(len(x))[:, None]
        magnitude = flat.double().abs()
        ordered = magnitude.sort(dim=1, descending=True).values
        excess = ordered.cumsum(1) - bound
        rank = torch.arange(1, flat.shape[1] + 1, device=x.device, dtype=torch.float64)
        support = (ordered * rank > excess).sum(1, keepdim=True).clamp_min(1)
        theta = (excess.gather(1, support - 1) / support).clamp_min(0)
        inside = magnitude.sum(1, keepdim=True) <= bound
        shrunk = flat.sign() * (magnitude - theta).clamp_min(0).to(x.dtype)
        length = shrunk.double().abs().sum(1, keepdim=True)
        shorter = (shrunk.double() * ((1 - 2 * torch.finfo(x.dtype).eps) * bound / length)).to(x.dtype)
        return torch.where(inside, flat, torch.where(length > bound, shorter, shrunk)).view_as(x)

    def steepest(self, gradient: Tensor) -> Tensor:
        """Equal steps on the `L1_SHARE` largest values.

        The exact direction moves a single value, which the box [0, 1] cuts short after one step; spreading the step
        is what makes l1 attacks strong.
        """
        flat = gradient.flatten(1)
        count = max(1, round(L1_SHARE * flat.shape[1]))
        index = flat.abs().topk(count, dim=1).indices
        chosen = torch.zeros_like(flat).scatter_(1, index, flat.gather(1, index).sign())
        return (chosen / chosen.abs().sum(1, keepdim=True).clamp_min(1)).view_as(gradient)

    def random_point(self, streams: Streams, shape: tuple[int, ...], eps: Tensor | float) -> Tensor:
        # d exponential variables and one more, divided by their sum, are uniform on the solid simplex.
        exponential = -(1 - streams.uniform(shape)).log()
        sign = torch.where(streams.uniform(shape) < 0.5, -1.0, 1.0)
        rest = -(1 - streams.uniform(())).log()
        total = exponential.flatten(1).sum(1) + rest
        return sign * exponential * expand(eps / total, exponential)


l1, l2, linf = _L1(), _L2(), _Linf()

NORMS: Registry[Norm] = Registry("norm", "foolscope attacks", {norm.name: norm for norm in (l1, l2, linf)})


def l0(x: Tensor, tolerance: float = 0.0) -> Tensor:
    """Number of positions (pixels) of each sample (N, C, H, W) whose value differs from 0 in any channel: (N,)."""
    return (x.abs() > tolerance).any(1).flatten(1).sum(1)
