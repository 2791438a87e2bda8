"""What the report asks for and leaves open: transfer functions and JPEG on images larger than 32 x 32."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from foolscope.errors import InputError
from foolscope.experiments.catalog.adaptive_jpeg import AdaptiveJpeg
from foolscope.experiments.catalog.common import IMAGENET_NETWORKS, LARGE, is_large, told
from foolscope.experiments.catalog.transfer_function_jpeg import TransferFunctionJpeg
from foolscope.experiments.experiment import Experiment, Found, Sample, Work
from foolscope.experiments.findings import Findings
from foolscope.spec import parameter


@dataclass(frozen=True, kw_only=True)
class LargeImages(Experiment):
    """Transfer functions behind JPEG, and JPEG against attacks that do and do not know of it, on ImageNet networks.

    The seed: section 3.2 finds that qualities 1 to 5 destroy every frequency and that JPEG changes the transfer
    function little elsewhere, takes the former for an artifact of images as small as MNIST's, and asks to repeat the
    study for larger ones.

    Differences: this is that repetition, by the same cells as transfer-function-jpeg and adaptive-jpeg. JPEG works on
    blocks of 8 x 8 pixels whatever the image's size, so that a frequency in cycles per pixel meets the same step of
    quantization in small and in large images; how the networks answer to what JPEG leaves and invents, the table tells.
    """

    name: ClassVar[str] = "large-images"
    figure: ClassVar[str] = "section 3.2, asked for there"
    summary: ClassVar[str] = "transfer functions and JPEG on ImageNet networks"
    on: ClassVar[tuple[str, ...]] = ("photos", "folder:PATH")
    usual: ClassVar[int | None] = 100

    qualities: str = parameter("5,10,30,50,75,95", "JPEG qualities of the transfer functions, 1 to 100")
    resolution: int = parameter(16, "frequencies along each axis", low=3, high=64)
    eps: str = parameter("1/255,2/255,4/255,8/255", "radii in linf")
    defenses: str = parameter("30,75", "JPEG qualities under attack, 1 to 100")
    attack: str = parameter("apgd:steps=30", "an attack with a radius in linf")
    models: str = parameter(IMAGENET_NETWORKS, "networks, joined by '|'")

    def cells(self, sample: Sample) -> list[Work]:
        if not is_large(sample):
            raise InputError(
                f"{self.name} is about images of {LARGE} x {LARGE} pixels and more: take photos or folder:PATH."
            )
        transfer, adaptive = self._parts()
        return [*transfer.cells(sample), *adaptive.cells(sample)]

    def _parts(self) -> tuple[TransferFunctionJpeg, AdaptiveJpeg]:
        return (
            TransferFunctionJpeg(qualities=self.qualities, resolution=self.resolution, models=self.models),
            AdaptiveJpeg(eps=self.eps, qualities=self.defenses, attack=self.attack, models=self.models),
        )

    def show(self, sample: Sample, found: Found) -> Findings:
        transfer, adaptive = (part.show(sample, found) for part in self._parts())
        side = "{1} x {0}".format(*sample.data.pixels.shape[1:3])
        compared = tuple(
            replace(row, seed=row.seed or "asked for, left open") for row in (*transfer.compared, *adaptive.compared)
        )
        return Findings(
            told=(*transfer.told, *adaptive.told),
            figures=(*transfer.figures, *adaptive.figures),
            tables=(*transfer.tables, *adaptive.tables),
            compared=(told("size of the images", "28 x 28, 32 x 32", side, "as it asks for"), *compared),
            animations=transfer.animations,
        )
