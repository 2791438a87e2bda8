"""The one place where networks are run: logits, losses and input gradients for any number of images.

The engine runs an inference copy that shares the user's parameters: in evaluation mode, frozen, channels_last, with
BatchNorm folded into the convolution before it (Jacob et al. 2018, arXiv 1712.05877, eq. 14), in chunks that stay in
the processor's cache.  The user's module is never touched.  Where it cannot be copied or traced, or where the folded
copy does not give the same logits, the module runs as it is.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from foolscope.errors import InputError
from foolscope.models.classifier import attacked, check_shape, describe

Precision = Literal["float32", "bfloat16", "float64"]
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}

Objective = Callable[[Tensor, Tensor], Tensor]
"""(logits (n, K), rows (n,)) to one loss a sample (n,); `rows` index the images that `gradients` was given."""

_CHUNK_PIXELS = 128 * 32 * 32
_SMALLEST_CHUNK, _LARGEST_CHUNK = 8, 128
_FOLD_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Gradients:
    """One forward and backward pass: logits (N, K), losses (N,) and d loss / d image (N, C, H, W), all float32."""

    logits: Tensor
    losses: Tensor
    images: Tensor


class Engine:
    """Runs one model.  Results agree with the model's own to float rounding, whatever the chunk.

    `precision` is that of gradient passes; `logits` are computed in float32 unless float64 is asked for.  `chunk` is
    the number of images a pass (default: by image size), `device` where to run (default: where the model is).
    Raises `InputError` for images of another shape than the model declares, and for logits that are not finite or not
    of shape (N, K).
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        precision: Precision = "float32",
        device: torch.device | str | None = None,
        chunk: int | None = None,
    ) -> None:
        self.model = model
        self.info = describe(model)
        self.precision = precision
        self.chunk = chunk
        first = next(itertools.chain(model.parameters(), model.buffers()), None)
        self.device = torch.device(device) if device else first.device if first is not None else torch.device("cpu")
        self._networks: dict[torch.dtype, nn.Module] = {}

    def num_classes(self, images: Tensor) -> int:
        """K: what the model declares, else the width of its logits on the first image."""
        return self.info.num_classes or self.logits(images[:1]).shape[1]

    def logits(self, images: Tensor) -> Tensor:
        """Logits (N, K) in float32, on the images' device."""
        dtype = torch.float64 if self.precision == "float64" else torch.float32
        network = self._network(dtype, images)
        out = []
        with torch.no_grad(), self._guard(network):
            for rows in self._chunks(images):
                out.append(self._checked(network(self._moved(images[rows], dtype)), rows, images))
        return torch.cat(out) if out else images.new_empty(0, self.info.num_classes or 0)

    def predict(self, images: Tensor) -> Tensor:
        """The class with the highest logit (N,)."""
        return self.logits(images).argmax(1)

    def gradients(self, images: Tensor, objective: Objective) -> Gradients:
        """One forward and backward pass.  Raises `InputError` for a model that is not differentiable."""
        if not self.info.differentiable:
            raise InputError(f"{self.info.name} gives no gradients: attack it as a black box.")
        dtype = _DTYPES[self.precision]
        network = self._network(dtype, images)
        logits, losses, gradients = [], [], torch.empty_like(images)
        with torch.enable_grad(), self._guard(network):
            for rows in self._chunks(images):
                x = self._moved(images[rows], dtype).requires_grad_()
                out = network(x)
                logits.append(self._checked(out.detach(), rows, images))
                index = torch.arange(rows.start, rows.stop, device=images.device)
                loss = objective(out.float() if dtype == torch.bfloat16 else out, index)
                losses.append(loss.detach().to(images.dtype))
                gradients[rows] = self._gradient(loss, x).to(images)
        if not logits:
            return Gradients(images.new_empty(0, self.info.num_classes or 0), images.new_empty(0), gradients)
        return Gradients(torch.cat(logits), torch.cat(losses), gradients)

    def _gradient(self, loss: Tensor, x: Tensor) -> Tensor:
        if not loss.requires_grad:
            raise InputError(f"{self.info.name} gives no gradients: its output does not depend on autograd.")
        (gradient,) = torch.autograd.grad(loss.sum(), x, allow_unused=True)
        return torch.zeros_like(x) if gradient is None else gradient

    def _chunks(self, images: Tensor) -> Iterator[slice]:
        size = self.chunk or chunk_size(images)
        for begin in range(0, len(images), size):
            yield slice(begin, min(begin + size, len(images)))

    def _moved(self, images: Tensor, dtype: torch.dtype) -> Tensor:
        return images.detach().to(self.device, dtype, memory_format=torch.channels_last)

    def _checked(self, logits: Tensor, rows: slice, images: Tensor) -> Tensor:
        count = rows.stop - rows.start
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != count:
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise InputError(f"{self.info.name} must return logits of shape ({count}, K), got {shape}.")
        if not logits.isfinite().all():
            bad = rows.start + int((~logits.isfinite().all(1)).nonzero()[0])
            raise InputError(f"{self.info.name} returns NaN or infinite logits, first for image {bad}.")
        return logits.to(images.device, images.dtype)

    def _guard(self, network: nn.Module) -> AbstractContextManager[object]:
        return attacked(self.model) if network is self.model else nullcontext()

    def _network(self, dtype: torch.dtype, images: Tensor) -> nn.Module:
        check_shape(self.model, images)
        if dtype not in self._networks:
            self._networks[dtype] = self._prepared(dtype, images[:2])
        return self._networks[dtype]

    def _prepared(self, dtype: torch.dtype, probe: Tensor) -> nn.Module:
        if not self.info.differentiable:
            return self.model
        network = inference_copy(self.model)
        if network is None:
            return self.model
        network = network.to(self.device)
        folded = fold_batchnorm(network)
        if folded is not None and len(probe) and _agree(network, folded, self._moved(probe, torch.float32)):
            network = folded
        return network.to(dtype).to(memory_format=torch.channels_last)


