"""Photographs that ship inside scikit-image, with the ImageNet label that a person would give them.

Six crops of two color photographs: three of Chelsea the cat ('tabby'), three of a cup of coffee ('espresso').  They
show that an ImageNet network works without any download of data; being no six independent photographs, they measure
nothing.  Labels come from looking, not from a network: 'espresso' is what ImageNet networks answer; for the cat, of
tabby coat, they mix 'tabby', 'tiger cat' and 'Egyptian cat', as they do in ImageNet.  scikit-image's other color
photographs are left out: no ImageNet class is a launch vehicle, an astronaut or a motorcycle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from foolscope.data.decoded import fit_square
from foolscope.data.imageset import ImageSet, array_digest
from foolscope.data.source import Dataset
from foolscope.errors import MissingError
from foolscope.images import decode_image
from foolscope.models import imagenet
from foolscope.models.model_spec import Status

_SIZE = 224
_CHELSEA = "Chelsea the cat, by Stefan van der Walt, CC0, from scikit-image"
_COFFEE = "Coffee cup, by Rachel Michetti, courtesy of Pikolo Espresso Bar, CC0, from scikit-image"


@dataclass(frozen=True)
class _Crop:
    """A square of a photograph: its left upper corner and its side in pixels, and the ImageNet class seen in it."""

    file: str
    left: int
    top: int
    side: int
    label: int
    credit: str


_CROPS = (
    _Crop("chelsea.png", 75, 0, 300, 281, _CHELSEA),
    _Crop("coffee.png", 100, 0, 400, 967, _COFFEE),
    _Crop("chelsea.png", 0, 0, 300, 281, _CHELSEA),
    _Crop("coffee.png", 160, 0, 280, 967, _COFFEE),
    _Crop("chelsea.png", 100, 20, 260, 281, _CHELSEA),
    _Crop("coffee.png", 0, 0, 400, 967, _COFFEE),
)


@dataclass(frozen=True, kw_only=True)
class Photos(Dataset):
    """scikit-image's photographs with ImageNet labels, color, 224 x 224."""

    name: ClassVar[str] = "photos"
    example: ClassVar[str] = "photos"
    summary: ClassVar[str] = "six crops of two photographs of scikit-image, 224 x 224, color, ImageNet's 1000 classes"
    source: ClassVar[str] = "https://scikit-image.org/docs/stable/api/skimage.data.html"
    license: ClassVar[str] = "CC0"
    splits: ClassVar[Mapping[str, int]] = {"test": len(_CROPS)}

    def read(self, split: str, *, offline: bool = False) -> ImageSet:
        """The crops.  Raises `MissingError` where scikit-image's files are not there."""
        folder = _folder()
        photos = {crop.file: decode_image(folder / crop.file, channels=3) for crop in _CROPS}
        pixels = np.empty((len(_CROPS), _SIZE, _SIZE, 3), np.uint8)
        for crop, target in zip(_CROPS, pixels, strict=True):
            square = photos[crop.file][crop.top : crop.top + crop.side, crop.left : crop.left + crop.side]
            target[:] = fit_square(square, _SIZE)
        labels = torch.tensor([crop.label for crop in _CROPS])
        return ImageSet(
            name=self.name,
            split=split,
            pixels=pixels,
            labels=labels,
            num_classes=1000,
            class_names=imagenet.class_names(),
            digest=array_digest(pixels, labels),
            total=len(pixels),
            credits=tuple(crop.credit for crop in _CROPS),
            license=self.license,
            source=self.source,
        )

    @classmethod
    def status(cls) -> Status:
        """Always there: part of scikit-image."""
        return Status("ready", "embedded")


def _folder() -> Path:
    """scikit-image's data folder, found without importing it: its functions may download, its files do not."""
    package = find_spec("skimage")
    if package is None or not package.submodule_search_locations:
        raise MissingError("photos needs scikit-image: pip install scikit-image.")
    return Path(package.submodule_search_locations[0]) / "data"
