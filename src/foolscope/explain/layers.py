"""The inside of a network: names of layers, and what a layer answers, run by the engine as everything else.

A layer is watched by a hook that lives only while the network runs, on the engine's own copy wherever there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Self

import torch
from torch import Tensor, nn

from foolscope.errors import InputError, SpecError, nearest
from foolscope.models.classifier import describe
from foolscope.models.engine import Engine

LISTING = "fs.explain.layer_names(model)"


def engine_of(model: nn.Module | Engine) -> Engine:
    """An engine for `model`; an engine is used as it is."""
    return model if isinstance(model, Engine) else Engine(model)


def gradient_engine(model: nn.Module | Engine, what: str) -> Engine:
    """Like `engine_of`.  Raises `InputError` where the model gives no gradients, which `what` needs."""
    engine = engine_of(model)
    if not engine.info.differentiable:
        raise InputError(
            f"{what} needs gradients and {engine.info.name} gives none: transfer functions, Fourier heat maps "
            "and band tests work without."
        )
    return engine


def engine_like(engine: Engine, model: nn.Module) -> Engine:
    """An engine for `model` with the settings of `engine`."""
    return Engine(model, precision=engine.precision, device=engine.device, chunk=engine.chunk)


def layer_names(model: nn.Module) -> list[str]:
    """The names that `layer=` takes, in the order in which the model holds its layers."""
    return [name for name, _ in model.named_modules() if name]


def check_layer(model: nn.Module, name: str) -> str:
    """Return `name` if the model has such a layer.  Raises `SpecError` with the nearest names."""
    names = layer_names(model)
    if name not in names:
        model_name = describe(model).name
        raise SpecError(f"{model_name} has no layer '{name}'.{nearest(name, names)} {LISTING} lists all.")
    return name


class Wrapped(nn.Module):
    """A model that says of itself what the wrapped one says."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        info = describe(model)
        self.training = model.training
        self.model = model
        self.name, self.input_shape, self.differentiable = info.name, info.input_shape, info.differentiable


class _Reached(BaseException):
    """The layer has answered.  No `Exception`, which a network might catch."""


Reading = Callable[[Tensor], Tensor]


class UpTo(Wrapped):
    """A model up to one layer: `reading` of that layer's first answer (N, ...), flattened to (N, K).

    `shape` is that of one image's reading, known after a pass.  Nothing behind the layer is run.
    """

    def __init__(self, model: nn.Module, layer: str, reading: Reading = torch.clone) -> None:
        super().__init__(model)
        self.layer = check_layer(model, layer)
        self.reading = reading
        self.seen = Seen()

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of what is read of one image."""
        return tuple(self.seen.last.shape[1:])

    def forward(self, images: Tensor) -> Tensor:
        def stop(module: nn.Module, inputs: Any, output: Any) -> None:
            self.seen.last = self.reading(feature(self._watched(inputs, output), self.layer))
            raise _Reached

        with hooked({self.layer: self.model.get_submodule(self.layer)}, lambda name: stop, images):
            try:
                self.model(images)
            except _Reached:
                return self.seen.last.flatten(1)
        raise InputError(f"{self.name} does not run its layer '{self.layer}' for these images.")

    def _watched(self, inputs: Any, output: Any) -> object:
        return output


class Into(UpTo):
    """A model up to what one layer is given, flattened to (N, K)."""

    def _watched(self, inputs: Any, output: Any) -> object:
        return inputs[0] if inputs else None


class Seen:
    """The last answer of a watched layer.  Copies of a network share it."""

    def __init__(self) -> None:
        self.last: Tensor

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def feature(output: object, layer: str) -> Tensor:
    """A layer's output.  Raises `InputError` where it is no tensor (N, ...), as a trace's stand-in is none."""
    if not isinstance(output, Tensor) or output.ndim < 2:
        found = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise InputError(f"layer '{layer}' must answer with a tensor (N, ...), not with {found}: name one inside it.")
    return output


Hook = Callable[[nn.Module, Any, Any], Any]


@contextmanager
def hooked(layers: dict[str, nn.Module], hook: Callable[[str], Hook], images: Tensor) -> Iterator[None]:
    """Forward hooks on `layers`, removed however the block ends.

    Raises `InputError` for a trace's stand-in instead of images: a traced network would run without the hooks.
    """
    if not isinstance(images, Tensor):
        raise InputError("a network whose layers are watched cannot be traced.")
    with ExitStack() as stack:
        for name, layer in layers.items():
            stack.callback(layer.register_forward_hook(hook(name)).remove)
        yield
