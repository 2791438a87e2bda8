"""The package's own small networks: shipped weights, a file's, or random ones.

Their first layer normalizes by the number of channels, so that a weights file holds the network's `state_dict` and
nothing else: gray images as MNIST, color images as CIFAR-10.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

from foolscope.errors import InputError, SpecError, nearest
from foolscope.models import cards
from foolscope.models.cards import Card, card_path, load_card
from foolscope.models.classifier import Classifier, Normalize, Task
from foolscope.models.model_spec import AUTO, NONE, READY, Model, Status
from foolscope.models.weight_files import State, classes_in, fill, last_layer, read_weights
from foolscope.randomness import MAX_SEED
from foolscope.spec import parameter

GRAY_MEAN, GRAY_STD = (0.1307,), (0.3081,)
"""MNIST's; used for every gray data set."""
COLOR_MEAN, COLOR_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
"""CIFAR-10's; used for every color data set."""


def normalization(channels: int) -> Normalize:
    """The first layer of the package's own networks for images with 1 or 3 channels."""
    return Normalize(GRAY_MEAN, GRAY_STD) if channels == 1 else Normalize(COLOR_MEAN, COLOR_STD)


def seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """What `build` returns when its random numbers begin at `seed`; the global ones are left as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build()


@dataclass(frozen=True, kw_only=True)
class OwnModel(Model):
    """A network of this package.

    `weights` `auto` takes the shipped ones of the task's data set, without a task those of `default_data`; ordinary
    training goes before adversarial.
    """

    default_data: ClassVar[str]
    default_shape: ClassVar[tuple[int, int, int]]

    weights: str = parameter(AUTO, "auto (by the data), none (random), a shipped name, or a .safetensors file")
    seed: int = parameter(0, "seed of the random weights", low=0, high=MAX_SEED)

    @abstractmethod
    def network(self, channels: int, num_classes: int) -> nn.Module:
        """The bare network with random weights."""

    def fits(self, shape: tuple[int | None, ...]) -> bool:
        """Whether the network takes images of this shape (channels, height, width)."""
        return shape == self.default_shape

    def build(self, task: Task | None, *, offline: bool = False) -> Classifier:
        """A classifier with random, shipped or the file's weights.

        Raises `SpecError` where no weights fit, `InputError` where the task's images do not fit the network,
        `MissingError` and `CorruptError` for the file.
        """
        if self.weights == NONE:
            return self._untrained(task)
        path, card = self._chosen(task)
        state = read_weights(path, card.sha256 if card else None)
        with torch.device("meta"):
            probe = self.network(self.default_shape[0], 10)
        num_classes = classes_in(state, last_layer(probe), path)
        shape = self._shape(_channels(state, self.default_shape[0]), card, task)
        with torch.device("meta"):
            network = self.network(shape[0], num_classes)
        fill(network, state, path)
        names = card.class_names if card else None
        if card and task and names is None and task.name == card.data and task.num_classes == num_classes:
            names = task.class_names
        return self._classifier(network, shape, num_classes, names, path.stem if card else str(path), card)

    def status(self, *, offline: bool = False) -> Status:
        """Ready where the weights are there."""
        if self.weights == NONE:
            return READY
        try:
            path, _ = self._chosen(None)
        except SpecError as error:
            return Status("unavailable", str(error))
        return READY if path.is_file() else Status("unavailable", f"{path}: no such file.")

    def _untrained(self, task: Task | None) -> Classifier:
        shape, num_classes, names = self.default_shape, 10, None
        if task is not None:
            channels, height, width = task.input_shape
            if height is None or width is None or not self.fits(task.input_shape):
                raise self._unfit(task)
            shape, num_classes, names = (channels, height, width), task.num_classes, task.class_names
        network = seeded(lambda: self.network(shape[0], num_classes), self.seed)
        return self._classifier(network, shape, num_classes, names, f"random, seed {self.seed}", None)

    def _unfit(self, task: Task) -> InputError:
        """That the network does not take the task's images."""
        have = " x ".join("any" if side is None else str(side) for side in task.input_shape)
        want = " x ".join(map(str, self.default_shape))
        return InputError(f"{self.title} takes images of {want} (channels x height x width), {task.name} has {have}.")

    def _classifier(
        self,
        network: nn.Module,
        shape: tuple[int, int, int],
        num_classes: int,
        class_names: tuple[str, ...] | None,
        weights: str,
        card: Card | None,
    ) -> Classifier:
        return Classifier(
            network,
            name=self.title,
            input_shape=shape,
            num_classes=num_classes,
            class_names=class_names,
            preprocess=[normalization(shape[0])],
            weights=weights,
            trained_on=card.data if card else None,
        ).eval()

    @property
    def title(self) -> str:
        """The spec without weights and seed."""
        return self.replace(weights=AUTO, seed=0).spec()

    def _shape(self, channels: int, card: Card | None, task: Task | None) -> tuple[int, int, int]:
        """The images' shape that goes with the weights: the card's, without a card the task's, else the usual one."""
        if card and card.input_shape:
            return card.input_shape
        if card is None and task is not None and task.input_shape[0] == channels and self.fits(task.input_shape):
            _, height, width = task.input_shape
            if height is not None and width is not None:
                return channels, height, width
        side = 28 if channels == 1 else 32
        return (channels, side, side) if self.fits((channels, side, side)) else self.default_shape

    def _chosen(self, task: Task | None) -> tuple[Path, Card | None]:
        """The weights file and its card, if it has one."""
        ours = [card for card in cards.shipped() if card.architecture == self.title]
        if self.weights == AUTO:
            return self._by_data(ours, task)
        for card in ours:
            if card.name == self.weights:
                return cards.FOLDER / card.file_name, card
        if not self.weights.endswith(".safetensors") and "/" not in self.weights:
            raise SpecError(
                f"{self.title} has no weights '{self.weights}'.{nearest(self.weights, [c.name for c in ours])} "
                f"{_listed(ours)} A file's name ends in .safetensors."
            )
        path = Path(self.weights).expanduser()
        return path, load_card(card_path(path)) if card_path(path).is_file() else None

    def _by_data(self, ours: list[Card], task: Task | None) -> tuple[Path, Card]:
        wanted = task.name if task else self.default_data
        fitting = [card for card in ours if card.data == wanted]
        if not fitting:
            if task and None not in task.input_shape and not self.fits(task.input_shape):
                raise self._unfit(task)
            raise SpecError(
                f"no weights of {self.title} for '{wanted}' are shipped. {_listed(ours)} 'weights=none' takes random "
                f"ones, 'foolscope train {self.title} --data {wanted}' trains some on its split 'train'."
            )
        card = min(fitting, key=lambda c: c.adversarial is not None)
        return cards.FOLDER / card.file_name, card


