"""Non-local means, pixel by pixel what OpenCV's `fastNlMeansDenoising` and `...Colored` make of 8-bit images.

Every pixel becomes a weighted mean of the pixels in a search window around it, weighted by how much the patches around
both are alike (Buades, Coll and Morel 2005, A non-local algorithm for image denoising):

    y(p) = sum_o w(d(p, o)) x(p + o) / sum_o w(d(p, o))      d(p, o) = sum_t |x(p + t) - x(p + o + t)|^2, t in the patch
    w(d) = exp(-d / (patch^2 channels strength^2)), 0 where that is below 0.001

OpenCV does this in integers: d is divided by the next power of two above patch^2, rounded down, w comes from a table of
fixed-point numbers, and the mean is rounded.  Colors are compared in CIE L*a*b* of linear light, L by itself and a and
b together.  So do we, and no pixel differs.

Why not call OpenCV: it fills its table of 110,000 exponentials anew for every image, 64 % of its time at 32 x 32, and
small images get no threads.  Here the table ends at its first 0, d(p, o) also serves p + o, which looks back at p, and
one operation works on many images at once, the images innermost in memory.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

_LARGEST_INT = 2**31 - 1
_SMALLEST_WEIGHT = 0.001
_BLOCK_PIXELS = 100 * 32 * 32
_FEWEST_ROWS = 32

Levels = NDArray[np.uint8]


def denoise(levels: Levels, search: int, patch: int, strength: float) -> Levels:
    """`levels` (N, H, W, C), C 1 or 3, denoised; `search` and `patch` are odd widths, `strength` is OpenCV's h > 0.

    Three channels are handed to OpenCV's color conversion as they come, as EvadeML-Zoo does with RGB images, though it
    takes the first for blue.
    """
    import cv2

    if levels.shape[3] == 1 or not levels.size:
        return _denoised(levels, search, patch, strength)
    rows = levels.reshape(-1, *levels.shape[2:])
    lab = cv2.cvtColor(rows, cv2.COLOR_LBGR2Lab).reshape(levels.shape)
    parts = [_denoised(lab[..., channels], search, patch, strength) for channels in (slice(1), slice(1, 3))]
    clean: Any = cv2.cvtColor(np.concatenate(parts, axis=3).reshape(rows.shape), cv2.COLOR_Lab2LBGR)
    return clean.reshape(levels.shape)  # type: ignore[no-any-return]


def _denoised(levels: NDArray[Any], search: int, patch: int, strength: float) -> Levels:
    """(N, H, W, C), all channels compared together, in blocks on as many threads as torch uses."""
    height, width, channels = levels.shape[1:]
    weights = _weights(search, patch, strength, channels)
    border = search // 2 + patch // 2
    rows, columns = (np.pad(np.arange(side), border, mode="reflect") for side in (height, width))
    out = np.empty(levels.shape, dtype=np.uint8)

    def work(block: tuple[slice, slice]) -> None:
        images, lines = block
        seen = rows[lines.start : lines.stop + 2 * border]
        bordered = levels[images].transpose(3, 1, 2, 0)[:, seen][:, :, columns]
        out[images, lines] = _Block(bordered, weights, search // 2, patch // 2).mean().transpose(3, 1, 2, 0)

    threads = torch.get_num_threads()
    blocks = list(_blocks(len(levels), height, width, threads))
    if threads == 1 or len(blocks) == 1:
        for block in blocks:
            work(block)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, blocks))
    return out


def _blocks(count: int, height: int, width: int, threads: int) -> Iterator[tuple[slice, slice]]:
    """Images and rows that are worked on together: few enough pixels for the cache, and as much for every thread."""
    if not count:
        return
    most = threads * max(1, _BLOCK_PIXELS // (height * width))
    together = math.ceil(count / (threads * math.ceil(count / most)))
    lines = max(_FEWEST_ROWS, min(_BLOCK_PIXELS // width, math.ceil(count * height / threads)))
    for image, line in itertools.product(range(0, count, together), range(0, height, lines)):
        yield slice(image, min(image + together, count)), slice(line, min(line + lines, height))


@dataclass(frozen=True)
class _Weights:
    """`table` (int32) of weights by d >> `shift`, up to its first 0, which stands for all that follow.

    `clip` is a bound for differences of two levels that changes no weight and lets d fit into 16 bits, or None.
    """

    table: NDArray[np.int32]
    shift: int
    clip: int | None


@functools.lru_cache(maxsize=32)
def _weights(search: int, patch: int, strength: float, channels: int) -> _Weights:
    """OpenCV's fixed-point weights, in which the search window's sum of 255 w just fits into 31 bits."""
    one = _LARGEST_INT // (search * search * 255)
    shift = math.ceil(math.log2(patch * patch))
    ratio = (1 << shift) / (patch * patch)
    distances = np.arange(int(255 * 255 * channels / ratio + 1)) * ratio
    h = np.float32(strength)
    table = np.floor(one * np.exp(-distances / float(h * h * np.float32(channels))) + 0.5)
    table = np.append(table, 0)
    last = int(np.argmax(table < _SMALLEST_WEIGHT * one))
    table[last] = 0
    clip = math.ceil(math.sqrt(last << shift))
    fits = patch * patch * channels * clip * clip < 1 << 16 and last < 256
    return _Weights(table[: last + 1].astype(np.int32), shift, clip if fits else None)


class _Block:
    """Images with their borders, uint8 (C, H, W, n): the sums that their means are made of."""

    def __init__(self, bordered: Levels, weights: _Weights, reach: int, half: int) -> None:
        self.weights, self.reach, self.half = weights, reach, half
        self.border = reach + half
        channels, height, width, self.count = bordered.shape
        self.height, self.width = height - 2 * self.border, width - 2 * self.border
        self.middle = bordered[:, self.border : height - self.border, self.border : width - self.border]
        narrow = weights.clip is not None
        self.signed: type[np.signedinteger[Any]] = np.int16 if narrow else np.int32
        self.unsigned: type[np.integer[Any]] = np.uint16 if narrow else np.int32
        self.levels = bordered.astype(self.signed, order="C")
        most = (self.height + self.border + half) * (self.width + self.border + half) * self.count
        self.memory = {
            "difference": np.empty(channels * most, self.signed),
            "magnitude": np.empty(most, self.signed),
            "square": np.empty(most, self.unsigned),
            "sum": np.empty(most, self.unsigned),
            "index": np.empty(most, np.uint8),
            "weight": np.empty(most, np.int32),
            "product": np.empty(most, np.int32),
        }
        # Bounds as arrays: NumPy compares with a single number ten times slower.
        self.clip = np.full(most, weights.clip or 0, self.signed)
        self.last = np.full(most, len(weights.table) - 1, self.unsigned)
        self.lookup = np.zeros(256, np.int32)
        if narrow:
            self.lookup[: len(weights.table)] = weights.table

    def mean(self) -> Levels:
        """The denoised images without borders, uint8 (C, H, W, n)."""
        shape = self.middle.shape
        total = np.full(shape[1:], self.weights.table[0], np.int32)
        # Sums of w (x(p + o) - x(p)): what a pair adds to one of its pixels, it takes from the other.
        excess = np.zeros(shape, np.int32)
        for down, right in itertools.product(range(self.reach + 1), range(-self.reach, self.reach + 1)):
            if down or right > 0:
                self._add_pairs(down, right, total, excess)
        excess += total * self.middle
        sums, parts = excess.view(np.uint32), total.view(np.uint32)
        return ((sums + (parts >> 1)) // parts).astype(np.uint8)

    def _add_pairs(self, down: int, right: int, total: NDArray[np.int32], excess: NDArray[np.int32]) -> None:
        """Add what the pixels at p and p + o, o = (down, right), give each other, of all pairs with one in the middle.

        The pairs' first pixels lie in a box that begins `down` rows and `max(right, 0)` columns before the middle.
        """
        height, width, half = self.height + down, self.width + abs(right), self.half
        before = max(right, 0)
        top, left = self.reach - down, self.reach - before
        box = (slice(top, top + height + 2 * half), slice(left, left + width + 2 * half))
        other = tuple(slice(s.start + by, s.stop + by) for s, by in zip(box, (down, right), strict=True))
        shape = (height + 2 * half, width + 2 * half)
        difference = self._array("difference", len(excess), *shape)
        square = self._array("sum", *shape)
        for channel, values in enumerate(self.levels):
            np.subtract(values[other], values[box], out=difference[channel])
            self._add_square(difference[channel], square, first=channel == 0)
        distance = self._summed(self._summed(square, 0, height, "square"), 1, width, "sum")
        weight = self._weight(distance)
        first = (slice(down, None), slice(before, before + self.width))  # pairs whose first pixel is in the middle
        second = (slice(self.height), slice(before - right, before - right + self.width))
        total += weight[first]
        total += weight[second]
        product = self._array("product", height, width)
        for values, sums in zip(difference, excess, strict=True):
            np.multiply(weight, values[half : half + height, half : half + width], out=product)
            sums += product[first]
            sums -= product[second]

    def _add_square(self, difference: NDArray[Any], total: NDArray[Any], first: bool) -> None:
        """Add the squares of `difference`, as far as they matter, to `total`, or write the first ones there."""
        magnitude = difference
        if self.weights.clip is not None:
            magnitude = self._array("magnitude", *difference.shape[:2])
            np.abs(difference, out=magnitude)
            np.minimum(magnitude, self._shaped(self.clip, *difference.shape[:2]), out=magnitude)
        magnitude = magnitude.view(self.unsigned)
        square = total if first else self._array("square", *difference.shape[:2])
        np.multiply(magnitude, magnitude, out=square)
        if not first:
            np.add(total, square, out=total)

    def _summed(self, values: NDArray[Any], axis: int, length: int, name: str) -> NDArray[Any]:
        """Sums over the patch's width along `axis`."""
        shifted = [values[(slice(None),) * axis + (slice(i, i + length),)] for i in range(2 * self.half + 1)]
        out = self._shaped(self.memory[name], *shifted[0].shape[:2])
        np.copyto(out, shifted[0]) if len(shifted) == 1 else np.add(shifted[0], shifted[1], out=out)
        for more in shifted[2:]:
            np.add(out, more, out=out)
        return out

    def _weight(self, distance: NDArray[Any]) -> NDArray[np.int32]:
        """The weights of pairs whose patches are so far apart, which are overwritten."""
        import cv2

        height, width = distance.shape[:2]
        weight = self._array("weight", height, width)
        np.right_shift(distance, self.weights.shift, out=distance)
        np.minimum(distance, self._shaped(self.last, height, width), out=distance)
        if self.weights.clip is None:
            return np.take(self.weights.table, distance, out=weight, mode="clip")
        index = self._array("index", height, width)
        np.copyto(index, distance, casting="unsafe")
        cv2.LUT(index.reshape(1, -1), self.lookup, weight.reshape(1, -1))
        return weight

    def _array(self, name: str, *shape: int) -> NDArray[Any]:
        """Scratch memory, whose content is lost when the name is asked for again."""
        return self._shaped(self.memory[name], *shape)

    def _shaped(self, memory: NDArray[Any], *shape: int) -> NDArray[Any]:
        """The beginning of `memory` as an array of this shape, with the images innermost."""
        return memory[: math.prod(shape) * self.count].reshape(*shape, self.count)
