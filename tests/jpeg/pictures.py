"""Images to compress, and Pillow's answers."""

from __future__ import annotations

import io

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

PILLOW = {"444": 0, "422": 1, "420": 2}


def pillow_files(images: Tensor, quality: int, subsampling: str) -> list[bytes]:
    levels: NDArray[np.uint8] = np.rint(images.permute(0, 2, 3, 1).numpy() * np.float32(255)).astype(np.uint8)
    files = []
    for image in levels:
        buffer = io.BytesIO()
        picture = Image.fromarray(image if image.shape[-1] == 3 else image[..., 0])
        picture.save(buffer, "JPEG", quality=quality, subsampling=PILLOW[subsampling])
        files.append(buffer.getvalue())
    return files


def pillow(images: Tensor, quality: int, subsampling: str) -> Tensor:
    arrays = [np.asarray(Image.open(io.BytesIO(file))) for file in pillow_files(images, quality, subsampling)]
    pixels = torch.from_numpy(np.stack(arrays)).reshape(len(images), *images.shape[2:], images.shape[1])
    return pixels.permute(0, 3, 1, 2).float() / 255


def pictures(count: int, channels: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Noise, smoothed noise and saturated noise in turn: what is hard, what is usual, what clips."""
    noise = torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(seed))
    smooth = F.avg_pool2d(noise, 5, 1, 2)
    kinds = torch.stack([noise, smooth, noise.round()])
    return kinds[torch.arange(count) % 3, torch.arange(count)]
