"""Data sets: `load_data` reads what a spec names, `DATASETS` lists them."""

from __future__ import annotations

from foolscope.data.digits import Digits
from foolscope.data.folder import Folder
from foolscope.data.hub import Cifar10, HubImages, Mnist
from foolscope.data.imageset import ImageSet
from foolscope.data.photos import Photos
from foolscope.data.source import Dataset
from foolscope.errors import ParameterError
from foolscope.models.model_spec import Status
from foolscope.randomness import check_seed
from foolscope.registry import Registry
from foolscope.spec import parse_spec

__all__ = ["DATASETS", "Dataset", "ImageSet", "load_data", "parse_data", "status"]

DATASETS: Registry[type[Dataset]] = Registry(
    "data set",
    "foolscope datasets",
    {kind.name: kind for kind in (Digits, Photos, Mnist, Cifar10, HubImages, Folder)},
)


def parse_data(spec: str) -> Dataset:
    """The data set that a spec names, not read yet.  Raises `SpecError` or `ParameterError`."""
    parsed = parse_spec(spec)
    return DATASETS[parsed.name].from_spec(parsed)


def load_data(
    spec: str, split: str = "test", limit: int | None = None, seed: int = 0, offline: bool = False
) -> ImageSet:
    """Read a data set: `digits`, `photos`, `mnist`, `cifar10`, `hf:OWNER/NAME` or `folder:PATH`.

    With `limit` only the first so many images of the permutation that `seed` gives.  Downloads what is not there,
    after a log line with size and source, unless `offline` or the environment (`FOOLSCOPE_OFFLINE`, `HF_HUB_OFFLINE`)
    forbids it.  Raises `SpecError` for unknown names and splits, `ParameterError` where `limit` is below 1 or
    `seed` out of range, `MissingError` where files are not there, `CorruptError` and `InputError` where they are
    damaged or unfit.
    """
    if limit is not None and limit < 1:
        raise ParameterError(f"limit must be at least 1, got {limit}.")
    check_seed(seed)
    data = parse_data(spec)
    data.check_split(split)
    images = data.read(split, offline=offline)
    return images if limit is None else images.limit(limit, seed)


def status(name: str) -> Status:
    """Whether a data set is embedded, present, read on demand, or needs a download, and of how many MB."""
    return DATASETS[name].status()
