"""Preset pictures with their ground truth: embedded photographs and digits, and whatever data sets are at hand.

A preset's id is `SET-ROW`: a row of the data set's test split.  Any row can be asked for; the gallery lists a few.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from foolscope.data import DATASETS, ImageSet, load_data, status
from foolscope.data.imageset import normalized
from foolscope.errors import FoolscopeError
from foolscope.files import data_folder
from foolscope.models import imagenet
from foolscope.web.logs import LOGGER
from foolscope.web.pictures import Picture, picture_of
from foolscope.web.problems import NotFoundError

_PRESET = re.compile(r"([a-z0-9][a-z0-9-]*)-([0-9]{1,7})")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_MOST = 200

_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_IN_CIFAR10: dict[str, Iterable[int]] = {
    "airplane": (404, 895),
    "automobile": (436, 468, 511, 609, 627, 656, 661, 751, 817),
    "bird": (*range(7, 25), *range(80, 101), *range(127, 147)),
    "cat": range(281, 286),
    "dog": range(151, 269),
    "frog": range(30, 33),
    "horse": (339,),
    "ship": (403, 484, 510, 554, 625, 628, 724, 780, 814, 871, 914),
    "truck": (555, 569, 675, 717, 864, 867),
}
"""ImageNet's classes that belong to one of CIFAR-10's: what the CIFAR networks are to see in an ImageNet photograph."""


@dataclass(frozen=True)
class Source:
    """A set of the gallery: its id, its title, the data set's spec, and how many of each class are listed."""

    id: str
    title: str
    spec: str
    each: int


@dataclass(frozen=True)
class Preset:
    """One preset picture."""

    id: str
    picture: Picture
    data: ImageSet
    row: int
    set_title: str

    @property
    def truth(self) -> str:
        """The name of its class."""
        return self.data.label_name(int(self.data.labels[self.row]))

    @property
    def credit(self) -> str | None:
        """Whom to name where it is shown."""
        return self.data.credits[self.row] if self.data.credits else None

    def truth_among(self, class_names: tuple[str, ...] | None) -> int | None:
        """The index of its class among a network's; None where the network knows no such class."""
        if class_names is None:
            return None
        label = int(self.data.labels[self.row])
        if _is_imagenet(self.data):
            if class_names == imagenet.class_names():
                return label
            if class_names == _CIFAR10:
                fitting = [name for name, labels in _IN_CIFAR10.items() if label in labels]
                return _CIFAR10.index(fitting[0]) if fitting else None
        known = [normalized(name) for name in class_names]
        return known.index(normalized(self.truth)) if known.count(normalized(self.truth)) == 1 else None


class Gallery:
    """The sets and their presets, each read when it is first asked for; safe between threads."""

    def __init__(self) -> None:
        self._sets: dict[str, ImageSet] = {}
        self._lock = threading.Lock()

    def sources(self) -> list[Source]:
        """The sets that are at hand without a download."""
        known = [
            Source("photos", "photographs", "photos", _MOST),
            Source("digits", "handwritten digits", "digits", 2),
            Source("mnist", "MNIST", "mnist", 2),
            Source("cifar10", "CIFAR-10", "cifar10", 3),
        ]
        return [source for source in known if status(source.spec).state == "ready"] + _folders()

    def data(self, source: Source) -> ImageSet:
        """A set's images, read once.  Raises what `load_data` does."""
        with self._lock:
            if source.id not in self._sets:
                self._sets[source.id] = load_data(source.spec, "test", offline=True)
            return self._sets[source.id]

    def source(self, name: str) -> Source:
        """The set with this id.  Raises `NotFoundError`."""
        for source in self.sources():
            if source.id == name:
                return source
        raise NotFoundError(f"the gallery has no set '{name[:80]}': GET /api/v1/gallery lists those that there are.")

    def listed(self, source: Source) -> list[Preset]:
        """The presets of a set that are shown: the first of each class, in the set's order."""
        data = self.data(source)
        rows: list[int] = []
        seen = dict.fromkeys(range(data.num_classes), 0)
        for row, label in enumerate(data.labels.tolist()):
            seen[label] += 1
            if seen[label] <= source.each and len(rows) < _MOST:
                rows.append(row)
        return [self._preset(source, row) for row in rows]

    def known_to(self, class_names: tuple[str, ...]) -> Preset | None:
        """The first preset whose class is among a network's; None where none is at hand."""
        presets = (preset for source in self.sources() for preset in self.listed(source))
        return next((preset for preset in presets if preset.truth_among(class_names) is not None), None)

    def find(self, name: str) -> Preset | None:
        """The preset with this id, or None.  Raises `NotFoundError` for a set or a row that is not there."""
        match = _PRESET.fullmatch(name)
        if match is None:
            return None
        source, row = self.source(match[1]), int(match[2])
        count = len(self.data(source))
        if row >= count:
            raise NotFoundError(f"{source.title} has the images {source.id}-0 to {source.id}-{count - 1}.")
        return self._preset(source, row)

    def _preset(self, source: Source, row: int) -> Preset:
        data = self.data(source)
        return Preset(f"{source.id}-{row}", picture_of(np.asarray(data.pixels[row])), data, row, source.title)


def _folders() -> list[Source]:
    """The folders in `FOOLSCOPE_DATA` that list photographs with ImageNet classes."""
    try:
        root = data_folder()
    except FoolscopeError as error:
        LOGGER.warning(str(error))
        return []
    found = sorted(root.glob("*/labels.csv")) if root else []
    return [
        Source(path.parent.name, path.parent.name.replace("-", " "), f"folder:{path.parent}", _MOST)
        for path in found
        if _NAME.fullmatch(path.parent.name) and path.parent.name not in DATASETS
    ]


def _is_imagenet(data: ImageSet) -> bool:
    """Whether the labels are ImageNet's: by the names that are known."""
    names = data.label_names or dict(enumerate(data.class_names or ()))
    theirs = imagenet.class_names()
    return bool(names) and all(
        label < len(theirs) and normalized(name) == normalized(theirs[label]) for label, name in names.items()
    )
