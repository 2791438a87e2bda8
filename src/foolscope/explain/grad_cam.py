"""Grad-CAM: where a convolutional network sees a class (Selvaraju et al. 2017, arXiv 1610.02391, eq. 1 and 2).

    alpha_k = mean over positions of dS_c / dA_k        map = ReLU(sum over k of alpha_k A_k)

A is what a layer answers, S_c the logit of the class.  The map has the layer's few positions (7 x 7 in ResNet-50) and
is enlarged to the image bilinearly: what looks smooth is interpolated.

The layer is found by running the network once: the last module that answers with as many positions as the last
convolution that has more than one.  So it is the end of the last block, after its shortcut, normalization and
activation, and before any pooling.  Networks that go on computing on tokens or with channels last after their last
convolution are transformers: for these, name the layer and say how its answer becomes (N, C, H, W) (`tokens_to_grid`,
`channels_to_front`).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foolscope.errors import InputError
from foolscope.explain.layers import (
    LISTING,
    Seen,
    Wrapped,
    check_layer,
    engine_like,
    feature,
    gradient_engine,
    hooked,
)
from foolscope.explain.saliency import check_classes, class_score
from foolscope.models.engine import Engine

logger = logging.getLogger("foolscope")

Reshape = Callable[[Tensor], Tensor]
"""From what a layer answers to (N, C, H, W)."""


@dataclass(frozen=True, kw_only=True)
class ClassActivation:
    """Grad-CAM of N images, not normalized.

    `values` (N, h, w) are at least 0, in logits x activation, at the positions of `layer`.  `empty` (N,) marks maps
    that are 0 everywhere: no position speaks for the class.  `broken` (N,) marks those with NaN or infinite values,
    which are set to 0.
    """

    layer: str
    values: Tensor
    empty: Tensor
    broken: Tensor

    def maps(self, height: int, width: int) -> Tensor:
        """The maps enlarged to images: (N, height, width), still not normalized."""
        large = F.interpolate(self.values[:, None], (height, width), mode="bilinear", align_corners=False)
        return large[:, 0]


def grad_cam(
    model: nn.Module | Engine,
    images: Tensor,
    labels: Tensor,
    layer: str | None = None,
    *,
    reshape: Reshape | None = None,
) -> Tensor:
    """Grad-CAM of classes `labels` (N,) at `images` (N, C, H, W): (N, H, W) in [0, 1], each divided by its maximum.

    `layer` is a name from `layer_names` (default: `grad_cam_layer`).  A map that is 0 everywhere stays so and is told
    in a log line; `class_activation` has flags, and values that can be compared between images.
    Raises `InputError` for images or labels that break the contract, for models without gradients, and for networks
    whose layer must be named; `SpecError` for a layer that is not there.
    """
    found = class_activation(model, images, labels, layer, reshape=reshape)
    for flags, what in ((found.empty, "0 everywhere"), (found.broken, "NaN or infinite")):
        if flags.any():
            rows = flags.nonzero()[:, 0].tolist()
            which = f"{len(rows)} of {len(images)} images, first for image {rows[0]}"
            logger.warning("Grad-CAM at %s is %s for %s", found.layer, what, which)
    maps = found.maps(*images.shape[-2:])
    peak = maps.flatten(1).amax(1)[:, None, None] if len(maps) else maps
    return torch.where(peak > 0, maps / peak.clamp_min(torch.finfo(maps.dtype).tiny), maps)


def class_activation(
    model: nn.Module | Engine,
    images: Tensor,
    labels: Tensor,
    layer: str | None = None,
    *,
    reshape: Reshape | None = None,
) -> ClassActivation:
    """Grad-CAM before enlarging and normalizing, with flags.  Arguments and errors as for `grad_cam`."""
    engine = gradient_engine(model, "Grad-CAM")
    labels = check_classes(engine, images, labels)
    if layer is None and not len(images):
        raise InputError("Grad-CAM needs an image to find the layer with: name one by layer=.")
    layer = grad_cam_layer(engine, images[:1]) if layer is None else check_layer(engine.model, layer)
    watched = _Watched(engine.model, layer)
    score, found = class_score(labels), [images.new_zeros(0, 1, 1)]

    def objective(logits: Tensor, rows: Tensor) -> Tensor:
        answer = watched.seen.last
        values = _weighted(score(logits, rows.to(logits.device)).sum(), answer, reshape, layer)
        found.append(values.to(images))
        return logits.new_zeros(len(logits))  # without a history, so that the engine goes no further back

    engine_like(engine, watched).gradients(images, objective)
    values = torch.cat(found[1:] or found)
    broken = ~values.flatten(1).isfinite().all(1)
    values = torch.where(broken[:, None, None], torch.zeros_like(values), values)
    empty = (values.flatten(1) == 0).all(1) & ~broken
    return ClassActivation(layer=layer, values=values, empty=empty, broken=broken)


def grad_cam_layer(model: nn.Module | Engine, images: Tensor) -> str:
    """The name of the layer that `grad_cam` takes for images like these (N, C, H, W).

    Raises `InputError` for networks without convolutions and for transformers, whose layer must be named.
    """
    engine = gradient_engine(model, "Grad-CAM")
    traced = _Traced(engine.model)
    engine_like(engine, traced).logits(images[:1])
    calls, name = traced.calls, engine.info.name
    spatial = [call for call in calls if call.is_convolution and math.prod(call.grid) > 1]
    if not spatial:
        raise InputError(
            f"{name} has no convolution with more than one position: name a layer (layer=) and how its answer becomes "
            f"(N, C, H, W) (reshape=); {LISTING} lists the layers."
        )
    final = {call.name: place for place, call in enumerate(calls)}  # a module may run several times, as a ReLU does
    fitting = [final[c.name] for p, c in enumerate(calls) if c.grid == spatial[-1].grid and final[c.name] == p]
    last = max(fitting, default=calls.index(spatial[-1]))
    behind = [call for call in calls[last + 1 :] if not calls[last].name.startswith(f"{call.name}.")]
    if any(call.is_on_tokens for call in behind):
        raise InputError(
            f"{name} goes on after its last convolution with layers on tokens: name one (layer=) and how its answer "
            f"becomes (N, C, H, W) (reshape=, such as fs.explain.tokens_to_grid); {LISTING} lists the layers."
        )
    return calls[last].name


def tokens_to_grid(tokens: Tensor) -> Tensor:
    """Tokens (N, T, D) of a square grid, after any class tokens, to (N, D, h, w); what `reshape=` takes for a ViT."""
    if tokens.ndim != 3:
        raise InputError(f"tokens must have shape (N, T, D), got {tuple(tokens.shape)}.")
    side = math.isqrt(tokens.shape[1])
    return tokens[:, tokens.shape[1] - side * side :].transpose(1, 2).reshape(len(tokens), -1, side, side)


def channels_to_front(grid: Tensor) -> Tensor:
    """(N, h, w, D) to (N, D, h, w); what `reshape=` takes for a Swin transformer."""
    if grid.ndim != 4:
        raise InputError(f"a grid must have shape (N, h, w, D), got {tuple(grid.shape)}.")
    return grid.permute(0, 3, 1, 2)


def _weighted(score: Tensor, answer: Tensor, reshape: Reshape | None, layer: str) -> Tensor:
    """Equations 1 and 2: (N, h, w).  Zeros where nothing leads from the layer to the score."""
    (gradient,) = (
        torch.autograd.grad(score, answer, allow_unused=True)
        if score.requires_grad and answer.requires_grad
        else (None,)
    )
    gradient = torch.zeros_like(answer) if gradient is None else gradient
    maps, slopes = (t if reshape is None else reshape(t) for t in (answer.detach(), gradient))
    if maps.ndim != 4:
        raise InputError(
            f"layer '{layer}' answers with shape {tuple(maps.shape)}, not (N, C, H, W): name another (layer=), or how "
            "it becomes that (reshape=, such as fs.explain.tokens_to_grid)."
        )
    weights = slopes.mean((2, 3), keepdim=True)
    return (weights * maps).sum(1).relu()


class _Watched(Wrapped):
    """A model that keeps its layer's last answer, on the way to the logits."""

    def __init__(self, model: nn.Module, layer: str) -> None:
        super().__init__(model)
        self.layer = layer
        self.seen = Seen()

    def forward(self, images: Tensor) -> Tensor:
        ran = False

        def keep(module: nn.Module, inputs: Any, output: Any) -> Tensor:
            nonlocal ran
            ran = True
            self.seen.last = feature(output, self.layer)
            return self.seen.last.clone()  # the network's next layer may write into what it gets

        with hooked({self.layer: self.model.get_submodule(self.layer)}, lambda name: keep, images):
            logits: Tensor = self.model(images)
        if not ran:
            raise InputError(f"{self.name} does not run its layer '{self.layer}' for these images.")
        return logits


