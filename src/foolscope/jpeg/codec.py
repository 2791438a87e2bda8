"""The real JPEG codec (ITU-T T.81, baseline): images in, images out.

libjpeg-turbo through OpenCV, with the standard tables scaled by quality, the exact integer DCT and triangular chroma
upsampling: the same files and the same pixels as Pillow's `save(quality=..., subsampling=...)`, several times faster.

Two things make it fast.  The batch is worked on by as many threads as torch uses, because OpenCV releases the
interpreter's lock.  And small images share a file where that cannot be seen: JPEG works on blocks of 8 x 8 pixels, so
images stacked on top of each other at multiples of 8 rows come out as they would alone, except with chroma subsampled
vertically (4:2:0), whose upsampling looks across the border.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foolscope.errors import InputError, ParameterError
from foolscope.images import check_images

SUBSAMPLINGS = ("444", "422", "420")
"""Chroma resolution: full, half in width, half in width and height.  Gray images have no chroma."""

BLOCK = 8
"""Width and height of the squares that JPEG works on, in pixels."""

_MAX_SIDE = 65_500  # libjpeg's JPEG_MAX_DIMENSION
_CHUNK_PIXELS = 64 * 32 * 32


def compress(images: Tensor, quality: int = 75, subsampling: str = "420") -> Tensor:
    """What is left of `images` after they were saved as JPEG and opened again.

    `images` are float32 (N, C, H, W) in [0, 1], gray or RGB; the result has their shape, device and memory format,
    no gradient, and values that are multiples of 1/255.  `quality` is 1 (worst) to 100.  Images may be smaller than a
    block; gray ones are coded alike at any `subsampling`.
    Raises `InputError` for other images and sides above 65,500, `ParameterError` for other settings.
    """
    settings = _Settings.checked(images, quality, subsampling)
    out = torch.empty_like(images, requires_grad=False, device="cpu")
    source, target = images.detach().cpu(), out
    planar = source.is_contiguous()
    if not planar and not source.is_contiguous(memory_format=torch.channels_last):
        # Slices and transposes: the codec works on a plain copy, and the result is laid out as empty_like chose.
        source, target, planar = source.contiguous(), torch.empty(source.shape), True
    order = (0, 1, 2, 3) if planar else (0, 2, 3, 1)
    given, wanted = source.permute(order).numpy(), target.permute(order).numpy()

    def work(rows: slice) -> None:
        _unpack(settings.round_trip(_pack(given[rows], planar)), wanted[rows], planar)

    _in_chunks(work, images)
    if target is not out:
        out.copy_(target)
    return out.to(images.device)


def encoded_size(images: Tensor, quality: int = 75, subsampling: str = "420") -> Tensor:
    """Bytes of each image's JPEG file, header included: int64 (N,).  Arguments and errors as for `compress`."""
    settings = _Settings.checked(images, quality, subsampling)
    sizes = np.zeros(len(images), dtype=np.int64)
    given = images.detach().cpu().contiguous().numpy()

    def work(rows: slice) -> None:
        sizes[rows] = [settings.encode(image).size for image in _pack(given[rows], planar=True)]

    _in_chunks(work, images)
    return torch.from_numpy(sizes)


