"""Images: float32 tensors (N, C, H, W), RGB or gray, in [0, 1]; their 8-bit form, and files.

An 8-bit value v stands for v / 255, and an image value x is saved as round(255 x).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from foolscope.errors import CorruptError, InputError, MissingError

MAX_PIXELS = 64_000_000
"""Images with more pixels than this are refused before they are decoded."""


def check_images(images: Tensor, what: str = "images") -> Tensor:
    """Return `images` if they keep the contract: float32 (N, C, H, W), C 1 or 3, finite, in [0, 1].

    Raises `InputError`, which names the first thing that is wrong.
    """
    if not isinstance(images, Tensor):
        raise InputError(f"{what} must be a torch tensor, got {type(images).__name__}.")
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise InputError(f"{what} must have shape (N, C, H, W) with C 1 or 3, got {tuple(images.shape)}.")
    if 0 in images.shape[2:]:
        raise InputError(f"{what} must have pixels, got {images.shape[2]} x {images.shape[3]}.")
    if images.dtype != torch.float32:
        raise InputError(f"{what} must be float32 in [0, 1], got {images.dtype}.")
    if images.numel():
        low, high = (float(bound) for bound in torch.aminmax(images.detach()))
        if not np.isfinite(low + high):
            bad = (~images.flatten(1).isfinite().all(1)).nonzero()[0].item()
            raise InputError(f"{what} must be finite: image {bad} has NaN or infinite pixels.")
        if low < 0 or high > 1:
            hint = " Divide 8-bit images by 255." if high > 1.5 else ""
            raise InputError(f"{what} must be in [0, 1], found values from {low:.4g} to {high:.4g}.{hint}")
    return images


def check_labels(labels: Tensor, count: int, num_classes: int | None, what: str = "labels") -> Tensor:
    """Return `labels` as int64 (N,) if there are `count` of them, all in [0, num_classes).  Raises `InputError`."""
    if not isinstance(labels, Tensor) or labels.dtype.is_floating_point or labels.dtype == torch.bool:
        raise InputError(f"{what} must be a tensor of whole numbers.")
    if labels.shape != (count,):
        raise InputError(f"{what} must have shape ({count},), one for each image, got {tuple(labels.shape)}.")
    if count and (int(labels.min()) < 0 or (num_classes is not None and int(labels.max()) >= num_classes)):
        top = "" if num_classes is None else f" to {num_classes - 1}"
        found = f"{int(labels.min())} to {int(labels.max())}"
        raise InputError(f"{what} must be class indices from 0{top}, found {found}.")
    return labels.long()


def quantize(images: Tensor) -> Tensor:
    """Round to the nearest multiple of 1/255: what an 8-bit PNG keeps."""
    return images.mul(255).round_().div_(255)


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """(N, C, H, W) in [0, 1] to uint8 (N, H, W, C)."""
    array: NDArray[np.uint8] = images.detach().mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return array


def from_uint8(array: NDArray[np.uint8]) -> Tensor:
    """uint8 (N, H, W, C) to float32 (N, C, H, W) in [0, 1]."""
    # A copy even where the order is right already: torch warns of arrays that cannot be written, as mapped files are.
    return torch.from_numpy(np.array(array.transpose(0, 3, 1, 2), order="C")).float().div_(255)


def batches_by_size(arrays: Sequence[NDArray[np.uint8]]) -> list[tuple[list[int], Tensor]]:
    """Images uint8 (H, W, C) as batches float32 (n, C, H, W) of one size each, and the images' places in `arrays`."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for place, array in enumerate(arrays):
        groups.setdefault(array.shape, []).append(place)
    return [(places, from_uint8(np.stack([arrays[place] for place in places]))) for places in groups.values()]


def to_pil(image: Tensor) -> Image.Image:
    """One image (C, H, W) as a Pillow image of mode L or RGB."""
    array = to_uint8(image[None])[0]
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)


def encode_png(image: Tensor) -> bytes:
    """One image (C, H, W) as the bytes of an 8-bit PNG."""
    buffer = io.BytesIO()
    to_pil(image).save(buffer, "PNG")
    return buffer.getvalue()


def decode_image(source: bytes | Path, channels: int | None = None, name: str | None = None) -> NDArray[np.uint8]:
    """Decode any image file to uint8 (H, W, C).

    EXIF rotation is honored, the first frame of an animation taken, transparency laid on black, CMYK and 16 bit
    converted.  `channels` 1 or 3 converts to gray or RGB; without it a gray file gives one channel.
    Raises `MissingError` where there is no such file, `CorruptError` where it is no image, truncated, or larger than
    `MAX_PIXELS`; `name` is what the message calls it.
    """
    name = name or (str(source) if isinstance(source, Path) else "image")
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as file:
            if file.width * file.height > MAX_PIXELS:
                raise CorruptError(f"{name}: {file.width} x {file.height} pixels are more than {MAX_PIXELS:,}.")
            image = ImageOps.exif_transpose(file)
            if image.mode.startswith("I"):  # 16 bit: Pillow's own conversion would clip
                wide = np.asarray(image, dtype=np.float64)
                image = Image.fromarray((wide / 65535 * 255).round().clip(0, 255).astype(np.uint8))
            gray = image.mode in ("1", "L", "LA", "F")
            if image.has_transparency_data:
                black = Image.new("RGBA", image.size, (0, 0, 0, 255))
                image = Image.alpha_composite(black, image.convert("RGBA"))
            image = image.convert("L" if channels == 1 or (channels is None and gray) else "RGB")
    except FileNotFoundError:
        raise MissingError(f"{name}: no such file.") from None
    except (IsADirectoryError, PermissionError) as error:
        raise CorruptError(f"{name}: cannot be read ({error.strerror}).") from None
    except UnidentifiedImageError:
        raise CorruptError(f"{name}: not an image that Pillow can read.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):  # Pillow's own limits, which are higher
        raise CorruptError(f"{name}: more than {MAX_PIXELS:,} pixels.") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise CorruptError(f"{name}: damaged image ({error}).") from None
    array: NDArray[np.uint8] = np.asarray(image)
    return array[..., None] if array.ndim == 2 else array
