"""A defense before a classifier: `defended(model, "jpeg:quality=50")` is again a classifier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, fx, nn

from foolscope.defenses.defense import Defense, Transform
from foolscope.defenses.filter import PhotoFilter
from foolscope.defenses.jpeg import JPEG
from foolscope.defenses.randomized import Noise, RandomJPEG, ResizePad
from foolscope.defenses.squeezing import BitDepth, Gaussian, Median, NonLocalMeans, TotalVariation
from foolscope.errors import InputError
from foolscope.models.classifier import as_module, describe
from foolscope.registry import Registry
from foolscope.spec import parse_pipeline

DEFENSES: Registry[type[Transform]] = Registry(
    "defense",
    "foolscope defenses",
    {
        kind.name: kind
        for kind in (
            JPEG, BitDepth, Median, NonLocalMeans, Gaussian, TotalVariation, ResizePad, RandomJPEG, Noise, PhotoFilter,
        )
    },
)  # fmt: skip
"""Every transform that a spec string can name."""


def parse_defense(text: str) -> Defense:
    """Build a defense from a spec: `jpeg:quality=50`, or several joined by '|', applied from left to right.

    Raises `SpecError` for unknown names and options, `ParameterError` for values out of range.
    """
    return Defense(*(DEFENSES[spec.name].from_spec(spec) for spec in parse_pipeline(text)))


def defended(model: nn.Module | Callable[[Tensor], Any], defense: str | Transform | nn.Module) -> Defended:
    """`model` behind `defense`: a spec, a transform, or any module from images to images of the same size in [0, 1].

    The model is used as it is, not copied.  Raises `SpecError` and `ParameterError` for a spec that does not parse,
    `InputError` for what is no model or no defense.
    """
    if isinstance(defense, str):
        defense = parse_defense(defense)
    if not isinstance(defense, Transform | nn.Module):
        got = defense.__name__ + ", a class" if isinstance(defense, type) else type(defense).__name__
        raise InputError(f"a defense is a spec, a transform or a torch.nn.Module, got {got}.")
    return Defended(as_module(model), Defense(defense) if isinstance(defense, Transform) else defense)


class Defended(nn.Module):
    """A classifier that sees its images through a defense.

    It has the classifier's `name`, `input_shape`, `num_classes`, `class_names`, `weights` and `trained_on`, and is
    differentiable where the classifier is and the defense lets gradients pass.  `random` is what the two say of
    themselves, no where they say nothing.  `forward` raises `InputError` for a defense that changes the images' size or
    type or leaves [0, 1].
    """

    def __init__(self, model: nn.Module, defense: nn.Module) -> None:
        super().__init__()
        self.training = model.training
        self.defense = defense
        self.model = model
        info = describe(model)
        self.name = info.name
        self.input_shape = info.input_shape
        self.num_classes = info.num_classes
        self.class_names = info.class_names
        self.weights = info.weights
        self.trained_on = info.trained_on
        self.differentiable = info.differentiable and getattr(defense, "gradient", None) != "none"
        self.random = bool(getattr(defense, "random", False) or getattr(model, "random", False))
        self._defense_name = str(getattr(defense, "name", None) or type(defense).__name__)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(checked(self.defense(images), images, self._defense_name))
        return logits


@fx.wrap  # one node of a traced network: it looks at values, which tracing has none of
def checked(after: Tensor, before: Tensor, name: str) -> Tensor:
    """Return the defense's output.  Raises `InputError` where it has another shape or type, or leaves [0, 1]."""
    if not isinstance(after, Tensor) or after.dtype != before.dtype:
        got = after.dtype if isinstance(after, Tensor) else type(after).__name__
        raise InputError(f"the defense {name} must give a tensor of {before.dtype}, gave {got}.")
    if after.shape != before.shape:
        had, has = (" x ".join(map(str, images.shape)) for images in (before, after))
        raise InputError(f"the defense {name} turns images of shape {had} into {has}; it must keep their shape.")
    if after.numel():
        low, high = (float(bound) for bound in after.detach().aminmax())
        if not (low >= 0 and high <= 1):
            found = f"values from {low:.4g} to {high:.4g}"
            raise InputError(f"the defense {name} must keep images in [0, 1], gave {found}.")
    return after
