"""Beyond the report: which frequencies mislead a network (Yin et al. 2019, arXiv 1906.08988)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from foolscope.experiments.catalog.common import told
from foolscope.experiments.catalog.noise_spectrum import profile_arrays
from foolscope.experiments.experiment import Experiment, Found, Kind, Sample, Scene, Work, networks
from foolscope.experiments.findings import Chart, Figure, Findings, Line, Plane, Table, Value
from foolscope.explain import fourier_heatmap
from foolscope.measure import Proportion
from foolscope.randomness import generator
from foolscope.spec import format_value, parameter


def heatmap(scene: Scene) -> dict[str, Tensor]:
    """Kind `fourier-heatmap`: how many images are wrong under a wave of each frequency."""
    found = fourier_heatmap(scene.engine(), scene.data, scene.options["norm"], rng=generator(scene.options["seed"]))
    return {
        "vertical": found.vertical,
        "horizontal": found.horizontal,
        "errors": found.errors,
        "clean": torch.tensor([found.clean.successes, found.clean.trials]),
        **{f"radial_{key}": value for key, value in profile_arrays(found.radial).items()},
    }


KINDS = {"fourier-heatmap": Kind(heatmap)}


@dataclass(frozen=True, kw_only=True)
class FourierHeatmap(Experiment):
    """The error rate under one wave of a fixed norm, for every frequency.

    The seed: the report looks at the frequencies of noises and of networks, and not at which of them mislead.

    Differences: beyond the report. A network can answer strongly to a frequency and not be misled by it: this counts
    errors. On CIFAR-10 Yin et al. 2019 (arXiv 1906.08988) find that middle and high frequencies mislead networks, and
    low ones those that were trained adversarially.
    """

    name: ClassVar[str] = "fourier-heatmap"
    figure: ClassVar[str] = "beyond the report"
    summary: ClassVar[str] = "the error rate under a wave of each frequency"
    on: ClassVar[tuple[str, ...]] = ("cifar10", "mnist", "digits")
    usual: ClassVar[int | None] = 100

    norm: float = parameter(4.0, "l2 norm of the wave in each channel", low=1e-6)
    models: str = parameter("auto", "networks, joined by '|'; auto: those of the report with shipped weights")

    def cells(self, sample: Sample) -> list[Work]:
        return [self._work(sample, model) for model in networks(self.models, sample.data)]

    def _work(self, sample: Sample, model: str) -> Work:
        return Work(
            kind="fourier-heatmap", images=sample.images, model=model, cost=480.0 * len(sample.data),
            options={"norm": self.norm, "seed": sample.images.seed},
        )  # fmt: skip

    def show(self, sample: Sample, found: Found) -> Findings:
        planes: list[Plane] = []
        lines: list[Line] = []
        rows: list[tuple[Value, ...]] = []
        sentences, compared = [], []
        count = len(sample.data)
        for model in networks(self.models, sample.data):
            arrays = found[self._work(sample, model)]
            rate = 100 * arrays["errors"] / count
            axes = arrays["vertical"].tolist(), arrays["horizontal"].tolist()
            planes.append(Plane(
                title=model, vertical=axes[0], horizontal=axes[1], values=rate, unit="error rate (%)", limits=(0, 100)
            ))  # fmt: skip
            radii, mean, low, high = (arrays[f"radial_{key}"] for key in ("coordinate", "mean", "low", "high"))
            lines.append(
                Line(model, radii.tolist(), (100 * mean).tolist(), (100 * low).tolist(), (100 * high).tolist())
            )
            clean = Proportion(*arrays["clean"].tolist())
            flat = int(arrays["errors"].argmax())
            worst = Proportion(int(arrays["errors"].max()), count)
            vertical, horizontal = (axis[place] for axis, place in zip(axes, divmod(flat, len(axes[1])), strict=True))
            rows.append((model, clean, float(rate.mean()), worst, f"{vertical:.3f}, {horizontal:.3f}"))
            sentences.append(
                f"{model}: under a wave of l2 norm {format_value(self.norm)} a channel the error rate of {clean} "
                f"becomes {rate.mean():.1f} % on average over the frequencies, and {100 * worst.value:.1f} % at its "
                f"worst frequency ({vertical:.3f}, {horizontal:.3f} cycles per pixel)."
            )
            compared.append(
                told(
                    f"{model}: mean error rate over the frequencies", None, f"{rate.mean():.1f} %", "not studied there"
                )
            )
        figures = (
            Figure(
                name="heatmap", caption="The error rate under a wave of each frequency, 0 in the middle.",
                content=tuple(planes),
            ),
            Figure(
                name="radial", caption="The same averaged over directions, with 95 % intervals over the images.",
                content=(Chart(
                    title="Error rate by frequency", lines=tuple(lines), x="cycles per pixel", y="error rate (%)",
                    y_range=(0.0, 100.0), nyquist=True,
                ),),
            ),
        )  # fmt: skip
        columns = ("network", "no wave", "mean (%)", "worst frequency", "which (vertical, horizontal)")
        table = Table(name="heatmap", caption="Error rates", columns=columns, rows=tuple(rows))
        return Findings(told=tuple(sentences), figures=figures, tables=(table,), compared=tuple(compared))
