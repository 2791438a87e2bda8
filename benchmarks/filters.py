"""Chains of photo filters against a loop of Pillow and OpenCV: `python benchmarks/filters.py`.

The loop runs the same recipes image by image on 8-bit pixels, as the thesis' web application did, with what is fastest
there: Pillow's enhancements, look-up tables for gamma and tone curves, OpenCV's HSV ranges and blending.  Its result
differs from ours by the rounding after each of its steps alone; the table shows by how much.  What a chain costs is
also compared with the network that its images are shown to.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from timing import Job, interleaved, machine, markdown, median_ratio
from torch import Tensor

from foolscope.data import load_data
from foolscope.errors import FoolscopeError
from foolscope.filters import CHAINS, Chain, Filter
from foolscope.images import from_uint8, to_uint8
from foolscope.models import load_model
from foolscope.models.engine import Engine
from foolscope.randomness import generator

Pixels = NDArray[np.uint8]
LEVELS = np.arange(256) / 255
LOOP, OURS, NETWORK = "Pillow and OpenCV", "foolscope", "network"


def table(values: NDArray[np.floating[Any]]) -> Pixels:
    """A look-up table."""
    levels: Pixels = np.rint(255 * values.clip(0, 1)).astype(np.uint8)
    return levels


def contrast(image: Pixels, factor: float) -> Pixels:
    """By Pillow."""
    return np.asarray(ImageEnhance.Contrast(Image.fromarray(image)).enhance(factor))


def saturation(image: Pixels, factor: float) -> Pixels:
    """By Pillow."""
    return np.asarray(ImageEnhance.Color(Image.fromarray(image)).enhance(factor))


def brightness(image: Pixels, factor: float) -> Pixels:
    """By Pillow."""
    return np.asarray(ImageEnhance.Brightness(Image.fromarray(image)).enhance(factor))


def gamma(image: Pixels, amount: float) -> Pixels:
    """By a look-up table for the image's extrema."""
    low, high = image.min() / 255, image.max() / 255
    share = ((LEVELS - low) / max(high - low, 1e-9)).clip(0, 1)
    return cv2.LUT(image, table(low + (high - low) * share ** (1 / amount)))  # type: ignore[return-value]


def tone_curves(image: Pixels, *slopes: float) -> Pixels:
    """By a look-up table for each channel."""
    nodes = np.array([0, 64, 128, 255]) / 255
    powers = np.vander(nodes, 4)
    curves = []
    for slope in slopes:
        ordinates = np.array([0, *(nodes[1:3] * slope).clip(0, 1), 1])
        curves.append(table(np.polyval(np.linalg.solve(powers, ordinates), LEVELS)))
    return cv2.LUT(image, np.stack(curves, 1)[None])  # type: ignore[return-value]


def clarendon(image: Pixels, a: float) -> Pixels:
    """The recipe."""
    return tone_curves(saturation(contrast(image, 1.2 * a), 2 * a), 0.6 * a, a, 1.2 * a)


def gingham(image: Pixels, a: float) -> Pixels:
    """The recipe."""
    return contrast(saturation(brightness(image, 1.1 * a), 1.1 * a), 0.7 * a)


def reyes(image: Pixels, a: float) -> Pixels:
    """The recipe."""
    flat = brightness(saturation(contrast(image, 0.8 * a), 0.7 * a), 1.2 * a)
    return tone_curves(gamma(flat, 1.2 * a), 1.1 * a, 1.1 * a, a)


def juno(image: Pixels, a: float) -> Pixels:
    """The recipe."""
    return gamma(saturation(contrast(image, 1.15 * a), 1.1 * a), 1.3 * a)


def lark(image: Pixels, a: float) -> Pixels:
    """The recipe."""
    dark = gamma(image, 0.8 * a)
    hsv = cv2.cvtColor(gamma(dark, 1.3), cv2.COLOR_RGB2HSV)
    blue = cv2.inRange(hsv, np.array([90, 50, 30]), np.array([130, 255, 230]))
    return np.where(blue[..., None] > 0, tone_curves(dark, 0.8 * a, 0.8 * a, 1.2 * a), dark)


STYLES: dict[str, Callable[[Pixels, float], Pixels]] = {
    "clarendon": clarendon, "gingham": gingham, "reyes": reyes, "juno": juno, "lark": lark,
}  # fmt: skip


def loop(images: Pixels, filters: tuple[Filter, ...]) -> Pixels:
    """Filter images (N, H, W, 3), one after the other."""
    done = []
    for image in images:
        for item in filters:
            styled = STYLES[item.name](image, item.intensity)
            image = cv2.addWeighted(image, 1 - item.strength, styled, item.strength, 0)
        done.append(image)
    return np.stack(done)


def subject(side: int, count: int) -> tuple[Tensor, str]:
    """Real images where they are at hand, else noise."""
    data = "cifar10" if side == 32 else "photos"
    try:
        images, what = load_data(data, limit=count, offline=True).images, data
    except FoolscopeError as error:
        print(f"{side} px: noise instead of {data} ({error})", file=sys.stderr)
        images, what = torch.rand(count, 3, side, side, generator=generator(0)), "noise"
    if images.shape[-1] != side:
        images = torch.nn.functional.interpolate(images, (side, side), mode="bilinear", antialias=True)
    repeats = -(-count // len(images))
    return from_uint8(to_uint8(images.repeat(repeats, 1, 1, 1)[:count])), what


def measure(name: str, chain: Chain, side: int, count: int, rounds: int) -> list[str]:
    """The table's row for one chain and size."""
    images, what = subject(side, count)
    pixels = to_uint8(images)
    jobs: dict[str, Job] = {
        LOOP: lambda: loop(pixels, chain.filters),
        OURS: lambda: chain(images),
    }
    if side == 224:
        network = Engine(load_model("torchvision:mobilenet_v2?weights=none"))
        jobs[NETWORK] = lambda: network.logits(images)
    seconds = interleaved(jobs, rounds)
    apart = np.abs(to_uint8(chain(images)).astype(int) - loop(pixels, chain.filters)).mean()
    ours, theirs = (1e3 * statistics.median(seconds[job]) / count for job in (OURS, LOOP))
    return [
        name,
        f"{side} px, {what}, {count} images",
        f"{ours:.3f}",
        f"{theirs:.3f}",
        f"{median_ratio(seconds[LOOP], seconds[OURS]):.1f}",
        f"{100 * median_ratio(seconds[OURS], seconds[NETWORK]):.1f} %" if NETWORK in jobs else "-",
        f"{apart:.2f}",
    ]


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="counted repetitions of everything")
    parser.add_argument("--small", type=int, default=256, help="images of 32 x 32 pixels")
    parser.add_argument("--large", type=int, default=32, help="images of 224 x 224 pixels")
    chosen = parser.parse_args()
    cv2.setNumThreads(torch.get_num_threads())
    header = ["chain", "images", "foolscope, ms an image", "loop, ms an image", "times the loop", "of MobileNetV2"]
    rows = [
        measure(name, CHAINS[name], side, count, chosen.rounds)
        for name in ("agv-a", "agv-b")
        for side, count in ((32, chosen.small), (224, chosen.large))
    ]
    print(f"{machine()}; medians of {chosen.rounds} interleaved rounds.\n")
    print(markdown([*header, "mean difference, levels"], rows))


if __name__ == "__main__":
    main()
