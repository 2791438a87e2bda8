"""scikit-learn's handwritten digits, made to fit networks for MNIST.

1,797 images of 8 x 8 pixels in 17 levels (Alpaydin and Kaynak 1998, UCI Optical Recognition of Handwritten Digits).
Each is enlarged to 20 x 20 and centered in 28 x 28 on black, as MNIST's are (LeCun et al. 1998).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from foolscope.data.imageset import ImageSet, array_digest
from foolscope.data.source import Dataset
from foolscope.models.model_spec import Status

_TEST_IMAGES = 500
_INNER, _OUTER = 20, 28


@dataclass(frozen=True, kw_only=True)
class Digits(Dataset):
    """scikit-learn's digits, gray, 28 x 28."""

    name: ClassVar[str] = "digits"
    example: ClassVar[str] = "digits"
    summary: ClassVar[str] = "handwritten digits of scikit-learn, enlarged to 28 x 28, gray, 10 classes"
    source: ClassVar[str] = "https://archive.ics.uci.edu/dataset/80 (Alpaydin and Kaynak 1998), through scikit-learn"
    license: ClassVar[str] = "CC BY 4.0"
    splits: ClassVar[Mapping[str, int]] = {"train": 1297, "test": _TEST_IMAGES}

    def read(self, split: str, *, offline: bool = False) -> ImageSet:
        """1,297 training or 500 test images; each class has the same share of both."""
        from sklearn.datasets import load_digits

        bunch = load_digits()
        labels = torch.from_numpy(bunch.target).long()
        is_test = _test_rows(labels)
        rows = is_test if split == "test" else ~is_test
        pixels, labels = _enlarged(bunch.images[rows.numpy()]), labels[rows]
        return ImageSet(
            name=self.name,
            split=split,
            pixels=pixels,
            labels=labels,
            num_classes=10,
            class_names=tuple("0123456789"),
            digest=array_digest(pixels, labels),
            total=len(pixels),
            license=self.license,
            source=self.source,
        )

    @classmethod
    def status(cls) -> Status:
        """Always there: part of scikit-learn."""
        return Status("ready", "embedded")


def _test_rows(labels: Tensor) -> Tensor:
    """Mask of the test images: evenly spaced within each class, so that no random generator decides the split."""
    counts = labels.bincount().double()
    exact = counts * _TEST_IMAGES / len(labels)
    wanted = exact.floor().long()
    wanted[(exact - wanted).argsort(descending=True, stable=True)[: _TEST_IMAGES - int(wanted.sum())]] += 1
    mask = torch.zeros(len(labels), dtype=torch.bool)
    for label, share in enumerate(wanted.tolist()):
        rows = (labels == label).nonzero()[:, 0]
        mask[rows[(2 * torch.arange(share) + 1) * len(rows) // (2 * share)]] = True
    return mask


def _enlarged(levels: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(N, 8, 8) in 0..16 to uint8 (N, 28, 28, 1).

    Pillow resizes 8-bit images in integers: every machine gets the same pixels, so weights and digests hold.
    """
    small = np.rint(levels * (255 / 16)).astype(np.uint8)
    pixels = np.zeros((len(small), _OUTER, _OUTER, 1), np.uint8)
    margin = (_OUTER - _INNER) // 2
    inside = slice(margin, margin + _INNER)
    for image, target in zip(small, pixels, strict=True):
        large = Image.fromarray(image).resize((_INNER, _INNER), Image.Resampling.BICUBIC)
        target[inside, inside, 0] = np.asarray(large)
    return pixels
