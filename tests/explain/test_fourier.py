"""Fourier heat maps of networks that read one frequency, ideal filters, and bands of a noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from foolscope.attacks import PGD, Untargeted
from foolscope.data import ImageSet, load_data
from foolscope.errors import Cancelled, InputError, ParameterError
from foolscope.explain.fourier import (
    BANDS,
    band_accuracy,
    band_passed,
    fourier_basis,
    fourier_heatmap,
    noise_bands,
)
from foolscope.explain.frequencies import CORNER, Band, HalfPlane, axis, filtered
from foolscope.images import to_uint8
from foolscope.measure import Proportion, mean_interval
from foolscope.models import load_model
from foolscope.models.engine import Engine
from foolscope.norms import l2
from tests.attacks.cases import trained
from tests.explain.networks import random

SIDE = 9


def imageset(images: Tensor, labels: Tensor, classes: int = 2) -> ImageSet:
    return ImageSet(
        name="made", split="test", pixels=to_uint8(images), labels=labels, num_classes=classes, digest="0" * 64,
        total=len(images),
    )  # fmt: skip


class Reader(nn.Module):
    """Class 1 where the image's part at one frequency is longer than a half, else class 0."""

    waves: Tensor

    def __init__(self, rows: int, columns: int, side: int = SIDE) -> None:
        super().__init__()
        y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        angle = 2 * math.pi * (rows * y + columns * x) / side
        self.register_buffer("waves", torch.stack([angle.cos(), angle.sin()]).flatten(1).T / side)

    def forward(self, images: Tensor) -> Tensor:
        found = (images.flatten(2) @ self.waves).square().sum((1, 2))
        return torch.stack([torch.full_like(found, 0.25), found], 1)


@pytest.mark.parametrize(("rows", "columns"), [(0, 2), (3, 1), (-2, 4)])
def test_a_network_that_reads_one_frequency_errs_there_and_nowhere_else(rows: int, columns: int) -> None:
    data = imageset(torch.full((3, 3, SIDE, SIDE), 0.5), torch.zeros(3).long())
    found = fourier_heatmap(Reader(rows, columns), data, norm=1.0)
    middle = SIDE // 2
    expected = torch.zeros(SIDE, SIDE, dtype=torch.int64)
    for sign in (1, -1):
        expected[middle + sign * rows, middle + sign * columns] = 3
    assert torch.equal(found.errors, expected)
    assert found.at(middle + rows, middle + columns) == Proportion(3, 3)
    assert found.clean == Proportion(0, 3)
    assert found.vertical.tolist() == pytest.approx([k / SIDE for k in range(-4, 5)])
    ring = round(math.hypot(rows, columns))
    assert found.radial.coordinate[found.radial.mean > 0].tolist() == pytest.approx([ring / SIDE])
    assert float((found.radial.mean * found.radial.members).sum()) == pytest.approx(2)


def test_the_norm_is_that_of_every_channel_and_is_honored() -> None:
    """The wave's part is norm / sqrt(2) long in each channel, at a phase of pi / 4: 3 norm^2 / 2 in all."""
    data = imageset(torch.full((4, 3, SIDE, SIDE), 0.5), torch.zeros(4).long())
    least = math.sqrt(0.25 / 1.5)
    for norm, wrong in ((0.98 * least, 0), (1.02 * least, 4)):
        assert int(fourier_heatmap(Reader(1, 2), data, norm=norm).errors.max()) == wrong


class Recording(nn.Module):
    """Keeps what it is shown."""

    differentiable = False  # so that the engine runs it and not a copy

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.shown.append(images.clone())
        return images.mean((2, 3))[:, :2]


def test_waves_are_those_of_the_basis_with_signs_for_each_image_and_channel() -> None:
    images = torch.full((6, 3, 8, 10), 0.5) + 0.01 * torch.arange(6).view(6, 1, 1, 1)
    model, data = Recording(), imageset(images, torch.zeros(6).long())
    found = fourier_heatmap(model, data, norm=0.7)
    assert found.errors.shape == (7, 9)  # without Nyquist
    half = HalfPlane.of(8, 10, axis(8, reach=3), axis(10, reach=4))
    assert len(model.shown) == len(half) + 1 == 33
    every = []
    for number, shown in enumerate(model.shown[:-1]):
        added = shown - data.images
        torch.testing.assert_close(l2.length(added.flatten(0, 1)), torch.full((18,), 0.7), atol=1e-5, rtol=0)
        signs = (added * fourier_basis(half, number)).sum((2, 3)) / 0.7
        torch.testing.assert_close(signs.abs(), torch.ones(6, 3), atol=1e-5, rtol=0)
        every.append(signs)
    assert abs(float(torch.stack(every).mean())) < 4 / math.sqrt(32 * 18)


