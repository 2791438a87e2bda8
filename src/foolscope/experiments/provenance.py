"""With what a result was made, and how to make it again: versions and machine, the command line and the Python."""

from __future__ import annotations

import functools
import platform
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata

import torch
from torch import nn

from foolscope.spec import format_value

DEFAULT_EOT = 16
"""Draws that a gradient behind a random defense is the mean of."""
DEFAULT_QUERIES = 500
"""Queries an image of the Square that stands in for a black-box attack on a defense."""
_PACKAGES = ("foolscope", "torch", "torchvision", "numpy", "pillow", "opencv-python-headless")


@dataclass(frozen=True, kw_only=True)
class Repetition:
    """What an audit was asked for, in the words that ask for it again.

    `model` and `data` are specs, or None for what was handed over as an object; `eps` are the radii a norm, `limit` is
    None of all images, `device` None where none was named.
    """

    model: str | None
    data: str | None
    split: str
    limit: int | None
    attacks: list[str]
    eps: Mapping[str, tuple[float, ...]]
    defenses: tuple[str, ...]
    seed: int
    precision: str
    device: str | None
    eot: int = DEFAULT_EOT
    black_box: int = DEFAULT_QUERIES
    examine: bool = False
    explain: tuple[str, ...] = ()

    def command(self) -> str | None:
        """The command line; None for a model or data that no spec names."""
        if self.model is None or self.data is None:
            return None
        parts = ["foolscope", "audit", self.model, "--data", self.data]
        parts += ["--split", self.split] if self.split != "test" else []
        parts += ["--attacks", ",".join(self.attacks)]
        for norm, radii in self.eps.items():
            parts += ["--eps", f"{norm}={','.join(format_value(value) for value in radii)}"]
        for defense in self.defenses:
            parts += ["--defense", defense]
        parts += ["--limit", str(self.limit)] if self.limit else []
        parts += ["--seed", str(self.seed)]
        parts += ["--precision", self.precision] if self.precision != "float32" else []
        parts += ["--device", self.device] if self.device else []
        parts += ["--eot", str(self.eot)] if self.eot != DEFAULT_EOT else []
        parts += ["--black-box", str(self.black_box)] if self.black_box != DEFAULT_QUERIES else []
        parts += ["--examine"] if self.examine else []
        parts += ["--explain", ",".join(self.explain)] if self.explain else []
        return shlex.join(parts)

    def python(self) -> str:
        """The Python, report and all; what was handed over as it is is called `model` and `data` there."""
        chosen = f"split={self.split!r}, limit={self.limit!r}, " if self.data else ""
        more = f", device={self.device!r}" if self.device else ""
        more += f", eot={self.eot}" if self.eot != DEFAULT_EOT else ""
        more += f", black_box={self.black_box}" if self.black_box != DEFAULT_QUERIES else ""
        more += ", examine=True" if self.examine else ""
        more += f", explain={list(self.explain)!r}" if self.explain else ""
        lines = [
            "import foolscope as fs",
            "",
            "results = fs.audit(",
            f"    {self.model!r}," if self.model else "    model,",
            f"    {self.data!r}," if self.data else "    data,",
            f"    {self.attacks!r},",
            f"    eps={dict(self.eps)!r},",
            f"    defenses={list(self.defenses)!r},",
            f"    {chosen}seed={self.seed}, precision={self.precision!r}{more},",
            ")",
            "fs.report.write(results, 'report')",
        ]
        return "\n".join(lines)


@dataclass(frozen=True)
class ParameterCount:
    """How many numbers a network has: `parameters` are trained, `buffers` only follow them, as BatchNorm's averages."""

    parameters: int
    buffers: int

    @classmethod
    def of(cls, model: nn.Module) -> ParameterCount:
        """Count; of buffers those that weight files hold, and no counters."""
        trained = {name for name, _ in model.named_parameters()}
        held = {name: value for name, value in model.state_dict().items() if name not in trained}
        buffers = sum(value.numel() for value in held.values() if value.is_floating_point())
        return cls(sum(value.numel() for value in model.parameters()), buffers)


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
