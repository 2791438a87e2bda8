"""Figure 18b and Table 1 of the report: LeNet with more layers than it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from foolscope.errors import InputError
from foolscope.experiments.catalog.common import AGREES, USUAL_RADII, told
from foolscope.experiments.catalog.trained import Network, Study
from foolscope.experiments.experiment import Experiment, Found, Sample, Work, numbers
from foolscope.experiments.findings import Figure, Findings, Table, Value
from foolscope.experiments.train import DEEP_CLIP
from foolscope.spec import parameter

_TABLE = {0: 61_706, 2: 150_978, 4: 282_562, 6: 414_146, 10: 743_106, 20: 1_335_234}
"""Parameters as the report's Table 1 has them, by extra layers."""

_ELEVEN = "the report's row is that of 11 layers; 10 are 677,314"


@dataclass(frozen=True, kw_only=True)
class Overparameterization(Experiment):
    """LeNet with up to 20 extra layers of 256 units: its parameters, and accuracy against epsilon.

    The seed: Fig. 18b shows LeNet on MNIST with 0 to 20 layers of 256 units before its last one: in general the
    accuracy rises with the layers. Table 1 counts the parameters. The report concludes that over-parameterization makes
    networks more robust in general.

    Differences: Table 1's row of 10 layers, 743,106 parameters, is that of 11; 10 layers have 677,314. Every network is
    trained with several seeds, and PGD stands beside FGSM: what holds against one step alone is no robustness (Madry et
    al. 2018, arXiv 1706.06083), but gradients that say nothing because the logits are saturated.
    """

    name: ClassVar[str] = "overparameterization"
    figure: ClassVar[str] = "Fig. 18b, Table 1"
    summary: ClassVar[str] = "LeNet with extra layers: parameters, and accuracy against epsilon"
    on: ClassVar[tuple[str, ...]] = ("mnist", "digits")
    usual: ClassVar[int | None] = 1000

    extra: str = parameter("0,2,4,6,10,20", "extra layers of 256 units")
    eps: str = parameter("auto", USUAL_RADII)
    attacks: str = parameter("fgsm;pgd:steps=20", "attacks with a radius in linf, joined by ';'")
    seeds: str = parameter("0,1,2", "seeds of the trainings")
    epochs: int = parameter(0, "epochs of the trainings; 0: the usual number", low=0)
    train_images: int = parameter(0, "training images; 0: all", low=0)

    def cells(self, sample: Sample) -> list[Work]:
        return self._study(sample).cells(sample)

    def _study(self, sample: Sample) -> Study:
        if sample.data.pixels.shape[1:] != (28, 28, 1):
            raise InputError(f"LeNet takes gray images of 28 x 28, which {sample.name} has not: take mnist or digits.")
        layers = numbers(self.extra, "extra", int)
        networks = tuple(
            Network(name=f"{extra} layers", spec=f"lenet:extra={extra}", epochs=self.epochs or None, clip=DEEP_CLIP)
            for extra in layers
        )
        return Study.asked(
            sample, networks, seeds=self.seeds, attacks=self.attacks, eps=self.eps, count=self.train_images
        )

    def show(self, sample: Sample, found: Found) -> Findings:
        study = self._study(sample)
        sentences, attacked = study.ends(sample, found, "rises with the layers")
        rows: list[tuple[Value, ...]] = []
        counted = []
        for extra, network in zip(numbers(self.extra, "extra", int), study.networks, strict=True):
            count = study.parameters(sample, network)
            rows.append((network.name, count, *study.row(sample, found, network)))
            if extra in _TABLE:
                why = AGREES if count == _TABLE[extra] else _ELEVEN
                counted.append(told(f"parameters with {extra} extra layers", f"{_TABLE[extra]:,}", count, why))
        figure = Figure(
            name="layers",
            caption="Accuracy against the radius, one line for each number of extra layers. Means over the seeds; "
            "bands are 95 % intervals over them.",
            content=study.charts(sample, found),
        )
        columns = ("network", "parameters", *study.columns)
        table = Table(name="layers", caption="Parameters and accuracy", columns=columns, rows=tuple(rows))
        return Findings(told=tuple(sentences), figures=(figure,), tables=(table,), compared=(*counted, *attacked))
