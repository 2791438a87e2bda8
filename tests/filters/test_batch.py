"""`apply`: batches, parameters for each image, chunks, threads and gradients."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from foolscope import filters
from foolscope.errors import InputError
from foolscope.filters import AGV_B, FILTERS, Juno, batch
from foolscope.randomness import generator
from tests.filters.pictures import pictures

ALL = list(FILTERS)


@pytest.fixture(params=[1, 2], ids=["1-thread", "2-threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def drawn(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Strengths and intensities (10, count) of all filters, some of the strengths 0."""
    strength, intensity = torch.rand(2, len(ALL), count, generator=generator(seed))
    return torch.where(strength < 0.1, torch.zeros_like(strength), strength), 0.6 + 0.8 * intensity


def test_parameters_for_each_image_are_those_of_the_image_alone() -> None:
    images, (strength, intensity) = pictures(12), drawn(12)
    together = filters.apply(ALL, strength, intensity, images)
    for i in range(12):
        alone = filters.apply(ALL, strength[:, i], intensity[:, i], images[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=2e-5)


def test_all_ways_to_give_parameters_agree() -> None:
    images, names = pictures(5), ["juno", "clarendon", "lark"]
    numbers: tuple[list[float], list[float]] = ([0.5, 0.0, 1.0], [1.25, 0.75, 1.0])
    expected = filters.apply(names, *numbers, images)
    ways: list[Any] = [
        tuple(torch.tensor(row) for row in numbers),
        tuple(torch.tensor(row)[:, None].expand(3, 5) for row in numbers),
        tuple([torch.full((5,), value) for value in row] for row in numbers),
        tuple([torch.tensor(value, dtype=torch.float64) for value in row] for row in numbers),
    ]
    for strength, intensity in ways:
        for kinds in (names, [FILTERS[name] for name in names]):
            found = filters.apply(kinds, strength, intensity, images)
            assert found.dtype == torch.float32
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_order_matters() -> None:
    images = pictures()
    first = filters.apply(["juno", "gingham"], [1.0, 1.0], [1.0, 1.0], images)
    assert float((first - filters.apply(["gingham", "juno"], [1.0, 1.0], [1.0, 1.0], images)).abs().mean()) > 0.01


def test_no_filters_give_the_images() -> None:
    images = pictures()
    assert torch.equal(filters.apply([], [], [], images), images)
    assert torch.equal(filters.apply([], torch.zeros(0, 6), torch.zeros(0, 6), images), images)


def test_chunks_change_the_result_by_rounding_at_most(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    images, (strength, intensity) = pictures(14), drawn(14)
    results = []
    for values in (1, 2 * images[0].numel(), 5 * images[0].numel(), images.numel()):
        monkeypatch.setattr(batch, "_CHUNK_VALUES", values)
        results.append(filters.apply(ALL, strength, intensity, images))
        assert torch.get_num_threads() == threads
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=0, atol=2e-5)


@pytest.mark.parametrize("chunk", [2, 14], ids=["chunks", "one-chunk"])
def test_threads_change_no_bit(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    images, (strength, intensity) = torch.rand(14, 3, 64, 64, generator=generator(0)), drawn(14)
    monkeypatch.setattr(batch, "_CHUNK_VALUES", chunk * images[0].numel())
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(filters.apply(ALL, strength, intensity, images))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_threads_are_given_back_after_an_error(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(canvas: object, a: object) -> None:
        raise RuntimeError("no paint")

    monkeypatch.setattr(batch, "_CHUNK_VALUES", 1)
    monkeypatch.setattr(Juno, "paint", staticmethod(fail))
    with pytest.raises(RuntimeError, match="no paint"):
        filters.apply(["juno"], [1.0], [1.0], pictures())
    assert torch.get_num_threads() == threads


def test_a_batch_gives_what_its_images_give_alone() -> None:
    images = pictures(9, height=32, width=32)
    alone = torch.cat([AGV_B(image[None]) for image in images])
    torch.testing.assert_close(AGV_B(images), alone, rtol=0, atol=2e-6)


def test_the_images_are_left_alone_and_other_layouts_taken() -> None:
    images, (strength, intensity) = pictures(7), drawn(7)
    expected, before = filters.apply(ALL, strength, intensity, images), images.clone()
    assert torch.equal(images, before)
    last = images.contiguous(memory_format=torch.channels_last)
    turned = images.transpose(2, 3).contiguous().transpose(2, 3)
    for other in (last, turned, torch.cat([images, images], 3)[..., : images.shape[3]]):
        found = filters.apply(ALL, strength, intensity, other)
        assert torch.equal(found, expected)
    assert filters.apply(ALL, strength[:, :0], intensity[:, :0], images[:0]).shape == (0, *images.shape[1:])


@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 1, 7), (3, 2, 3)])
def test_tiny_images(shape: tuple[int, int, int]) -> None:
    images = pictures(6, *shape)
    strength, intensity = drawn(6)
    fast = filters.apply(ALL, strength, intensity, images)
    slow = filters.apply(ALL, strength.requires_grad_(), intensity, images).detach()
    torch.testing.assert_close(fast, slow, rtol=0, atol=2e-5)


