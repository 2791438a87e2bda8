"""Spectra of known Fourier pairs, Parseval's equation, and what white noise must look like."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from foolscope.errors import InputError
from foolscope.explain.frequencies import Bins, axis
from foolscope.explain.spectrum import noise_spectrum, power_spectrum, white_noise
from foolscope.measure import mean_interval
from foolscope.norms import l2
from foolscope.randomness import generator
from tests.explain.networks import random


def wave(height: int, width: int, rows: int, columns: int, phase: float = 0.3) -> Tensor:
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.cos(2 * math.pi * (rows * y / height + columns * x / width) + phase)[None, None]


def peaks(power: Tensor, vertical: Tensor, horizontal: Tensor) -> dict[tuple[float, float], float]:
    places = (power > 1e-9).nonzero().tolist()
    return {(vertical[r].item(), horizontal[c].item()): power[r, c].item() for r, c in places}


@pytest.mark.parametrize(("rows", "columns"), [(0, 3), (2, 0), (3, 1), (-2, 3)])
def test_a_wave_has_two_frequencies(rows: int, columns: int) -> None:
    """cos has the power H W / 4 at f and at -f under the unitary transform."""
    height, width = 12, 10
    found = power_spectrum(0.2 * wave(height, width, rows, columns))
    expected = {(s * rows / height, s * columns / width): 0.04 * height * width / 4 for s in (1, -1)}
    assert peaks(found.power[0], found.vertical, found.horizontal) == pytest.approx(expected)


def test_pairs_at_the_edges_of_the_plane() -> None:
    """A constant is frequency 0, a chessboard the corner, a single pixel all frequencies alike."""
    constant = power_spectrum(torch.full((1, 1, 6, 8), 0.5))
    assert peaks(constant.power[0], constant.vertical, constant.horizontal) == pytest.approx({(0, 0): 0.25 * 48})
    chess = power_spectrum(wave(6, 8, 3, 4, phase=0.0))
    assert peaks(chess.power[0], chess.vertical, chess.horizontal) == pytest.approx({(-0.5, -0.5): 48})
    pixel = torch.zeros(1, 2, 6, 8)
    pixel[0, 1, 2, 3] = 0.7
    torch.testing.assert_close(power_spectrum(pixel).power[1], torch.full((6, 8), 0.49 / 48, dtype=torch.float64))


@given(
    count=st.integers(1, 4), channels=st.sampled_from([1, 3]), height=st.integers(1, 12), width=st.integers(1, 12),
    seed=st.integers(0, 2**32),
)  # fmt: skip
def test_parseval(count: int, channels: int, height: int, width: int, seed: int) -> None:
    noise = random(count, channels, height, width, seed=seed) - 0.4
    found = power_spectrum(noise)
    energy = noise.double().square().flatten(1).sum(1)
    torch.testing.assert_close(found.energy, energy, atol=1e-9, rtol=1e-9)
    assert float(found.power.sum()) == pytest.approx(energy.mean().item())
    assert float((found.radial.mean * found.radial.members).sum() * channels) == pytest.approx(energy.mean().item())
    assert int(found.radial.members.sum()) == height * width


def test_rings_and_directions_hold_what_they_say() -> None:
    height, width = 8, 12
    vertical, horizontal = axis(height).double() / height, axis(width).double() / width
    rings, directions = Bins.rings(vertical, horizontal), Bins.directions(vertical, horizontal)
    assert rings.coordinate.tolist() == pytest.approx([k / 8 for k in range(7)])
    assert directions.coordinate.tolist() == pytest.approx([15 * k for k in range(12)])
    places = torch.zeros(height, width, dtype=torch.int64).flatten()
    for place, (row, column) in enumerate(torch.cartesian_prod(vertical, horizontal).tolist()):
        far = math.hypot(row, column)
        assert abs(rings.coordinate[rings.index[place]].item() - far) <= 0.5 / 8 + 1e-12
        places[place] = directions.index[place]
        if far == 0 or far > 0.5:
            assert directions.index[place] == -1
            continue
        apart = (math.degrees(math.atan2(row, column)) - directions.coordinate[directions.index[place]].item()) % 180
        assert min(apart, 180 - apart) <= 7.5 + 1e-9
    values = random(2, height, width)
    for bins in (rings, directions):
        for number, mean in enumerate(bins.means(values)[1].tolist()):
            assert mean == pytest.approx(values[1].flatten()[bins.index == number].mean().item(), rel=1e-5)


@pytest.mark.parametrize(("rows", "columns", "degrees"), [(0, 3, 0), (3, 0, 90), (2, 2, 45), (2, -2, 135)])
def test_a_waves_direction(rows: int, columns: int, degrees: int) -> None:
    found = power_spectrum(wave(16, 16, rows, columns)).angular
    assert found.coordinate[found.mean.argmax()] == degrees
    assert found.unit == "degrees"


def test_intervals_are_over_the_samples() -> None:
    noise = random(9, 3, 8, 8) - 0.5
    found = power_spectrum(noise)
    alone = torch.stack([power_spectrum(noise[i : i + 1]).radial.mean for i in range(9)])
    expected = mean_interval(alone[:, 2])
    have = (found.radial.mean[2], found.radial.low[2], found.radial.high[2])
    assert [x.item() for x in have] == pytest.approx([expected.value, expected.low, expected.high])
    assert found.radial.samples == 9
    assert found.mean_energy.value == pytest.approx(noise.square().flatten(1).sum(1).mean().item(), rel=1e-6)
    assert power_spectrum(noise[:1]).radial.low.tolist() == [-math.inf] * len(found.radial.mean)


def test_white_noise_of_the_same_norm_is_flat() -> None:
    noise = (random(40, 3, 16, 16) - 0.5) * torch.linspace(0.1, 1, 40)[:, None, None, None]
    found = noise_spectrum(noise)
    torch.testing.assert_close(found.white.energy, found.noise.energy, rtol=1e-5, atol=0)
    level = found.noise.energy.mean().item() / (3 * 16 * 16)
    assert float(found.white.radial.mean[3:].sub(level).abs().max()) < 0.2 * level
    assert found.images is None
    inside = (found.white.radial.low <= level) & (level <= found.white.radial.high)
    assert int(inside.sum()) >= 0.7 * len(inside)


def test_images_lie_beside_the_noise() -> None:
    noise, images = random(3, 1, 8, 8, seed=2) - 0.5, random(3, 1, 8, 8)
    found = noise_spectrum(noise, images)
    assert found.images is not None
    assert torch.equal(found.images.power, power_spectrum(images).power)
    assert torch.equal(found.noise.power, power_spectrum(noise).power)


def test_the_seed_decides_white_noise_and_each_sample_has_its_own() -> None:
    like = random(4, 3, 6, 6)
    first = white_noise(like, generator(3))
    assert torch.equal(first, white_noise(like, generator(3)))
    assert torch.equal(first[2:3], white_noise(like[2:3], generator(3)))
    assert not torch.equal(first, white_noise(like, generator(4)))
    torch.testing.assert_close(l2.length(first), l2.length(like))


def test_no_noise_has_no_power() -> None:
    found = noise_spectrum(torch.zeros(2, 1, 5, 5))
    assert found.noise.power.abs().sum() == 0
    assert found.white.radial.mean.tolist() == found.noise.radial.mean.tolist()


def test_large_noise_is_worked_on_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = random(5, 1, 6, 6)
    expected = power_spectrum(noise)
    monkeypatch.setattr("foolscope.explain.spectrum._CHUNK_VALUES", 80)
    found = power_spectrum(noise)
    torch.testing.assert_close(found.power, expected.power)
    torch.testing.assert_close(found.radial.low, expected.radial.low)


def test_bad_input() -> None:
    with pytest.raises(
        InputError,
        match=r"^noise must be a float tensor \(N, C, H, W\) of at least one sample, got "
        r"torch\.float32 \(0, 1, 4, 4\)\.$",
    ):
        noise_spectrum(torch.zeros(0, 1, 4, 4))
    with pytest.raises(InputError, match=r"^noise must be finite: sample 1 has NaN or infinite values\.$"):
        noise_spectrum(torch.tensor([0.0, math.nan]).view(2, 1, 1, 1))
    with pytest.raises(InputError, match=r"^images must have the noise's shape \(2, 1, 4, 4\), got \(1, 1, 4, 4\)\.$"):
        noise_spectrum(torch.zeros(2, 1, 4, 4), torch.zeros(1, 1, 4, 4))
