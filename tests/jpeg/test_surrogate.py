"""The surrogate: Pillow's pixels without the codec, and the gradient of a smooth JPEG that is written twice."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy import fft
from skimage import data
from torch import Tensor

from foolscope import jpeg
from foolscope.images import from_uint8
from tests.jpeg.pictures import PILLOW, pictures, pillow

Array = NDArray[np.float64]
PHOTOGRAPHS: tuple[Callable[[], NDArray[np.uint8]], ...] = (data.astronaut, data.chelsea, data.coffee)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other make small steps slow where processors are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def crops(height: int, width: int, channels: int = 3) -> Tensor:
    """A piece of each photograph."""
    pieces = [photograph()[60 : 60 + height, 90 : 90 + width, :channels] for photograph in PHOTOGRAPHS]
    return from_uint8(np.stack(pieces))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("subsampling", jpeg.SUBSAMPLINGS)
def test_every_quality_gives_pillows_pixels(subsampling: str, channels: int) -> None:
    images = torch.cat([crops(21, 35, channels), pictures(3, channels, 21, 35)])
    for quality in range(1, 101):
        got, want = jpeg.surrogate(images, quality, subsampling), pillow(images, quality, subsampling)
        assert torch.equal(got, want), f"quality {quality}"


@settings(max_examples=80, deadline=None)
@given(
    count=st.integers(1, 3),
    channels=st.sampled_from([1, 3]),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    quality=st.integers(1, 100),
    subsampling=st.sampled_from(jpeg.SUBSAMPLINGS),
    seed=st.integers(0, 1000),
)
def test_any_size_gives_pillows_pixels(
    count: int, channels: int, height: int, width: int, quality: int, subsampling: str, seed: int
) -> None:
    images = pictures(count, channels, height, width, seed)
    assert torch.equal(jpeg.surrogate(images, quality, subsampling), pillow(images, quality, subsampling))


@pytest.mark.parametrize("subsampling", jpeg.SUBSAMPLINGS)
def test_narrow_images_whose_chroma_is_repeated_and_not_interpolated(subsampling: str) -> None:
    for height in (1, 2, 3, 17):
        for width in range(1, 8):
            images = pictures(3, 3, height, width)
            assert torch.equal(jpeg.surrogate(images, 80, subsampling), pillow(images, 80, subsampling))


@pytest.mark.parametrize("size", [(224, 224), (201, 187)])
@pytest.mark.parametrize("subsampling", jpeg.SUBSAMPLINGS)
def test_photographs(subsampling: str, size: tuple[int, int]) -> None:
    images = crops(*size)
    for quality in (10, 50, 75, 95):
        assert torch.equal(jpeg.surrogate(images, quality, subsampling), pillow(images, quality, subsampling))


@pytest.mark.parametrize("quality", [1, 5, 30, 75, 100])
def test_the_largest_coefficients_that_blocks_can_have(quality: int) -> None:
    """Black where a basis function is negative, white where it is positive: integers of 16 bits come near their end."""
    waves = np.stack([fft.idct(row, norm="ortho") for row in np.eye(8)])
    basis = torch.from_numpy(np.einsum("ux,vy->uvxy", waves, waves)).reshape(64, 1, 8, 8)
    images = (basis > 0).float()
    images = torch.cat([images, 1 - images])
    assert torch.equal(jpeg.surrogate(images, quality), pillow(images, quality, "444"))


@pytest.mark.parametrize("channels", [1, 3])
def test_layouts_and_batches(channels: int) -> None:
    images = pictures(130, channels, 32, 33)  # more than is worked on together
    want = jpeg.compress(images, 40)
    assert torch.equal(jpeg.surrogate(images, 40), want)
    last = jpeg.surrogate(images.contiguous(memory_format=torch.channels_last), 40)
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(last, want)
    assert torch.equal(jpeg.surrogate(images[::3].transpose(2, 3), 40), jpeg.compress(images[::3].transpose(2, 3), 40))
    assert torch.equal(jpeg.surrogate(images[:1].expand(4, -1, -1, -1), 40), want[:1].expand(4, -1, -1, -1))
    assert jpeg.surrogate(images[:0]).shape == (0, channels, 32, 33)


def test_it_needs_no_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    images = pictures(3, 3, 20, 20)
    want = jpeg.compress(images, 60)
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImportError):
        jpeg.compress(images, 60)
    assert torch.equal(jpeg.surrogate(images, 60), want)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("subsampling", jpeg.SUBSAMPLINGS)
def test_an_accelerator_gives_the_same_pixels(subsampling: str) -> None:
    images = pictures(9, 3, 37, 50)
    for quality in range(1, 101):
        got = jpeg.surrogate(images.cuda(), quality, subsampling)
        assert torch.equal(got.cpu(), jpeg.compress(images, quality, subsampling))


def gradient(function: Callable[..., Tensor], images: Tensor, weights: Tensor, *settings: Any) -> Tensor:
    """Of the weighted sum of the function's pixels."""
    x = images.detach().clone().requires_grad_()
    (found,) = torch.autograd.grad((function(x, *settings) * weights).sum(), x)
    return found