def _listed(ours: list[Card]) -> str:
    names = ", ".join(f"weights={card.name}" for card in ours)
    return f"Shipped: {names}." if names else "None are shipped."


def _channels(state: State, default: int) -> int:
    """The channels of the images: what the first convolution in the file takes."""
    for key in ("features.0.weight", "conv1.weight"):
        if key in state and state[key].ndim == 4:
            return int(state[key].shape[1])
    return default


@dataclass(frozen=True, kw_only=True)
class LeNetModel(OwnModel):
    """LeNet-5 for gray images of 28 x 28."""

    name: ClassVar[str] = "lenet"
    example: ClassVar[str] = "lenet:extra=4,weights=none"
    summary: ClassVar[str] = "LeNet-5, 61,706 parameters, with extra dense layers if wanted; gray 28 x 28"
    source: ClassVar[str] = "LeCun et al. 1998, Gradient-based learning applied to document recognition"
    default_data: ClassVar[str] = "mnist"
    default_shape: ClassVar[tuple[int, int, int]] = (1, 28, 28)

    extra: int = parameter(0, "dense layers of 256 units before the last one", low=0, high=100)

    def network(self, channels: int, num_classes: int) -> nn.Module:
        """The bare network."""
        from foolscope.models.lenet import LeNet

        return LeNet(num_classes, self.extra)


@dataclass(frozen=True, kw_only=True)
class MnistCNNModel(OwnModel):
    """The network of Wong et al. for gray images of 28 x 28."""

    name: ClassVar[str] = "mnist-cnn"
    example: ClassVar[str] = "mnist-cnn:weights=mnist-linf"
    summary: ClassVar[str] = (
        "two strided convolutions, wide enough for adversarial training on MNIST, 436,202 parameters"
    )
    source: ClassVar[str] = "Wong, Rice, Kolter 2020, arXiv 2001.03994, twice as wide"
    default_data: ClassVar[str] = "mnist"
    default_shape: ClassVar[tuple[int, int, int]] = (1, 28, 28)

    def network(self, channels: int, num_classes: int) -> nn.Module:
        """The bare network."""
        from foolscope.models.mnist_cnn import MnistCNN

        return MnistCNN(num_classes)


@dataclass(frozen=True, kw_only=True)
class CifarCNNModel(OwnModel):
    """The report's network for images of 32 x 32."""

    name: ClassVar[str] = "cifar-cnn"
    example: ClassVar[str] = "cifar-cnn:weights=cifar10"
    summary: ClassVar[str] = (
        "the report's six convolutions for CIFAR-10, 552,362 parameters, 551,466 trainable; 32 x 32"
    )
    source: ClassVar[str] = "Fig. 19 of the report on interpreting adversarial attacks"
    default_data: ClassVar[str] = "cifar10"
    default_shape: ClassVar[tuple[int, int, int]] = (3, 32, 32)

    def network(self, channels: int, num_classes: int) -> nn.Module:
        """The bare network."""
        from foolscope.models.cifar_cnn import CifarCNN

        return CifarCNN(num_classes, channels)

    def fits(self, shape: tuple[int | None, ...]) -> bool:
        """Gray or color, 32 x 32."""
        return shape[0] in (1, 3) and shape[1:] == (32, 32)


@dataclass(frozen=True, kw_only=True)
class ResNet20Model(OwnModel):
    """ResNet-20 for small images."""

    name: ClassVar[str] = "resnet20"
    example: ClassVar[str] = "resnet20:weights=mnist"
    summary: ClassVar[str] = "residual network of 20 layers, about 270,000 parameters; sides that are multiples of 4"
    source: ClassVar[str] = "He et al. 2015, arXiv 1512.03385, section 4.2"
    default_data: ClassVar[str] = "cifar10"
    default_shape: ClassVar[tuple[int, int, int]] = (3, 32, 32)

    def network(self, channels: int, num_classes: int) -> nn.Module:
        """The bare network."""
        from foolscope.models.resnet import ResNet20

        return ResNet20(num_classes, channels)

    def fits(self, shape: tuple[int | None, ...]) -> bool:
        """Gray or color, both sides multiples of 4."""
        return shape[0] in (1, 3) and all(side is not None and side > 0 and side % 4 == 0 for side in shape[1:])
