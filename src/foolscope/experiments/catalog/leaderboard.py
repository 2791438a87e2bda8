"""Beyond the report: the shipped networks under the same attacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from foolscope.errors import InputError, ParameterError
from foolscope.experiments.catalog.common import (
    attacks,
    by_images,
    clean_accuracy,
    correct,
    percent,
    predictions,
    radii,
    shipped_networks,
    told,
    with_eps,
)
from foolscope.experiments.experiment import Experiment, Found, Sample, Work
from foolscope.experiments.findings import Bars, Figure, Findings, Table, Value
from foolscope.measure import Proportion, accuracy
from foolscope.spec import format_value, parameter, split


@dataclass(frozen=True, kw_only=True)
class Leaderboard(Experiment):
    """The shipped networks for a data set under the same attacks at one radius, with the worst case of every image.

    The seed: the report compares its networks under FGSM alone.

    Differences: beyond the report. Several attacks, gradient and black-box, and the accuracy that counts is the last
    column, where every image meets the attack that is worst for it. Networks with adversarial training are among them.
    """

    name: ClassVar[str] = "leaderboard"
    figure: ClassVar[str] = "beyond the report"
    summary: ClassVar[str] = "the shipped networks under the same attacks"
    on: ClassVar[tuple[str, ...]] = ("mnist", "cifar10", "digits")
    usual: ClassVar[int | None] = 500

    eps: str = parameter("auto", "the radius in linf; auto: 0.3 for gray images (digits 0.03), 8/255 for color")
    attacks: str = parameter("fgsm;pgd:steps=40;apgd:steps=50;square:queries=500", "attacks in linf, joined by ';'")

    def cells(self, sample: Sample) -> list[Work]:
        works = []
        for model in _networks(sample):
            works += predictions(sample, model, [""])
            for attack in self._attacks(sample):
                works += attacks(sample, model, attack)
        return works

    def _attacks(self, sample: Sample) -> list[str]:
        return [with_eps(attack.strip(), self._radius(sample)) for attack in split(self.attacks, ";")]

    def _radius(self, sample: Sample) -> float:
        if self.eps != "auto":
            (radius, *others) = radii(self.eps, sample)
            if others:
                raise ParameterError(f"the leaderboard has one radius: name one eps, got {self.eps}.")
            return radius
        return by_images(sample, digits=0.03, gray=0.3, color=8 / 255)

    def show(self, sample: Sample, found: Found) -> Findings:
        names = [attack.partition(":")[0] for attack in self._attacks(sample)]
        lines: list[tuple[str, list[Proportion]]] = []
        for model in _networks(sample):
            shares = clean_accuracy(sample, found, model, [""])
            standing = torch.ones(len(sample.data), dtype=torch.bool)
            for attack in self._attacks(sample):
                arrays = found.joined(attacks(sample, model, attack))
                shares.append(correct(arrays))
                standing &= torch.from_numpy(arrays["prediction_0"] == arrays["label"])
            lines.append((model, [*shares, accuracy(standing)]))
        lines.sort(key=lambda line: -line[1][-1].value)
        categories = ("no attack", *names, "worst case")
        groups = tuple((m, tuple((100 * s.value, 100 * s.low, 100 * s.high) for s in shares)) for m, shares in lines)
        radius = format_value(self._radius(sample))
        bars = Bars(title=sample.title, categories=categories, groups=groups, y="accuracy (%)", y_range=(-3.0, 103.0))
        figure = Figure(
            name="leaderboard",
            caption=f"Accuracy of the shipped networks at ε = {radius} in linf; in the worst case every image "
            "meets the attack that is worst for it. With 95 % intervals.",
            content=(bars,),
        )  # fmt: skip
        rows: list[tuple[Value, ...]] = [(model, *shares) for model, shares in lines]
        table = Table(
            name="leaderboard", caption=f"Accuracy at ε = {radius}", columns=("network", *categories), rows=tuple(rows)
        )
        (best, kept), *others = lines
        ours = f"{percent(kept[-1])} in the worst case, {percent(kept[0])} without attack"
        ahead = others and kept[-1].value > others[0][1][-1].value
        sentence = f"{best} keeps most: {ours}." if ahead else f"No network is ahead; {best}: {ours}."
        compared = tuple(
            told(f"{m}: worst case at ε = {radius}", None, shares[-1], "not studied there") for m, shares in lines
        )
        return Findings(told=(sentence,), figures=(figure,), tables=(table,), compared=compared)


def _networks(sample: Sample) -> list[str]:
    found = shipped_networks(sample.name)
    if not found:
        raise InputError(f"no network is shipped for {sample.name}: take digits, mnist or cifar10.")
    return found
