"""Networks that an experiment trains itself: each training is a cell, and so is each attack on what came of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from foolscope.errors import ParameterError
from foolscope.experiments.catalog.common import (
    AGREES,
    accuracy_chart,
    attacks,
    correct,
    mean_percent,
    predictions,
    radii,
    told,
    with_eps,
)
from foolscope.experiments.experiment import TRAINING, Found, Images, Kind, Sample, Scene, Work, numbers
from foolscope.experiments.findings import Chart, Compared, Line
from foolscope.experiments.train import default_recipe
from foolscope.measure import Mean
from foolscope.models.training import Recipe, train
from foolscope.spec import format_value, split


def training(scene: Scene) -> dict[str, Tensor]:
    """Kind `training`: the weights (`weight NAME`) of a network, from random ones, and its training curves."""
    network = copy.deepcopy(scene.model)
    recipe = Recipe(**scene.options["recipe"])
    curves = train(network, scene.data.pixels, scene.data.labels, recipe, seed=scene.options["seed"])
    weights = {f"weight {name}": value for name, value in network.state_dict().items()}
    return {**weights, "loss": torch.tensor(curves.loss), "accuracy": torch.tensor(curves.accuracy)}


KINDS = {TRAINING: Kind(training)}


@dataclass(frozen=True, kw_only=True)
class Network:
    """One network to train: its `name` in figures, its `spec`, and its epochs, None for the usual number.

    `clip` is the largest gradient norm of a step, None for the usual one.
    """

    name: str
    spec: str
    epochs: int | None
    clip: float | None = None


def by_epochs(spec: str, epochs: str) -> tuple[Network, ...]:
    """The same network, trained for each of the numbers of epochs that a setting names."""
    counts = numbers(epochs, "epochs", int)
    if not counts[0]:
        raise ParameterError("epochs must be at least 1, got 0: a network of 0 epochs is not trained.")
    return tuple(Network(name=f"{n} epoch{'s' if n > 1 else ''}", spec=spec, epochs=n) for n in counts)


@dataclass(frozen=True, kw_only=True)
class Study:
    """Networks, each trained with every seed and attacked at every radius; `count` training images, 0 for all."""

    networks: tuple[Network, ...]
    seeds: tuple[int, ...]
    attacks: tuple[str, ...]
    radii: tuple[float, ...]
    count: int

    @classmethod
    def asked(
        cls, sample: Sample, networks: tuple[Network, ...], *, seeds: str, attacks: str, eps: str, count: int
    ) -> Self:
        """From an experiment's settings as text: seeds joined by ',', attacks by ';', radii as `common.radii` reads."""
        return cls(
            networks=networks,
            seeds=numbers(seeds, "seeds", int),
            attacks=tuple(part.strip() for part in split(attacks, ";")),
            radii=radii(eps, sample),
            count=count,
        )

    def cells(self, sample: Sample) -> list[Work]:
        """The trainings' attacks; the trainings are what they need."""
        works = []
        for network in self.networks:
            for seed in self.seeds:
                works += self._clean(sample, network, seed)
                for attack in self.attacks:
                    for eps in self.radii:
                        works += self.attacked(sample, network, seed, with_eps(attack, eps))
        return works

    def _spec(self, network: Network, seed: int) -> str:
        return f"{network.spec}{',' if ':' in network.spec else ':'}weights=none,seed={seed}"

    def training(self, sample: Sample, network: Network, seed: int) -> Work:
        """Work: the training of one seed."""
        images = Images(data=sample.name, split="train", limit=self.count or None, seed=sample.images.seed)
        data = sample.library.images(images)
        recipe = default_recipe(network.spec, data)
        asked = {"epochs": network.epochs, "clip": network.clip}
        recipe = recipe.replace(**{key: value for key, value in asked.items() if value is not None})
        return Work(
            kind=TRAINING, images=images, model=self._spec(network, seed), cost=3.0 * recipe.epochs * len(data),
            options={"recipe": vars(recipe).copy(), "seed": seed},
        )  # fmt: skip

    def _clean(self, sample: Sample, network: Network, seed: int) -> list[Work]:
        needs = (self.training(sample, network, seed),)
        return predictions(sample, self._spec(network, seed), [""], needs)

    def attacked(self, sample: Sample, network: Network, seed: int, attack: str) -> list[Work]:
        """Work: the network of one seed under an attack."""
        needs = (self.training(sample, network, seed),)
        return attacks(sample, self._spec(network, seed), attack, needs=needs)

    def parameters(self, sample: Sample, network: Network) -> int:
        """How many numbers the network has."""
        model = sample.library.model(self._spec(network, self.seeds[0]), sample.images)
        return sum(value.numel() for value in model.parameters())

    def clean(self, sample: Sample, found: Found, network: Network) -> Mean:
        """Accuracy in percent on untouched images, over the seeds."""
        return self._mean(found, lambda seed: self._clean(sample, network, seed))

    def under(self, sample: Sample, found: Found, network: Network, attack: str, eps: float) -> Mean:
        """Accuracy in percent under an attack, over the seeds."""
        return self._mean(found, lambda seed: self.attacked(sample, network, seed, with_eps(attack, eps)))

    @property
    def reference(self) -> float:
        """The radius that is spoken of: one of the smaller ones, where iterated attacks leave something to compare."""
        return self.radii[(len(self.radii) - 1) // 3]

    def row(self, sample: Sample, found: Found, network: Network) -> list[Mean]:
        """Accuracy in percent on untouched images, then under every attack at the reference radius."""
        under = [self.under(sample, found, network, attack, self.reference) for attack in self.attacks]
        return [self.clean(sample, found, network), *under]

    @property
    def columns(self) -> list[str]:
        """The names of what `row` gives."""
        return ["no attack (%)", *(f"{attack} at {format_value(self.reference)} (%)" for attack in self.attacks)]

    def ends(self, sample: Sample, found: Found, seed: str) -> tuple[list[str], list[Compared]]:
        """`told_ends` of the study's own attacks."""
        first, last = (self.row(sample, found, network)[1:] for network in (self.networks[0], self.networks[-1]))
        return self.told_ends(self.attacks, first, last, seed)

    def told_ends(
        self, attacks: Sequence[str], first: Sequence[Mean], last: Sequence[Mean], seed: str
    ) -> tuple[list[str], list[Compared]]:
        """Sentences, and rows of 'seed, ours, why': every attack on the first and on the last network.

        `seed` is what the report says of FGSM, the only attack that it tries.
        """
        names, count = (self.networks[0].name, self.networks[-1].name), len(self.seeds)
        sentences, compared = [], []
        for attack, before, after in zip(attacks, first, last, strict=True):
            where = f"{attack} at ε = {format_value(self.reference)}"
            ours = f"{before.value:.1f} % with {names[0]}, {after.value:.1f} % with {names[1]}"
            apart = "" if _order(before, after) else ", whose 95 % intervals overlap"
            sentences.append(f"{where}: {ours}, {f'means over {count} seeds{apart}' if count > 1 else 'of one seed'}.")
            known = attack.partition(":")[0] == "fgsm"
            why = _trend(before, after, count) if known else "not tested there"
            compared.append(told(f"accuracy under {where}", seed if known else None, ours, why))
        return sentences, compared

    def _mean(self, found: Found, works: Callable[[int], Sequence[Work]]) -> Mean:
        return mean_percent([correct(found.joined(works(seed))).value for seed in self.seeds])

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


def _trend(before: Mean, after: Mean, seeds: int) -> str:
    """Why a report that sees the accuracy rise, by one training each, is right or not."""
    if seeds == 1:
        return "one training of each network cannot tell"
    return {
        1: AGREES,
        -1: f"it falls, by {seeds} trainings of each network; the report has one",
        0: f"no trend: the 95 % intervals of {seeds} trainings of each network overlap; the report has one",
    }[_order(before, after)]


def _order(before: Mean, after: Mean) -> int:
    """1 where the second mean lies above the first beyond their intervals, -1 where it lies below, else 0."""
    return (after.low > before.high) - (after.high < before.low)
