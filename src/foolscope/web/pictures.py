"""Pictures: 8-bit pixels called by their content, kept on disk up to a limit.

An id is the beginning of the SHA-256 of shape and pixels, so the same picture has the same id whoever sent it, and
whatever process or restart asks for it.  A file is a PNG of exactly these pixels; one whose content does not fit its
name is removed.
"""

from __future__ import annotations

import io
import math
import os
import re
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from foolscope.errors import StorageError
from foolscope.files import digest, write_bytes
from foolscope.images import encode_png, from_uint8, to_uint8
from foolscope.web.logs import LOGGER
from foolscope.web.problems import NotFoundError

K = TypeVar("K")
V = TypeVar("V")

_ID = re.compile(r"[0-9a-f]{32}")
_THUMBNAIL = 112
_MEMORY = 64 << 20
_WRITES_PER_SWEEP = 256
_MARK_SECONDS, _MOST_MARKED = 60.0, 10_000


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture: uint8 (H, W, C) with C 1 or 3."""

    id: str
    pixels: NDArray[np.uint8]

    @property
    def images(self) -> Tensor:
        """float32 (1, C, H, W) in [0, 1]."""
        return from_uint8(self.pixels[None])

    def png(self) -> bytes:
        """The PNG of exactly these pixels: the bytes that `images.encode_png` gives."""
        return encode_png(self.images[0])

    def quick_png(self) -> bytes:
        """Another PNG of these pixels, somewhat larger and made several times faster."""
        return _encoded(self._image())

    def thumbnail(self) -> bytes:
        """A small PNG, for lists."""
        image = self._image()
        image.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BICUBIC)
        return _encoded(image)

    def _image(self) -> Image.Image:
        return Image.fromarray(self.pixels[..., 0] if self.pixels.shape[2] == 1 else self.pixels)


def _encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def picture_of(pixels: NDArray[np.uint8]) -> Picture:
    """A picture with its id."""
    pixels = np.ascontiguousarray(pixels)
    return Picture(digest(",".join(map(str, pixels.shape)), pixels.tobytes())[:32], pixels)


def pictures_of(images: Tensor) -> list[Picture]:
    """The pictures that an 8-bit PNG keeps of `images` (N, C, H, W)."""
    return [picture_of(pixels) for pixels in to_uint8(images)]


class PictureStore:
    """Pictures under one folder; several processes may use it.  `limit` is in bytes, of all files together."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self._recent: Recent[str, Picture] = Recent(_MEMORY)
        self._lock = threading.Lock()
        self._writes = 0
        self._marked: dict[str, float] = {}
        self._is_warned = False

    def put(self, picture: Picture) -> Picture:
        """Keep a picture.  Raises `StorageError` where it cannot be written."""
        path = self._path(picture.id)
        if path.exists():
            self._asked_for(picture.id)
        else:
            write_bytes(path, picture.png())
            with self._lock:
                self._writes += 1
                sweep = self._writes % _WRITES_PER_SWEEP == 0
            if sweep:
                self._sweep()
        self._recent.put(picture.id, picture, picture.pixels.nbytes)
        return picture

    def keep(self, picture: Picture) -> Picture:
        """Keep a picture that can be made again: in memory alone where it cannot be written."""
        try:
            return self.put(picture)
        except StorageError as error:
            if not self._is_warned:
                self._is_warned = True
                LOGGER.warning("pictures are kept in memory alone: %s", error)
            self._recent.put(picture.id, picture, picture.pixels.nbytes)
            return picture

    def is_due(self, name: str) -> bool:
        """Whether the picture's file has not been marked as asked for within a minute."""
        with self._lock:
            return time.monotonic() - self._marked.get(name, -math.inf) > _MARK_SECONDS

    def get(self, name: str) -> Picture:
        """The picture with this id.  Raises `NotFoundError`."""
        if (found := self._recent.get(name)) is not None:
            self._asked_for(name)
            return found
        picture = self._read(name) if _ID.fullmatch(name) else None
        if picture is None:
            raise NotFoundError(f"there is no image '{name[:80]}': upload it (again), or see GET /api/v1/gallery.")
        self._recent.put(name, picture, picture.pixels.nbytes)
        return picture

    def _read(self, name: str) -> Picture | None:
        path = self._path(name)
        try:
            with Image.open(path, formats=("PNG",)) as file:
                pixels = np.asarray(file)
            picture = picture_of(pixels[..., None] if pixels.ndim == 2 else pixels)
        except FileNotFoundError:
            return None
        except (OSError, SyntaxError, ValueError):
            picture = None
        if picture is None or picture.id != name:
            with suppress(OSError):
                path.unlink()
            return None
        self._asked_for(name)
        return picture

    def _asked_for(self, name: str) -> None:
        """Mark a file, by its time, as one that was asked for, so that the sweep spares it."""
        if self.is_due(name):
            with self._lock:
                if len(self._marked) > _MOST_MARKED:
                    self._marked.clear()
                self._marked[name] = time.monotonic()
            with suppress(OSError):
                os.utime(self._path(name))

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / f"{name}.png"

    def _sweep(self) -> None:
        """Remove what was not asked for longest, down to nine tenths of the limit."""
        files = []
        for path in self._folder.glob("??/*.png"):
            with suppress(OSError):  # another process removes too
                stat = path.stat()
                files.append((stat.st_mtime_ns, stat.st_size, path))
        total = sum(size for _, size, _ in files)
        if total <= self._limit:
            return
        for _, size, path in sorted(files):
            with suppress(OSError):
                path.unlink()
            total -= size
            if total <= 0.9 * self._limit:
                break


class Recent(Generic[K, V]):
    """What was used last, up to so many bytes; safe between threads."""

    def __init__(self, limit: int) -> None:
        self._limit, self._bytes = limit, 0
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """What was put under `key`, or None."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def put(self, key: K, value: V, size: int) -> None:
        """Keep `value`, of `size` bytes."""
        with self._lock:
            if key in self._entries:
                self._bytes -= self._entries.pop(key)[1]
            self._entries[key] = (value, size)
            self._bytes += size
            while self._bytes > self._limit and len(self._entries) > 1:
                _, (_, gone) = self._entries.popitem(last=False)
                self._bytes -= gone
