"""What a defense is, and how gradients pass through one that has none.

A `Transform` is a value: the hyperparameters of one change of the images.  A `Defense` is the `nn.Module` that applies
one or several.  Where a transform is not differentiable, `straight-through` takes the identity as its derivative, so
that an adaptive attack sees the network behind it: BPDA (Athalye, Carlini and Wagner 2018, arXiv 1802.00420), sound
where the transform changes an image little.

    forward: y = t(x)      backward: dL/dx = dL/dy
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import fields
from typing import Any, ClassVar

import torch
from torch import Tensor, fx, nn

from foolscope.errors import ParameterError
from foolscope.spec import Parameters

GRADIENTS = ("none", "straight-through", "differentiable")
"""How gradients pass a transform, from the least to the most that an adaptive attack learns by them."""


class Transform(Parameters, ABC):
    """One change of the images; subclasses are frozen dataclasses with `apply` and a field or attribute `gradient`.

    `summary` is one line, `source` the paper or project.

    `gradient` is 'straight-through' (the identity's), 'differentiable' (autograd's, through `apply`) or 'none'.
    `random` says that `apply` draws random numbers, from torch's generators, `exact` that it has a derivative of its
    own: what `differentiable` gives is no stand-in for one.
    """

    listing: ClassVar[str] = "foolscope defenses"
    summary: ClassVar[str]
    source: ClassVar[str]
    random: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    gradient: str

    @abstractmethod
    def apply(self, images: Tensor) -> Tensor:
        """The changed images: float32 (N, C, H, W) in [0, 1] to the same shape and range."""

    def passing(self, gradient: str) -> Transform:
        """This transform with its own derivative if it has one, else with `gradient`, or the identity's for lack of it.

        `gradient` is 'straight-through' or 'differentiable'.
        """
        offered = next((field.metadata.get("choices", ()) for field in fields(self) if field.name == "gradient"), ())
        taken = "differentiable" if self.exact else gradient
        chosen = taken if taken in offered else "straight-through"
        return self.replace(gradient=chosen) if offered else self  # one without a choice is followed as it is


class Defense(nn.Module):
    """Transforms, one after the other, as a module on images of any floating type.

    A transform computes in float32; the images come back in their own type and memory format.
    """

    def __init__(self, *transforms: Transform) -> None:
        super().__init__()
        if not transforms:
            raise ParameterError("a defense needs at least one transform, such as JPEG(quality=75).")
        self.transforms = transforms

    @property
    def name(self) -> str:
        """The transforms' names, joined by '|'."""
        return "|".join(transform.name for transform in self.transforms)

    @property
    def gradient(self) -> str:
        """How gradients pass the whole chain: as through its least passable transform."""
        return min((transform.gradient for transform in self.transforms), key=GRADIENTS.index)

    @property
    def random(self) -> bool:
        """Whether any transform draws random numbers."""
        return any(transform.random for transform in self.transforms)

    def variants(self) -> dict[str, Defense]:
        """The same defense with each gradient that an adaptive attack is to try, by the gradient's name.

        'straight-through' takes the identity's derivative wherever a transform has none, 'differentiable' the smooth
        stand-in of each that has one.  There is one of them where no transform has a stand-in ('straight-through'), or
        none needs one ('differentiable'), and none where this defense lets no gradients pass.
        """
        if self.gradient == "none":
            return {}
        through, smooth = (
            Defense(*(transform.passing(gradient) for transform in self.transforms)) for gradient in GRADIENTS[1:]
        )
        if through.spec() == smooth.spec():
            return {through.gradient: through}
        return {"straight-through": through, "differentiable": smooth}

    def spec(self) -> str:
        """The shortest spec string that `parse_defense` builds this defense from."""
        return "|".join(transform.spec() for transform in self.transforms)

    def forward(self, images: Tensor) -> Tensor:
        for transform in self.transforms:
            images = transformed(images, transform)
        return images

    def extra_repr(self) -> str:
        return self.spec()


@fx.wrap  # one node of a traced network: the engine folds the BatchNorm behind a defense by tracing
def transformed(images: Tensor, transform: Transform) -> Tensor:
    """Apply one transform, with the gradient that it asks for."""
    if transform.gradient == "differentiable":
        return transform.apply(images.float()).to(images.dtype)
    if transform.gradient == "straight-through":
        return _StraightThrough.apply(images, transform)  # type: ignore[no-any-return]
    with torch.no_grad():
        return transform.apply(images.detach().float()).to(images.dtype)


class _StraightThrough(torch.autograd.Function):
    """Forwards the transform, backwards the identity."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, transform: Transform) -> Tensor:
        return transform.apply(images.float()).to(images.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None
