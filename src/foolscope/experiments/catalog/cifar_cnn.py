"""Figures 19 and 20 of the report: the network for CIFAR-10, layer by layer, and its training."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from foolscope.experiments.catalog.common import AGREES, mean_percent, read, told, written
from foolscope.experiments.experiment import Experiment, Found, Images, Kind, Sample, Scene, Work, numbers
from foolscope.experiments.findings import Chart, Figure, Findings, Line, Table, Value
from foolscope.experiments.provenance import ParameterCount
from foolscope.experiments.train import default_recipe
from foolscope.measure import Mean, Proportion, mean_interval
from foolscope.models.engine import Engine
from foolscope.models.training import Recipe, train
from foolscope.spec import parameter

_TOTAL, _TRAINABLE = 552_362, 551_466
"""Parameters by the report's Fig. 19."""

_USUAL = {"cifar10": "cifar-cnn"}


def learning(scene: Scene) -> dict[str, Any]:
    """Kind `learning`: a training, and after every epoch (E,) how many test images are right.

    `loss` and `accuracy` are means over the steps of an epoch, on augmented images and with dropout; `right` counts the
    test images, of `tested`.  `layers` is JSON: name, kind, output shape, trained parameters and buffers of each layer.
    """
    network, test = copy.deepcopy(scene.model), scene.library.images(Images(**scene.options["test"]))
    right: list[int] = []

    def count(module: nn.Module) -> float:
        right.append(int((Engine(module).predict(test.images) == test.labels).sum()))
        return right[-1] / len(test)

    recipe = Recipe(**scene.options["recipe"])
    curves = train(
        network, scene.data.pixels, scene.data.labels, recipe, seed=scene.options["seed"], validate=count
    )  # fmt: skip
    return {
        "loss": torch.tensor(curves.loss),
        "accuracy": torch.tensor(curves.accuracy),
        "right": torch.tensor(right),
        "tested": torch.tensor(len(test)),
        "layers": written(_layers(network, test.rows(slice(0, 1)).images)),
    }


def _layers(network: nn.Module, image: Tensor) -> list[dict[str, Any]]:
    """Every layer that computes something, in the order in which an image meets them."""
    found: list[dict[str, Any]] = []

    def note(module: nn.Module, _: object, output: Tensor) -> None:
        count = ParameterCount.of(module)
        found.append({"kind": type(module).__name__, "shape": list(output.shape[1:]), **asdict(count)})

    leaves = [module for module in network.modules() if not list(module.children())]
    hooks = [module.register_forward_hook(note) for module in leaves]
    try:
        with torch.no_grad():
            network(image)
    finally:
        for hook in hooks:
            hook.remove()
    return found


KINDS = {"learning": Kind(learning)}


