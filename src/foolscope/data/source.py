"""What every data set is to the rest: parameters, origin, license, how to read it, and whether it is there."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from foolscope.data.imageset import ImageSet
from foolscope.errors import SpecError, nearest
from foolscope.models.model_spec import Status
from foolscope.spec import Parameters

_SPLIT = re.compile(r"[A-Za-z0-9]\w*(?:[.-]\w+)*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Dataset(Parameters, ABC):
    """Base of the data sets.

    `argument` is the field that the text after the colon fills (`folder:PATH`), `example` one spec, `summary` one
    line, `source` where it comes from, `splits` the number of images in each split, or None where it varies.
    """

    listing: ClassVar[str] = "foolscope datasets"
    summary: ClassVar[str]
    source: ClassVar[str]
    license: ClassVar[str]
    splits: ClassVar[Mapping[str, int] | None]

    @abstractmethod
    def read(self, split: str, *, offline: bool = False) -> ImageSet:
        """All images of a split; `offline` forbids downloads."""

    @classmethod
    @abstractmethod
    def status(cls) -> Status:
        """Whether `read` would succeed, without reading anything."""

    def check_split(self, split: str) -> None:
        """Raise `SpecError` where there is no such split, or it cannot be a split's name."""
        if self.splits is None:
            if not _SPLIT.fullmatch(split):
                raise SpecError(f"malformed split '{split}': expected a word such as train or test.")
        elif split not in self.splits:
            has = f"It has {' and '.join(self.splits)}" + (" only." if len(self.splits) == 1 else ".")
            raise SpecError(f"{self.name} has no split '{split}'.{nearest(split, self.splits)} {has}")