def test_the_basis_has_norm_1_and_two_frequencies() -> None:
    half = HalfPlane.of(6, 7, axis(6), axis(7))
    for number in range(len(half)):
        wave = fourier_basis(half, number).double()
        assert float(wave.square().sum()) == pytest.approx(1, abs=1e-6)
        row, column = half.cycles[number].tolist()
        power = torch.fft.fft2(wave, norm="ortho").abs().square()
        assert float(power[row, column] + power[-row % 6, -column % 7]) >= 1 - 1e-6


def test_a_heat_map_is_that_of_its_images_and_its_seed() -> None:
    model, data = load_model("lenet"), load_data("digits", limit=6)
    together = fourier_heatmap(model, data, norm=4.0, reach=2)
    alone = [fourier_heatmap(model, data.rows(slice(i, i + 1)), norm=4.0, reach=2).errors for i in range(6)]
    assert torch.equal(together.errors, torch.stack(alone).sum(0))
    assert together.errors.shape == (5, 5)
    assert torch.equal(together.errors, together.errors.flip(0, 1))
    assert together.rate.max() <= 1


def test_clipping_is_asked_for_and_told() -> None:
    model, data = Recording(), imageset(torch.ones(2, 3, 5, 5), torch.zeros(2).long())
    assert fourier_heatmap(model, data, norm=3.0, reach=1, clip=True).clipped
    assert max(float(shown.max()) for shown in model.shown) == 1
    assert not fourier_heatmap(model, data, norm=3.0, reach=1).clipped
    assert max(float(shown.max()) for shown in model.shown) > 1


