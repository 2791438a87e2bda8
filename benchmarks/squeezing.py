"""Squeezers against plain loops over the images, and what a detector costs: `python benchmarks/squeezing.py`.

The loops are those that tutorials and EvadeML-Zoo have: one call of NumPy, SciPy, OpenCV (with its own threads) or
scikit-image for each image.  Both sides must give the same pixels.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from skimage.restoration import denoise_tv_chambolle
from timing import Job, interleaved, machine, markdown, median_ratio
from torch import Tensor

from foolscope.data import load_data
from foolscope.defenses import parse_defense, parse_detector
from foolscope.errors import FoolscopeError
from foolscope.images import from_uint8, to_uint8
from foolscope.models import load_model
from foolscope.models.engine import Engine
from foolscope.randomness import generator

Array = NDArray[Any]

TV_STEPS = 50
TOLERANCE = {"gaussian": 1e-5, "tv": 2e-4}
"""Float sums in another order, which the steps of total variation enlarge; the others must be equal."""

PHOTOGRAPHS = ("bits", "median:size=2", "nlm:search=11,strength=4")
"""What is tried on large images: the detector's for ImageNet."""


def bits(image: Array) -> Array:
    """(C, H, W) to 5 bits."""
    return np.asarray(np.rint(image * np.float32(31)) / np.float32(31))


def median(size: int) -> Callable[[Array], Array]:
    """SciPy's, channel by channel."""
    return lambda image: np.asarray(ndimage.median_filter(image, size=(1, size, size), mode="reflect"))


def non_local_means(search: int, patch: int, strength: float) -> Callable[[Array], Array]:
    """OpenCV's, of an image in 8 bits."""

    def run(image: Array) -> Array:
        levels = np.ascontiguousarray(np.rint(image.transpose(1, 2, 0) * 255).astype(np.uint8))
        clean = cv2.fastNlMeansDenoisingColored(levels, None, strength, strength, patch, search)
        return np.asarray(clean.transpose(2, 0, 1).astype(np.float32) / np.float32(255))

    return run


def gaussian(image: Array) -> Array:
    """SciPy's, channel by channel."""
    return np.asarray(ndimage.gaussian_filter(image, (0, 1, 1), mode="reflect"))


def total_variation(image: Array) -> Array:
    """Scikit-image's, with as many steps."""
    return np.asarray(denoise_tv_chambolle(image, weight=0.1, eps=0, max_num_iter=TV_STEPS + 1, channel_axis=0))


SQUEEZERS: dict[str, Callable[[Array], Array]] = {
    "bits": bits,
    **{f"median:size={size}": median(size) for size in range(2, 8)},
    "nlm": non_local_means(13, 3, 2.0),
    "nlm:search=11,strength=4": non_local_means(11, 3, 4.0),
    "gaussian": gaussian,
    "tv": total_variation,
}


def small_images(count: int) -> tuple[Tensor, str]:
    """Images of 32 x 32, and what they are."""
    try:
        return load_data("cifar10", split="test", limit=count, offline=True).images, "cifar10"
    except FoolscopeError as error:
        print(f"smoothed noise instead of cifar10 ({error})", file=sys.stderr)
        noise = torch.rand(count, 3, 36, 36, generator=generator(0))
        return torch.nn.functional.avg_pool2d(noise, 5, 1), "noise"


def looped(function: Callable[[Array], Array], images: Tensor) -> Tensor:
    """The plain loop."""
    return torch.from_numpy(np.stack([function(image) for image in images.numpy()]))


def squeezers(images: Tensor, what: str, names: Iterable[str], rounds: int) -> list[list[str]]:
    """One row a squeezer."""
    rows = []
    for name in names:
        shown = images[:25] if name == "tv" else images  # scikit-image takes 0.1 s for one
        squeeze, loop = parse_defense(name), partial(looped, SQUEEZERS[name], shown)
        difference = float((squeeze(shown) - loop()).abs().max())
        if difference > TOLERANCE.get(name, 0):
            raise SystemExit(f"{name} differs from the loop by {difference:.3g}.")
        seconds = interleaved({"ours": partial(squeeze, shown), "loop": loop}, rounds)
        times = [f"{1000 * statistics.median(seconds[side]):.1f}" for side in ("ours", "loop")]
        rows.append(
            [f"`{name}`", f"{len(shown)} {what}", *times, f"{median_ratio(seconds['loop'], seconds['ours']):.1f}"]
        )
    return rows


def detectors(images: Tensor, rounds: int) -> list[list[str]]:
    """What scoring costs more than the plain forward pass of `cifar-cnn`, whose probabilities are known."""
    engine = Engine(load_model("cifar-cnn"))
    probabilities = engine.logits(images).softmax(1)
    jobs: dict[str, Job] = {"plain forward pass": lambda: engine.logits(images)}
    for squeezers in ("bits;median", "bits;median;nlm"):
        detector = parse_detector(f"fs:squeezers=({squeezers})")
        jobs[detector.spec()] = partial(detector.score, engine, images, probabilities)
    seconds = interleaved(jobs, rounds)
    plain = seconds["plain forward pass"]
    return [
        [f"`{name}`", f"{1000 * statistics.median(values):.1f}", f"{median_ratio(values, plain):.2f}"]
        for name, values in seconds.items()
    ]


def main() -> None:
    """Print two Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="counted repetitions of everything")
    parser.add_argument("--images", type=int, default=200, help="images of 32 x 32; a fiftieth as many of 224 x 224")
    chosen = parser.parse_args()
    small, what = small_images(chosen.images)
    large = load_data("photos", limit=max(1, chosen.images // 50), offline=True).images[..., :224, :224]
    small, large = (from_uint8(to_uint8(images)) for images in (small, large))  # contiguous, and in 8 bits
    rows = squeezers(small, what, SQUEEZERS, chosen.rounds)
    rows += squeezers(large, "photos, 224 px", PHOTOGRAPHS, chosen.rounds)
    print(f"{machine()}; medians of {chosen.rounds} interleaved rounds.\n")
    print(markdown(["squeezer", "images", "ms", "plain loop, ms", "times as fast"], rows))
    print()
    print(markdown([f"cifar-cnn, {len(small)} images", "ms", "of the plain pass"], detectors(small, chosen.rounds)))


if __name__ == "__main__":
    main()
