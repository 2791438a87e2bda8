"""The one place where networks are run: logits, losses and input gradients for any number of images.

The engine runs an inference copy: in evaluation mode, frozen, channels_last, with BatchNorm folded into the convolution
before it (Jacob et al. 2018, arXiv 1712.05877, eq. 14), in chunks that stay in the processor's cache.  The copy shares
the parameters whose layout and precision it need not change.  The user's module is never touched; where its parameters
or buffers change, the copy is made anew.  Where the folded copy does not give the same logits, the copy is not folded.
Where the module cannot be copied, has hooks or gives no gradients, it runs as it is, in its own precision, on its own
device.
"""

from __future__ import annotations

import copy
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from foolscope.errors import Cancelled, FoolscopeError, InputError, ParameterError
from foolscope.models.classifier import as_module, attacked, check_shape, describe

Precision = Literal["float32", "bfloat16", "float64"]
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}

Objective = Callable[[Tensor, Tensor], Tensor]
"""(logits (n, K), rows (n,)) to one loss a sample (n,), all on the images' device.

`rows` index the images that `gradients` was given.
"""

_CHUNK_PIXELS = 128 * 32 * 32
_SMALLEST_CHUNK, _LARGEST_CHUNK = 8, 128
_SAME = 1e-4
"""Logits are alike that differ by less, relative to the largest: folding and other chunks change the last digits."""

_FOLD_TOLERANCE = 1e-4
_SMALLEST_GRADIENT = 1e-10
_TRACING = threading.Lock()


@dataclass(frozen=True)
class Gradients:
    """One forward and backward pass: logits (N, K), losses (N,) and d loss / d image (N, C, H, W), all float32.

    `broken` (N,) marks images whose gradient has a NaN or infinite value: it is given as zero.
    """

    logits: Tensor
    losses: Tensor
    images: Tensor
    broken: Tensor


@dataclass(frozen=True)
class ClassGradients:
    """Of the images `rows` of a batch: logits (n, K), and how fast each of k classes gains (n, k, C, H, W).

    `broken` (n,) marks images of which one of these has a NaN or infinite value: all of theirs are given as zero.
    """

    rows: slice
    logits: Tensor
    gradients: Tensor
    broken: Tensor


@dataclass(frozen=True)
class _Network:
    """A module as it is run, and the `_state` of the user's module that it was made for."""

    module: nn.Module
    dtype: torch.dtype
    device: torch.device
    state: _State

    def __call__(self, images: Tensor) -> Tensor:
        output: Tensor = self.module(images)
        return output

    def moved(self, images: Tensor) -> Tensor:
        """A copy of the images as the module needs them, without their history: a module may write into it."""
        return images.detach().to(self.device, self.dtype, memory_format=torch.channels_last, copy=True)