def test_progress_and_cancelling() -> None:
    seen: list[tuple[int, int]] = []

    def watch(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 3:
            raise Cancelled

    data = imageset(torch.full((1, 3, SIDE, SIDE), 0.5), torch.zeros(1).long())
    with pytest.raises(Cancelled):
        fourier_heatmap(Reader(1, 1), data, norm=1.0, watch=watch)
    assert seen == [(1, 41), (2, 41), (3, 41)]


def test_bands_are_a_partition() -> None:
    noise = random(2, 3, 11, 8) - 0.5
    parts = [filtered(noise, band) for band in BANDS]
    torch.testing.assert_close(torch.stack(parts).sum(0), noise, atol=1e-6, rtol=0)
    energies = torch.stack([l2.length(part).square() for part in parts])
    torch.testing.assert_close(energies.sum(0), l2.length(noise).square())  # they are orthogonal
    assert torch.stack([band.mask(11, 8) for band in BANDS]).sum(0).tolist() == torch.ones(11, 8).tolist()


def test_a_filter_keeps_the_waves_in_its_band() -> None:
    y, x = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    slow, fast = (0.2 * torch.cos(2 * math.pi * (k * y + x) / 16)[None, None] for k in (1, 6))
    images = 0.5 + slow + fast
    torch.testing.assert_close(band_passed(images, Band(0, 0.25)), 0.5 + slow, atol=1e-5, rtol=0)
    torch.testing.assert_close(band_passed(images, Band(0.25)), 0.5 + fast, atol=1e-5, rtol=0)
    torch.testing.assert_close(band_passed(images, Band()), images, atol=1e-5, rtol=0)
    constant = torch.full((1, 3, 8, 8), 0.3)
    torch.testing.assert_close(band_passed(constant, Band(0.25)), constant)


def test_accuracy_in_bands() -> None:
    """A network that reads one frequency is right where that is left, and only there."""
    waves = fourier_basis(HalfPlane.of(SIDE, SIDE, torch.tensor([0]), torch.tensor([3])), 0)
    images = 0.5 + 2.0 * waves.expand(4, 3, SIDE, SIDE)
    data = imageset(images, torch.ones(4).long())
    found = band_accuracy(Reader(0, 3), data)
    assert [result.band for result in found] == list(BANDS)
    assert [result.accuracy for result in found] == [Proportion(4 * right, 4) for right in (0, 0, 0, 1)]


def test_the_band_that_fools_is_found() -> None:
    """Noise of two waves, of which the network reads the fast one."""
    grid = HalfPlane.of(SIDE, SIDE, torch.tensor([0]), torch.tensor([1, 3]))
    slow, fast = (fourier_basis(grid, number).expand(3, 3, SIDE, SIDE) for number in (0, 1))
    originals = torch.full((3, 3, SIDE, SIDE), 0.5)
    noise = 2 * slow + torch.tensor([1.0, 1.0, 0.1])[:, None, None, None] * fast  # the third fools nobody
    labels = torch.tensor([0, 0, 0])
    bands = (Band(0, 0.2), Band(0.2, CORNER))
    found = noise_bands(Reader(0, 3), originals, originals + noise, labels, bands)
    assert [result.fooled for result in found] == [Proportion(0, 2), Proportion(2, 2)]
    assert [result.energy.value for result in found] == pytest.approx([0.8, 0.2], abs=1e-5)
    weak = noise_bands(Reader(0, 3), originals, originals + 0.5 * noise[:1] + 0 * noise, labels, bands)
    assert [result.fooled.trials for result in weak] == [3, 3]
    both = [
        noise_bands(Reader(0, 3), originals[:1], originals[:1] + 0.5 * noise[:1], labels[:1], bands, renormalize=flag)
        for flag in (False, True)
    ]
    assert [[result.renormalized for result in results] for results in both] == [[False] * 2, [True] * 2]


def test_renormalizing_gives_a_band_the_whole_noises_length() -> None:
    model, grid = Recording(), HalfPlane.of(SIDE, SIDE, torch.tensor([0]), torch.tensor([1, 3]))
    originals = torch.full((2, 3, SIDE, SIDE), 0.5)
    originals[:, 0] = 0.6  # class 0
    noise = (0.3 * fourier_basis(grid, 0) + 0.1 * fourier_basis(grid, 1)).expand(2, 3, SIDE, SIDE).clone()
    noise[:, 0] -= 0.3  # class 1
    noise_bands(model, originals, originals + noise, torch.zeros(2).long(), (Band(0.2),), renormalize=True)
    torch.testing.assert_close(l2.length(model.shown[-1] - originals), l2.length(noise))


def test_adversarial_noise_of_a_trained_network() -> None:
    problem = trained()
    right = (Engine(problem.model).predict(problem.images) == problem.labels).nonzero()[:40, 0]
    images, labels = problem.images[right], problem.labels[right]
    result = PGD(eps=2.0, norm="l2", steps=10)(problem.model, images, Untargeted(labels))
    found = noise_bands(problem.model, images, result.images, labels, (*BANDS, Band()))
    fooled = int(result.success.sum())
    assert fooled > 10
    assert found[-1].fooled == Proportion(fooled, fooled)
    assert found[-1].energy.value == pytest.approx(1)
    assert sum(result.energy.value for result in found[:-1]) == pytest.approx(1)
    noise = (result.images - images)[result.success]
    share = (l2.length(filtered(noise, BANDS[1])) / l2.length(noise)).square()
    assert found[1].energy.low == pytest.approx(mean_interval(share).low, rel=1e-4)


def test_nothing_fooled_is_no_samples() -> None:
    originals = torch.full((2, 3, SIDE, SIDE), 0.5)
    found = noise_bands(Reader(0, 3), originals, originals, torch.zeros(2).long())
    assert [result.fooled for result in found] == [Proportion(0, 0)] * 4
    assert np.isnan([result.energy.value for result in found]).all()


def test_bad_input() -> None:
    data = imageset(torch.full((1, 3, SIDE, SIDE), 0.5), torch.zeros(1).long())
    with pytest.raises(
        ParameterError,
        match=r"^norm must be above 0: 4 is usual for 32 x 32 pixels, 15\.7 for 224 x 224; "
        r"got 0\.$",
    ):
        fourier_heatmap(Reader(1, 1), data, norm=0)
    with pytest.raises(
        ParameterError,
        match=r"^reach must be between 0 and 4 cycles a side for images of 9 pixels, got "
        r"5: more is above the Nyquist frequency, 0\.5 cycles per pixel\.$",
    ):
        fourier_heatmap(Reader(1, 1), data, norm=1, reach=5)
    with pytest.raises(InputError, match=r"^a Fourier heat map needs at least one image, made has none\.$"):
        fourier_heatmap(Reader(1, 1), data.rows(slice(0, 0)), norm=1)
    with pytest.raises(
        ParameterError,
        match=r"^a band needs 0 <= low < high <= 0\.7071 cycles per pixel \(the corner of "
        r"the plane; Nyquist is 0\.5 along an axis\), got 0\.2 to 0\.8\.$",
    ):
        Band(0.2, 0.8)
    with pytest.raises(
        InputError,
        match=r"^adversarial images must have the originals' shape \(1, 3, 9, 9\), got "
        r"\(2, 3, 9, 9\)\.$",
    ):
        noise_bands(Reader(1, 1), data.images, data.images.repeat(2, 1, 1, 1), data.labels)
    with pytest.raises(InputError, match=r"^lenet takes images of 1 x 28 x 28 \(channels x height x width\), got 3 x "):
        fourier_heatmap(load_model("lenet"), data, norm=1)
    assert str(Band(0, 0.25)) == "0.000 to 0.250 cycles per pixel"
