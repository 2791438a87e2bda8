"""Streams: every image has its own numbers, whatever stands beside it, and they are random."""

from __future__ import annotations

import math
import re
import struct
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from foolscope.data import load_data
from foolscope.errors import ParameterError
from foolscope.randomness import MAX_SEED, Streams, draw_seed, generator, step_seed

SHAPE = (3, 4, 5)


def pictures(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, *SHAPE, generator=generator(seed))


def every(streams: Streams) -> list[Tensor]:
    """Numbers of every kind, in this order."""
    drawn = [streams.uniform((7,)), streams.normal((2, 3)), streams.uniform(()), streams.integers(1000, (5,))]
    assert [tuple(numbers.shape[1:]) for numbers in drawn] == [(7,), (2, 3), (), (5,)]
    return drawn


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**62 - 1), st.integers(1, 6), st.randoms(use_true_random=False))
def test_a_batch_draws_what_its_images_draw_alone(seed: int, count: int, shuffle: Any) -> None:
    images = pictures(count, seed % 1000)
    batch = every(Streams(seed, images))
    order = list(range(count))
    shuffle.shuffle(order)
    shuffled = every(Streams(seed, images[order]))
    for i in range(count):
        for numbers, alone in zip(batch, every(Streams(seed, images[i : i + 1])), strict=True):
            assert torch.equal(numbers[i : i + 1], alone)
    for numbers, others in zip(batch, shuffled, strict=True):
        assert torch.equal(numbers[order], others)


def test_selected_streams_go_on_where_they_were() -> None:
    images = pictures(5)
    streams = Streams(3, images)
    streams.uniform((4,))
    rows = torch.tensor([True, False, True, False, True])
    chosen, rest = streams[rows], streams.uniform((6,))
    assert len(streams) == 5
    assert len(chosen) == 3
    assert torch.equal(chosen.uniform((6,)), rest[rows])
    assert not torch.equal(chosen.uniform((6,)), rest[rows])


def test_the_same_seed_and_image_give_the_same_bits_whatever_the_layout() -> None:
    images = pictures(4)
    first = every(Streams(9, images))
    for again in (images.clone(), images.contiguous(memory_format=torch.channels_last), images.requires_grad_()):
        for numbers, others in zip(first, every(Streams(9, again)), strict=True):
            assert torch.equal(numbers, others)


GOLDEN, MIX_1, MIX_2, ALL = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 2**64 - 1


def splitmix(x: int) -> int:
    """The finalizer of Steele, Lea and Flood 2014, Figure 14 with Stafford's constants, in Python's own integers."""
    x &= ALL
    x = ((x ^ (x >> 30)) * MIX_1) & ALL
    x = ((x ^ (x >> 27)) * MIX_2) & ALL
    return x ^ (x >> 31)


@pytest.mark.parametrize("seed", [0, 9, 2**62 - 1])
def test_numbers_are_those_of_splitmix(seed: int) -> None:
    """So they stay the same on every machine and in every release: results that were published are found again."""
    images = torch.tensor([0.0, 1.0, 0.3, 2.0**-140]).view(1, 1, 2, 2)
    bits = struct.unpack("<4i", struct.pack("<4f", *images.flatten().tolist()))
    content = sum(splitmix(value * GOLDEN + position * MIX_1) for position, value in enumerate(bits))
    key = splitmix(content + seed * GOLDEN)
    expected = [splitmix(key + counter * GOLDEN) >> 40 for counter in range(9)]
    streams = Streams(seed, images)
    drawn = torch.cat([streams.uniform((4,)), streams.uniform((5,))], 1)
    assert (drawn * 2**24).long().tolist() == [expected]


def test_an_attack_wants_a_generator_and_not_a_seed() -> None:
    message = "rng must be a generator on the CPU, as randomness.generator makes one, got int."
    with pytest.raises(ParameterError, match=f"^{re.escape(message)}$"):
        draw_seed(3)  # type: ignore[arg-type]


def test_no_numbers_and_no_images() -> None:
    assert Streams(1, pictures(0)).uniform(SHAPE).shape == (0, *SHAPE)
    assert Streams(1, pictures(0)).normal((2,)).shape == (0, 2)


