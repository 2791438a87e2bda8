"""Figure 11 of the report: JPEG in front of a network under FGSM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from foolscope.experiments.catalog.common import (
    AGREES,
    NO_GAIN,
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
from foolscope.experiments.findings import Figure, Findings, Table
from foolscope.measure import Proportion
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
        names = victims(self.qualities)
        panels, rows, sentences, compared = [], [], [], []
        for model in networks(self.models, sample.data):
            clean = clean_accuracy(sample, found, model, names)
            curves: dict[str, list[tuple[float, Proportion]]] = {
                name: [(0.0, clean[n])] for n, name in enumerate(names)
            }
            for eps in radii(self.eps, sample):
                arrays = found.joined(attacks(sample, model, with_eps("fgsm", eps), victims=names))
                for place, name in enumerate(names):
                    curves[name].append((eps, correct(arrays, place)))
            lines = tuple(accuracy_line(victim_name(name), points) for name, points in curves.items())
            panels.append(accuracy_chart(f"{model}, FGSM", lines))
            for name, points in curves.items():
                rows += [(f"{model}, {victim_name(name)}, ε {format_value(eps)}", share) for eps, share in points]
            best, eps, plain, most = rescued(curves)
            gained = most.low > plain.high
            lifts = f"{victim_name(best)} lifts the accuracy from {percent(plain)} to {percent(most)}"
            sentences.append(
                f"{model}: JPEG helps most at ε = {format_value(eps)}, where {lifts}, against an attack that does not "
                "know of it."
                if gained
                else f"{model}: where JPEG helps most, at ε = {format_value(eps)}, there is no gain beyond the "
                f"intervals: {percent(plain)} without and {percent(most)} with {victim_name(best)}, against an attack "
                "that does not know of it."
            )
            what = f"{model}: accuracy at ε = {format_value(eps)} without and with the best quality"
            why = f"{AGREES}, for an attack that does not know of JPEG" if gained else NO_GAIN
            compared.append(told(what, "rises with JPEG", f"{percent(plain)}, {percent(most)}", why))
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


def rescued(curves: dict[str, list[tuple[float, Proportion]]]) -> tuple[str, float, Proportion, Proportion]:
    """Where a defense gains most over the plain network: which, at which radius, from what to what."""
    plain = dict(curves[PLAIN])
    gains = [
        (share.value - plain[eps].value, name, eps, plain[eps], share)
        for name, points in curves.items()
        for eps, share in points
        if name != PLAIN and eps > 0
    ]
    return max(gains, key=lambda gain: gain[0])[1:]
