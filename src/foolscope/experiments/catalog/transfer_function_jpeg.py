"""Figure 12 of the report: the transfer function after JPEG."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from foolscope.experiments.catalog.common import file_names, jpeg_qualities, told
from foolscope.experiments.catalog.transfer_function import LOGITS, plane, radial, summary, transfer_work
from foolscope.experiments.experiment import Arrays, Experiment, Found, Sample, Work, networks
from foolscope.experiments.findings import Animation, Chart, Figure, Findings, Table, Value
from foolscope.spec import parameter

_LINES = 5
_SEED = {"lenet": "hardly changes", "resnet20": "changes at qualities 7 to 16"}
_LOGITS = "there the first layer, here the logits"


@dataclass(frozen=True, kw_only=True)
class TransferFunctionJpeg(Experiment):
    """The transfer function from the image to the logits with JPEG in front, at every quality, as an animation.

    The seed: Fig. 12 animates the qualities from 1 to 100. LeNet hardly changes at any; ResNet does at qualities 7
    to 16; qualities 1 to 5 destroy every frequency, which the report takes for an artifact of the small images.

    Differences: the report looks at the first convolution, this at the logits. JPEG is not linear, so its response
    holds for the stated amplitude (0.1) alone: a weaker wave falls under the quantization step earlier. The share
    of the answer that does not follow the wave is told beside it.
    """

    name: ClassVar[str] = "transfer-function-jpeg"
    figure: ClassVar[str] = "Fig. 12"
    summary: ClassVar[str] = "the transfer function after JPEG, quality by quality, as an animation"
    on: ClassVar[tuple[str, ...]] = ("mnist", "cifar10", "digits")

    qualities: str = parameter("1,5,10,20,30,40,50,60,70,80,90,95,100", "JPEG qualities, 1 to 100")
    resolution: int = parameter(28, "frequencies along each axis", low=3, high=64)
    models: str = parameter("auto", "networks, joined by '|'; auto: those of the report with shipped weights")

    def cells(self, sample: Sample) -> list[Work]:
        return [
            self._work(sample, model, defense)
            for model in networks(self.models, sample.data)
            for defense in ("", *self._defenses())
        ]

    def _defenses(self) -> list[str]:
        return [f"jpeg:quality={quality}" for quality in jpeg_qualities(self.qualities)]

    def _work(self, sample: Sample, model: str, defense: str) -> Work:
        return transfer_work(sample, model, LOGITS, self.resolution, defense)

    def show(self, sample: Sample, found: Found) -> Findings:
        charts, animations, sentences, compared = [], [], [], []
        rows: list[tuple[Value, ...]] = []
        qualities = jpeg_qualities(self.qualities)
        models = networks(self.models, sample.data)
        for model, file in file_names(models).items():
            plain = found[self._work(sample, model, "")]
            cells = [found[self._work(sample, model, defense)] for defense in self._defenses()]
            peak = max(float(cell["response"].max()) for cell in (plain, *cells))
            step = max(1, -(-len(cells) // _LINES))
            chosen = [*range(0, len(cells) - 1, step), len(cells) - 1]
            lines = [radial(f"quality {qualities[n]}", cells[n]) for n in chosen]
            charts.append(Chart(
                title=model, lines=(radial("no JPEG", plain), *lines), x="cycles per pixel",
                y="logits per unit of amplitude", nyquist=True,
            ))  # fmt: skip
            frames = tuple(
                Figure(
                    name=f"frame-{file}-{quality}", caption=f"quality {quality}",
                    content=(plane(f"{model}, quality {quality}", cell, (0.0, peak)),),
                )
                for quality, cell in zip(qualities, cells, strict=True)
            )  # fmt: skip
            animations.append(Animation(
                name=f"quality-{file}", frames=frames,
                caption=f"{model}: the response of the logits over the plane of frequencies, from quality "
                f"{qualities[0]} to {qualities[-1]}.",
            ))  # fmt: skip
            for name, cell in zip(("no JPEG", *(f"quality {q}" for q in qualities)), (plain, *cells), strict=True):
                rows.append((f"{model}, {name}", *summary(cell), _kept(cell, plain)))
            kept = {q: _kept(cell, plain) for q, cell in zip(qualities, cells, strict=True)}
            least, most = (min(kept, key=kept.__getitem__), max(kept, key=kept.__getitem__))
            bent = {q: float(cell["distortion"].mean()) for q, cell in zip(qualities, cells, strict=True)}
            ours = f"{100 * kept[least]:.0f} % at quality {least}, {100 * kept[most]:.0f} % at quality {most}"
            sentences.append(
                f"{model}: of its answer to frequencies from 0.25 cycles per pixel on, JPEG leaves least, then most: "
                f"{ours}. Of the whole answer, the share that does not follow the wave is {bent[qualities[0]]:.2f} at "
                f"quality {qualities[0]}, {bent[qualities[-1]]:.2f} at quality {qualities[-1]} and "
                f"{float(plain['distortion'].mean()):.2f} without JPEG."
            )
            compared.append(told(f"{model}: high frequencies kept, least and most", _SEED.get(model), ours, _LOGITS))
            low = qualities[0]
            compared.append(told(f"{model}: high frequencies kept at quality {low}", "1 to 5 destroy every frequency",
                                 f"{100 * kept[low]:.0f} %, distorted {bent[low]:.2f}", _LOGITS))  # fmt: skip
        figure = Figure(
            name="after-jpeg",
            caption="How strongly the logits answer to a wave of each frequency, with JPEG in front.",
            content=tuple(charts),
        )  # fmt: skip
        columns = ("network, quality", "largest response", "below 0.25", "mean distortion", "kept from 0.25 on")
        table = Table(name="after-jpeg", caption="Responses after JPEG", columns=columns, rows=tuple(rows))
        return Findings(
            told=tuple(sentences), figures=(figure,), tables=(table,), compared=tuple(compared),
            animations=tuple(animations),
        )  # fmt: skip


def _kept(cell: Arrays, plain: Arrays) -> float:
    """The root mean square response from 0.25 cycles per pixel on, as a share of the plain network's."""
    radius = np.hypot(cell["vertical"][:, None], cell["horizontal"][None])
    after, before = (float(np.square(one["response"][radius >= 0.25]).mean()) for one in (cell, plain))
    return math.sqrt(after / before) if before else 0.0
