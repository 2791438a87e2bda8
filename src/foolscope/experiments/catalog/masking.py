"""Beyond the report: is it true that overfitting makes a network robust (Fig. 18a)?"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foolscope.experiments.catalog.common import (
    USUAL_RADII,
    accuracy_chart,
    correct_within,
    first,
    mean_percent,
    read,
    with_eps,
    written,
)
from foolscope.experiments.catalog.trained import Network, Study, by_epochs
from foolscope.experiments.examined import LIMIT, PASSES
from foolscope.experiments.experiment import Experiment, Found, Kind, Sample, Scene, Work
from foolscope.experiments.findings import Chart, Figure, Findings, Line, Table, Value
from foolscope.masking import Examination, examine
from foolscope.measure import Mean, mean_interval
from foolscope.spec import format_value, parameter

_ALL = "all together"


def examination(scene: Scene) -> dict[str, NDArray[np.uint8]]:
    """Kind `examination`: whether a network's accuracy at a radius in linf can be believed, as JSON."""
    eps, seed = scene.options["eps"], scene.options["seed"]
    return {"examination": written(examine(scene.engine(), scene.data, eps, limit=LIMIT, seed=seed).to_dict())}


KINDS = {"examination": Kind(examination)}


@dataclass(frozen=True, kw_only=True)
class Masking(Experiment):
    """The networks of overfitting under attacks that do not rely on one gradient, each examined for gradient masking.

    The seed: Fig. 18a shows that the accuracy under FGSM rises with the epochs, and the report concludes that
    overfitting makes networks more robust.

    Differences: beside FGSM stand PGD, PGD on the margin (which does not saturate), the nearest adversarial image by a
    minimum-norm attack, and Square, which sees no gradient; an image counts as robust where all of them leave it right.
    What FGSM shows and these do not is masking: the cross-entropy of a network that is sure is flat, and its gradient
    rounds to nothing (Carlini et al. 2019, arXiv 1902.06705; Madry et al. 2018, arXiv 1706.06083).
    """

    name: ClassVar[str] = "masking"
    figure: ClassVar[str] = "Fig. 18a, beyond the report"
    summary: ClassVar[str] = "does overfitting make robust? FGSM's trend beside stronger attacks, with verdicts"
    on: ClassVar[tuple[str, ...]] = ("mnist", "digits")
    usual: ClassVar[int | None] = 1000

    epochs: str = parameter("1,3,10,30,60", "numbers of epochs")
    eps: str = parameter("auto", USUAL_RADII)
    attacks: str = parameter("fgsm;pgd:steps=20;pgd:steps=20,loss=margin", "attacks with a radius in linf")
    nearest: str = parameter("fmn:norm=linf,steps=50", "a minimum-norm attack in linf")
    blind: str = parameter("square:queries=300", "an attack without gradients, at the reference radius alone")
    seeds: str = parameter("0,1,2", "seeds of the trainings")
    model: str = parameter("lenet", "the network")
    train_images: int = parameter(0, "training images; 0: all", low=0)

    def cells(self, sample: Sample) -> list[Work]:
        study = self._study(sample)
        works = study.cells(sample)
        for network in study.networks:
            for seed in study.seeds:
                works += [*self._nearest(sample, network, seed), *self._blind(sample, network, seed)]
                works.append(self._examination(sample, network, seed))
        return works

    def _study(self, sample: Sample) -> Study:
        networks = by_epochs(self.model, self.epochs)
        return Study.asked(
            sample, networks, seeds=self.seeds, attacks=self.attacks, eps=self.eps, count=self.train_images
        )

    def _nearest(self, sample: Sample, network: Network, seed: int) -> list[Work]:
        return self._study(sample).attacked(sample, network, seed, self.nearest)

    def _blind(self, sample: Sample, network: Network, seed: int) -> list[Work]:
        study = self._study(sample)
        return study.attacked(sample, network, seed, with_eps(self.blind, study.reference))

    def _examination(self, sample: Sample, network: Network, seed: int) -> Work:
        study = self._study(sample)
        training = study.training(sample, network, seed)
        options = {"eps": study.reference, "seed": sample.images.seed, "name": sample.name}  # by which it finds another
        images = first(sample, LIMIT)
        return Work(
            kind="examination", images=images, model=training.model, options=options, needs=(training,),
            cost=float(PASSES * min(LIMIT, len(sample.data))),
        )  # fmt: skip

    def show(self, sample: Sample, found: Found) -> Findings:
        study = self._study(sample)
        eps, names = study.reference, (*study.attacks, self.nearest, self.blind, _ALL)
        under = [self._means(sample, found, network) for network in study.networks]
        epochs = [float(network.epochs or 0) for network in study.networks]
        lines = tuple(
            Line.of(name, [(x, means[n]) for x, means in zip(epochs, under, strict=True)])
            for n, name in enumerate(names)
        )
        trend = Chart(
            title=f"Accuracy at ε = {format_value(eps)}", lines=lines, x="epochs", y="accuracy (%)",
            y_range=(0.0, 100.0), whole=True,
        )  # fmt: skip
        figures = (
            Figure(
                name="trend",
                caption=f"Accuracy at ε = {format_value(eps)} in linf against the number of epochs, under each attack "
                f"and under all of them together. Means over the seeds; bands are 95 % intervals over them.",
                content=(trend,),
            ),
            Figure(
                name="radii",
                caption="Accuracy against the radius, one line for each number of epochs; of the minimum-norm attack "
                "the images whose nearest adversarial image lies farther away. Means over the seeds.",
                content=(*study.charts(sample, found), self._nearest_chart(sample, found)),
            ),
        )
        rows: list[tuple[Value, ...]] = []
        for network, means in zip(study.networks, under, strict=True):
            rows.append((network.name, *means, *self._verdicts(sample, found, network)))
        columns = ("network", *(f"{name} (%)" for name in names), "verdicts", "saturation (%)")
        table = Table(name="masking", caption=f"Accuracy at ε = {format_value(eps)}", columns=columns, rows=tuple(rows))
        sentences, compared = study.told_ends(names, under[0], under[-1], "rises with the epochs")
        shown, left = (under[-1][place].value - under[0][place].value for place in (0, -1))
        sentences.append(
            f"From {study.networks[0].name} to {study.networks[-1].name} the accuracy under {names[0]} changes by "
            f"{shown:+.1f} points, and under all attacks together by {left:+.1f}."
        )
        return Findings(told=tuple(sentences), figures=figures, tables=(table,), compared=tuple(compared))

    def _means(self, sample: Sample, found: Found, network: Network) -> list[Mean]:
        """Accuracy in percent at the reference radius under each attack, then under all, over the seeds."""
        seeds = [self._right(sample, found, network, seed) for seed in self._study(sample).seeds]
        return [mean_percent([float(right.mean()) for right in one]) for one in zip(*seeds, strict=True)]

    def _right(self, sample: Sample, found: Found, network: Network, seed: int) -> list[NDArray[np.bool_]]:
        """Which images each attack leaves right at the reference radius, and which all of them do."""
        study = self._study(sample)
        eps = study.reference
        works = [study.attacked(sample, network, seed, with_eps(attack, eps)) for attack in study.attacks]
        arrays = [found.joined(work) for work in (*works, self._blind(sample, network, seed))]
        right: list[NDArray[np.bool_]] = [one["prediction_0"] == one["label"] for one in arrays]
        right.insert(-1, correct_within(found.joined(self._nearest(sample, network, seed)), eps))
        return [*right, np.logical_and.reduce(right)]

    def _nearest_chart(self, sample: Sample, found: Found) -> Chart:
        study, lines = self._study(sample), []
        for network in study.networks:
            runs = [found.joined(self._nearest(sample, network, seed)) for seed in study.seeds]
            points = [
                (eps, mean_percent([float(correct_within(run, eps).mean()) for run in runs]))
                for eps in (0.0, *study.radii)
            ]
            lines.append(Line.of(network.name, points))
        return accuracy_chart(self.nearest, tuple(lines))

    def _verdicts(self, sample: Sample, found: Found, network: Network) -> tuple[str, Mean]:
        """How often each verdict fell, and the share of images that one step finds only with cooled logits."""
        works = [self._examination(sample, network, seed) for seed in self._study(sample).seeds]
        seen = [Examination.from_dict(read(found[work]["examination"])) for work in works]
        counts = Counter(one.verdict for one in seen)
        gains = [piece.value for one in seen for piece in one.evidence if piece.code == "saturation"]
        told_counts = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
        return told_counts, mean_interval([100 * gain for gain in gains if gain is not None])
