"""How a network sees a picture: in its own size and number of channels, in 8 bits.

Networks of any size see a picture as it is; small ones its middle square, scaled.  What comes out is what is
classified, attacked and shown.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foolscope.data.decoded import fit_square
from foolscope.errors import InputError
from foolscope.models import ModelInfo
from foolscope.web.pictures import Picture, picture_of


def seen(picture: Picture, info: ModelInfo) -> tuple[Picture, list[str]]:
    """The picture as a network sees it, and a sentence on what was done, if anything was.

    Raises `InputError` for a network whose images are neither square nor of any size.
    """
    if info.input_shape is None:
        return picture, []
    channels, height, width = info.input_shape
    pixels, done = picture.pixels, []
    size = (pixels.shape[1], pixels.shape[0])
    if height is not None and size != (width, height):
        if height != width:
            raise InputError(f"{info.name} takes images of {width} x {height} pixels: only squares can be shown here.")
        pixels = fit_square(pixels, height)
        done.append(f"{'scaled' if size[0] == size[1] else 'cropped and scaled'} from {size[0]} x {size[1]}")
    if pixels.shape[2] != channels:
        pixels = _gray(pixels) if channels == 1 else np.repeat(pixels, channels, axis=2)
        done.append("turned gray" if channels == 1 else "gray in all three colors")
    if not done:
        return picture, []
    what = f"{pixels.shape[1]} x {pixels.shape[0]} pixels"
    return picture_of(pixels), [f"{info.name} sees {what}: {', '.join(done)}"]


def _gray(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Luma as Pillow computes it (ITU-R 601): (H, W, 3) to (H, W, 1)."""
    return np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
