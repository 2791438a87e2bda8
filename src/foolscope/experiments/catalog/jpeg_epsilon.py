"""Figure 11 of the report: JPEG in front of a network under FGSM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from foolscope.experiments.catalog.common import (
    AGREES,
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
from foolscope.experiments.catalog.gain import gain, helps_most
from foolscope.experiments.experiment import Experiment, Found, Sample, Work, networks
from foolscope.experiments.findings import Figure, Findings, Line, Table
from foolscope.spec import format_value, parameter


@dataclass(frozen=True, kw_only=True)
class JpegEpsilon(Experiment):
    """Accuracy against epsilon under FGSM, one curve for each JPEG quality; the attack does not know of JPEG.

    The seed: Fig. 11 shows of MNIST that JPEG restores accuracy under FGSM, to LeNet and to ResNet, the more the
    stronger it compresses; ResNet's accuracy falls faster with epsilon.

    Differences: the attack is oblivious here as there; adaptive-jpeg has the attacks that know of JPEG. Every accuracy
    has its interval, and epsilon is in units of images in [0, 1].
    """

    name: ClassVar[str] = "jpeg-epsilon"
    figure: ClassVar[str] = "Fig. 11"
    summary: ClassVar[str] = "accuracy against epsilon behind JPEG of several qualities, FGSM that does not know of it"
    on: ClassVar[tuple[str, ...]] = ("mnist", "cifar10", "digits")

    eps: str = parameter("auto", USUAL_RADII)
    qualities: str = parameter("10,30,50,75,90", "JPEG qualities, 1 to 100")
    models: str = parameter("auto", "networks, joined by '|'; auto: those of the report with shipped weights")

    def cells(self, sample: Sample) -> list[Work]:
        names = victims(self.qualities)
        works = []
        for model in networks(self.models, sample.data):
            works += predictions(sample, model, names)
            for eps in radii(self.eps, sample):
                works += attacks(sample, model, with_eps("fgsm", eps), victims=names)
        return works

    def show(self, sample: Sample, found: Found) -> Findings:
        names, grid = victims(self.qualities), radii(self.eps, sample)
        panels, rows, sentences, compared = [], [], [], []
        for model in networks(self.models, sample.data):
            lines: list[Line] = []
            clean = clean_accuracy(sample, found, model, names)
            under = [found.joined(attacks(sample, model, with_eps("fgsm", eps), victims=names)) for eps in grid]
            shares = [[correct(arrays, place) for arrays in under] for place in range(len(names))]
            for name, untouched, attacked in zip(names, clean, shares, strict=True):
                points = list(zip((0.0, *grid), (untouched, *attacked), strict=True))
                lines.append(accuracy_line(victim_name(name), points))
                rows += [(f"{model}, {victim_name(name)}, ε {format_value(eps)}", share) for eps, share in points]
            panels.append(accuracy_chart(f"{model}, FGSM", tuple(lines)))
            best, n = helps_most(shares)
            won = gain(under[n], best, choices=len(grid) * (len(names) - 1))
            where = f"ε = {format_value(grid[n])}"
            ours = f"{percent(shares[0][n])}, {percent(shares[best][n])}"
            sentences.append(
                f"{model}: JPEG helps most at {where}: {ours} without and with {victim_name(names[best])} ({won}), "
                "against an attack that does not know of it."
            )
            why = f"{AGREES}, for an attack that does not know of JPEG" if won.is_shown else f"no gain is shown: {won}"
            compared.append(told(f"{model}: accuracy at {where} without and with the best quality", "rises with JPEG",
                                 ours, why))  # fmt: skip
        figure = Figure(
            name="accuracy",
            caption="Accuracy under FGSM against its radius, plain and behind JPEG of each quality. The attack looks "
            "at the plain network and does not know of JPEG. Bands are 95 % intervals.",
            content=tuple(panels),
        )
        table = Table(
            name="accuracy", caption="Accuracy under FGSM", columns=("network, quality, radius", "accuracy"),
            rows=tuple(rows),
        )  # fmt: skip
        return Findings(told=tuple(sentences), figures=(figure,), tables=(table,), compared=tuple(compared))
