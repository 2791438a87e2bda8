"""Every model that a spec can name, and `load_model`.

`lenet`, `mnist-cnn`, `cifar-cnn` and `resnet20` are ours and have shipped weights; `torchvision:NAME`, `timm:NAME` and
`hf-hub:OWNER/NAME` are others'; `file:PATH.safetensors?arch=NAME`, `onnx:PATH`, `py:module:factory` and
`http://HOST/PATH` the user's.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from torch import nn

from foolscope.errors import FoolscopeError, MissingError, SpecError
from foolscope.models.architectures import CifarCNNModel, LeNetModel, MnistCNNModel, OwnModel, ResNet20Model
from foolscope.models.cards import card_path, load_card
from foolscope.models.classifier import Task
from foolscope.models.http import HttpModel, HttpsModel
from foolscope.models.model_spec import READY, Model, Status
from foolscope.models.onnx import OnnxModel
from foolscope.models.timm import HubModel, TimmModel
from foolscope.models.torchvision import TorchvisionModel
from foolscope.registry import Registry
from foolscope.spec import parameter, parse_spec


@dataclass(frozen=True, kw_only=True)
class FileModel(Model):
    """A file of weights for one of the package's or torchvision's networks."""

    name: ClassVar[str] = "file"
    argument: ClassVar[str | None] = "path"
    example: ClassVar[str] = "file:net.safetensors?arch=lenet"
    summary: ClassVar[str] = "weights of your own for a network of ours or of torchvision; classes read off the file"
    source: ClassVar[str] = "github.com/huggingface/safetensors"

    path: str = parameter(help="the .safetensors file: the network's state_dict")
    arch: str = parameter("", "the network: lenet, (lenet:extra=4), (torchvision:resnet50); by default the card's")

    def build(self, task: Task | None, *, offline: bool = False) -> nn.Module:
        """The network with the file's weights.  Raises `SpecError`, `MissingError` and `CorruptError`."""
        return self._network().build(task, offline=offline)

    def status(self, *, offline: bool = False) -> Status:
        """Ready where the file is there."""
        try:
            return self._network().status(offline=offline)
        except FoolscopeError as error:
            return Status("unavailable", str(error))

    def _network(self) -> OwnModel | TorchvisionModel:
        path = Path(self.path).expanduser()
        if not path.is_file():
            raise MissingError(f"{path}: no such file.")
        if path.suffix != ".safetensors":
            raise SpecError(f"'{path}' is not a .safetensors file; safetensors.torch.save_file writes one.")
        architecture = self.arch
        if not architecture and card_path(path).is_file():
            architecture = load_card(card_path(path)).architecture
        allowed = ", ".join(name for name, kind in MODELS.items() if issubclass(kind, OwnModel))
        if not architecture:
            raise SpecError(f"which network is '{path}'? Add ?arch=NAME: {allowed} or torchvision:NAME.")
        network = _parse(architecture)
        if not isinstance(network, (OwnModel, TorchvisionModel)):
            raise SpecError(f"arch={architecture} is not one of {allowed} or torchvision:NAME.")
        return network.replace(weights=str(path))


@dataclass(frozen=True, kw_only=True)
class PyModel(Model):
    """A module that the user's own Python code builds."""

    name: ClassVar[str] = "py"
    argument: ClassVar[str | None] = "factory"
    example: ClassVar[str] = "py:mynet:build"
    summary: ClassVar[str] = "your own Python: module:factory, which returns an nn.Module from images to logits"
    source: ClassVar[str] = "your own code, imported with the current folder on the path"

    factory: str = parameter(help="MODULE:FACTORY; the factory takes no arguments")

    def build(self, task: Task | None, *, offline: bool = False) -> nn.Module:
        """What the factory returns, untouched.

        Raises `MissingError` where there is no such module, `SpecError` where the code fails or returns something else.
        """
        module, name = self._parts()
        with _here():
            try:
                found = importlib.import_module(module)
            except ModuleNotFoundError as error:
                if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
                    raise MissingError(f"no Python module '{module}' in {Path.cwd()} or on the path.") from None
                raise SpecError(f"importing {module} fails: {error}.") from error
            except Exception as error:
                raise SpecError(f"importing {module} fails: {type(error).__name__}: {error}.") from error
            factory = getattr(found, name, None)
            if not callable(factory) or isinstance(factory, nn.Module):
                raise SpecError(f"{self.spec()}: '{name}' of {found.__file__} is not a function that returns a module.")
            try:
                model = factory()
            except Exception as error:
                raise SpecError(f"{self.spec()} fails: {type(error).__name__}: {error}.") from error
        if not isinstance(model, nn.Module):
            raise SpecError(f"{self.spec()} must return a torch.nn.Module, got {type(model).__name__}.")
        return model

    def status(self, *, offline: bool = False) -> Status:
        """Ready where the module can be found; nothing is imported."""
        module, _ = self._parts()
        top = module.partition(".")[0]
        if importlib.machinery.PathFinder.find_spec(top, [str(Path.cwd()), *sys.path]):
            return READY
        return Status("unavailable", f"no Python module '{module}' in {Path.cwd()} or on the path.")

    def _parts(self) -> tuple[str, str]:
        module, _, name = self.factory.partition(":")
        if not name.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
            raise SpecError(f"'{self.factory}' is not MODULE:FACTORY, as in '{self.example}'.")
        return module, name


@contextmanager
def _here() -> Iterator[None]:
    """The current folder first on Python's path."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


MODELS: Registry[type[Model]] = Registry(
    "model",
    "foolscope models",
    {
        kind.name: kind
        for kind in (
            LeNetModel,
            MnistCNNModel,
            CifarCNNModel,
            ResNet20Model,
            TorchvisionModel,
            TimmModel,
            HubModel,
            FileModel,
            OnnxModel,
            PyModel,
            HttpModel,
            HttpsModel,
        )
    },
)


def _parse(spec: str) -> Model:
    parsed = parse_spec(spec)
    return MODELS[parsed.name].from_spec(parsed)


def load_model(spec: str, task: Task | None = None, *, offline: bool = False) -> nn.Module:
    """The model that `spec` names, in evaluation mode; a `Classifier`, except for `py:`, whose module is as built.

    `task`, the data set's, chooses among shipped weights and sizes untrained networks.  `offline` forbids downloads, as
    `FOOLSCOPE_OFFLINE` does.  Raises `SpecError` and `ParameterError` for the spec, `InputError` where the task's
    images do not fit, `MissingError` and `CorruptError` for files.
    """
    return _parse(spec).build(task, offline=offline)


def status(spec: str, *, offline: bool = False) -> Status:
    """Whether `load_model(spec)` works at once, after a download of which size, or not; loads no weights."""
    return _parse(spec).status(offline=offline)