class Engine:
    """Runs one model.  Results agree with the model's own to float rounding, whatever the chunk.

    `precision` is that of gradient passes; `logits` are computed in float32 unless float64 is asked for.  `chunk` is
    the number of images a pass (default: by image size), `device` where to run (default: where the model is).
    Raises `InputError` for images of another shape than the model declares, and for logits that are not of shape (N, K)
    or not finite.  An image whose gradient is not finite is marked, and holds up no other.
    """

    draws = 1
    """Passes that a gradient pass costs: more in an `Expectation`."""

    def __init__(
        self,
        model: nn.Module | Callable[[Tensor], Any],
        *,
        precision: Precision = "float32",
        device: torch.device | str | None = None,
        chunk: int | None = None,
    ) -> None:
        if precision not in _DTYPES:
            raise ParameterError(f"precision must be one of {', '.join(_DTYPES)}, got '{precision}'.")
        self.model = as_module(model)
        self.info = describe(self.model)
        self.precision = precision
        self.chunk = chunk
        self.device = torch.device(device) if device else _own_device(self.model)
        self._networks: dict[torch.dtype, _Network] = {}

    @property
    def random(self) -> bool:
        """Whether a part of the model says of itself that it draws random numbers, as a randomized defense does."""
        return any(getattr(part, "random", False) is True for part in self.model.modules())

    def num_classes(self, images: Tensor) -> int:
        """K: what the model declares, else the width of its logits on the first image."""
        return self.info.num_classes or self.logits(images[:1]).shape[1]

    def logits(self, images: Tensor) -> Tensor:
        """Logits (N, K) in float32, on the images' device."""
        if len(images) == 0:
            return images.new_empty(0, self.info.num_classes or 0)
        network = self._network(torch.float64 if self.precision == "float64" else torch.float32, images)
        out = []
        with torch.no_grad(), self._guard(network):
            for rows in self._chunks(images):
                out.append(self._checked(self._answer(network, network.moved(images[rows])), rows).to(images))
        return torch.cat(out)

    def predict(self, images: Tensor) -> Tensor:
        """The class with the highest logit (N,)."""
        return self.logits(images).argmax(1)

    def gradients(self, images: Tensor, objective: Objective) -> Gradients:
        """One forward and backward pass.  Raises `InputError` for a model that is not differentiable.

        In float64 an image's gradient that float32 would lose is scaled up: its direction is what attacks need.
        """
        self._check_differentiable()
        if len(images) == 0:
            none = torch.zeros(0, dtype=torch.bool, device=images.device)
            return Gradients(self.logits(images), images.new_empty(0), torch.empty_like(images), none)
        network = self._network(_DTYPES[self.precision], images)
        logits, losses, gradients, broken = [], [], torch.empty_like(images), []
        with torch.enable_grad(), self._guard(network):
            for rows in self._chunks(images):
                x = network.moved(images[rows]).requires_grad_()
                out = self._checked(self._answer(network, x), rows).to(images.device)
                logits.append(out.detach().to(images.dtype))
                index = torch.arange(rows.start, rows.stop, device=images.device)
                loss = objective(out if out.dtype == torch.float64 else out.float(), index)
                losses.append(loss.detach().to(images.dtype))
                gradients[rows], bad = _finite_only(_representable(_gradient(loss, x)).to(images))
                broken.append(bad)
        return Gradients(torch.cat(logits), torch.cat(losses), gradients, torch.cat(broken))

    def class_gradients(self, images: Tensor, classes: Tensor, labels: Tensor) -> Iterator[ClassGradients]:
        """The gradients of z_k - z_y for `classes` k (N, k) and `labels` y (N,), chunk by chunk.

        One forward pass, and a backward pass a class that shares its activations.  The classes are looped over: torch's
        batched backward passes take a third longer on processors (LeNet and `cifar-cnn`).  Raises `InputError` as
        `gradients` does.
        """
        self._check_differentiable()
        network = self._network(_DTYPES[self.precision], images)
        for rows in self._chunks(images):
            with torch.enable_grad(), self._guard(network):
                x = network.moved(images[rows]).requires_grad_()
                logits = self._checked(self._answer(network, x), rows)
                own = logits.gather(1, labels[rows, None].to(logits.device))
                gains = (logits.gather(1, classes[rows].to(logits.device)) - own).sum(0)
                found = [torch.zeros_like(x)] * len(gains)  # where nothing that the images do changes the answers
                if logits.requires_grad:
                    for place, gain in enumerate(gains):
                        more = place + 1 < len(gains)
                        (found[place],) = torch.autograd.grad(gain, x, retain_graph=more, materialize_grads=True)
            gradients, broken = _finite_only(torch.stack(found, 1).detach().to(images))
            yield ClassGradients(rows, logits.detach().to(images), gradients, broken)

    def _check_differentiable(self) -> None:
        if not self.info.differentiable:
            raise InputError(f"{self.info.name} gives no gradients: attack it as a black box.")
        if torch.is_inference_mode_enabled():
            raise InputError("there are no gradients inside torch.inference_mode(): attack outside of it.")

    def _answer(self, network: _Network, images: Tensor) -> Tensor:
        # A module may write into its input, but not into a leaf that shall have a gradient.
        given = images.clone() if images.requires_grad else images
        try:
            return network(given)
        except (FoolscopeError, Cancelled):
            raise
        except Exception as error:  # whatever a user's forward raises, above all for images that do not fit
            reason = (str(error).splitlines() or [""])[0]
            kind = "" if reason and isinstance(error, RuntimeError | AssertionError) else f"{type(error).__name__} "
            what = f"{kind}{reason}".strip()
            raise InputError(f"{self.info.name} fails on images of shape {tuple(images.shape)}: {what}") from error

    def _chunks(self, images: Tensor) -> Iterator[slice]:
        size = self.chunk or chunk_size(images)
        for begin in range(0, len(images), size):
            yield slice(begin, min(begin + size, len(images)))

    def _checked(self, logits: Tensor, rows: slice) -> Tensor:
        count, classes = rows.stop - rows.start, self.info.num_classes
        if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape != (count, classes or logits.shape[1]):
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise InputError(f"{self.info.name} must return logits of shape ({count}, {classes or 'K'}), got {shape}.")
        finite = logits.isfinite()
        if not finite.all():
            bad = rows.start + int((~finite.all(1)).nonzero()[0])
            raise InputError(f"{self.info.name} returns NaN or infinite logits, first for image {bad} of the batch.")
        return logits

    def _guard(self, network: _Network) -> AbstractContextManager[object]:
        return attacked(self.model) if network.module is self.model else nullcontext()

    def _network(self, dtype: torch.dtype, images: Tensor) -> _Network:
        check_shape(self.model, images)
        state, network = _state(self.model), self._networks.get(dtype)
        if network is None or network.state != state:
            network = self._networks[dtype] = self._prepared(dtype, images[:2], state)
        return network

    def _prepared(self, dtype: torch.dtype, probe: Tensor, state: _State) -> _Network:
        copied = None if not self.info.differentiable or _has_hooks(self.model) else inference_copy(self.model)
        if copied is None:
            own = next((p.dtype for p in self.model.parameters() if p.is_floating_point()), torch.float32)
            return _Network(self.model, own, _own_device(self.model), state)
        network = _Network(copied.to(self.device), torch.float32, self.device, state)
        folded = fold_batchnorm(network.module)
        if folded is not None and _agree(network.module, folded, network.moved(probe)):
            network = replace(network, module=folded)
        return replace(network, module=network.module.to(dtype).to(memory_format=torch.channels_last), dtype=dtype)


