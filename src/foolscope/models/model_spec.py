"""What every kind of model spec shares: parameters, paper, how to build it, and whether it can be had right now."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from torch import nn

from foolscope.errors import SpecError
from foolscope.models.classifier import Task
from foolscope.spec import Parameters, Spec, format_value, parse_spec

AUTO = "auto"
NONE = "none"


@dataclass(frozen=True)
class Status:
    """Whether a model can be had: at once, after a download, or not; `detail` says the size or what is missing."""

    state: Literal["ready", "download", "unavailable"]
    detail: str = ""

    def __str__(self) -> str:
        if self.state == "download":
            return f"needs a download of {self.detail}" if self.detail else "needs a download"
        return self.detail or self.state


READY = Status("ready")


@dataclass(frozen=True, kw_only=True)
class Model(Parameters, ABC):
    """Base of the kinds of model spec.

    `argument` is the field that the text after the colon fills (`torchvision:resnet50`), `example` one spec, `summary`
    one line, `source` the paper or project.
    """

    listing: ClassVar[str] = "foolscope models"
    argument: ClassVar[str | None] = None
    example: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]

    @abstractmethod
    def build(self, task: Task | None, *, offline: bool) -> nn.Module:
        """The model, in evaluation mode, the global random numbers as they were."""

    @abstractmethod
    def status(self, *, offline: bool) -> Status:
        """Whether `build` would succeed, without loading anything."""

    @classmethod
    def from_spec(cls, spec: Spec | str) -> Self:
        """Build from a spec.  Raises `SpecError` for unknown or unreadable options, `ParameterError` out of range."""
        spec = parse_spec(spec) if isinstance(spec, str) else spec
        if cls.argument is None:
            return super().from_spec(spec)
        keys = {key for key, _ in spec.options}
        if spec.argument is None or cls.argument in keys:
            expected = f"{cls.name}:{cls.argument.upper()}, as in '{cls.example}'"
            raise SpecError(f"malformed spec '{spec}': expected {expected}.")
        return super().from_spec(Spec(spec.name, None, ((cls.argument, spec.argument), *spec.options)))

    def spec(self) -> str:
        """The shortest spec string that builds this value again."""
        options = tuple(
            (field.name, format_value(getattr(self, field.name)))
            for field in dataclasses.fields(self)
            if field.name != self.argument and getattr(self, field.name) != field.default
        )
        return str(Spec(self.name, None if self.argument is None else str(getattr(self, self.argument)), options))
