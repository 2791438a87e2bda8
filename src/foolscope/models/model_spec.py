"""What every kind of model spec shares: parameters, paper, how to build it, and whether it can be had right now."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from foolscope.models.classifier import Task
from foolscope.spec import Parameters

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
    summary: ClassVar[str]
    source: ClassVar[str]

    @classmethod
    def members(cls) -> list[str]:
        """The names that the argument can be, where they are known and more than one network is meant; else []."""
        return []

    @abstractmethod
    def build(self, task: Task | None, *, offline: bool) -> nn.Module:
        """The model, in evaluation mode, the global random numbers as they were."""

    @abstractmethod
    def status(self, *, offline: bool) -> Status:
        """Whether `build` would succeed, without loading anything."""