def chunk_size(images: Tensor) -> int:
    """Images a pass so that the first layers' activations stay in cache: 128 at 32 x 32, 8 from 128 x 128 on."""
    pixels = images.shape[-1] * images.shape[-2]
    return min(_LARGEST_CHUNK, max(_SMALLEST_CHUNK, _CHUNK_PIXELS // max(1, pixels)))


def _gradient(loss: Tensor, x: Tensor) -> Tensor:
    """Zeros where nothing leads from the image to the loss: a mask on gradients as any other."""
    if not loss.requires_grad:
        return torch.zeros_like(x)
    (gradient,) = torch.autograd.grad(loss.sum(), x, allow_unused=True, materialize_grads=True)
    return gradient


def _representable(gradients: Tensor) -> Tensor:
    """Float64 gradients (n, ...), each scaled to at least what can be squared and summed in float32."""
    if gradients.dtype != torch.float64:
        return gradients
    largest = gradients.flatten(1).abs().amax(1)
    scale = torch.where((largest > 0) & (largest < _SMALLEST_GRADIENT), _SMALLEST_GRADIENT / largest, 1.0)
    return gradients * scale.view(-1, *[1] * (gradients.ndim - 1))


def _finite_only(gradients: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients (n, ...) with those set to zero that are not finite, and which these are (n,)."""
    finite = gradients.isfinite()
    if finite.all():
        return gradients, torch.zeros(len(gradients), dtype=torch.bool, device=gradients.device)
    broken = ~finite.flatten(1).all(1)
    return gradients.masked_fill(broken.view(-1, *[1] * (gradients.ndim - 1)), 0), broken


_State = list[tuple[int, int] | bool]


def _state(model: nn.Module) -> _State:
    """What changes when parameters or buffers do (address and version of each), and whether there are hooks."""
    tensors = itertools.chain(model.parameters(), model.buffers())
    return [_has_hooks(model), *((t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors)]


def _has_hooks(model: nn.Module) -> bool:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(module, kind, None) for module in model.modules() for kind in kinds)


def _own_device(model: nn.Module) -> torch.device:
    first = next(itertools.chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if first is None else first.device


def inference_copy(model: nn.Module) -> nn.Module | None:
    """A copy in evaluation mode with frozen parameters that share the original's memory; None where it cannot be.

    Buffers are copied: a module may write to them when it runs.
    """
    memo: dict[int, object] = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in model.parameters()}
    try:
        return copy.deepcopy(model, memo).eval().requires_grad_(False)
    except Exception:  # whatever a user's module raises when it is copied
        return None


def fold_batchnorm(model: nn.Module) -> nn.Module | None:
    """`model` with every BatchNorm that directly follows a convolution folded into it; None where nothing folds.

    Modules with hooks are left alone: tracing would lose them.
    """
    if _has_hooks(model) or not any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        return None
    try:
        return _folded(_traced(model))
    except Exception:  # whatever a user's forward raises when it is traced, or a layer of theirs when it is fused
        return None


class _Tracer(fx.Tracer):
    """Traces what its own thread does: while it works, `fx` intercepts the modules of all threads."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if threading.get_ident() != self._thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)


def _traced(model: nn.Module) -> fx.GraphModule:
    """`fx.symbolic_trace`, one at a time and unseen by other threads."""
    with _TRACING:
        tracer = _Tracer()
        graph = tracer.trace(model)
        return fx.GraphModule(tracer.root, graph)


def _folded(traced: fx.GraphModule) -> nn.Module | None:
    layers, count = dict(traced.named_modules()), 0
    for node in list(traced.graph.nodes):
        normal = layers.get(str(node.target)) if node.op == "call_module" else None
        if not isinstance(normal, nn.BatchNorm2d) or normal.running_mean is None:
            continue
        (before,) = node.all_input_nodes
        convolution = layers.get(str(before.target)) if before.op == "call_module" else None
        if isinstance(convolution, nn.Conv2d) and len(before.users) == 1:
            fused = fuse_conv_bn_eval(convolution, normal)
            parent, _, child = str(before.target).rpartition(".")
            setattr(layers[parent], child, fused)
            layers[str(before.target)] = fused
            node.replace_all_uses_with(before)
            traced.graph.erase_node(node)
            count += 1
    traced.recompile()
    return traced.requires_grad_(False).eval() if count else None


def answers_differ(first: Tensor, second: Tensor) -> bool:
    """Whether logits (N, K) that a network gave twice for the same images differ by more than rounding."""
    scale = float(first.abs().max()) or 1.0
    return float((first - second).abs().max()) > _SAME * scale


def _agree(network: nn.Module, folded: nn.Module, probe: Tensor) -> bool:
    """Whether both give the same logits, and the network gives them twice: a random one must not be frozen."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            first, second, other = network(probe), network(probe), folded(probe)
        except Exception:  # a trace can take a path that fails on real images
            return False
    scale = float(first.abs().max()) or 1.0
    return torch.equal(first, second) and float((first - other).abs().max()) <= _FOLD_TOLERANCE * scale
