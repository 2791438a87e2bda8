"""Data sets of the Hugging Face hub: MNIST, CIFAR-10 and any other that is stored as parquet.

Looked for in `FOOLSCOPE_DATA/OWNER/NAME`, then in `FOOLSCOPE_HOME/hub/OWNER/NAME`, as `CONFIG/SPLIT-*.parquet` in both;
then downloaded into the latter, after a log line with size and source.
"""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from foolscope.data.decoded import Contents, decode_once, sha256_of
from foolscope.data.imageset import ImageSet
from foolscope.data.parquet import count_rows, find_columns, read_items
from foolscope.data.source import Dataset
from foolscope.errors import MissingError, SpecError, nearest
from foolscope.files import data_folder, home, is_offline, storage_error
from foolscope.models.model_spec import Status
from foolscope.spec import parameter

logger = logging.getLogger("foolscope")

_TIMEOUT_SECONDS = 30
_FILE = re.compile(r"(?:(?P<config>.+)/)?(?P<split>[^/]+?)(?:-\d{5}-of-(?P<parts>\d{5})(?:-\w+)?)?\.parquet")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


@dataclass(frozen=True)
class Repository:
    """A data set on the hub: `name` as OWNER/NAME, its configuration's folder and columns, where they are known."""

    name: str
    config: str | None = None
    image: str | None = None
    label: str | None = None
    class_names: tuple[str, ...] | None = None

    @property
    def url(self) -> str:
        """Its page."""
        return f"https://huggingface.co/datasets/{self.name}"

    @property
    def folders(self) -> list[Path]:
        """The folders that it is looked for in, the last of which downloads go to."""
        return [root / self.name for root in (data_folder(), home() / "hub") if root is not None]

    def place(self, split: str) -> Path:
        """Where to put the file of a split by hand."""
        return self.folders[0] / (self.config or "data") / f"{split}-00000-of-00001.parquet"

    def find(self, split: str) -> list[Path]:
        """The files of a split on this machine; [] where there are none, or not all parts of them."""
        for folder in self.folders:
            listing = [path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet")]
            if chosen := self.choose(listing, split):
                return [folder / path for path in chosen]
        return []

    def choose(self, listing: Iterable[str], split: str) -> list[str]:
        """The files of a split among those of the repository, in order; [] where they are not complete.

        Raises `SpecError` where several configurations have that split and none was asked for.
        """
        files: dict[str, list[tuple[str, int]]] = {}
        for path in sorted(listing):
            match = _FILE.fullmatch(path)
            config = (match["config"] or "") if match else ""
            if match and match["split"] == split and self.config in (None, config, config.rpartition("/")[2]):
                files.setdefault(config, []).append((path, int(match["parts"] or 1)))
        if len(files) > 1:
            raise SpecError(
                f"{self.name} has several configurations with a split '{split}': choose one with config=NAME among "
                f"{', '.join(config or '(none)' for config in files)}."
            )
        return [path for found in files.values() for path, parts in found if len(found) == parts]

    def read(self, name: str, split: str, *, license: str, size: int | None, offline: bool) -> ImageSet:
        """All images of a split, as the data set `name`."""
        paths = self.find(split) or download(self, split, offline=offline)

        def open_contents() -> Contents:
            columns = find_columns(paths[0], self.image, self.label, self.class_names)
            return Contents(lambda: read_items(paths, columns), count_rows(paths), columns.class_names)

        asked = (self.image or "", self.label or "", *(self.class_names or ()))
        decoded = decode_once(f"{_stem(self)}-{split}", (*map(sha256_of, paths), *asked), open_contents, size=size)
        names = decoded.class_names
        return ImageSet(
            name=name,
            split=split,
            pixels=decoded.pixels,
            labels=decoded.labels,
            num_classes=len(names) if names else int(decoded.labels.max()) + 1,
            class_names=names,
            digest=decoded.digest,
            total=len(decoded.pixels),
            license=license,
            source=self.url,
        )


def _stem(repository: Repository) -> str:
    parts = (repository.name, repository.config)
    return re.sub(r"[^\w.-]", "--", "/".join(part for part in parts if part), flags=re.ASCII)


def download(repository: Repository, split: str, *, offline: bool = False) -> list[Path]:
    """Fetch the files of a split into `FOOLSCOPE_HOME/hub`, whole or not at all, and return their paths.

    Raises `MissingError` where downloads are forbidden or fail, `SpecError` where the repository has no such split,
    `StorageError` where the files cannot be written.
    """
    by_hand = f"put the file of {repository.url} at {repository.place(split)}"
    if is_offline(offline) or os.environ.get("HF_HUB_OFFLINE", "0").lower() not in ("", "0", "false", "no", "off"):
        raise MissingError(f"offline, and the {split} split of {repository.name} is not there: {by_hand}.")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    # HTTPError is that of the HTTP client which this version of huggingface_hub uses.
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # isort: skip

    api, target = HfApi(), repository.folders[-1]
    try:
        # One request that is not repeated: without a network the answer comes at once.
        info = api.dataset_info(repository.name, files_metadata=True, timeout=_TIMEOUT_SECONDS)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
        chosen = repository.choose(sizes, split)
        if not chosen:
            raise _no_split(repository, split, sizes)
        megabytes = f"{sum(sizes[path] for path in chosen) / 1e6:.1f} MB"
        # A warning, because Python shows these by default: nothing downloads silently.
        logger.warning("downloading the %s split of %s (%s) to %s", split, repository.url, megabytes, target)
        return [
            Path(api.hf_hub_download(repository.name, path, repo_type="dataset", local_dir=target)) for path in chosen
        ]
    except HFValidationError:
        raise SpecError(f"'{repository.name}' cannot be the name of a data set on the hub.") from None
    except GatedRepoError:
        raise MissingError(f"{repository.url} wants you to accept its terms there, and a token in HF_TOKEN.") from None
    except RepositoryNotFoundError:
        raise MissingError(f"there is no data set {repository.name} on the hub, or it is private.") from None
    except (HTTPError, OSError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS):
            raise storage_error(target, error) from None
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise MissingError(f"cannot download {repository.url} ({reason}): {by_hand}.") from None


def _no_split(repository: Repository, split: str, listing: Iterable[str]) -> SpecError:
    """Why no file of the repository fits."""
    matches = [match for match in map(_FILE.fullmatch, listing) if match]
    if not matches:
        return SpecError(f"{repository.url} holds no parquet files: only data sets stored as parquet can be read.")
    splits = sorted({match["split"] for match in matches})
    configs = sorted({match["config"] or "" for match in matches})
    asked = f"split '{split}'" + (f" in config '{repository.config}'" if repository.config else "")
    has = f"It has {', '.join(splits)}" + (f" in {', '.join(configs)}." if any(configs) else ".")
    return SpecError(f"{repository.name} has no {asked}.{nearest(split, splits)} {has}")


class _Known(Dataset):
    """Base of the data sets of the hub that have names of their own."""

    repository: ClassVar[Repository]
    megabytes: ClassVar[int]

    def read(self, split: str, *, offline: bool = False) -> ImageSet:
        """All images of a split; see `Repository.read` for what it raises."""
        return self.repository.read(self.name, split, license=self.license, size=None, offline=offline)

    @classmethod
    def status(cls) -> Status:
        """Whether the files of all splits are here, or how much is to be downloaded."""
        if all(cls.repository.find(split) for split in cls.splits or ()):
            return Status("ready", "present")
        return Status("download", f"{cls.megabytes} MB")


@dataclass(frozen=True, kw_only=True)
class Mnist(_Known):
    """MNIST (LeCun et al. 1998): gray, 28 x 28."""

    name: ClassVar[str] = "mnist"
    example: ClassVar[str] = "mnist"
    summary: ClassVar[str] = "handwritten digits, 28 x 28, gray, 10 classes"
    source: ClassVar[str] = "https://huggingface.co/datasets/ylecun/mnist (LeCun, Bottou, Bengio and Haffner 1998)"
    license: ClassVar[str] = "MIT, as the hub states it"
    splits: ClassVar[Mapping[str, int]] = {"train": 60_000, "test": 10_000}
    repository: ClassVar[Repository] = Repository("ylecun/mnist", "mnist", "image", "label", tuple("0123456789"))
    megabytes: ClassVar[int] = 18


@dataclass(frozen=True, kw_only=True)
class Cifar10(_Known):
    """CIFAR-10 (Krizhevsky 2009): color, 32 x 32."""

    name: ClassVar[str] = "cifar10"
    example: ClassVar[str] = "cifar10"
    summary: ClassVar[str] = "small photographs, 32 x 32, color, 10 classes"
    source: ClassVar[str] = "https://huggingface.co/datasets/uoft-cs/cifar10 (Krizhevsky 2009)"
    license: ClassVar[str] = "none stated; its authors ask to cite Krizhevsky 2009"
    splits: ClassVar[Mapping[str, int]] = {"train": 50_000, "test": 10_000}
    repository: ClassVar[Repository] = Repository(
        "uoft-cs/cifar10",
        "plain_text",
        "img",
        "label",
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    )
    megabytes: ClassVar[int] = 144


@dataclass(frozen=True, kw_only=True)
class HubImages(Dataset):
    """Any labeled image data set of the hub that is stored as parquet."""

    name: ClassVar[str] = "hf"
    argument: ClassVar[str | None] = "repository"
    example: ClassVar[str] = "hf:ylecun/mnist"
    summary: ClassVar[str] = "any data set of the Hugging Face hub with an image and a label column, stored as parquet"
    source: ClassVar[str] = "https://huggingface.co/datasets"
    license: ClassVar[str] = "see the data set's page"
    splits: ClassVar[None] = None

    repository: str = parameter(help="OWNER/NAME on the hub")
    config: str | None = parameter(None, "the configuration: its files' folder; needed where there are several")
    image: str | None = parameter(None, "the column of images; found by its type where not given")
    label: str | None = parameter(None, "the column of class indices; found by its type where not given")
    size: int | None = parameter(None, "scale and center-crop all images to this many pixels", low=1, high=8192)

    def read(self, split: str, *, offline: bool = False) -> ImageSet:
        """All images of a split; see `Repository.read` for what it raises."""
        if not _REPOSITORY.fullmatch(self.repository):
            raise SpecError(f"malformed data set '{self.repository}': expected OWNER/NAME, as in '{self.example}'.")
        place = Repository(self.repository, self.config, self.image, self.label)
        return place.read(self.spec(), split, license=self.license, size=self.size, offline=offline)

    @classmethod
    def status(cls) -> Status:
        """Depends on the data set."""
        return Status("ready", "on demand")