@dataclass(frozen=True)
class _Call:
    """One module's answer to one image, and whether it has parameters of its own and reads more than one position."""

    name: str
    shape: tuple[int, ...]
    is_convolution: bool
    is_on_tokens: bool

    @property
    def grid(self) -> tuple[int, ...]:
        """(h, w) where it answers with maps (N, C, h, w)."""
        return self.shape[2:] if len(self.shape) == 4 else ()


class _Traced(Wrapped):
    """A model that notes, in the order in which they finish, what its modules answer."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.calls = _Calls()

    def forward(self, images: Tensor) -> Tensor:
        layers = {name: layer for name, layer in self.model.named_modules() if name}

        def note(name: str) -> Callable[[nn.Module, Any, Any], None]:
            def hook(module: nn.Module, inputs: Any, output: Any) -> None:
                if isinstance(output, Tensor):
                    given = next((x for x in inputs if isinstance(x, Tensor)), output)
                    own = next(module.parameters(recurse=False), None) is not None
                    shape = tuple(output.shape)
                    wide = given.ndim > 2 and given[0].numel() > given.shape[1 if given.ndim == 4 else -1]
                    self.calls.append(_Call(name, shape, isinstance(module, nn.Conv2d), own and wide))

            return hook

        self.calls.clear()
        with hooked(layers, note, images):
            logits: Tensor = self.model(images)
        return logits


class _Calls(list[_Call]):
    """What copies of a network share."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _Calls:
        return self
