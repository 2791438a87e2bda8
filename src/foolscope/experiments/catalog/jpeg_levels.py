"""Figure 7 of the report: what JPEG leaves of images at falling quality."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from foolscope import jpeg
from foolscope.experiments.catalog.common import NO_NUMBERS, jpeg_qualities, told
from foolscope.experiments.experiment import Experiment, Found, Kind, Sample, Scene, Work
from foolscope.experiments.findings import Chart, Figure, Findings, Line, Picture, Pictures, Table
from foolscope.jpeg.codec import encoded_size
from foolscope.measure import Mean, mean_interval, psnr
from foolscope.spec import parameter


def levels(scene: Scene) -> dict[str, Tensor]:
    """Kind `jpeg-levels`: sizes in bytes (Q, N) and PSNR in dB (Q, N), and the first images at each quality."""
    images, shown = scene.data.images, scene.options["shown"]
    sizes, ratios, pictures = [], [], []
    for quality in scene.options["qualities"]:
        compressed = jpeg.compress(images, quality)
        sizes.append(encoded_size(images, quality))
        ratios.append(psnr(images, compressed))
        pictures.append(compressed[:shown])
    found = {"bytes": torch.stack(sizes), "psnr": torch.stack(ratios), "images": torch.stack(pictures)}
    return {**found, "original": images[:shown]}


KINDS = {"jpeg-levels": Kind(levels)}


@dataclass(frozen=True, kw_only=True)
class JpegLevels(Experiment):
    """The same images at falling JPEG quality, with the size of the file and the peak signal-to-noise ratio.

    The seed: Fig. 7 shows images of MNIST and CIFAR-10 at several levels of compression.

    Differences: the report gives pictures; here every quality has its file size, headers included, and its PSNR with
    intervals over the images. Of images as small as these the headers are most of a file.
    """

    name: ClassVar[str] = "jpeg-levels"
    figure: ClassVar[str] = "Fig. 7"
    summary: ClassVar[str] = "images at falling JPEG quality, with file size and PSNR"
    on: ClassVar[tuple[str, ...]] = ("mnist", "cifar10", "digits", "photos")
    usual: ClassVar[int | None] = 100

    qualities: str = parameter("1,5,10,25,50,75,95", "JPEG qualities, 1 to 100")
    shown: int = parameter(3, "images shown", low=1, high=20)

    def cells(self, sample: Sample) -> list[Work]:
        return [self._work(sample)]

    def _work(self, sample: Sample) -> Work:
        qualities = list(jpeg_qualities(self.qualities))
        return Work(
            kind="jpeg-levels", images=sample.images, cost=float(len(sample.data) * len(qualities)),
            options={"qualities": qualities, "shown": self.shown},
        )  # fmt: skip

    def show(self, sample: Sample, found: Found) -> Findings:
        arrays, qualities = found[self._work(sample)], jpeg_qualities(self.qualities)
        sizes = [mean_interval(torch.from_numpy(row)) for row in arrays["bytes"]]
        ratios = [_finite_mean(torch.from_numpy(row)) for row in arrays["psnr"]]
        shown = len(arrays["original"])
        order = list(reversed(range(len(qualities))))
        columns = ("original", *(f"quality {qualities[n]}" for n in order))
        rows = tuple(
            (
                sample.data.label_name(int(sample.data.labels[place])),
                (Picture(arrays["original"][place]), *(Picture(arrays["images"][n][place]) for n in order)),
            )
            for place in range(shown)
        )
        size_line = Line.of("file size", list(zip(map(float, qualities), sizes, strict=True)))
        ratio_line = Line.of("PSNR", list(zip(map(float, qualities), ratios, strict=True)))
        figures = (
            Figure(
                name="levels",
                caption="The same images, untouched and after JPEG of falling quality.",
                content=Pictures(columns=columns, rows=rows),
            ),
            Figure(
                name="size-and-psnr",
                caption="Mean size of a file, headers included, and mean PSNR against quality, with 95 % intervals.",
                content=(
                    Chart(title="File size", lines=(size_line,), x="JPEG quality", y="bytes an image"),
                    Chart(title="What is kept", lines=(ratio_line,), x="JPEG quality", y="PSNR (dB)"),
                ),
            ),
        )
        table = Table(
            name="levels",
            caption="Means over the images",
            columns=("quality", "bytes", "PSNR (dB)"),
            rows=tuple((str(q), size, ratio) for q, size, ratio in zip(qualities, sizes, ratios, strict=True)),
        )
        low, high = qualities[0], qualities[-1]
        sentence = (
            f"From quality {high} to {low} the PSNR falls from {ratios[-1].value:.1f} to {ratios[0].value:.1f} dB, and "
            f"a file from {sizes[-1].value:.0f} to {sizes[0].value:.0f} bytes."
        )
        ours = f"{ratios[0].value:.1f}, {ratios[-1].value:.1f} dB"
        compared = told(f"PSNR at quality {low} and {high}", None, ours, NO_NUMBERS)
        return Findings(told=(sentence,), figures=figures, tables=(table,), compared=(compared,))


def _finite_mean(values: Tensor) -> Mean:
    """Without the images that come back unchanged, whose PSNR is infinite."""
    return mean_interval(values[values.isfinite()])
