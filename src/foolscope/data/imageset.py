"""A labeled set of images: 8-bit pixels that may lie on disk, labels, names, and who is to be credited."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foolscope.errors import InputError, ParameterError, nearest
from foolscope.files import digest
from foolscope.images import check_labels, from_uint8
from foolscope.models.classifier import ModelInfo, Task, check_shape, describe
from foolscope.randomness import generator

_SHOWN_NAMES = 3


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ImageSet:
    """Images with labels.

    `name` is the spec that it was loaded from, `pixels` uint8 (N, H, W, C) with C 1 or 3, memory-mapped where it comes
    from disk, `labels` int64 (N,) below `num_classes`.  `class_names` are all names or None; `label_names` are those
    of single labels where not all are known.  `digest` is a SHA-256 of the content, `total` the number of images in
    the whole split, `credits` one line an image, to be shown wherever the image is shown.  Of a subset `whole` is the
    digest of the set that it was taken from and `origin` (N,) the images' places there, so that the same images have
    the same digest however they were chosen.
    Raises `InputError` where these do not fit together.
    """

    name: str
    split: str
    pixels: NDArray[np.uint8]
    labels: Tensor
    num_classes: int
    digest: str
    total: int
    class_names: tuple[str, ...] | None = None
    label_names: Mapping[int, str] = field(default_factory=dict)
    credits: tuple[str, ...] | None = None
    license: str = ""
    source: str = ""
    whole: str = ""
    origin: Tensor | None = None

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 4 or self.pixels.shape[3] not in (1, 3):
            have = f"{self.pixels.dtype} {self.pixels.shape}"
            raise InputError(f"{self.name}: pixels must be uint8 (N, H, W, C) with C 1 or 3, got {have}.")
        checked = check_labels(self.labels, len(self.pixels), self.num_classes, f"{self.name}: labels")
        object.__setattr__(self, "labels", checked)
        if self.class_names is not None and len(self.class_names) != self.num_classes:
            raise InputError(f"{self.name}: {len(self.class_names)} class names for {self.num_classes} classes.")
        if self.credits is not None and len(self.credits) != len(self.pixels):
            raise InputError(f"{self.name}: {len(self.credits)} credits for {len(self.pixels)} images.")

    def __len__(self) -> int:
        return len(self.pixels)

    def __repr__(self) -> str:
        height, width, channels = self.pixels.shape[1:]
        count = f"{len(self):,} of {self.total:,}" if self.is_preview else f"{len(self):,}"
        return f"ImageSet({self.name} {self.split}: {count} images {channels} x {height} x {width})"

    @property
    def images(self) -> Tensor:
        """float32 (N, C, H, W) in [0, 1], made anew at every access."""
        return from_uint8(self.pixels)

    @property
    def is_preview(self) -> bool:
        """Whether these are fewer than all images of the split."""
        return len(self) < self.total

    @property
    def task(self) -> Task:
        """What a network for these images must take and answer."""
        height, width, channels = self.pixels.shape[1:]
        shape = (channels, height, width)
        return Task(name=self.name, input_shape=shape, num_classes=self.num_classes, class_names=self.class_names)

    def label_name(self, label: int) -> str:
        """The name of a class, or its number where it has none."""
        if self.class_names is not None:
            return self.class_names[label]
        return self.label_names.get(label, str(label))

    def rows(self, index: slice | Tensor) -> ImageSet:
        """The images at `index`: a slice, whole numbers (n,) or a mask (N,).

        The digest follows from this set's and the rows.  Raises `InputError` where `index` names no images.
        """
        everything = torch.arange(len(self))
        if isinstance(index, slice):
            chosen, pixels = torch.tensor(range(len(self))[index], dtype=torch.int64), self.pixels[index]
        elif index.ndim != 1 or index.dtype not in (torch.bool, torch.int64):
            raise InputError(f"rows must be whole numbers (n,) or a mask, got {index.dtype} {tuple(index.shape)}.")
        else:
            try:
                chosen = everything[index]
            except IndexError:
                raise InputError(f"rows outside the {len(self)} images of {self.name}.") from None
            pixels = self.pixels[chosen.numpy()]
        if torch.equal(chosen, everything):
            return self
        origin = chosen if self.origin is None else self.origin[chosen]
        whole = self.whole or self.digest
        return replace(
            self,
            pixels=pixels,
            labels=self.labels[chosen],
            whole=whole,
            origin=origin,
            digest=digest("rows", whole, origin.numpy().tobytes()),
            credits=None if self.credits is None else tuple(self.credits[row] for row in chosen.tolist()),
        )

    def limit(self, count: int, seed: int = 0) -> ImageSet:
        """The first `count` images of the permutation that `seed` gives.

        So limit 256 is the beginning of limit 512 with the same seed.  With `count` at least N the set itself is
        returned, in its own order.  Raises `ParameterError` where `count` is below 1.
        """
        if count < 1:
            raise ParameterError(f"limit must be at least 1, got {count}.")
        if count >= len(self):
            return self
        return self.rows(torch.randperm(len(self), generator=generator(seed))[:count])

    def check_against(self, model: nn.Module) -> None:
        """Raise `InputError` where the model takes other images or knows other classes; it names both.

        Names are compared without case, spaces, '_' and '-'.  What the model does not declare is not checked.
        """
        height, width, channels = self.pixels.shape[1:]
        check_shape(model, torch.empty(0, channels, height, width))
        self._check_classes(describe(model))

    def aligned_to(self, model: nn.Module) -> ImageSet:
        """This set with its labels turned into the model's class indices, by name.

        A set whose classes are the model's, or where one of the two has no names, is returned as it is.  Raises
        `InputError` that names both where a class is not among the model's, or where two of the model's fit.
        """
        info = describe(model)
        if self.class_names is None or info.class_names is None or _same(self.class_names, info.class_names):
            self._check_classes(info)
            return self
        table = torch.tensor([_index_of(name, self, info) for name in self.class_names])
        return replace(
            self,
            labels=table[self.labels],
            num_classes=len(info.class_names),
            class_names=info.class_names,
            whole=digest("aligned", self.whole, table.numpy().tobytes()) if self.whole else "",
            digest=digest("aligned", self.digest, table.numpy().tobytes()),
        )

    def _check_classes(self, info: ModelInfo) -> None:
        count = info.num_classes or (len(info.class_names) if info.class_names else None)
        theirs = f"{info.name} {_classes(count, info.class_names)}"
        if count is not None and self.class_names is not None and count != self.num_classes:
            raise InputError(f"{self.name} {_classes(self.num_classes, self.class_names)}, but {theirs}.")
        if count is not None and len(self) and int(self.labels.max()) >= count:
            raise InputError(f"{self.name} has labels up to {int(self.labels.max())}, but {theirs}.")
        if info.class_names is None:
            return
        names = self.label_names if self.class_names is None else dict(enumerate(self.class_names))
        for label in names if self.class_names else sorted(set(self.labels.tolist()) & set(names)):
            if normalized(names[label]) != normalized(info.class_names[label]):
                ours = f"class {label} of {self.name} is '{names[label]}'"
                everything = f"; {self.name} {_classes(self.num_classes, self.class_names)}, {theirs}"
                raise InputError(f"{ours}, of {info.name} '{info.class_names[label]}'{everything}.")


def normalized(name: str) -> str:
    """A class name without case, spaces, '_' and '-': what names are compared by."""
    return re.sub(r"[\s_-]+", "", name.casefold())


def content_digest(shape: Sequence[int], pixels_sha256: str, labels: Tensor) -> str:
    """SHA-256 of a whole set: of the pixels' shape (N, H, W, C), their bytes' SHA-256, and the labels."""
    return digest(",".join(map(str, shape)), pixels_sha256, labels.numpy().astype("<i8").tobytes())


def array_digest(pixels: NDArray[np.uint8], labels: Tensor) -> str:
    """`content_digest` of pixels in memory, uint8 (N, H, W, C)."""
    return content_digest(pixels.shape, hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest(), labels)


def _same(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    return [normalized(name) for name in ours] == [normalized(name) for name in theirs]


def _index_of(name: str, data: ImageSet, info: ModelInfo) -> int:
    """The one class of the model that is called `name`; the exact spelling decides between several."""
    theirs = info.class_names or ()
    fitting = [index for index, other in enumerate(theirs) if normalized(other) == normalized(name)]
    exact = [index for index in fitting if theirs[index] == name]
    if len(exact) == 1 or len(fitting) == 1:
        return (exact or fitting)[0]
    both = f"{data.name} {_classes(data.num_classes, data.class_names)}, {info.name} {_classes(len(theirs), theirs)}"
    if fitting:
        indices = " and ".join(map(str, fitting))
        raise InputError(f"'{name}' is class {indices} of {info.name}: give indices in a labels.csv; {both}.")
    raise InputError(f"class '{name}' of {data.name} is not among those of {info.name}: {both}.{nearest(name, theirs)}")


def _classes(count: int | None, names: Sequence[str] | None) -> str:
    """'has 10 classes (airplane, automobile, bird, ...)'."""
    if count is None:
        return "has an unknown number of classes"
    noun = "class" if count == 1 else "classes"
    if not names:
        return f"has {count} {noun}"
    more = ", ..." if len(names) > _SHOWN_NAMES else ""
    return f"has {count} {noun} ({', '.join(names[:_SHOWN_NAMES])}{more})"
