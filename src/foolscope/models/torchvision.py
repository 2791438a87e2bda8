"""All classification networks of torchvision, with ImageNet weights from a folder or from torchvision's own server.

Weights are looked for in `FOOLSCOPE_DATA/weights/torchvision`, then in `FOOLSCOPE_HOME/weights/torchvision`: in each as
`NAME.safetensors` with a card `NAME.json` (input_size, mean, std, classes), then under the official file's name, whose
end is the beginning of its SHA-256.  Images are resized to the weights' crop size directly, not to a larger one and
cropped: nothing of the image is lost, and of 150 photographs MobileNetV2 gets 112 instead of 105 right and SqueezeNet
94 instead of 90 (resized by Pillow in 8 bits; 108 and 94 by `Resize`, which does not round).
"""

from __future__ import annotations

import errno
import json
import logging
import re
import sys
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, ClassVar
from urllib.error import URLError

import torch
from torch import nn

from foolscope.errors import CorruptError, MissingError, SpecError, nearest
from foolscope.files import data_folder, file_digest, home, is_offline, replacing
from foolscope.models import imagenet
from foolscope.models.architectures import seeded
from foolscope.models.classifier import Classifier, Normalize, Resize, Task
from foolscope.models.model_spec import AUTO, NONE, READY, Model, Status
from foolscope.models.weight_files import State, classes_in, fill, last_layer, read_checkpoint, read_weights
from foolscope.randomness import MAX_SEED
from foolscope.spec import parameter

logger = logging.getLogger("foolscope")

_AUXILIARY = {"inception_v3": "AuxLogits.", "googlenet": "aux"}
"""Networks with classifiers for training only, and how the keys of these begin."""
_OLD_DENSENET = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)")
_HASH = re.compile(r"-([0-9a-f]{8,})\.pth$")


def names() -> list[str]:
    """The networks that `torchvision:NAME` can name."""
    from torchvision import models

    listed: list[str] = models.list_models(module=models)
    return listed


