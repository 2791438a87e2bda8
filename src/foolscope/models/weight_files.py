"""Reading weights: safetensors, and the official checkpoints of torchvision; never a pickle that could run code."""

from __future__ import annotations

import importlib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from foolscope.errors import CorruptError, MissingError
from foolscope.files import file_digest, replacing

State = Mapping[str, Tensor]
"""Names to tensors, as `state_dict()` gives them."""


def require(module: str, extra: str) -> Any:
    """Import an optional package.  Raises `MissingError` with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise MissingError(f"{module} is not installed: pip install 'foolscope[{extra}]'.") from None


def read_weights(path: Path, sha256: str | None = None) -> State:
    """The tensors of a safetensors file.

    Raises `MissingError` where there is no file, `CorruptError` where it is no safetensors file, is truncated, or has
    another SHA-256 than `sha256`.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise MissingError(f"{path}: no such file.")
    if path.suffix != ".safetensors":
        raise CorruptError(f"{path}: weights are read from .safetensors files only (safetensors.torch.save_file).")
    try:
        if sha256 is not None and (found := file_digest(path)) != sha256:
            raise CorruptError(f"{path}: its SHA-256 begins {found[:8]}, its card says {sha256[:8]}.")
        state: State = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CorruptError(f"{path}: damaged safetensors file ({error}).") from None
    return state


def read_checkpoint(path: Path) -> State:
    """The tensors of a .pth file, read without running what is pickled in it.  Raises `CorruptError`."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what is no checkpoint fails anywhere in the unpickler, with any error
        reason = (str(error).splitlines() or [repr(error)])[0]
        raise CorruptError(f"{path}: damaged checkpoint ({reason}).") from None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CorruptError(f"{path}: not a state_dict of tensors.")
    return state


def save_weights(network: nn.Module, path: Path) -> str:
    """Write a network's `state_dict` as safetensors, whole or not at all, and return the file's SHA-256."""
    from safetensors.torch import save_file

    with replacing(path) as temporary:
        save_file({key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}, temporary)
    return file_digest(path)


def fill(network: nn.Module, state: State, origin: Path) -> None:
    """Replace a network's parameters and buffers, which may be on the meta device, by those of `state`, as float32.

    Raises `CorruptError`, which names the first key that is missing, unexpected or of another shape.
    """
    tensors = OrderedDict((key, value.float() if value.is_floating_point() else value) for key, value in state.items())
    # safetensors keep no module versions, and MNASNet refuses to load without its own.  BatchNorm stays without one,
    # which lets files pass that lack its counter of batches.
    metadata = getattr(state, "_metadata", None) or {"": {"version": getattr(network, "_version", None)}}
    setattr(tensors, "_metadata", metadata)  # noqa: B010 -- mypy knows no such attribute
    try:
        result = network.load_state_dict(tensors, strict=False, assign=True)
    except RuntimeError as error:
        for key, want in network.state_dict().items():
            if key in tensors and tensors[key].shape != want.shape:
                found, wanted = tuple(tensors[key].shape), tuple(want.shape)
                raise CorruptError(f"{origin}: '{key}' has shape {found}, this network needs {wanted}.") from None
        raise CorruptError(f"{origin}: {str(error).splitlines()[0]}") from None
    for what, keys in (("missing", result.missing_keys), ("unexpected", result.unexpected_keys)):
        if keys:
            raise CorruptError(f"{origin}: '{keys[0]}' is {what}; these are another network's weights.")


def last_layer(network: nn.Module) -> str:
    """The key of the last layer's weight, whose first dimension is the number of classes."""
    return [key for key in network.state_dict() if key.endswith("weight")][-1]


def classes_in(state: State, key: str, origin: Path) -> int:
    """The number of classes that the last layer `key` has in a file.  Raises `CorruptError` where it is not there."""
    if key not in state or state[key].ndim < 2:
        raise CorruptError(f"{origin}: '{key}' is missing; these are another network's weights.")
    return int(state[key].shape[0])
