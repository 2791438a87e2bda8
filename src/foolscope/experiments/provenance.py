"""With what a result was made: versions and machine."""

from __future__ import annotations

import functools
import platform
from importlib import metadata

import torch

_PACKAGES = ("foolscope", "torch", "torchvision", "numpy", "pillow", "opencv-python-headless")


@functools.cache
def versions() -> dict[str, str | None]:
    """Python's version and those of the packages that decide results; None of one that is not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}}


def machine() -> dict[str, str | int]:
    """What it ran on."""
    return {"processor": platform.machine(), "system": platform.system(), "threads": torch.get_num_threads()}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
