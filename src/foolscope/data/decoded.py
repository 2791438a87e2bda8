"""Images decoded once, then memory-mapped: `KEY.npy` with the pixels beside `KEY.json` with labels and digest.

Both lie in `FOOLSCOPE_HOME/data` and are written whole or not at all, the second last; so a kill leaves nothing that is
taken for a result, and two processes that decode at once write the same bytes.  What cannot be read is decoded again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from foolscope.data.imageset import content_digest
from foolscope.errors import CorruptError, InputError
from foolscope.files import digest, file_digest, home, replacing, write_bytes
from foolscope.images import decode_image

logger = logging.getLogger("foolscope")

_VERSION = "1"  # part of every key; raise it where decoding gives other pixels
_CHUNK_BYTES = 1 << 26


@dataclass(frozen=True)
class Item:
    """One encoded image: its bytes or its file, its class index, and what errors call it."""

    source: bytes | Path
    label: int
    name: str


@dataclass(frozen=True)
class Contents:
    """What there is to decode: `items()` starts anew at every call and gives `count` images."""

    items: Callable[[], Iterator[Item]]
    count: int
    class_names: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Decoded:
    """Pixels uint8 (N, H, W, C), memory-mapped; labels int64 (N,); the content's digest; the names of `Contents`.

    `size` is the side of the square that the images were fitted to, None where they are as they were.
    """

    pixels: NDArray[np.uint8]
    labels: Tensor
    digest: str
    class_names: tuple[str, ...] | None
    size: int | None


class _OtherSize(Exception):
    """Caught here: the images are not all of one size."""


class _Color(Exception):
    """Caught here: a color image among gray ones."""


def decode_once(
    stem: str,
    identity: tuple[str, ...],
    open_contents: Callable[[], Contents],
    *,
    size: int | None = None,
    mixed_size: int | None = None,
) -> Decoded:
    """The decoded images, from the files of an earlier call where there are any; else of `open_contents()`.

    `stem` begins the files' names, `identity` is all that decides their content, besides the sizes: with `size` every
    image is scaled and center-cropped to that square, with `mixed_size` only where they are not all of one size.
    Gray images among color ones become color.  Raises `CorruptError` where an image cannot be decoded, `InputError`
    where there are none, or where sizes differ and neither size is given, `StorageError` where the result cannot be
    written.
    """
    key = digest(_VERSION, *identity, str(size), str(mixed_size))[:16]
    base = home() / "data" / f"{stem}-{key}"
    if (found := _load(base)) is not None:
        return found
    contents = open_contents()
    if not contents.count:
        raise InputError(f"{stem} has no images.")
    logger.info("decoding %s images of %s, once", f"{contents.count:,}", stem)
    channels: int | None = None
    while True:
        try:
            _write(base, contents, size, channels)
            break
        except _Color:
            channels = 3
        except _OtherSize as error:
            if mixed_size is None:
                raise InputError(f"{error}: give size=N to scale and crop all to N x N.") from None
            size = mixed_size
    written = _load(base)
    if written is None:
        raise CorruptError(f"{base}.npy cannot be read back; remove it to decode the images again.")
    return written


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, remembered in `FOOLSCOPE_HOME` for its place, size and time of change."""
    path = path.resolve()
    state = path.stat()
    stamp = [str(path), state.st_size, state.st_mtime_ns]
    note = home() / "data" / "digests" / f"{digest(str(path))[:32]}.json"
    try:
        known = json.loads(note.read_text())
        if known["stamp"] == stamp:
            return str(known["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there yet, or of another version: computed below
    sha256 = file_digest(path)
    write_bytes(note, json.dumps({"stamp": stamp, "sha256": sha256}).encode())
    return sha256


def fit_square(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """uint8 (H, W, C) scaled until its shorter side has `size` pixels, and center-cropped to (size, size, C)."""
    height, width, channels = pixels.shape
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    square = image.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    return np.asarray(square).reshape(size, size, channels)


def _load(base: Path) -> Decoded | None:
    try:
        record = json.loads(Path(f"{base}.json").read_bytes())
        labels = torch.tensor(record["labels"], dtype=torch.int64)
        pixels: NDArray[np.uint8] = np.load(f"{base}.npy", mmap_mode="r", allow_pickle=False)
        if pixels.dtype != np.uint8 or list(pixels.shape) != record["shape"] or len(labels) != len(pixels):
            return None
        names = record["class_names"]
        return Decoded(pixels, labels, str(record["digest"]), tuple(names) if names else None, record["size"])
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None


def _write(base: Path, contents: Contents, size: int | None, channels: int | None) -> None:
    """Decode in threads, and append in order: a full disk is an error here, where a mapped file would end in SIGBUS."""
    labels: list[int] = []
    sha256 = hashlib.sha256()
    decode = partial(_decoded, size=size, channels=channels)
    items = contents.items()
    first = next(items)
    shape = decode(first).shape
    chunk = max(1, min(512, _CHUNK_BYTES // int(np.prod(shape))))
    whole = (contents.count, *shape)
    workers = min(8, os.cpu_count() or 1)
    with replacing(Path(f"{base}.npy")) as temporary, ThreadPoolExecutor(workers) as pool, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": whole})
        waiting = [first, *islice(items, chunk - 1)]
        while waiting:
            for pixels in pool.map(partial(_matching, decode, shape, first), waiting):
                content = pixels.tobytes()
                file.write(content)
                sha256.update(content)
            labels += [item.label for item in waiting]
            waiting = list(islice(items, chunk))
    total = content_digest(whole, sha256.hexdigest(), torch.tensor(labels))
    record = {"shape": whole, "labels": labels, "digest": total, "class_names": contents.class_names, "size": size}
    write_bytes(Path(f"{base}.json"), json.dumps(record).encode())


def _decoded(item: Item, *, size: int | None, channels: int | None) -> NDArray[np.uint8]:
    pixels = decode_image(item.source, channels, item.name)
    return pixels if size is None else fit_square(pixels, size)


def _matching(
    decode: Callable[[Item], NDArray[np.uint8]], shape: tuple[int, ...], first: Item, item: Item
) -> NDArray[np.uint8]:
    """The item's pixels in the first one's shape."""
    pixels = decode(item)
    if pixels.shape[:2] != shape[:2]:
        (height, width), (first_height, first_width) = pixels.shape[:2], shape[:2]
        sizes = f"{first.name} is {first_width} x {first_height}, {item.name} {width} x {height}"
        raise _OtherSize(f"images of different sizes ({sizes} pixels)")
    if pixels.shape[2] > shape[2]:
        raise _Color
    return pixels if pixels.shape[2] == shape[2] else np.broadcast_to(pixels, shape)