@dataclass(frozen=True, kw_only=True)
class CifarCnn(Experiment):
    """The report's network for CIFAR-10, layer by layer, and how its accuracy grows with the epochs.

    The seed: Fig. 19 lists the layers, 552,362 parameters of which 551,466 are trainable; Fig. 20 shows the accuracy
    against the epochs, and the text gives neither its numbers nor how the network was trained.

    Differences: the layers and their parameters are the report's. It leaves open where activations stand and how much
    dropout there is; our training (one-cycle learning rate, random shifts and flips) is stated in the table. Accuracy
    on training images is measured while training, with dropout and on augmented images, and lies below that on test
    images for as long as the network does not overfit. For gray images the network is LeNet.
    """

    name: ClassVar[str] = "cifar-cnn"
    figure: ClassVar[str] = "Fig. 19, 20"
    summary: ClassVar[str] = "the network for CIFAR-10: its layers, and accuracy against epochs"
    on: ClassVar[tuple[str, ...]] = ("cifar10", "mnist", "digits")

    epochs: int = parameter(0, "epochs of the training; 0: the usual number", low=0)
    seeds: str = parameter("0,1,2", "seeds of the trainings")
    model: str = parameter("auto", "the network; auto: cifar-cnn for cifar10, else lenet")
    train_images: int = parameter(0, "training images; 0: all", low=0)

    def cells(self, sample: Sample) -> list[Work]:
        return [self._work(sample, seed) for seed in numbers(self.seeds, "seeds", int)]

    def _model(self, sample: Sample) -> str:
        return _USUAL.get(sample.name, "lenet") if self.model == "auto" else self.model

    def _recipe(self, sample: Sample) -> Recipe:
        recipe = default_recipe(self._model(sample), sample.library.images(self._training_images(sample)))
        return recipe.replace(epochs=self.epochs) if self.epochs else recipe

    def _training_images(self, sample: Sample) -> Images:
        return Images(data=sample.name, split="train", limit=self.train_images or None, seed=sample.images.seed)

    def _work(self, sample: Sample, seed: int) -> Work:
        images, recipe = self._training_images(sample), self._recipe(sample)
        count = 3 * len(sample.library.images(images)) + len(sample.data)
        model = self._model(sample)
        return Work(
            kind="learning", images=images, cost=float(recipe.epochs * count),
            model=f"{model}{',' if ':' in model else ':'}weights=none,seed={seed}",
            options={
                "recipe": asdict(recipe), "seed": seed, "test": asdict(sample.images),
                "tested": sample.data.digest,  # the name alone does not say what is in it
            },
        )  # fmt: skip

    def show(self, sample: Sample, found: Found) -> Findings:
        model, works = self._model(sample), self.cells(sample)
        runs = [found[work] for work in works]
        layers = read(runs[0]["layers"])
        trained, buffers = (sum(layer[key] for layer in layers) for key in ("parameters", "buffers"))
        tested = int(runs[0]["tested"])
        shares = [[Proportion(int(right), tested) for right in run["right"]] for run in runs]
        epochs = _epochs(shares)
        best = max(range(len(epochs)), key=lambda epoch: epochs[epoch].value)
        seeds = f", over {len(runs)} seeds" if len(runs) > 1 else ""
        figure = Figure(
            name="training",
            caption=f"{model}: accuracy on {tested:,} test images after every epoch, and on the training images "
            f"meanwhile, augmented and with dropout; and the loss on these. Bands are 95 % intervals{seeds}.",
            content=_charts(runs, epochs),
        )
        columns = ("layer", "output", "parameters", "not trained")
        rows: list[tuple[Value, ...]] = [
            (f"{n + 1}. {layer['kind']}", " x ".join(map(str, layer["shape"])), layer["parameters"], layer["buffers"])
            for n, layer in enumerate(layers)
        ]
        rows.append(("all", "", trained, buffers))
        recipe = Table(
            name="recipe", caption="How it was trained", columns=("setting", "value"),
            rows=tuple((name, str(value)) for name, value in asdict(self._recipe(sample)).items()),
        )  # fmt: skip
        sentences = (
            f"{model} has {trained + buffers:,} parameters, {trained:,} of them trained.",
            f"After {len(epochs)} epochs it classifies {_share(epochs[-1])} of the test images right{seeds}; the most, "
            f"{_share(epochs[best])}, after {best + 1}.",
        )
        is_theirs = model == _USUAL["cifar10"]
        agrees = (trained + buffers, trained) == (_TOTAL, _TRAINABLE)
        why = (AGREES if agrees else "other classes than CIFAR-10's") if is_theirs else "another network"
        compared = (
            told("parameters", f"{_TOTAL:,}" if is_theirs else None, trained + buffers, why),
            told("trained", f"{_TRAINABLE:,}" if is_theirs else None, trained, why),
            told(
                "accuracy on test images after the last epoch",
                "a curve without numbers",
                _share(epochs[-1]),
                "the report does not say how it was trained",
            ),
        )
        return Findings(
            told=sentences, figures=(figure,), compared=compared,
            tables=(Table(name="layers", caption="Layers", columns=columns, rows=tuple(rows)), recipe),
        )  # fmt: skip


def _epochs(shares: list[list[Proportion]]) -> list[Mean]:
    """Accuracy in percent after every epoch: with the interval over the seeds, of a single one that over its images."""
    if len(shares) > 1:
        return [mean_percent([share.value for share in after]) for after in zip(*shares, strict=True)]
    return [Mean(100 * one.value, 100 * one.low, 100 * one.high, 1) for one in shares[0]]


def _share(mean: Mean) -> str:
    return f"{mean.value:.1f} % [{mean.low:.1f}, {mean.high:.1f}]"


def _charts(runs: list[Any], epochs: list[Mean]) -> tuple[Chart, Chart]:
    """Accuracy and loss against epochs."""
    x = [float(epoch + 1) for epoch in range(len(epochs))]
    seen = [mean_percent(list(after)) for after in zip(*(run["accuracy"].tolist() for run in runs), strict=True)]
    lost = [mean_interval(list(after)) for after in zip(*(run["loss"].tolist() for run in runs), strict=True)]
    accuracies = Chart(
        title="Accuracy", x="epoch", y="accuracy (%)", y_range=(0.0, 100.0), whole=True,
        lines=(
            Line.of("test images", list(zip(x, epochs, strict=True))),
            Line.of("training images", list(zip(x, seen, strict=True))),
        ),
    )  # fmt: skip
    losses = (Line.of("training images", list(zip(x, lost, strict=True))),)
    return accuracies, Chart(title="Loss", lines=losses, x="epoch", y="mean cross-entropy", whole=True)
