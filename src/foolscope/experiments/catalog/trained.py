"""Networks that an experiment trains itself: each training is a cell, and so is each attack on what came of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from foolscope.experiments.catalog.common import accuracy_chart, attacks, correct, predictions, with_eps
from foolscope.experiments.experiment import Found, Images, Sample, Scene, Work
from foolscope.experiments.findings import Chart, Line
from foolscope.experiments.train import default_recipe
from foolscope.measure import Mean, mean_interval
from foolscope.models.training import Recipe, train


def training(scene: Scene) -> dict[str, Tensor]:
    """Kind `training`: the weights (`weight NAME`) of a network, from random ones, and its training curves."""
    network = copy.deepcopy(scene.model)
    recipe = Recipe(**scene.options["recipe"])
    curves = train(network, scene.data.pixels, scene.data.labels, recipe, seed=scene.options["seed"])
    weights = {f"weight {name}": value for name, value in network.state_dict().items()}
    return {**weights, "loss": torch.tensor(curves.loss), "accuracy": torch.tensor(curves.accuracy)}


KINDS = {"training": training}


@dataclass(frozen=True, kw_only=True)
class Network:
    """One network to train: its `name` in figures, its `spec`, and its epochs, None for the usual number."""

    name: str
    spec: str
    epochs: int | None


@dataclass(frozen=True, kw_only=True)
class Study:
    """Networks, each trained with every seed and attacked at every radius; `count` training images, 0 for all."""

    networks: tuple[Network, ...]
    seeds: tuple[int, ...]
    attacks: tuple[str, ...]
    radii: tuple[float, ...]
    count: int

    def cells(self, sample: Sample) -> list[Work]:
        """The trainings' attacks; the trainings are what they need."""
        works = []
        for network in self.networks:
            for seed in self.seeds:
                works += self._clean(sample, network, seed)
                for attack in self.attacks:
                    for eps in self.radii:
                        works += self._attacked(sample, network, seed, attack, eps)
        return works

    def _spec(self, network: Network, seed: int) -> str:
        return f"{network.spec}{',' if ':' in network.spec else ':'}weights=none,seed={seed}"

    def _training(self, sample: Sample, network: Network, seed: int) -> Work:
        images = Images(data=sample.name, split="train", limit=self.count or None, seed=sample.images.seed)
        data = sample.library.images(images)
        recipe = default_recipe(network.spec, data)
        recipe = recipe if network.epochs is None else recipe.replace(epochs=network.epochs)
        return Work(
            kind="training", images=images, model=self._spec(network, seed), cost=3.0 * recipe.epochs * len(data),
            options={"recipe": vars(recipe).copy(), "seed": seed},
        )  # fmt: skip

    def _clean(self, sample: Sample, network: Network, seed: int) -> list[Work]:
        needs = (self._training(sample, network, seed),)
        return predictions(sample, self._spec(network, seed), [""], needs)

    def _attacked(self, sample: Sample, network: Network, seed: int, attack: str, eps: float) -> list[Work]:
        needs = (self._training(sample, network, seed),)
        return attacks(sample, self._spec(network, seed), with_eps(attack, eps), needs=needs)

    def parameters(self, sample: Sample, network: Network) -> int:
        """How many numbers the network has."""
        model = sample.library.model(self._spec(network, self.seeds[0]), sample.images)
        return sum(value.numel() for value in model.parameters())

    def clean(self, sample: Sample, found: Found, network: Network) -> Mean:
        """Accuracy in percent on untouched images, over the seeds."""
        return self._mean(found, lambda seed: self._clean(sample, network, seed))

    def under(self, sample: Sample, found: Found, network: Network, attack: str, eps: float) -> Mean:
        """Accuracy in percent under an attack, over the seeds."""
        return self._mean(found, lambda seed: self._attacked(sample, network, seed, attack, eps))

    def _mean(self, found: Found, works: Callable[[int], Sequence[Work]]) -> Mean:
        return mean_interval([100 * correct(found.joined(works(seed))).value for seed in self.seeds])

    def charts(self, sample: Sample, found: Found) -> tuple[Chart, ...]:
        """Accuracy against the radius, one chart an attack, one line a network."""
        charts = []
        for attack in self.attacks:
            lines = []
            for network in self.networks:
                points = [(0.0, self.clean(sample, found, network))]
                points += [(eps, self.under(sample, found, network, attack, eps)) for eps in self.radii]
                lines.append(Line.of(network.name, points))
            charts.append(accuracy_chart(attack, tuple(lines)))
        return tuple(charts)
