"""foolscope shows how image classifiers are fooled, how badly, and why.

    import foolscope as fs

    model = fs.load_model("lenet")
    data = fs.load_data("digits", split="test", limit=256)
    result = fs.attacks.PGD(eps=0.3, steps=40)(model, data.images, fs.Untargeted(data.labels))

Names are imported when they are first used: `import foolscope` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foolscope import (
        attacks,
        data,
        defenses,
        errors,
        experiments,
        explain,
        filters,
        jpeg,
        masking,
        measure,
        models,
        norms,
        report,
    )
    from foolscope.attacks import Targeted, Untargeted, parse_attack
    from foolscope.data import load_data
    from foolscope.defenses import defended, parse_defense, parse_detector
    from foolscope.errors import Cancelled, FoolscopeError
    from foolscope.experiments.audit import audit
    from foolscope.experiments.evolve import evolve
    from foolscope.experiments.train import train_model as train
    from foolscope.filters import parse_chain
    from foolscope.models import load_model

__version__ = "0.1.0"

_MODULES = (
    "attacks",
    "data",
    "defenses",
    "errors",
    "experiments",
    "explain",
    "filters",
    "jpeg",
    "masking",
    "measure",
    "models",
    "norms",
    "report",
)
_NAMES = {
    "Cancelled": ("foolscope.errors", "Cancelled"),
    "FoolscopeError": ("foolscope.errors", "FoolscopeError"),
    "Targeted": ("foolscope.attacks", "Targeted"),
    "Untargeted": ("foolscope.attacks", "Untargeted"),
    "audit": ("foolscope.experiments.audit", "audit"),
    "defended": ("foolscope.defenses", "defended"),
    "evolve": ("foolscope.experiments.evolve", "evolve"),
    "load_data": ("foolscope.data", "load_data"),
    "load_model": ("foolscope.models", "load_model"),
    "parse_attack": ("foolscope.attacks", "parse_attack"),
    "parse_chain": ("foolscope.filters", "parse_chain"),
    "parse_defense": ("foolscope.defenses", "parse_defense"),
    "parse_detector": ("foolscope.defenses", "parse_detector"),
    "train": ("foolscope.experiments.train", "train_model"),
}

__all__ = [
    "Cancelled",
    "FoolscopeError",
    "Targeted",
    "Untargeted",
    "attacks",
    "audit",
    "data",
    "defended",
    "defenses",
    "errors",
    "evolve",
    "experiments",
    "explain",
    "filters",
    "jpeg",
    "load_data",
    "load_model",
    "masking",
    "measure",
    "models",
    "norms",
    "parse_attack",
    "parse_chain",
    "parse_defense",
    "parse_detector",
    "report",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value: Any = importlib.import_module(f"foolscope.{name}")
    elif name in _NAMES:
        module, attribute = _NAMES[name]
        value = getattr(importlib.import_module(module), attribute)
    else:
        raise AttributeError(f"module 'foolscope' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
