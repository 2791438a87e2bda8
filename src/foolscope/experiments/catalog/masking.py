"""Beyond the report: is it true that overfitting makes a network robust (Fig. 18a)?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foolscope.attacks import parse_attack
from foolscope.experiments.catalog.common import (
    USUAL_RADII,
    accuracy_chart,
    check_linf,
    correct_within,
    first,
    mean_percent,
    read,
    told,
    with_eps,
    written,
)
from foolscope.experiments.catalog.trained import Network, Study, by_epochs, change, told_change
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
    A gain that FGSM shows and these do not would be masking: the cross-entropy of a network that is sure is flat, and
    its gradient rounds to nothing (Carlini et al. 2019, arXiv 1902.06705; Madry et al. 2018, arXiv 1706.06083).
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
        check_linf(parse_attack(self.nearest))
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
        shares = [self._shares(sample, found, network) for network in study.networks]
        under = [[mean_percent(one) for one in attacked] for attacked in shares]
        epochs = [float(network.epochs or 0) for network in study.networks]
        lines = tuple(
            _line(name, [(x, means[n]) for x, means in zip(epochs, under, strict=True)], name in (names[0], _ALL))
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
                f"and under all of them together. Means over the seeds; bands are 95 % intervals over them, of "
                f"{names[0]} and of all together.",
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
        verdicts: Counter[str] = Counter()
        for network, means in zip(study.networks, under, strict=True):
            counts, saturation = self._verdicts(sample, found, network)
            rows.append((network.name, *means, _counted(counts), saturation))
            verdicts += counts
        columns = ("network", *(f"{name} (%)" for name in names), "verdicts", "saturation (%)")
        table = Table(name="masking", caption=f"Accuracy at ε = {format_value(eps)}", columns=columns, rows=tuple(rows))
        sentences, compared = study.ends(sample, found, "rises with the epochs")
        changes = [change(before, after) for before, after in zip(shares[0], shares[-1], strict=True)]
        for name, points in list(zip(names, changes, strict=True))[len(study.attacks) :]:
            sentences.append(f"{name} at ε = {format_value(eps)}: {told_change(points)}.")
            compared.append(told(f"change under {name} at ε = {format_value(eps)}", None, told_change(points),
                                 "not tested there"))  # fmt: skip
        sentences.append(
            f"{conclusion(names[0], changes[0], changes[-1])} Verdicts on all networks: {_counted(verdicts)}."
        )
        return Findings(told=tuple(sentences), figures=figures, tables=(table,), compared=tuple(compared))

    def _shares(self, sample: Sample, found: Found, network: Network) -> list[list[float]]:
        """The share that each attack leaves right at the reference radius, then that all leave, seed by seed."""
        seeds = [self._right(sample, found, network, seed) for seed in self._study(sample).seeds]
        return [[float(right.mean()) for right in one] for one in zip(*seeds, strict=True)]

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

    def _verdicts(self, sample: Sample, found: Found, network: Network) -> tuple[Counter[str], Mean]:
        """How often each verdict fell, and the share of images that one step finds only with cooled logits."""
        works = [self._examination(sample, network, seed) for seed in self._study(sample).seeds]
        seen = [Examination.from_dict(read(found[work]["examination"])) for work in works]
        counts: Counter[str] = Counter(one.verdict for one in seen)
        gains = [piece.value for one in seen for piece in one.evidence if piece.code == "saturation"]
        return counts, mean_interval([100 * gain for gain in gains if gain is not None])


def conclusion(attack: str, shown: Mean, left: Mean) -> str:
    """Whether a gain in points under an attack of one step is masking, by the change under all attacks together."""
    if shown.count < 2:
        return "One training of each network cannot tell whether a gain is masking."
    if shown.low > 0 and left.low > 0:
        return f"What is gained under {attack} stays under all attacks together: it is no masking."
    if shown.low > 0:
        return f"Under {attack} there is a gain, and under all attacks together none is shown: it may be masking."
    if left.low > 0:
        return f"Under all attacks together there is a gain, and under {attack} none is shown."
    return f"{shown.count} seeds show no gain beyond chance, neither under {attack} nor under all attacks together."


def _line(name: str, points: Sequence[tuple[float, Mean]], banded: bool) -> Line:
    line = Line.of(name, points)
    return line if banded else replace(line, low=None, high=None)


def _counted(verdicts: Counter[str]) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
