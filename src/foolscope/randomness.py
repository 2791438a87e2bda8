"""Random numbers that belong to a sample, not to its place in a batch.

`Streams` gives every image a stream of its own, keyed by the generator's next value and the image's content.  So the
same seed gives the same bits, a batch gives what its samples give alone, whatever samples have left it, and every
device draws the same uniform numbers: they come from integer arithmetic (the SplitMix64 finalizer of Steele, Lea and
Flood 2014 over a counter), not from a device's generator.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from foolscope.errors import ParameterError

MAX_SEED = (1 << 63) - 1
"""The largest seed that a user may give."""

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit integer
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB


def generator(seed: int) -> torch.Generator:
    """A CPU generator with this seed: the `rng` argument of attacks, data sets and trainings.

    Raises `ParameterError` for a seed below 0 or above `MAX_SEED`.
    """
    return torch.Generator().manual_seed(check_seed(seed))


def check_seed(seed: int) -> int:
    """Return `seed`.  Raises `ParameterError` where it is below 0 or above `MAX_SEED`."""
    if not 0 <= seed <= MAX_SEED:
        raise ParameterError(f"seed must be between 0 and {MAX_SEED} (2^63 - 1), got {seed}.")
    return seed


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """A model that draws from torch's generators draws the same numbers every time; afterwards they are as they were.

    The generators are the CPU's and, where `device` is a CUDA device, its own.
    """
    cuda = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)
        for one in cuda:
            with torch.cuda.device(one):
                torch.cuda.manual_seed(seed)
        yield


def step_seed(seed: int, factor: int, step: int) -> int:
    """The seed of one step of a long job, seed * factor + step, kept to the 64 bits that torch takes."""
    return (seed * factor + step) % (1 << 64)


def _wrapped(x: int) -> int:
    """The signed 64-bit integer that `x` overflows to."""
    return (x + (1 << 63)) % (1 << 64) - (1 << 63)


def _mix(x: Tensor) -> Tensor:
    """The SplitMix64 finalizer on int64, whose multiplication wraps around."""
    x = (x ^ _shift(x, 30)) * _MIX_1
    x = (x ^ _shift(x, 27)) * _MIX_2
    return x ^ _shift(x, 31)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical shift to the right; torch only has the arithmetic one."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


class Streams:
    """One stream of random numbers a sample.

    `seed` is drawn once for a run; `images` (N, ...) key the streams by their content.  Selecting samples
    (`streams[rows]`) keeps each one's stream and place in it.
    """

    def __init__(self, seed: int, images: Tensor) -> None:
        flat = images.detach().flatten(1).contiguous()
        bits = flat.view(torch.int32).to(torch.int64)
        position = torch.arange(bits.shape[1], device=bits.device)
        content = _mix(bits * _GOLDEN + position * _MIX_1).sum(1)
        self._keys = _mix(content + _wrapped(seed * _GOLDEN))
        self._drawn = 0

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, rows: Tensor) -> Streams:
        chosen = object.__new__(Streams)
        chosen._keys, chosen._drawn = self._keys[rows], self._drawn
        return chosen

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """Uniform numbers in [0, 1), float32 (N, *shape): multiples of 2^-24."""
        count = math.prod(shape)
        counter = torch.arange(self._drawn, self._drawn + count, device=self._keys.device)
        self._drawn += count
        mixed = _mix(self._keys[:, None] + counter * _GOLDEN)
        return (_shift(mixed, 40).float() * 2.0**-24).view(-1, *shape)

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Standard normal numbers, float32 (N, *shape), by Box and Muller's transform."""
        radius = (-2 * (1 - self.uniform(shape)).log()).sqrt()
        return radius * (2 * math.pi * self.uniform(shape)).cos()

    def integers(self, high: int, shape: tuple[int, ...]) -> Tensor:
        """Whole numbers from 0 to high - 1, int64 (N, *shape)."""
        return (self.uniform(shape).double() * high).long()


def draw_seed(rng: torch.Generator) -> int:
    """The generator's next 62-bit seed.  Raises `ParameterError` for anything but a generator on the CPU."""
    if not isinstance(rng, torch.Generator) or rng.device.type != "cpu":
        given = f"one on {rng.device}" if isinstance(rng, torch.Generator) else f"{type(rng).__name__}"
        raise ParameterError(f"rng must be a generator on the CPU, as randomness.generator makes one, got {given}.")
    return int(torch.randint(0, 1 << 62, (), generator=rng))