def chunk_size(images: Tensor) -> int:
    """Images a pass so that the first layers' activations stay in cache: 128 at 32 x 32, 8 from 128 x 128 on."""
    pixels = images.shape[-1] * images.shape[-2]
    return min(_LARGEST_CHUNK, max(_SMALLEST_CHUNK, _CHUNK_PIXELS // max(1, pixels)))


def inference_copy(model: nn.Module) -> nn.Module | None:
    """A copy in evaluation mode with frozen parameters that share the original's memory; None where it cannot be."""
    memo: dict[int, object] = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in model.parameters()}
    memo |= {id(b): b.detach() for b in model.buffers()}
    try:
        return copy.deepcopy(model, memo).eval()
    except Exception:  # whatever a user's module raises when it is copied
        return None


def fold_batchnorm(model: nn.Module) -> nn.Module | None:
    """`model` with every BatchNorm that directly follows a convolution folded into it; None where nothing folds.

    Modules with hooks are left alone: tracing would lose them.
    """
    modules = dict(model.named_modules())
    has_hooks = any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in modules.values())
    if has_hooks or not any(isinstance(m, nn.BatchNorm2d) for m in modules.values()):
        return None
    try:
        traced = fx.symbolic_trace(model)
    except Exception:  # whatever a user's forward raises when it is traced
        return None
    layers = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        if node.op != "call_module" or not isinstance(layers[node.target], nn.BatchNorm2d):
            continue
        before = node.args[0]
        convolution = layers.get(str(before.target)) if before.op == "call_module" else None
        if isinstance(convolution, nn.Conv2d) and len(before.users) == 1:
            fused = fuse_conv_bn_eval(convolution, layers[node.target])
            parent, _, child = str(before.target).rpartition(".")
            setattr(layers[parent], child, fused)
            layers[str(before.target)] = fused
            node.replace_all_uses_with(before)
            traced.graph.erase_node(node)
    traced.recompile()
    return traced.requires_grad_(False).eval()


def _agree(network: nn.Module, folded: nn.Module, probe: Tensor) -> bool:
    """Whether both give the same logits, and the network gives them twice: a random one must not be frozen."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            first, second, other = network(probe), network(probe), folded(probe)
        except Exception:  # a trace can take a path that fails on real images
            return False
    scale = float(first.abs().max()) or 1.0
    return torch.equal(first, second) and float((first - other).abs().max()) <= _FOLD_TOLERANCE * scale