@pytest.mark.parametrize("seed", [0, 1, 2**62 - 1])
def test_uniform_numbers_are_uniform(seed: int) -> None:
    """Moments, 24 bits, neighbors within a stream, and the same place of neighboring streams."""
    numbers = Streams(seed, pictures(400)).uniform((1000,))
    count = numbers.numel()
    assert numbers.dtype == torch.float32
    assert numbers.min() >= 0 and numbers.max() < 1
    wide = numbers.double()
    assert abs(float(wide.mean()) - 0.5) < 4 * math.sqrt(1 / 12 / count)
    assert abs(float(wide.var()) - 1 / 12) < 4 * math.sqrt(1 / 180 / count)
    levels = (wide * 2**24).long()
    assert torch.equal(levels.double() / 2**24, wide), "multiples of 2^-24"
    for bit in range(24):
        ones = int((levels >> bit & 1).sum())
        assert abs(ones - count / 2) < 4.5 * math.sqrt(count / 4), f"bit {bit}"
    bins = (wide * 256).long().flatten().bincount(minlength=256)
    assert stats.chisquare(bins.numpy()).pvalue > 1e-4
    centered = wide - 0.5
    for lag in (1, 2, 7):
        within = (centered[:, :-lag] * centered[:, lag:]).mean() * 12
        across = (centered[:-lag] * centered[lag:]).mean() * 12
        assert abs(float(within)) < 4.5 / math.sqrt(count)
        assert abs(float(across)) < 4.5 / math.sqrt(count)


def test_normal_numbers_are_normal() -> None:
    numbers = Streams(5, pictures(300)).normal((1000,)).double()
    count = numbers.numel()
    assert numbers.isfinite().all()
    for power, mean, spread in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]:
        assert abs(float(numbers.pow(power).mean()) - mean) < 4 * math.sqrt(spread / count)
    sample = numbers.flatten()[:20_000].numpy()
    assert stats.kstest(sample, "norm").pvalue > 1e-4


@pytest.mark.parametrize("high", [1, 2, 10, 997])
def test_integers_are_uniform(high: int) -> None:
    numbers = Streams(6, pictures(200)).integers(high, (500,))
    assert numbers.dtype == torch.int64
    assert int(numbers.min()) == 0 and int(numbers.max()) == high - 1
    if high > 1:
        assert stats.chisquare(numbers.flatten().bincount(minlength=high).numpy()).pvalue > 1e-4


def test_images_that_are_nearly_equal_share_nothing() -> None:
    """One bit of one value, two values exchanged, or one shifted row: another stream."""
    base = torch.zeros(1, *SHAPE)
    variants = [base]
    flat = base.flatten()
    for position in range(flat.numel()):
        one = flat.clone()
        one[position] = 2.0**-149  # the lowest bit
        variants.append(one.view_as(base))
    rows = pictures(1, 4)
    variants += [rows, rows.roll(1, 2), rows.roll(1, 3), rows.flip(1)]
    for seed in (0, 1):
        keys = Streams(seed, torch.cat(variants))
        first = keys.uniform((2,))
        assert len({tuple(pair) for pair in first.tolist()}) == len(variants)


def test_many_images_and_seeds_do_not_collide() -> None:
    """20,000 8-bit images of two values: all keys differ, and so they do between seeds."""
    levels = torch.cartesian_prod(torch.arange(200), torch.arange(100)).float() / 255
    keys = [Streams(seed, levels.view(-1, 1, 1, 2))._keys for seed in range(3)]
    assert len(set(torch.cat(keys).tolist())) == 3 * len(levels)


def test_generators_and_seeds() -> None:
    first, again = generator(4), generator(4)
    seeds = [draw_seed(first) for _ in range(100)]
    assert seeds == [draw_seed(again) for _ in range(100)]
    assert len(set(seeds)) == 100
    assert all(0 <= seed < 2**62 for seed in seeds)
    assert max(seeds) > 2**60
    state = torch.get_rng_state()
    draw_seed(generator(1))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("seed", [-1, 2**63, 10**20])
def test_seeds_that_torch_cannot_take(seed: int) -> None:
    message = f"seed must be between 0 and 9223372036854775807 (2^63 - 1), got {seed}."
    with pytest.raises(ParameterError, match=f"^{re.escape(message)}$"):
        generator(seed)
    with pytest.raises(ParameterError, match=f"^{re.escape(message)}$"):
        load_data("digits", seed=seed)


@given(st.integers(0, MAX_SEED), st.sampled_from([100_003, 1_000_003]), st.integers(0, 10**9))
def test_the_seed_of_a_step_is_what_torch_takes(seed: int, factor: int, step: int) -> None:
    found = step_seed(seed, factor, step)
    assert torch.Generator().manual_seed(found).initial_seed() % 2**64 == found
    assert (found - seed * factor - step) % 2**64 == 0
    if seed < 10**12:
        assert found == seed * factor + step, "trainings with small seeds keep their bits"
