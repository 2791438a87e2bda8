"""Networks that an experiment trains itself: each training is a cell, and so is each attack on what came of it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
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
from foolscope.measure import Mean, mean_interval
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
        return mean_percent([correct(found.joined(self._clean(sample, network, seed))).value for seed in self.seeds])

    def fitted(self, sample: Sample, found: Found, network: Network) -> Mean:
        """Accuracy in percent on the training images in the last epoch, while training, over the seeds."""
        return mean_percent([float(found[self.training(sample, network, s)]["accuracy"][-1]) for s in self.seeds])

    def shares(self, sample: Sample, found: Found, network: Network, attack: str, eps: float) -> list[float]:
        """The share of the images that an attack leaves right, seed by seed."""
        works = (self.attacked(sample, network, seed, with_eps(attack, eps)) for seed in self.seeds)
        return [correct(found.joined(work)).value for work in works]

    def under(self, sample: Sample, found: Found, network: Network, attack: str, eps: float) -> Mean:
        """Accuracy in percent under an attack, over the seeds."""
        return mean_percent(self.shares(sample, found, network, attack, eps))

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
        """Sentences, and rows of 'seed, ours, why': every attack on the first and on the last network.

        `seed` is what the report says of FGSM, the only attack that it tries.
        """
        sentences, compared = [], []
        ends = (self.networks[0], self.networks[-1])
        for attack in self.attacks:
            where = f"{attack} at ε = {format_value(self.reference)}"
            means = {one.name: self.under(sample, found, one, attack, self.reference) for one in self.networks}
            ours = " and ".join(f"{means[one.name].value:.1f} % with {one.name}" for one in dict.fromkeys(ends))
            changes = {
                eps: change(*(self.shares(sample, found, one, attack, eps) for one in ends)) for eps in self.radii
            }
            best = max(means, key=lambda name: means[name].value)
            sentences.append(
                f"{where}: {ours}, {told_change(changes[self.reference])}; the most, {means[best].value:.1f} %, with "
                f"{best}."
            )
            known = attack.partition(":")[0] == "fgsm"
            shown = trend(changes) if len(self.networks) > 1 else "one network shows no trend"
            why = shown if known else f"not tested there; {shown}"
            compared.append(told(f"accuracy under {where}", seed if known else None, ours, why))
        return sentences, compared

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


def change(first: Sequence[float], last: Sequence[float]) -> Mean:
    """The change of a share in points, seed by seed: of one seed without an interval."""
    return mean_interval([100 * (after - before) for before, after in zip(first, last, strict=True)])


def told_change(points: Mean) -> str:
    """'+3.2 points [1.1, 5.3] over 3 seeds'."""
    if points.count < 2:
        return f"{points.value:+.1f} points of one seed"
    return f"{points.value:+.1f} points [{points.low:.1f}, {points.high:.1f}] over {points.count} seeds"


def trend(changes: Mapping[float, Mean]) -> str:
    """Why a report that sees the accuracy rise at every radius is right or not, by the changes in points at each."""
    seeds = next(iter(changes.values())).count
    if seeds < 2:
        return "one training of each network cannot tell"
    rises = [eps for eps, points in changes.items() if points.low > 0]
    falls = [eps for eps, points in changes.items() if points.high < 0]
    if len(rises) == len(changes):
        return f"{AGREES}: it rises at every radius"
    told_parts = [
        f"{verb} at ε = {', '.join(map(format_value, at))}" for verb, at in (("rises", rises), ("falls", falls)) if at
    ]
    if len(rises) + len(falls) < len(changes):
        told_parts.append(
            f"{seeds} trainings of each network show no change {'elsewhere' if told_parts else 'at any radius'}"
        )
    return "; ".join(told_parts)
