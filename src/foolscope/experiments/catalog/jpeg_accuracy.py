"""Figure 17 of the report: what JPEG costs and what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from foolscope.experiments.catalog.common import (
    AGREES,
    USUAL_RADII,
    accuracy_chart,
    attacks,
    clean_accuracy,
    correct,
    percent,
    predictions,
    quality_line,
    radii,
    told,
    victim_name,
    victims,
    with_eps,
)
from foolscope.experiments.catalog.gain import gain, helps_most
from foolscope.experiments.experiment import Experiment, Found, Sample, Work, networks
from foolscope.experiments.findings import Figure, Findings, Table
from foolscope.measure import Proportion
from foolscope.spec import format_value, parameter


@dataclass(frozen=True, kw_only=True)
class JpegAccuracy(Experiment):
    """Accuracy against JPEG quality: on untouched images, and under an attack of each radius that does not know of it.

    The seed: Fig. 17 shows of LeNet on CIFAR-10 that under FGSM the accuracy is the higher the lower the quality is,
    and that low quality costs accuracy on untouched images.

    Differences: our networks for CIFAR-10 are others, since LeNet takes gray images. The attack is oblivious here as
    there; adaptive-jpeg has the attacks that know of JPEG. Every accuracy has its interval.
    """

    name: ClassVar[str] = "jpeg-accuracy"
    figure: ClassVar[str] = "Fig. 17"
    summary: ClassVar[str] = "clean and attacked accuracy against JPEG quality"
    on: ClassVar[tuple[str, ...]] = ("cifar10", "mnist", "digits")

    eps: str = parameter("auto", USUAL_RADII)
    qualities: str = parameter("5,10,20,30,50,70,90,100", "JPEG qualities, 1 to 100")
    attack: str = parameter("fgsm", "an attack with a radius in linf")
    models: str = parameter("auto", "networks, joined by '|'; auto: those of the report with shipped weights")

    def cells(self, sample: Sample) -> list[Work]:
        works = []
        for model in networks(self.models, sample.data):
            works += predictions(sample, model, victims(self.qualities))
            for eps in radii(self.eps, sample):
                works += self._attacks(sample, model, eps)
        return works

    def _attacks(self, sample: Sample, model: str, eps: float) -> list[Work]:
        return attacks(sample, model, with_eps(self.attack, eps), victims=victims(self.qualities))

    def show(self, sample: Sample, found: Found) -> Findings:
        panels, sentences, compared = [], [], []
        rows: list[tuple[str | Proportion, ...]] = []
        names = victims(self.qualities)
        grid = radii(self.eps, sample)
        for model in networks(self.models, sample.data):
            clean = clean_accuracy(sample, found, model, names)
            under = [found.joined(self._attacks(sample, model, eps)) for eps in grid]
            shares = [[correct(arrays, place) for arrays in under] for place in range(len(names))]
            lines = [quality_line("no attack", names, clean)]
            for n, eps in enumerate(grid):
                lines.append(quality_line(f"ε = {format_value(eps)}", names, [share[n] for share in shares]))
            panels.append(accuracy_chart(f"{model}, {self.attack}", tuple(lines), "JPEG quality"))
            for place, name in enumerate(names):
                rows.append((f"{model}, {victim_name(name)}", clean[place], *shares[place]))
            best, n = helps_most(shares)
            where, plain, most = f"ε = {format_value(grid[n])}", shares[0][n], shares[best][n]
            won = gain(under[n], best, choices=len(grid) * (len(names) - 1))
            sentences.append(
                f"{model}: JPEG helps most at {where}, where {victim_name(names[best])} is best, {percent(most)} where "
                f"the plain network has {percent(plain)} ({won}); untouched it costs "
                f"{100 * (clean[0].value - clean[best].value):.1f} points."
            )
            ours = f"{victim_name(names[best])}, {percent(most)}"
            if not won.is_shown:
                why = f"no gain is shown: {won}"
            else:
                why = AGREES if best == len(names) - 1 else "below it JPEG takes more of the images than of the noise"
            compared.append(told(f"{model}: best quality at {where}", "the lowest", ours, why))
        figure = Figure(
            name="quality",
            caption=f"Accuracy behind JPEG against its quality, untouched and under {self.attack} of each radius, "
            "which looks at the plain network. Bands are 95 % intervals.",
            content=tuple(panels),
        )
        columns = ("network, quality", "no attack", *(f"ε {format_value(eps)}" for eps in grid))
        table = Table(name="quality", caption="Accuracy", columns=columns, rows=tuple(rows))
        return Findings(told=tuple(sentences), figures=(figure,), tables=(table,), compared=tuple(compared))
