"""Figure 10 of the report: wrong under attack, right again after JPEG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from foolscope import jpeg
from foolscope.experiments.catalog.common import (
    attacks,
    by_images,
    clean_accuracy,
    file_names,
    label_names,
    percent,
    predictions,
    told,
)
from foolscope.experiments.cells import PLAIN
from foolscope.experiments.experiment import Experiment, Found, Sample, Work, networks
from foolscope.experiments.findings import Figure, Findings, Picture, Pictures, Table
from foolscope.measure import Proportion, accuracy
from foolscope.spec import parameter

_KEPT = 256


@dataclass(frozen=True, kw_only=True)
class JpegRescue(Experiment):
    """Images that an attack turns into another class and JPEG turns back.

    The seed: Fig. 10 shows a 5 of MNIST that an attack, which it does not name, turns into a 3, and that is a 5 again
    after JPEG; it explains this by the high frequencies that JPEG removes.

    Differences: the report shows one image; here the share of the fooled images that JPEG rescues stands beside them,
    and the accuracy on untouched images. The attack does not know of JPEG: adaptive-jpeg has those that do.
    """

    name: ClassVar[str] = "jpeg-rescue"
    figure: ClassVar[str] = "Fig. 10"
    summary: ClassVar[str] = "images that are wrong under attack and right again after JPEG"
    on: ClassVar[tuple[str, ...]] = ("mnist", "cifar10", "digits")
    usual: ClassVar[int | None] = 1000

    attack: str = parameter(
        "auto", "the attack; auto: FGSM of radius 0.15 for gray images (digits 0.03), 4/255 for color"
    )
    quality: int = parameter(50, "JPEG quality", low=1, high=100)
    shown: int = parameter(5, "images shown", low=1, high=20)
    models: str = parameter("auto", "networks, joined by '|'; auto: those of the report with shipped weights")

    def cells(self, sample: Sample) -> list[Work]:
        works = []
        for model in networks(self.models, sample.data):
            works += [*self._works(sample, model), *predictions(sample, model, self._victims())]
        return works

    def _victims(self) -> list[str]:
        return [PLAIN, f"jpeg:quality={self.quality}"]

    def _works(self, sample: Sample, model: str) -> list[Work]:
        usual = by_images(sample, digits="fgsm:eps=0.03", gray="fgsm:eps=0.15", color="fgsm:eps=4/255")
        attack = usual if self.attack == "auto" else self.attack
        return attacks(sample, model, attack, victims=self._victims(), keep=_KEPT)

    def show(self, sample: Sample, found: Found) -> Findings:
        names = label_names(sample)
        figures, sentences, compared = [], [], []
        rows: list[tuple[str, Proportion]] = []
        for model, file in file_names(networks(self.models, sample.data)).items():
            works = self._works(sample, model)
            arrays = found.joined(works)
            label, wrong, back = (torch.from_numpy(arrays[n]) for n in ("label", "prediction_0", "prediction_1"))
            fooled = (wrong != label) & ~torch.from_numpy(arrays["already"])
            rescued = fooled & (back == label)
            share = accuracy(rescued[fooled])
            rows.append((f"{model}: fooled images that JPEG rescues", share))
            attack = works[0].options["attack"]
            plain, behind = clean_accuracy(sample, found, model, self._victims())
            sentences.append(
                f"{model}: of {int(fooled.sum()):,} images that {attack} fools, JPEG rescues {share}; untouched images "
                f"are right in {percent(plain)} without and {percent(behind)} with it."
            )
            compared.append(told(f"{model}: accuracy on untouched images without and with JPEG", None,
                                 f"{percent(plain)}, {percent(behind)}", "not told there"))  # fmt: skip
            compared.append(
                told(
                    f"{model}: fooled images rescued by quality {self.quality}",
                    "one is shown",
                    share,
                    "all are counted",
                )
            )
            chosen = rescued.nonzero()[: self.shown, 0]
            if not len(chosen):
                sentences.append(f"{model}: there is none to show.")
                continue
            originals = sample.data.rows(chosen).images
            adversarial = torch.from_numpy(arrays["adversarial"])[chosen]
            again = jpeg.compress(adversarial, self.quality)
            pictures = tuple(
                (
                    "{}, seen as {}, after JPEG as {} again".format(
                        *(names[int(p[row])] for p in (label, wrong, back))
                    ),
                    (
                        Picture(originals[n].numpy()),
                        Picture((adversarial[n] - originals[n]).numpy(), kind="noise"),
                        Picture(adversarial[n].numpy()),
                        Picture(again[n].numpy()),
                    ),
                )
                for n, row in enumerate(chosen.tolist())
            )
            columns = ("image", "noise", "adversarial", f"JPEG, quality {self.quality}")
            figures.append(
                Figure(
                    name=f"rescued-{file}",
                    caption=f"{model}: images that {attack} turns into another class and JPEG turns back. The noise is "
                    "drawn around gray, as strong as fits.",
                    content=Pictures(columns=columns, rows=pictures),
                )
            )
        table = Table(name="rescued", caption="What JPEG rescues", columns=("", "share"), rows=tuple(rows))
        return Findings(told=tuple(sentences), figures=tuple(figures), tables=(table,), compared=tuple(compared))
