"""Figures 8 and 9 of the report: which frequencies each layer of a network hears."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from foolscope import explain
from foolscope.defenses import defended
from foolscope.experiments.catalog.common import NO_NUMBERS, file_names, first, told
from foolscope.experiments.catalog.noise_spectrum import profile_arrays
from foolscope.experiments.experiment import Arrays, Experiment, Found, Kind, Sample, Scene, Work, networks
from foolscope.experiments.findings import Chart, Figure, Findings, Line, Plane, Table, Value
from foolscope.spec import parameter

LOGITS = "logits"


def transfer(scene: Scene) -> dict[str, Tensor]:
    """Kind `transfer`: the response of one layer, of a network behind a defense if one is named, to every frequency."""
    layer, defense = scene.options["layer"], scene.options["defense"]
    model = defended(scene.model, defense) if defense else scene.model
    size = (scene.data.pixels.shape[1], scene.data.pixels.shape[2])
    resolution = min(scene.options["resolution"], *size)
    found = explain.transfer_function(model, None if layer == LOGITS else layer, size, resolution=resolution)
    arrays = {"vertical": found.vertical, "horizontal": found.horizontal, "response": found.response}
    if found.distortion is not None:
        arrays["distortion"] = found.distortion
    return arrays | {f"radial_{key}": value for key, value in profile_arrays(found.radial).items()}


KINDS = {"transfer": Kind(transfer)}


def transfer_work(sample: Sample, model: str, layer: str, resolution: int, defense: str = "") -> Work:
    """Work: one layer's transfer function."""
    options = {"layer": layer, "resolution": resolution, "defense": defense}
    return Work(kind="transfer", images=first(sample, 1), model=model, options=options, cost=4.0 * resolution**2)


@dataclass(frozen=True, kw_only=True)
class TransferFunction(Experiment):
    """The frequency response of a network, layer by layer, from the first convolution to the logits.

    The seed: Fig. 8 and 9 show the response of LeNet and ResNet to waves, and say that it tells the frequencies to
    which a network is more and less sensitive; the text gives no numbers.

    Differences: the report filters single waves and looks at the answers; here waves of a stated amplitude on a stated
    gray are probed at several phases, which is exact for linear layers, and the share of the answer that does not
    follow the wave stands beside it as distortion.
    """

    name: ClassVar[str] = "transfer-function"
    figure: ClassVar[str] = "Fig. 8, 9"
    summary: ClassVar[str] = "frequency response of a network, layer by layer"
    on: ClassVar[tuple[str, ...]] = ("mnist", "cifar10", "digits")

    layers: int = parameter(5, "layers shown, spread over the network, besides the logits", low=1, high=50)
    resolution: int = parameter(28, "frequencies along each axis", low=3, high=64)
    models: str = parameter("auto", "networks, joined by '|'; auto: those of the report with shipped weights")

    def cells(self, sample: Sample) -> list[Work]:
        return [
            transfer_work(sample, model, layer, self.resolution)
            for model in networks(self.models, sample.data)
            for layer in self._layers(sample, model)
        ]

    def _layers(self, sample: Sample, model: str) -> list[str]:
        """Convolutions and dense layers, as many as are shown, then the logits."""
        network = sample.library.model(model, sample.images)
        names = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)][:-1]
        count = min(self.layers, len(names))
        chosen = [names[round(n * (len(names) - 1) / max(1, count - 1))] for n in range(count)]
        return [*dict.fromkeys(chosen), LOGITS]

    def show(self, sample: Sample, found: Found) -> Findings:
        figures, sentences, compared = [], [], []
        rows: list[tuple[Value, ...]] = []
        for model, name in file_names(networks(self.models, sample.data)).items():
            layers = self._layers(sample, model)
            cells = [found[transfer_work(sample, model, layer, self.resolution)] for layer in layers]
            lines = tuple(_normalized(layer, cell) for layer, cell in zip(layers, cells, strict=True))
            chart = Chart(
                title=f"{model}, each layer by its largest answer", lines=lines, x="cycles per pixel",
                y="response, 1 is the largest", nyquist=True,
            )  # fmt: skip
            planes = [plane(layer, cell) for layer, cell in zip(layers, cells, strict=True)]
            figures.append(Figure(
                name=f"transfer-{name}",
                caption=f"{model}: how strongly each layer answers to a wave of each frequency, "
                "averaged over directions and divided by its largest answer.", content=(chart,),
            ))  # fmt: skip
            figures.append(Figure(
                name=f"planes-{name}", caption=f"{model}: the same over the plane of frequencies, 0 in the middle.",
                content=tuple(planes),
            ))  # fmt: skip
            for layer, cell in zip(layers, cells, strict=True):
                rows.append((f"{model}, {layer}", *summary(cell)))
            low, high = summary(cells[0])[1], summary(cells[-1])[1]
            sentences.append(
                f"{model}: {100 * low:.0f} % of the first layer's answer, and {100 * high:.0f} % of the logits', is to "
                "frequencies below 0.25 cycles per pixel."
            )
            what = f"{model}: answer below 0.25 cycles per pixel, first layer and logits"
            compared.append(told(what, None, f"{100 * low:.0f} %, {100 * high:.0f} %", NO_NUMBERS))
        columns = ("network, layer", "largest response", "below 0.25", "mean distortion")
        table = Table(name="transfer", caption="Responses", columns=columns, rows=tuple(rows))
        return Findings(told=tuple(sentences), figures=tuple(figures), tables=(table,), compared=tuple(compared))


def summary(cell: Arrays) -> tuple[float, float, float | None]:
    """The largest response, the share of the response's energy below 0.25 cycles per pixel, and the mean distortion."""
    radius = torch.hypot(
        *torch.meshgrid(*(torch.from_numpy(cell[a]) for a in ("vertical", "horizontal")), indexing="ij")
    )
    energy = torch.from_numpy(cell["response"]) ** 2
    energy = torch.where(radius > 0, energy, 0)
    low = float(energy[radius < 0.25].sum() / energy.sum().clamp_min(1e-30))
    return float(cell["response"].max()), low, float(cell["distortion"].mean()) if "distortion" in cell else None


def plane(title: str, cell: Arrays, limits: tuple[float, float] | None = None) -> Plane:
    """A response over the plane of frequencies."""
    return Plane(
        title=title, vertical=cell["vertical"].tolist(), horizontal=cell["horizontal"].tolist(),
        values=cell["response"], unit="response", limits=limits,
    )  # fmt: skip


def radial(name: str, cell: Arrays, scale: float = 1.0) -> Line:
    """A response by frequency, averaged over directions."""
    x: Sequence[float] = cell["radial_coordinate"].tolist()
    return Line(name, x, (cell["radial_mean"] / scale).tolist())


def _normalized(name: str, cell: Arrays) -> Line:
    return radial(name, cell, max(float(cell["radial_mean"].max()), 1e-30))
