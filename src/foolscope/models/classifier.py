"""The model contract: a module from images in [0, 1] to logits, and what is known about it.

Any `nn.Module` with that signature works as it is; `Classifier` adds what a network needs before it (resizing,
normalization) as first layers, so that no attack, filter or data set has to know of them, and the names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foolscope.errors import InputError

Shape = tuple[int, int | None, int | None]
"""Channels, height and width; None where any size will do."""


class Resize(nn.Module):
    """Bilinear resizing with antialiasing to (height, width); images of that size pass untouched."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.size = (height, width)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, self.size, mode="bilinear", align_corners=False, antialias=True)


class Normalize(nn.Module):
    """(x - mean) / std per channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


class Classifier(nn.Module):
    """A network with its preprocessing and its names.

    `input_shape` is what `forward` accepts.  `weights` names where the parameters came from, `trained_on` the data
    set they were trained on (None where unknown).  `state_dict()` of `network` is what weight files hold.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        name: str,
        input_shape: Shape,
        num_classes: int,
        class_names: Sequence[str] | None = None,
        preprocess: Sequence[nn.Module] = (),
        weights: str = "random",
        trained_on: str | None = None,
        differentiable: bool = True,
    ) -> None:
        super().__init__()
        self.preprocess = nn.Sequential(*preprocess)
        self.network = network
        self.name = name
        self.input_shape = input_shape
        self.num_classes = num_classes
        self.class_names = tuple(class_names) if class_names else None
        self.weights = weights
        self.trained_on = trained_on
        self.differentiable = differentiable

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(self.preprocess(images))
        return logits


class Function(nn.Module):
    """A function from images (N, C, H, W) to logits (N, K) as a black box without gradients."""

    differentiable = False

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function
        self.name = getattr(function, "__name__", type(function).__name__)

    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.as_tensor(self.function(images))


def as_module(model: nn.Module | Callable[[Tensor], Any]) -> nn.Module:
    """A module as it is, a function as a `Function`.  Raises `InputError` for anything else."""
    if isinstance(model, nn.Module):
        return model
    if callable(model):
        return Function(model)
    raise InputError(
        f"a model is a torch.nn.Module or a function from images to logits, got {type(model).__name__}"
        f"{': fs.load_model reads a spec' if isinstance(model, str) else ''}."
    )


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What is known about a model; `describe` reads it off any module."""

    name: str
    input_shape: Shape | None = None
    num_classes: int | None = None
    class_names: tuple[str, ...] | None = None
    differentiable: bool = True
    weights: str | None = None
    trained_on: str | None = None


def describe(model: nn.Module) -> ModelInfo:
    """What a model says about itself; a plain module answers with its class's name and nothing else.

    Attributes of another kind are the module's own affair, such as a parameter that it calls `weights`.
    """
    shape: Any = getattr(model, "input_shape", None)
    classes, names = (getattr(model, name, None) for name in ("num_classes", "class_names"))
    return ModelInfo(
        name=_text(model, "name") or type(model).__name__,
        input_shape=cast(Shape, tuple(shape)) if _is_shape(shape) else None,
        num_classes=classes if isinstance(classes, int) else None,
        class_names=tuple(names) if isinstance(names, list | tuple) and names and _are_texts(names) else None,
        differentiable=getattr(model, "differentiable", True) is not False,
        weights=_text(model, "weights"),
        trained_on=_text(model, "trained_on"),
    )


def _text(model: nn.Module, name: str) -> str | None:
    value = getattr(model, name, None)
    return value if isinstance(value, str) and value else None


def _are_texts(values: Sequence[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def _is_shape(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 3
        and isinstance(value[0], int)
        and all(side is None or isinstance(side, int) for side in value)
    )


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a network is wanted for: a data set's name, its images' shape and its classes.

    `load_model` picks shipped weights by it, and gives a new network its input and output sizes.
    """

    name: str
    input_shape: Shape
    num_classes: int
    class_names: tuple[str, ...] | None = None


def check_shape(model: nn.Module, images: Tensor) -> None:
    """Raise `InputError` where the images' channels or size are not what the model declares."""
    info = describe(model)
    if info.input_shape is None or images.ndim != 4:
        return
    if any(want is not None and want != have for want, have in zip(info.input_shape, images.shape[1:], strict=True)):
        want = " x ".join("any" if side is None else str(side) for side in info.input_shape)
        have = " x ".join(map(str, images.shape[1:]))
        raise InputError(f"{info.name} takes images of {want} (channels x height x width), got {have}.")


@contextmanager
def attacked(model: nn.Module) -> Iterator[nn.Module]:
    """Evaluation mode and frozen parameters inside; every flag as it was afterwards, also after an exception."""
    training = {module: module.training for module in model.modules()}
    frozen = {parameter: parameter.requires_grad for parameter in model.parameters()}
    try:
        model.eval()
        for parameter in frozen:
            parameter.requires_grad_(False)
        yield model
    finally:
        for module, flag in training.items():
            module.training = flag
        for parameter, flag in frozen.items():
            parameter.requires_grad_(flag)
