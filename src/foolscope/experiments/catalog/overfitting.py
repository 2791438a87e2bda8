"""Figure 18a of the report: LeNet trained for longer than it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from foolscope.experiments.catalog.common import radii, told
from foolscope.experiments.catalog.trained import Network, Study
from foolscope.experiments.experiment import Experiment, Found, Sample, Work, numbers
from foolscope.experiments.findings import Figure, Findings, Table, Value
from foolscope.spec import format_value, parameter, split


@dataclass(frozen=True, kw_only=True)
class Overfitting(Experiment):
    """A network trained for five numbers of epochs, and its accuracy against epsilon.

    The seed: Fig. 18a shows that LeNet keeps more accuracy under FGSM the longer it was trained, and the report
    concludes that overfitting makes networks robust.

    Differences: every network is trained with several seeds, and PGD stands beside FGSM. A longer training saturates
    the logits, so that one step along the gradient finds less; what PGD still finds shows whether anything was gained
    (Madry et al. 2018, arXiv 1706.06083).
    """

    name: ClassVar[str] = "overfitting"
    figure: ClassVar[str] = "Fig. 18a"
    summary: ClassVar[str] = "a network trained for five numbers of epochs: accuracy against epsilon"
    on: ClassVar[tuple[str, ...]] = ("mnist", "digits")
    usual: ClassVar[int | None] = 1000

    epochs: str = parameter("1,3,10,30,60", "numbers of epochs")
    eps: str = parameter("auto", "radii in linf; auto: to 0.3 for gray images, to 16/255 for color")
    attacks: str = parameter("fgsm;pgd:steps=20", "attacks with a radius in linf, joined by ';'")
    seeds: str = parameter("0,1,2", "seeds of the trainings")
    model: str = parameter("lenet", "the network")
    train_images: int = parameter(0, "training images; 0: all", low=0)

    def cells(self, sample: Sample) -> list[Work]:
        return self._study(sample).cells(sample)

    def _study(self, sample: Sample) -> Study:
        epochs = numbers(self.epochs, "epochs", int)
        return Study(
            networks=tuple(Network(name=f"{n} epochs", spec=self.model, epochs=n) for n in epochs),
            seeds=numbers(self.seeds, "seeds", int),
            attacks=tuple(part.strip() for part in split(self.attacks, ";")),
            radii=radii(self.eps, sample),
            count=self.train_images,
        )

    def show(self, sample: Sample, found: Found) -> Findings:
        study = self._study(sample)
        middle = study.radii[len(study.radii) // 2]
        rows: list[tuple[Value, ...]] = []
        for network in study.networks:
            under = [study.under(sample, found, network, attack, middle) for attack in study.attacks]
            rows.append((network.name, study.clean(sample, found, network), *under))
        sentences, compared = [], []
        for attack in study.attacks:
            ends = [study.under(sample, found, n, attack, middle) for n in (study.networks[0], study.networks[-1])]
            ours = f"{ends[0].value:.1f} %, {ends[1].value:.1f} %"
            sentences.append(
                f"{attack} at ε = {format_value(middle)}: {ends[0].value:.1f} % after {study.networks[0].name}, "
                f"{ends[1].value:.1f} % after {study.networks[-1].name}, means over {len(study.seeds)} seeds."
            )
            seed = "rises" if attack.startswith("fgsm") else None
            why = "" if seed else "not tested there"
            compared.append(told(f"{attack}: accuracy after the fewest and the most epochs", seed, ours, why))
        figure = Figure(
            name="epochs",
            caption="Accuracy against the radius, one line for each number of epochs. Means over the seeds; bands are "
            "95 % intervals over them.",
            content=study.charts(sample, found),
        )
        columns = ("network", "no attack (%)", *(f"{a} at {format_value(middle)} (%)" for a in study.attacks))
        table = Table(name="epochs", caption="Accuracy", columns=columns, rows=tuple(rows))
        return Findings(told=tuple(sentences), figures=(figure,), tables=(table,), compared=tuple(compared))