@dataclass(frozen=True)
class Preprocessing:
    """What the weights expect: images of size x size, less mean, divided by std; and their number of classes."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: int = 1000


@dataclass(frozen=True)
class Official:
    """torchvision's own weights of a network: where they are, how large, and the smallest image in their metadata."""

    member: str
    url: str
    mebibytes: float
    min_size: int
    preprocessing: Preprocessing

    @property
    def file_name(self) -> str:
        """The file's name; its end is the beginning of its SHA-256."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class TorchvisionModel(Model):
    """A network of torchvision."""

    name: ClassVar[str] = "torchvision"
    argument: ClassVar[str | None] = "network"
    example: ClassVar[str] = "torchvision:resnet50"
    summary: ClassVar[str] = "any classification network of torchvision with its ImageNet weights; color, any size"
    source: ClassVar[str] = "torchvision.models, pytorch.org/vision/stable/models.html, with each network's paper"

    network: str = parameter(help="the network's name in torchvision")
    weights: str = parameter(AUTO, "auto, none (random), a name such as IMAGENET1K_V1, or a .safetensors file")
    seed: int = parameter(0, "seed of the random weights", low=0, high=MAX_SEED)

    def build(self, task: Task | None, *, offline: bool = False) -> Classifier:
        """A classifier of color images of any size.

        Raises `SpecError` for unknown names, `MissingError` where the weights are not there and may not or cannot be
        downloaded, `CorruptError` where they are damaged.
        """
        official = self._official()
        if self.weights == NONE:
            return self._untrained(task, official)
        path = self._found(official) or _download(official, offline=is_offline(offline))
        if path.suffix == ".pth":
            _check_hash(path)
        state = read_checkpoint(path) if path.suffix == ".pth" else read_weights(path)
        expected = _preprocessing(path, official)
        module = _filled(self.network, state, path, official)
        classes = len(module.get_parameter(last_layer(module)))
        if classes != expected.classes and path.with_suffix(".json").is_file():
            raise CorruptError(f"{path}: it has {classes} classes, its card says {expected.classes}.")
        given = path == self._given()
        return self._classifier(
            module, expected, classes, str(path) if given else path.name, trained_on=None if given else "imagenet"
        )

    def status(self, *, offline: bool = False) -> Status:
        """Ready where the weights are there; else the size of the download."""
        official = self._official()
        if self.weights == NONE or ((path := self._found(official)) is not None and path.is_file()):
            return READY
        if self._given() is not None:
            return Status("unavailable", f"{self.weights}: no such file.")
        if is_offline(offline):
            return Status("unavailable", f"not available offline ({official.mebibytes:.1f} MiB)")
        return Status("download", f"{official.mebibytes:.1f} MiB")

    @classmethod
    def members(cls) -> list[str]:
        """What `network` can be."""
        return names()

    @property
    def title(self) -> str:
        """The spec without weights and seed."""
        return f"torchvision:{self.network}"

    def _given(self) -> Path | None:
        """The file that `weights` names, if it names one."""
        return Path(self.weights).expanduser() if self.weights.endswith(".safetensors") else None

    def _official(self) -> Official:
        from torchvision import models

        if self.network not in (listed := names()):
            raise SpecError(
                f"unknown torchvision network '{self.network}'.{nearest(self.network, listed)} "
                f"'foolscope models torchvision' lists all."
            )
        members = models.get_model_weights(self.network).__members__
        if self.weights in (AUTO, NONE) or self._given() is not None:
            chosen = models.get_model_weights(self.network).DEFAULT
        elif self.weights in members:
            chosen = members[self.weights]
        else:
            there = ", ".join(member for member in members if member != "DEFAULT")
            raise SpecError(
                f"{self.title} has no weights '{self.weights}'; it has {there}, none, or a file ending in .safetensors."
            )
        preset = chosen.transforms()
        mean, std = tuple(preset.mean), tuple(preset.std)
        if self.network in _AUXILIARY:
            # Weights ported from TensorFlow, which scaled to [-1, 1].  torchvision undoes its usual normalization by
            # transform_input; both together are this.
            mean = std = (0.5, 0.5, 0.5)
        meta = chosen.meta
        return Official(
            chosen.name,
            chosen.url,
            float(meta["_file_size"]),
            int(meta["min_size"][0]),
            Preprocessing(int(preset.crop_size[0]), mean, std, len(meta["categories"])),
        )

    def _found(self, official: Official) -> Path | None:
        """The weights file that is there already; the file that `weights` names even where it is not there."""
        if (given := self._given()) is not None:
            return given
        for folder in folders():
            plain = folder / f"{self.network}.safetensors"
            for path in ([plain] if self.weights == AUTO else []) + [folder / official.file_name]:
                if path.is_file():
                    return path
        return None

    def _untrained(self, task: Task | None, official: Official) -> Classifier:
        classes = task.num_classes if task else 1000
        module = seeded(lambda: _network(self.network, classes, official, initialize=True), self.seed)
        classifier = self._classifier(module, official.preprocessing, classes, f"random, seed {self.seed}")
        classifier.class_names = task.class_names if task else None
        return classifier

    def _classifier(
        self, module: nn.Module, expected: Preprocessing, classes: int, weights: str, trained_on: str | None = None
    ) -> Classifier:
        return Classifier(
            module,
            name=self.title,
            input_shape=(3, None, None),
            num_classes=classes,
            class_names=imagenet.class_names() if classes == 1000 else None,
            preprocess=[Resize(expected.size, expected.size), Normalize(expected.mean, expected.std)],
            weights=weights,
            trained_on=trained_on,
        ).eval()


def folders() -> list[Path]:
    """Where weights are looked for, in this order."""
    chosen = data_folder()
    return [root / "weights" / "torchvision" for root in ([chosen] if chosen else []) + [home()]]


def _filled(name: str, state: State, path: Path, official: Official) -> nn.Module:
    """The network with the weights of `state`, as many classes as it has, without auxiliary classifiers."""
    if name.startswith("densenet"):
        state = _renamed(state)
    prefix = _AUXILIARY.get(name)
    auxiliary = prefix is not None and any(key.startswith(prefix) for key in state)
    module = _empty(name, 1000, official, auxiliary)
    if (classes := classes_in(state, last_layer(module), path)) != 1000:
        module = _empty(name, classes, official, auxiliary)
    fill(module, state, path)
    if auxiliary:
        module.aux_logits = False  # type: ignore[assignment]
        for key in [key for key, _ in module.named_children() if key.startswith(str(prefix).rstrip("."))]:
            setattr(module, key, None)
    return module


def _renamed(state: State) -> State:
    """Old DenseNet checkpoints write `norm.1.weight` where the modules are called `norm1` since (as torchvision)."""
    renamed = type(state)((_OLD_DENSENET.sub(r"\1\2", key), value) for key, value in state.items())  # type: ignore[call-arg]
    if hasattr(state, "_metadata"):
        setattr(renamed, "_metadata", state._metadata)  # noqa: B010 -- mypy knows no such attribute
    return renamed


def _empty(name: str, classes: int, official: Official, auxiliary: bool) -> nn.Module:
    """The network with nothing in its parameters, so that no time goes into random numbers."""
    # RegNet computes its widths with tensors, which must hold numbers.
    if name.startswith("regnet"):
        return seeded(lambda: _network(name, classes, official, auxiliary=auxiliary), 0)
    with torch.device("meta"):
        return _network(name, classes, official, auxiliary=auxiliary)


def _network(
    name: str, classes: int, official: Official, *, auxiliary: bool = False, initialize: bool = False
) -> nn.Module:
    from torchvision import models

    options: dict[str, Any] = {"num_classes": classes}
    if name in _AUXILIARY:
        options |= {"aux_logits": auxiliary, "init_weights": initialize, "transform_input": False}
    if name.startswith("vit_"):
        options["image_size"] = official.preprocessing.size
    network: nn.Module = models.get_model(name, weights=None, **options)
    return network


def _preprocessing(path: Path, official: Official) -> Preprocessing:
    """What the card beside the file says, or torchvision's metadata.  Raises `CorruptError` for a broken card."""
    card = path.with_suffix(".json")
    if path.suffix != ".safetensors" or not card.is_file():
        return official.preprocessing
    try:
        content = json.loads(card.read_bytes())
        channels, height, width = (int(side) for side in content["input_size"])
        mean, std = (tuple(float(value) for value in content[key]) for key in ("mean", "std"))
        classes = int(content["classes"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CorruptError(f"{card}: a card needs input_size, mean, std and classes ({error!r}).") from None
    if channels != 3 or height != width or height < 1 or len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise CorruptError(f"{card}: input_size must be [3, SIZE, SIZE], mean and std three numbers each, std above 0.")
    return Preprocessing(height, mean, std, classes)


def _check_hash(path: Path) -> None:
    """Raise `CorruptError` where a file's SHA-256 does not begin as its official name says."""
    match = _HASH.search(path.name)
    if match and not (found := file_digest(path)).startswith(match[1]):
        raise CorruptError(f"{path}: its SHA-256 begins {found[:8]}, its name says {match[1]}; remove it.")


def _download(official: Official, *, offline: bool) -> Path:
    """Fetch the official file into `FOOLSCOPE_HOME`, checked, whole or not at all."""
    name, size = official.file_name, f"{official.mebibytes:.1f} MiB"
    target = home() / "weights" / "torchvision" / name
    places = f"$FOOLSCOPE_DATA/weights/torchvision/{name} or to {target}"
    if offline:
        raise MissingError(f"offline, and {name} is not there ({size}): copy {official.url} to {places}.")
    # A warning, because Python shows these by default: nothing downloads silently.
    logger.warning("downloading %s (%s) to %s", official.url, size, target)
    match = _HASH.search(name)
    with replacing(target) as temporary:
        try:
            torch.hub.download_url_to_file(
                official.url, str(temporary), match[1] if match else None, progress=sys.stderr.isatty()
            )
        except RuntimeError as error:
            raise CorruptError(f"{official.url}: what arrived is damaged ({error}).") from None
        except (OSError, HTTPException) as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS):
                raise
            reason = error.reason if isinstance(error, URLError) else error
            raise MissingError(f"cannot download {official.url} ({size}): {reason}; copy it to {places}.") from None
    return target