def tables(quality: int) -> list[Array]:
    """The quantization tables that Pillow writes: luma, chroma."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG", quality=quality)
    written = Image.open(buffer).quantization  # type: ignore[attr-defined]
    return [np.array(written[number], dtype=np.float64).reshape(8, 8) for number in (0, 1)]


def smooth(image: Array, quality: int, subsampling: str) -> Array:
    """A smooth JPEG of one image (C, H, W) with levels from 0 to 255, in double precision, by SciPy and textbooks."""
    luma, chroma = tables(quality)
    height, width = image.shape[1:]
    if len(image) == 1:
        return coded(image[0] - 128, luma)[None] + 128
    from_rgb = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    to_rgb = np.array([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]])
    y, *colors = np.einsum("ij,jhw->ihw", from_rgb, image)
    planes = [coded(y - 128, luma) + 128]
    for plane in colors:
        if subsampling != "444":
            plane = np.pad(plane, ((0, 0), (0, -width % 16)), mode="edge")
            plane = (plane[:, ::2] + plane[:, 1::2]) / 2
        if subsampling == "420":
            plane = np.pad(plane, ((0, height % 2), (0, 0)), mode="edge")
            plane = (plane[::2] + plane[1::2]) / 2
        plane = coded(plane, chroma)
        if subsampling != "444":
            plane = doubled(plane[:, : math.ceil(width / 2)].T).T
        if subsampling == "420":
            plane = doubled(plane)
        planes.append(plane[:height, :width])
    pixels: Array = np.clip(np.einsum("ij,jhw->ihw", to_rgb, np.stack(planes)), 0, 255)
    return pixels


def coded(plane: Array, table: Array) -> Array:
    height, width = plane.shape
    padded = np.pad(plane, ((0, -height % 8), (0, -width % 8)), mode="edge")
    out = np.empty_like(padded)
    for top in range(0, padded.shape[0], 8):
        for left in range(0, padded.shape[1], 8):
            place = slice(top, top + 8), slice(left, left + 8)
            levels = fft.dctn(padded[place], norm="ortho") / table
            beside = levels - np.rint(levels)
            out[place] = fft.idctn((levels - beside / 2 + 2 * beside**3) * table, norm="ortho")
    clipped: Array = np.clip(out, -128, 127)
    return clipped[:height, :width]


def doubled(plane: Array) -> Array:
    """Rows at twice the resolution, at a quarter and three quarters between the old ones."""
    before, behind = np.concatenate([plane[:1], plane[:-1]]), np.concatenate([plane[1:], plane[-1:]])
    return np.stack([0.75 * plane + 0.25 * before, 0.75 * plane + 0.25 * behind], 1).reshape(-1, plane.shape[1])


@pytest.mark.parametrize("quality", [25, 75, 96])
@pytest.mark.parametrize(("channels", "subsampling"), [(1, "420"), *((3, subsampling) for subsampling in PILLOW)])
def test_the_gradient_is_that_of_a_smooth_jpeg(channels: int, subsampling: str, quality: int) -> None:
    image = crops(9, 11, channels)[:1]
    weights = torch.rand(image.shape, generator=torch.Generator().manual_seed(quality)) - 0.5
    got = gradient(jpeg.surrogate, image, weights, quality, subsampling)[0].double().numpy()
    levels, step = 255 * image[0].double().numpy(), 1e-6
    places = np.random.default_rng(0).choice(list(np.ndindex(*levels.shape)), 40, replace=False)
    want = []
    for place in map(tuple, places):
        there, back = levels.copy(), levels.copy()
        there[place] += step
        back[place] -= step
        difference = smooth(there, quality, subsampling) - smooth(back, quality, subsampling)
        want.append((difference * weights[0].numpy()).sum() / (2 * step))
    largest = float(np.abs(want).max())
    np.testing.assert_allclose(got[tuple(places.T)], want, rtol=0.01, atol=0.01 * largest)  # other constants
    assert largest > 0.05


@pytest.mark.parametrize("level", [128, 130, 132.5, 150.8])
def test_the_gradient_of_a_flat_block_is_the_roundings(level: float) -> None:
    """Only the coefficient 8 (level - 128) decides a block's sum, and quality 50 quantizes it by 16."""
    image = torch.full((1, 1, 8, 8), level / 255)
    found = gradient(jpeg.surrogate, image, torch.ones_like(image), 50)
    units = 8 * (level - 128) / 16
    slope = 0.5 + 6 * (units - round(units)) ** 2
    torch.testing.assert_close(found, torch.full_like(image, slope), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("subsampling", jpeg.SUBSAMPLINGS)
def test_the_codec_with_the_surrogates_gradient(subsampling: str, channels: int) -> None:
    images, weights = pictures(70, channels, 21, 30), pictures(70, channels, 21, 30, seed=1) - 0.5
    assert torch.equal(jpeg.differentiable(images, 30, subsampling), jpeg.compress(images, 30, subsampling))
    found = gradient(jpeg.differentiable, images, weights, 30, subsampling)
    assert torch.equal(found, gradient(jpeg.surrogate, images, weights, 30, subsampling))
    alone = gradient(jpeg.surrogate, images[69:], weights[69:], 30, subsampling)
    torch.testing.assert_close(found[69:], alone, atol=1e-5, rtol=1e-4)
    assert found.abs().amax((1, 2, 3)).min() > 0
    last = gradient(jpeg.differentiable, images.contiguous(memory_format=torch.channels_last), weights, 30, subsampling)
    torch.testing.assert_close(last, found)


def test_levels_halfway_between_two_are_rounded_as_the_codec_does() -> None:
    halves = ((torch.arange(255).float() + 0.5) / 255).view(-1, 1, 1, 1).expand(-1, 1, 8, 8).contiguous()
    assert torch.equal(jpeg.surrogate(halves, 100), jpeg.compress(halves, 100))


def test_the_defaults_are_those_of_the_codec() -> None:
    images = pictures(3, 3, 32, 32)
    assert torch.equal(jpeg.surrogate(images), jpeg.compress(images, 75, "420"))
    assert torch.equal(jpeg.differentiable(images), jpeg.compress(images, 75, "420"))


def test_images_stay_as_they_are_and_gradients_come_once() -> None:
    images = pictures(3, 3, 16, 16)
    before = images.clone()
    assert not jpeg.surrogate(images).requires_grad
    x = images.requires_grad_()
    out = jpeg.surrogate(x)
    assert torch.equal(x.detach(), before)
    (first,) = torch.autograd.grad(out.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(first.sum(), x)
