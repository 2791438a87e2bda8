"""Images in a folder of the user's own: one sub-folder a class, or a `labels.csv`.

    PATH/cat/1.png, PATH/dog/2.png                     the sorted names of the sub-folders are the classes
    PATH/labels.csv: file,label[,name,author,license,url]   the labels are class indices, the names theirs
    PATH/train/..., PATH/test/...                      either of the two, one a split; else all is the test split

Images of one size stay as they are; where sizes differ, or `size` is given, each is scaled and center-cropped.
"""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import ClassVar

from foolscope.data.decoded import Contents, Item, decode_once
from foolscope.data.imageset import ImageSet
from foolscope.data.source import Dataset
from foolscope.errors import CorruptError, InputError, MissingError, SpecError
from foolscope.files import canonical_json
from foolscope.models.model_spec import Status
from foolscope.spec import parameter

logger = logging.getLogger("foolscope")

_MIXED_SIZE = 224
_SUFFIXES = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))
_CREDITS = ("author", "license", "url")


@dataclass(frozen=True)
class _Listing:
    """The images of a folder: relative paths, labels, what is known of names, and credits."""

    files: list[str]
    labels: list[int]
    class_names: tuple[str, ...] | None
    label_names: Mapping[int, str] = field(default_factory=dict)
    credits: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Folder(Dataset):
    """The user's own images."""

    name: ClassVar[str] = "folder"
    argument: ClassVar[str | None] = "path"
    example: ClassVar[str] = "folder:photos"
    summary: ClassVar[str] = "your own images: one sub-folder a class, or labels.csv with the columns file and label"
    source: ClassVar[str] = "your own"
    license: ClassVar[str] = "your own"
    splits: ClassVar[None] = None

    path: str = parameter(help="the folder")
    size: int | None = parameter(
        None, f"scale and center-crop to this many pixels; by itself {_MIXED_SIZE} where sizes differ", low=1, high=8192
    )

    def read(self, split: str, *, offline: bool = False) -> ImageSet:
        """All images of a split.

        Raises `MissingError` where folder or files are not there, `SpecError` where there is no such split,
        `InputError` where the folder has not the right form, `CorruptError` where a file cannot be read.
        """
        folder = _split_folder(self, split)
        listing = _from_csv(folder) if (folder / "labels.csv").is_file() else _from_folders(folder)
        stats = [(folder / file).stat() for file in listing.files]
        state = [(file, stat.st_size, stat.st_mtime_ns) for file, stat in zip(listing.files, stats, strict=True)]
        rows = list(zip(listing.files, listing.labels, strict=True))
        items = [Item(folder / file, label, str(folder / file)) for file, label in rows]
        decoded = decode_once(
            f"folder-{re.sub(r'[^A-Za-z0-9_-]+', '-', folder.resolve().name) or 'root'}-{split}",
            (str(folder.resolve()), canonical_json([state, listing.labels])),
            lambda: Contents(lambda: iter(items), len(items)),
            size=self.size,
            mixed_size=_MIXED_SIZE,
        )
        if decoded.size is not None:
            message = "%s: each image is scaled and center-cropped to %d x %d pixels"
            logger.info(message, folder, decoded.size, decoded.size)
        names = listing.class_names
        return ImageSet(
            name=self.spec(),
            split=split,
            pixels=decoded.pixels,
            labels=decoded.labels,
            num_classes=len(names) if names else max(listing.labels) + 1,
            class_names=names,
            label_names=listing.label_names,
            digest=decoded.digest,
            total=len(items),
            credits=listing.credits,
            license="see the credits" if listing.credits else self.license,
            source=str(folder),
        )

    @classmethod
    def status(cls) -> Status:
        """Depends on the folder."""
        return Status("ready", "on demand")


def _split_folder(data: Folder, split: str) -> Path:
    """The folder of a split: PATH/SPLIT where PATH has splits, else PATH, which is the test split."""
    root = Path(data.path).expanduser()
    if not root.is_dir():
        raise MissingError(f"{root}: no such folder.")
    splits = [name for name in ("train", "test") if (root / name).is_dir()]
    if splits and (root / split).is_dir():
        return root / split
    if splits:
        raise SpecError(f"{data.spec()} has no split '{split}': it has {' and '.join(splits)}.")
    if split != "test":
        wanted = f"for others make the folders {root / 'train'} and {root / 'test'}"
        raise SpecError(f"{data.spec()} has no split '{split}': all of it is the split test; {wanted}.")
    return root


def _from_folders(folder: Path) -> _Listing:
    """One sub-folder a class; images may lie deeper in it, hidden files and folders are passed over."""
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    files, labels = [], []
    for label, name in enumerate(classes):
        paths = sorted(path.relative_to(folder) for path in (folder / name).rglob("*"))
        found = [path for path in paths if path.suffix.lower() in _SUFFIXES and (folder / path).is_file()]
        shown = [path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts)]
        files += shown
        labels += [label] * len(shown)
    if not files:
        raise InputError(f"{folder} holds no images: expected one sub-folder of images a class, or a labels.csv.")
    return _Listing(files, labels, tuple(classes))


def _from_csv(folder: Path) -> _Listing:
    """What `labels.csv` lists, in its order."""
    path = folder / "labels.csv"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            columns = list(reader.fieldnames or [])
            rows = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise CorruptError(f"{path}: not a CSV file in UTF-8 ({error}).") from None
    if not {"file", "label"} <= set(columns):
        raise InputError(f"{path} needs the columns file and label, it has {', '.join(columns) or 'none'}.")
    if not rows:
        raise InputError(f"{path} lists no images.")
    names: dict[int, str] = {}
    labels = []
    for line, row in rows:
        where = f"{path}, line {line}"
        label = _label(row["label"], where)
        name = row.get("name", "")
        if name and names.setdefault(label, name) != name:
            raise InputError(f"{where}: class {label} is '{name}' here and '{names[label]}' before.")
        labels.append(label)
    files = [_inside(folder, row["file"], f"{path}, line {line}") for line, row in rows]
    count = max(labels) + 1
    complete = tuple(names[label] for label in range(count)) if len(names) == count else None
    credited = [column for column in _CREDITS if column in columns]
    credits = [", ".join(row[column] for column in credited if row[column]) for _, row in rows]
    return _Listing(files, labels, complete, names, tuple(credits) if credited else None)


def _label(text: str, where: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text.strip()):
        raise InputError(f"{where}: the label '{text}' is no class index, a whole number from 0.")
    return int(text)


def _inside(folder: Path, name: str, where: str) -> str:
    """A file's name as it is, if it names one in the folder."""
    relative = PurePosixPath(name)
    if not name or relative.is_absolute() or ".." in relative.parts:
        raise InputError(f"{where}: '{name}' is no file inside {folder}.")
    if not (folder / relative).is_file():
        raise MissingError(f"{where}: no such file {folder / relative}.")
    return relative.as_posix()
