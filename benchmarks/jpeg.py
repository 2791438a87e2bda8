"""JPEG against a serial loop of Pillow, the codec and its surrogate: `python benchmarks/jpeg.py`.

The loop saves and opens one 8-bit image after the other, which is what tutorials do; it is given its arrays and gives
arrays back.  All three must give the same pixels.
"""

from __future__ import annotations

import argparse
import io
import statistics
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage import data as pictures
from timing import Job, interleaved, machine, markdown, median_ratio
from torch import Tensor

from foolscope.images import from_uint8, to_uint8
from foolscope.jpeg import compress, differentiable, surrogate

Pixels = NDArray[np.uint8]
LOOP, CODEC, SURROGATE, BACKWARDS = "Pillow", "codec", "surrogate", "codec, surrogate backwards"


def loop(images: Pixels, quality: int) -> Pixels:
    """Images (N, H, W, C), one after the other, with Pillow's own chroma subsampling (4:2:0)."""
    done = []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image if image.shape[-1] == 3 else image[..., 0]).save(buffer, "JPEG", quality=quality)
        done.append(np.asarray(Image.open(buffer)).reshape(image.shape))
    return np.stack(done)


def crops(side: int, channels: int, count: int) -> Tensor:
    """Pieces of photographs, from random places."""
    photographs = [pictures.astronaut(), pictures.chelsea(), pictures.coffee(), pictures.rocket()]
    numbers = np.random.default_rng(0)
    pieces = []
    for number in range(count):
        photograph = photographs[number % len(photographs)]
        top, left = (int(numbers.integers(size - side + 1)) for size in photograph.shape[:2])
        pieces.append(photograph[top : top + side, left : left + side, :channels])
    return from_uint8(np.stack(pieces))


def backwards(images: Tensor, quality: int) -> Tensor:
    """A forward and a backward pass."""
    x = images.clone().requires_grad_()
    return torch.autograd.grad(differentiable(x, quality).sum(), x)[0]


def measure(side: int, channels: int, count: int, quality: int, rounds: int) -> list[str]:
    """The table's row for one kind of image."""
    images = crops(side, channels, count)
    pixels = to_uint8(images)
    jobs: dict[str, Job] = {
        LOOP: partial(loop, pixels, quality),
        CODEC: partial(compress, images, quality),
        SURROGATE: partial(surrogate, images, quality),
        BACKWARDS: partial(backwards, images, quality),
    }
    want = loop(pixels, quality)
    for function in (compress, surrogate):
        if not np.array_equal(to_uint8(function(images, quality)), want):
            raise SystemExit(f"{function.__name__} differs from Pillow at {side} px.")
    seconds = interleaved(jobs, rounds)
    return [
        f"{side} x {side} x {channels}, {count} images",
        *(f"{1e6 * statistics.median(seconds[name]) / count:.1f}" for name in jobs),
        f"{median_ratio(seconds[LOOP], seconds[CODEC]):.2f}",
        f"{median_ratio(seconds[LOOP], seconds[SURROGATE]):.2f}",
    ]


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="counted repetitions of everything")
    parser.add_argument("--images", type=int, default=512, help="small images; a sixteenth as many of 224 x 224")
    parser.add_argument("--quality", type=int, default=75)
    chosen = parser.parse_args()
    header = ["images", *(f"{name}, us an image" for name in (LOOP, CODEC, SURROGATE, BACKWARDS))]
    rows = [
        measure(side, channels, max(1, count), chosen.quality, chosen.rounds)
        for side, channels, count in ((32, 3, chosen.images), (28, 1, chosen.images), (224, 3, chosen.images // 16))
    ]
    print(f"{machine()}; medians of {chosen.rounds} interleaved rounds; quality {chosen.quality}.\n")
    print(markdown([*header, "codec, times the loop", "surrogate, times the loop"], rows))


if __name__ == "__main__":
    main()
