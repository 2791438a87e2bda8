"""Figure 18a of the report: LeNet trained for longer than it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from foolscope.experiments.catalog.common import USUAL_RADII
from foolscope.experiments.catalog.trained import Study, by_epochs
from foolscope.experiments.experiment import Experiment, Found, Sample, Work
from foolscope.experiments.findings import Figure, Findings, Table, Value
from foolscope.spec import parameter


@dataclass(frozen=True, kw_only=True)
class Overfitting(Experiment):
    """A network trained for five numbers of epochs, and its accuracy against epsilon.

    The seed: Fig. 18a shows LeNet on MNIST, trained for five numbers of epochs that the text does not name: with more
    epochs the accuracy rises at every epsilon. The report looked for the opposite, that overfitting makes networks
    susceptible, found nothing that supports it, and concludes that overfitting makes them more robust in general.

    Differences: every network is trained with several seeds, our epochs are named, and PGD stands beside FGSM. A longer
    training can saturate the logits, so that one step along the gradient finds less; what PGD still finds shows whether
    anything was gained (Madry et al. 2018, arXiv 1706.06083). masking asks further.
    """

    name: ClassVar[str] = "overfitting"
    figure: ClassVar[str] = "Fig. 18a"
    summary: ClassVar[str] = "a network trained for five numbers of epochs: accuracy against epsilon"
    on: ClassVar[tuple[str, ...]] = ("mnist", "digits")
    usual: ClassVar[int | None] = 1000

    epochs: str = parameter("1,3,10,30,60", "numbers of epochs")
    eps: str = parameter("auto", USUAL_RADII)
    attacks: str = parameter("fgsm;pgd:steps=20", "attacks with a radius in linf, joined by ';'")
    seeds: str = parameter("0,1,2", "seeds of the trainings")
    model: str = parameter("lenet", "the network")
    train_images: int = parameter(0, "training images; 0: all", low=0)

    def cells(self, sample: Sample) -> list[Work]:
        return self._study(sample).cells(sample)

    def _study(self, sample: Sample) -> Study:
        networks = by_epochs(self.model, self.epochs)
        return Study.asked(
            sample, networks, seeds=self.seeds, attacks=self.attacks, eps=self.eps, count=self.train_images
        )

    def show(self, sample: Sample, found: Found) -> Findings:
        study = self._study(sample)
        sentences, compared = study.ends(sample, found, "rises with the epochs")
        rows: list[tuple[Value, ...]] = [
            (one.name, study.fitted(sample, found, one), *study.row(sample, found, one)) for one in study.networks
        ]
        last = study.networks[-1]
        seen, unseen = (of(sample, found, last).value for of in (study.fitted, study.clean))
        sentences.append(
            f"After {last.name} {seen:.1f} % of the training images are right while training, shifted "
            f"at random, and {unseen:.1f} % of the test images: a gap of {seen - unseen:.1f} points is all the "
            "overfitting that there is."
        )
        figure = Figure(
            name="epochs",
            caption="Accuracy against the radius, one line for each number of epochs. Means over the seeds; bands are "
            "95 % intervals over them.",
            content=study.charts(sample, found),
        )
        table = Table(
            name="epochs",
            caption="Accuracy",
            columns=("network", "training images (%)", *study.columns),
            rows=tuple(rows),
        )
        return Findings(told=tuple(sentences), figures=(figure,), tables=(table,), compared=tuple(compared))