def test_one_black_image_among_others() -> None:
    """Its extrema and mean are 0: divisions and logarithms must not reach the others, nor NaN it."""
    images = pictures(3)
    images[1] = 0
    strength, intensity = drawn(3, seed=1)
    out = filters.apply(ALL, strength, intensity, images)
    assert out.isfinite().all()
    alone = filters.apply(ALL, strength[:, :1], intensity[:, :1], images[:1])
    torch.testing.assert_close(out[:1], alone, rtol=0, atol=2e-5)


@pytest.mark.parametrize("of", ["images", "strength", "intensity"])
def test_gradients_flow_and_the_images_are_those_without(of: str) -> None:
    images, (strength, intensity) = pictures(6), drawn(6)
    expected = filters.apply(ALL, strength, intensity, images)
    given = {"images": images, "strength": strength, "intensity": intensity}
    given[of].requires_grad_()
    found = filters.apply(ALL, given["strength"], given["intensity"], given["images"])
    assert found.requires_grad
    torch.testing.assert_close(found.detach(), expected, rtol=0, atol=2e-5)
    (gradient,) = torch.autograd.grad(found.square().sum(), given[of])
    assert gradient.isfinite().all()
    assert (gradient != 0).any()
    with torch.no_grad():
        assert torch.equal(filters.apply(ALL, given["strength"], given["intensity"], given["images"]), expected)


@pytest.mark.parametrize("name", ALL)
def test_gradients_of_a_filter_are_those_of_finite_differences(name: str) -> None:
    images = (0.3 + 0.2 * torch.rand(2, 3, 4, 3, generator=generator(2))).double().requires_grad_()
    strength = torch.tensor([[0.6, 0.9]]).double().requires_grad_()
    intensity = torch.tensor([[0.93, 1.07]]).double().requires_grad_()

    def run(strength: Tensor, intensity: Tensor, images: Tensor) -> Tensor:
        return filters.apply([name], strength, intensity, images)

    assert torch.autograd.gradcheck(run, (strength, intensity, images), eps=1e-7, atol=1e-4)


def test_one_strength_for_all_images_takes_gradients() -> None:
    strength = torch.tensor([0.5, 0.7], requires_grad=True)
    found = filters.apply(["juno", "rise"], strength, [1.0, 1.0], pictures())
    (gradient,) = torch.autograd.grad(found.mean(), strength)
    mean, step = found.detach().mean(), 1e-3
    for i in range(2):
        moved = [0.5, 0.7]
        moved[i] += step
        rise = filters.apply(["juno", "rise"], moved, [1.0, 1.0], pictures()).mean() - mean
        assert float(gradient[i]) == pytest.approx(float(rise) / step, abs=1e-3)


def test_float64_stays() -> None:
    images, (strength, intensity) = pictures(4), drawn(4)
    found = filters.apply(ALL, strength, intensity, images.double())
    assert found.dtype == torch.float64
    torch.testing.assert_close(found.float(), filters.apply(ALL, strength, intensity, images), rtol=0, atol=2e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("gradients", [False, True])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype, gradients: bool) -> None:
    images, (strength, intensity) = pictures(4).to(dtype), drawn(4)
    expected = filters.apply(ALL, strength, intensity, images.float()).to(dtype)
    found = filters.apply(ALL, strength, intensity, images.requires_grad_(gradients))
    assert found.dtype == dtype
    torch.testing.assert_close(found.detach().float(), expected.float(), rtol=0, atol=torch.finfo(dtype).eps)
    if gradients:
        (gradient,) = torch.autograd.grad(found.float().square().sum(), images)
        assert gradient.dtype == dtype
        assert gradient.isfinite().all()
    else:
        assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("strength", "intensity", "images", "message"),
    [
        (
            [1.0],
            [1.0],
            torch.zeros(2, 3, 4),
            "images must be floats of shape (N, C, H, W) with C 1 or 3, got torch.float32, (2, 3, 4).",
        ),
        (
            [1.0],
            [1.0],
            torch.zeros(2, 3, 4, 4, dtype=torch.uint8),
            "images must be floats of shape (N, C, H, W) with C 1 or 3, got torch.uint8, (2, 3, 4, 4).",
        ),
        (
            [1.0],
            [1.0],
            torch.zeros(2, 2, 4, 4),
            "images must be floats of shape (N, C, H, W) with C 1 or 3, got torch.float32, (2, 2, 4, 4).",
        ),
        ([1.0, 1.0], [1.0], torch.zeros(2, 3, 4, 4), "1 filters need 1 values of strength, got 2."),
        ([1.0], torch.zeros(0), torch.zeros(2, 3, 4, 4), "1 filters need 1 values of intensity, got 0."),
        (
            torch.ones(1, 3),
            [1.0],
            torch.zeros(2, 3, 4, 4),
            "strength must be one number a filter or one a filter and image, got shape (3,).",
        ),
    ],
)
def test_other_shapes_are_refused(strength: Any, intensity: Any, images: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        filters.apply(["juno"], strength, intensity, images)