@dataclass(frozen=True)
class _Settings:
    """OpenCV's parameters for one kind of image.  Arrays are uint8 (n, H, W, C): BGR going in, RGB coming out."""

    parameters: list[int]
    color: bool
    stackable: bool

    @classmethod
    def checked(cls, images: Tensor, quality: int, subsampling: str) -> _Settings:
        """Raise `ParameterError` or `InputError` for what the codec does not take."""
        import cv2

        check_settings(images, quality, subsampling)
        parameters, color = [cv2.IMWRITE_JPEG_QUALITY, quality], images.shape[1] == 3
        if color:
            factor: int = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{subsampling}")
            parameters += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
        return cls(parameters, color, not color or subsampling != "420")

    def encode(self, image: NDArray[np.uint8]) -> NDArray[Any]:
        """The file of one image (H, W, C)."""
        import cv2

        return cv2.imencode(".jpg", image, self.parameters)[1]

    def decode(self, file: NDArray[Any]) -> NDArray[np.uint8]:
        """The image in a file that `encode` made: (H, W, 3) or (H, W)."""
        import cv2

        kind = cv2.IMREAD_COLOR_RGB if self.color else cv2.IMREAD_GRAYSCALE
        # Without a look for EXIF, which these files do not have, it is a tenth faster.
        return cast(NDArray[np.uint8], cv2.imdecode(file, kind | cv2.IMREAD_IGNORE_ORIENTATION))

    def round_trip(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Encode and decode (n, H, W, C)."""
        count, height, width, channels = images.shape
        rows = height + -height % BLOCK
        together = max(1, min(count, _MAX_SIDE // rows)) if self.stackable else 1
        if together == 1:
            rows = height
        elif rows != height:  # the encoder fills a last block with copies of the last row, and so do we
            images = np.concatenate([images, images[:, -1:].repeat(rows - height, axis=1)], axis=1)
        out = np.empty((count, rows, width, channels), dtype=np.uint8)
        for begin in range(0, count, together):
            strip = images[begin : begin + together]
            file = self.encode(strip.reshape(-1, width, channels))
            out[begin : begin + together] = self.decode(file).reshape(strip.shape)
        return out[:, :height]


def check_settings(images: Tensor, quality: int, subsampling: str) -> None:
    """Raise `ParameterError` or `InputError` for what JPEG does not take."""
    if not isinstance(quality, int) or isinstance(quality, bool) or not 1 <= quality <= 100:
        raise ParameterError(f"JPEG quality must be a whole number from 1 to 100, got {quality!r}.")
    if subsampling not in SUBSAMPLINGS:
        raise ParameterError(f"JPEG subsampling must be one of {', '.join(SUBSAMPLINGS)}, got {subsampling!r}.")
    _check(images)
    height, width = images.shape[2:]
    if not 1 <= min(height, width) <= max(height, width) <= _MAX_SIDE:
        raise InputError(f"JPEG holds images of 1 to {_MAX_SIDE:,} pixels a side, got {height} x {width}.")


def _check(images: Tensor) -> None:
    """`check_images`, its range checked by numpy where it can be.

    torch would wake its own threads for that, which then spin for milliseconds where the codec's are to run.
    """
    shaped = isinstance(images, Tensor) and images.ndim == 4
    if shaped and images.shape[1] in (2, 4):
        raise InputError(f"JPEG keeps no alpha channel: images must be gray or RGB, got {tuple(images.shape)}.")
    if not shaped or images.shape[1] not in (1, 3) or images.device.type != "cpu":
        check_images(images)
        return
    check_images(images[:0])  # all but the range; messages name the whole shape
    values = images.detach().numpy()
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        check_images(images)


def _pack(images: NDArray[np.float32], planar: bool) -> NDArray[np.uint8]:
    """Float images, (n, C, H, W) if `planar` else (n, H, W, C), to contiguous uint8 (n, H, W, C), RGB to BGR."""
    import cv2

    count, height, width = (images.shape[i] for i in ((0, 2, 3) if planar else (0, 1, 2)))
    channels = images.shape[1 if planar else 3]
    # One pass, rounding to nearest even as torch does.
    levels: NDArray[Any] = cv2.convertScaleAbs(images.reshape(count, -1), alpha=255)
    if channels == 3 and planar:
        planes = levels.reshape(count, 3, -1)
        levels = cv2.merge([planes[:, 2], planes[:, 1], planes[:, 0]])
    elif channels == 3:
        levels = cv2.cvtColor(levels.reshape(-1, width, 3), cv2.COLOR_RGB2BGR)
    return levels.reshape(count, height, width, channels)


def _unpack(levels: NDArray[np.uint8], out: NDArray[np.float32], planar: bool) -> None:
    """uint8 (n, H, W, C) RGB to float `out`, (n, C, H, W) if `planar` else (n, H, W, C)."""
    import cv2

    count, height, width, channels = levels.shape
    if channels == 3 and planar:
        pixels = np.ascontiguousarray(levels).reshape(count, -1, 3)
        for channel, plane in enumerate(cv2.split(pixels)):
            np.divide(plane.reshape(count, height, width), np.float32(255), out=out[:, channel], dtype=np.float32)
    else:
        np.divide(levels.reshape(out.shape), np.float32(255), out=out, dtype=np.float32)


def _in_chunks(work: Callable[[slice], None], images: Tensor) -> None:
    """Call `work` on the rows of `images`, a few at a time, on as many threads as torch uses."""
    threads = min(torch.get_num_threads(), len(images))
    fair = -(-len(images) // max(1, threads))
    size = max(1, min(fair, _CHUNK_PIXELS // (images.shape[2] * images.shape[3])))
    chunks = [slice(begin, min(begin + size, len(images))) for begin in range(0, len(images), size)]
    if threads <= 1:
        for rows in chunks:
            work(rows)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, chunks))
