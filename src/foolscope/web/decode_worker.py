"""The process that decodes uploads: a file's bytes in on stdin, pixels out on stdout, until stdin ends.

What it makes of a file is what `images.decode_image` makes of it, and besides: profiles are converted to sRGB, large
images are scaled down, and every step is told.  It does not use that function, because torch, which comes with it,
takes more memory than a decoder may.  Formats are those below and no others, whatever else Pillow can open: some of
its readers start programs.
"""

from __future__ import annotations

import io
import json
import os
import struct
import sys
import warnings
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from foolscope.errors import CorruptError

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MAX_PIXELS = 64_000_000
LONGEST_SIDE = 16_384
_MEMORY = 400 << 20
_NO_WEBP_DECODER = "could not create decoder object"
"""What Pillow says of a WebP file that is damaged, and of one for whose canvas there is no memory."""
_ORIENTATION = 0x0112
_LENGTH = struct.Struct(">Q")


def main() -> None:
    """Serve until stdin ends."""
    side = int(sys.argv[1])
    source, target = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints does not get between the answers
    _restrict()
    _write(target, b"ready")
    while header := source.read(_LENGTH.size):
        content = source.read(_LENGTH.unpack(header)[0])
        try:
            pixels, notes = decode(content, side)
        except CorruptError as error:
            _write(target, json.dumps({"error": str(error)}).encode(), b"")
        else:
            _write(target, json.dumps({"shape": pixels.shape, "notes": notes}).encode(), pixels.tobytes())


def _restrict() -> None:
    """Only so many pixels, and only so much more memory than now."""
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    if resource is not None and os.path.exists("/proc/self/statm"):
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[0])
        limit = pages * os.sysconf("SC_PAGE_SIZE") + _MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _write(target: IO[bytes], *parts: bytes) -> None:
    for part in parts:
        target.write(_LENGTH.pack(len(part)) + part)
    target.flush()


def decode(content: bytes, side: int) -> tuple[NDArray[np.uint8], list[str]]:
    """uint8 (H, W, C) of at most `side` pixels a side, and what was done to get there.  Raises `CorruptError`."""
    if not content:
        raise CorruptError("image: the file is empty.")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as file:
            return _decoded(file, side)
    except UnidentifiedImageError:
        raise CorruptError("image: not a PNG, JPEG, WebP, GIF, BMP or TIFF file.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise CorruptError(f"image: more than {MAX_PIXELS:,} pixels.") from None
    except MemoryError:
        raise CorruptError("image: takes too much memory to decode: make it smaller.") from None
    except CorruptError:
        raise
    except Exception as error:  # Pillow's readers raise anything for damaged files
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        if reason == _NO_WEBP_DECODER:
            raise CorruptError("image: damaged, or takes too much memory to decode: make it smaller.") from None
        raise CorruptError(f"image: damaged ({reason}).") from None


def _decoded(file: Image.Image, side: int) -> tuple[NDArray[np.uint8], list[str]]:
    width, height = file.size
    if max(width, height) > LONGEST_SIDE:
        raise CorruptError(f"image: {width} x {height} pixels: no side may be longer than {LONGEST_SIDE:,}.")
    if file.mode == "F":
        raise CorruptError("image: its pixels are floating-point numbers: save it with 8 or 16 bits.")
    is_deep = _is_deep(file)
    turned = file.getexif().get(_ORIENTATION, 1)  # may read the file
    notes = _notes(file, turned, is_deep)
    file.draft(file.mode, (2 * side, 2 * side))  # JPEGs can be decoded at a half, a quarter, an eighth of their size
    ImageOps.exif_transpose(file, in_place=True)
    if turned in (5, 6, 7, 8):
        width, height = height, width
    image = _plain(_eight_bits(file), notes)
    scale = side / max(width, height)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
        notes.append(f"scaled from {width} x {height} to {size[0]} x {size[1]} pixels")
    pixels: NDArray[np.uint8] = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels, notes


def _is_deep(file: Image.Image) -> bool:
    """Whether a file that was not read yet has 16 bits; those of color images Pillow itself reduces."""
    return file.mode.startswith("I") or any("16" in str(tile.args) for tile in getattr(file, "tile", ()))


def _notes(file: Image.Image, turned: int, is_deep: bool) -> list[str]:
    notes = []
    if turned in range(2, 9):
        notes.append("turned as its EXIF data say")
    frames = getattr(file, "n_frames", 1)
    if frames > 1 and file.format != "MPO":  # cameras put previews and depths beside the picture
        notes.append(f"the first of {frames:,} frames")
    if file.mode == "CMYK":
        notes.append("converted from CMYK")
    if is_deep:
        notes.append("reduced from 16 to 8 bits")
    return notes


def _eight_bits(image: Image.Image) -> Image.Image:
    """The image, or its 16 bits as 8, rounded; Pillow's own conversion would clip."""
    if not image.mode.startswith("I"):
        return image
    wide = np.asarray(image).astype(np.int32)
    wide += 128
    wide //= 257
    return Image.fromarray(wide.clip(0, 255).astype(np.uint8))


def _plain(image: Image.Image, notes: list[str]) -> Image.Image:
    """The image in mode L or RGB, its profile converted to sRGB, transparency laid on black."""
    image = _to_srgb(image, notes)
    gray = image.mode in ("1", "L", "LA")
    if image.has_transparency_data:
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            notes.append("transparency laid on black")
        black.alpha_composite(image)
        image = black
    mode = "L" if gray else "RGB"
    image.load()
    return image if image.mode == mode else image.convert(mode)


def _to_srgb(image: Image.Image, notes: list[str]) -> Image.Image:
    """The image in sRGB; as it is where it has no profile, sRGB's own, or one that does not fit."""
    embedded = image.info.get("icc_profile")
    if not embedded or image.mode not in ("RGB", "RGBA", "CMYK"):
        return image
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(embedded))
        name = " ".join(ImageCms.getProfileDescription(profile).split())[:60]
        if "srgb" in name.lower():
            return image
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, OSError):
        return image
    assert converted is not None
    notes.append(f"converted from the profile '{name}' to sRGB")
    return converted


if __name__ == "__main__":
    main()
