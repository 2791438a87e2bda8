"""Figures 11 and 17 of the report again, with attacks that know of JPEG."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from foolscope.experiments.audit_jobs import adaptive_sources
from foolscope.experiments.catalog.common import (
    USUAL_RADII,
    accuracy_chart,
    accuracy_line,
    attacks,
    clean_accuracy,
    correct,
    percent,
    predictions,
    radii,
    told,
    victim_name,
    victims,
    with_eps,
)
from foolscope.experiments.cells import PLAIN
from foolscope.experiments.experiment import Experiment, Found, Sample, Work, networks
from foolscope.experiments.findings import Chart, Figure, Findings, Table
from foolscope.measure import Proportion, accuracy
from foolscope.spec import format_value, parameter


@dataclass(frozen=True, kw_only=True)
class AdaptiveJpeg(Experiment):
    """Accuracy behind JPEG under an attack that does not know of it and one that differentiates through it.

    The seed: Fig. 11 and 17 test JPEG only against attacks on the plain network, and conclude that it defends.

    Differences: the same attack with gradients that pass through JPEG, of which Athalye, Carlini and Wagner 2018 (arXiv
    1802.00420) bring input transformations to 0 %. Each image counts under the worst of three: the attack that does not
    know of JPEG, and those straight through the codec (the identity backwards) and along its smooth stand-in; forwards
    all meet the real codec. What they leave is what the defense deserves at most. Many steps show it more plainly than
    few, which flatter the defense: to LeNet on MNIST 10 of BIM leave several times as much as 40 of APGD.
    """

    name: ClassVar[str] = "adaptive-jpeg"
    figure: ClassVar[str] = "Fig. 11 and 17, beyond the report"
    summary: ClassVar[str] = "JPEG against attacks that know of it, beside those that do not"
    on: ClassVar[tuple[str, ...]] = ("mnist", "cifar10", "digits")
    usual: ClassVar[int | None] = 256

    eps: str = parameter("auto", USUAL_RADII)
    qualities: str = parameter("10,50,90", "JPEG qualities, 1 to 100")
    attack: str = parameter("apgd:steps=50", "an attack with a radius in linf")
    models: str = parameter("auto", "networks, joined by '|'; auto: those of the report with shipped weights")

    def cells(self, sample: Sample) -> list[Work]:
        works = []
        for model in networks(self.models, sample.data):
            works += predictions(sample, model, victims(self.qualities))
            for eps in radii(self.eps, sample):
                works += self._oblivious(sample, model, eps)
                for victim in victims(self.qualities)[1:]:
                    works += itertools.chain(*self._adaptive(sample, model, eps, victim))
        return works

    def _oblivious(self, sample: Sample, model: str, eps: float) -> list[Work]:
        return attacks(sample, model, with_eps(self.attack, eps), victims=victims(self.qualities))

    def _adaptive(self, sample: Sample, model: str, eps: float, victim: str) -> list[list[Work]]:
        """The attack along each of the defense's gradients."""
        return [
            attacks(sample, model, with_eps(self.attack, eps), source=source, victims=(source,))
            for source in adaptive_sources(victim).values()
        ]

    def _knowing(self, sample: Sample, found: Found, model: str, eps: float, victim: str) -> Proportion:
        """What the attack leaves along all gradients and along the plain network's together."""
        oblivious, place = found.joined(self._oblivious(sample, model, eps)), victims(self.qualities).index(victim)
        right = [oblivious[f"prediction_{place}"] == oblivious["label"]]
        for works in self._adaptive(sample, model, eps, victim):
            run = found.joined(works)
            right.append(run["prediction_0"] == run["label"])
        return accuracy(torch.from_numpy(np.all(right, axis=0)))

    def show(self, sample: Sample, found: Found) -> Findings:
        panels: list[Chart] = []
        rows: list[tuple[str, Proportion, Proportion]] = []
        sentences, compared = [], []
        names = victims(self.qualities)
        for model in networks(self.models, sample.data):
            clean = clean_accuracy(sample, found, model, names)
            plain = [(0.0, clean[0])]
            oblivious = {name: [(0.0, share)] for name, share in zip(names, clean, strict=True) if name != PLAIN}
            adaptive = {name: list(points) for name, points in oblivious.items()}
            for eps in radii(self.eps, sample):
                arrays = found.joined(self._oblivious(sample, model, eps))
                plain.append((eps, correct(arrays)))
                for place, name in enumerate(names[1:], start=1):
                    oblivious[name].append((eps, correct(arrays, place)))
                    knowing = self._knowing(sample, found, model, eps, name)
                    adaptive[name].append((eps, knowing))
                    where = f"{model}, {victim_name(name)}, ε {format_value(eps)}"
                    rows.append((where, oblivious[name][-1][1], knowing))
            for name in names[1:]:
                lines = (
                    accuracy_line("no JPEG", plain),
                    accuracy_line("does not know of JPEG", oblivious[name]),
                    accuracy_line("knows of JPEG", adaptive[name]),
                )
                panels.append(accuracy_chart(f"{model}, {victim_name(name)}", lines))
            name, place = _widest(oblivious, adaptive)
            eps, seeming, real = adaptive[name][place][0], oblivious[name][place][1], adaptive[name][place][1]
            sentences.append(
                f"{model}, {victim_name(name)} at ε = {format_value(eps)}: {percent(seeming)} against the attack that "
                f"does not know of JPEG, {percent(real)} against the one that does, {percent(plain[place][1])} without "
                f"JPEG.{_taken(seeming.value, real.value, plain[place][1].value)}"
            )
            what = f"{model}: {victim_name(name)}, ε = {format_value(eps)}, oblivious and adaptive accuracy"
            compared.append(
                told(what, "oblivious only", f"{percent(seeming)}, {percent(real)}", "the attack knows of JPEG")
            )
        figure = Figure(
            name="adaptive",
            caption=f"Accuracy under {self.attack} against its radius: the plain network, and behind JPEG under the "
            "attack that looks at the plain network and the one that differentiates through JPEG. Bands are 95 % "
            "intervals.",
            content=tuple(panels),
        )
        columns = ("network, quality, radius", "oblivious", "adaptive")
        table = Table(name="adaptive", caption="Accuracy behind JPEG", columns=columns, rows=tuple(rows))
        return Findings(told=tuple(sentences), figures=(figure,), tables=(table,), compared=tuple(compared))


def _taken(seeming: float, real: float, plain: float) -> str:
    """How much of what a defense seems to give the attack that knows of it takes; '' where that is nothing."""
    if seeming <= plain:
        return ""
    return f" Of what it seems to give {100 * min(1.0, (seeming - real) / (seeming - plain)):.0f} % are taken."


Points = dict[str, list[tuple[float, Proportion]]]


def _widest(oblivious: Points, adaptive: Points) -> tuple[str, int]:
    """The quality and the place among the radii where knowing of JPEG makes the largest difference."""
    gaps = [
        (seeming[1].value - real[1].value, name, place)
        for name in oblivious
        for place, (seeming, real) in enumerate(zip(oblivious[name], adaptive[name], strict=True))
    ]
    return max(gaps)[1:]
