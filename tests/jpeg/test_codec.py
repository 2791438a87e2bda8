"""The codec against Pillow: the same files and the same pixels, whatever the size, the batch and the layout."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from foolscope import jpeg
from foolscope.errors import InputError, ParameterError
from tests.jpeg.pictures import pictures, pillow, pillow_files

Codec = Callable[..., Tensor]
each_function = pytest.mark.parametrize(
    "function", [jpeg.compress, jpeg.encoded_size, jpeg.surrogate, jpeg.differentiable]
)


@pytest.fixture(autouse=True, params=[1, 2], ids=["1-thread", "2-threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test with and without the codec's own threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("subsampling", jpeg.SUBSAMPLINGS)
@pytest.mark.parametrize("size", [(17, 23), (28, 28), (32, 32)])
def test_every_quality_gives_pillows_pixels(size: tuple[int, int], subsampling: str, channels: int) -> None:
    images = pictures(3, channels, *size)
    for quality in range(1, 101):
        got, want = jpeg.compress(images, quality, subsampling), pillow(images, quality, subsampling)
        assert torch.equal(got, want), f"quality {quality}"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("subsampling", jpeg.SUBSAMPLINGS)
def test_photo_sizes_give_pillows_pixels(subsampling: str, channels: int) -> None:
    images = pictures(3, channels, 224, 224)
    for quality in (1, 25, 50, 75, 95, 100):
        assert torch.equal(jpeg.compress(images, quality, subsampling), pillow(images, quality, subsampling))


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 9),
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
    assert torch.equal(jpeg.compress(images, quality, subsampling), pillow(images, quality, subsampling))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("subsampling", jpeg.SUBSAMPLINGS)
def test_a_batch_gives_what_its_images_give_alone(subsampling: str, channels: int) -> None:
    images = pictures(150, channels, 30, 33)  # several chunks; strips whose rows are padded
    alone = torch.cat([jpeg.compress(image[None], 40, subsampling) for image in images])
    assert torch.equal(jpeg.compress(images, 40, subsampling), alone)
    assert torch.equal(jpeg.compress(images, 40, subsampling), pillow(images, 40, subsampling))


def test_strips_stay_within_the_rows_that_a_file_can_hold() -> None:
    images = pictures(16, 1, 4095, 1)  # 16 x 4,096 rows are more than 65,500
    assert torch.equal(jpeg.compress(images, 50), pillow(images, 50, "420"))


def test_the_largest_side() -> None:
    images = pictures(1, 1, 65_500, 1)
    assert torch.equal(jpeg.compress(images, 50), pillow(images, 50, "420"))


@pytest.mark.parametrize("subsampling", jpeg.SUBSAMPLINGS)
@pytest.mark.parametrize("channels", [1, 3])
def test_memory_formats_give_the_same_pixels(channels: int, subsampling: str) -> None:
    images = pictures(6, channels, 20, 28)
    want = pillow(images, 30, subsampling)
    last = jpeg.compress(images.contiguous(memory_format=torch.channels_last), 30, subsampling)
    assert torch.equal(last, want)
    assert last.is_contiguous(memory_format=torch.channels_last)
    plain = jpeg.compress(images, 30, subsampling)
    assert plain.is_contiguous()
    doubled = images.repeat_interleave(2, 0).repeat_interleave(2, 3)
    assert torch.equal(jpeg.compress(doubled[::2, :, :, ::2], 30, subsampling), want)
    turned = images.transpose(2, 3)
    assert torch.equal(jpeg.compress(turned, 30, subsampling), pillow(turned, 30, subsampling))
    same = images[:1].expand(4, -1, -1, -1)
    assert torch.equal(jpeg.compress(same, 30, subsampling), want[:1].expand(4, -1, -1, -1))


def test_the_result_is_8_bit_has_no_gradient_and_leaves_the_images_alone() -> None:
    images = pictures(5, 3, 16, 16).requires_grad_()
    before = images.detach().clone()
    out = jpeg.compress(images, 60)
    assert torch.equal(images.detach(), before)
    assert not out.requires_grad
    assert out.dtype == torch.float32
    assert torch.equal(out, out.mul(255).round().div(255))
    assert not torch.equal(out, before)


def test_levels_halfway_between_two_are_rounded_as_torch_rounds() -> None:
    halves = (torch.arange(255).float() + 0.5) / 255
    flat = halves.view(-1, 1, 1, 1).expand(-1, 1, 8, 8).contiguous()  # quality 100 keeps a flat block's level
    assert torch.equal(jpeg.compress(flat, 100), flat.mul(255).round().div(255))


def test_the_defaults_are_quality_75_and_420() -> None:
    images = pictures(3, 3, 32, 32)
    assert torch.equal(jpeg.compress(images), pillow(images, 75, "420"))
    assert torch.equal(jpeg.encoded_size(images), jpeg.encoded_size(images, 75, "420"))


@pytest.mark.parametrize("shape", [(0, 3, 32, 32), (0, 1, 28, 28)])
def test_no_images_give_no_images(shape: tuple[int, ...]) -> None:
    assert jpeg.compress(torch.empty(shape)).shape == shape
    assert jpeg.encoded_size(torch.empty(shape)).tolist() == []


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("subsampling", jpeg.SUBSAMPLINGS)
def test_encoded_size_is_that_of_pillows_file(subsampling: str, channels: int) -> None:
    images = pictures(100, channels, 29, 35)
    for quality in (1, 50, 100):
        sizes = jpeg.encoded_size(images.contiguous(memory_format=torch.channels_last), quality, subsampling)
        assert sizes.dtype == torch.int64
        assert sizes.tolist() == [len(file) for file in pillow_files(images, quality, subsampling)]


@pytest.mark.parametrize("subsampling", jpeg.SUBSAMPLINGS)
def test_gray_images_have_no_chroma_to_subsample(subsampling: str) -> None:
    images = pictures(4, 1, 13, 21)
    assert torch.equal(jpeg.compress(images, 50, subsampling), jpeg.compress(images, 50, "444"))


@each_function
@pytest.mark.parametrize(
    ("quality", "text"), [(0, "0"), (101, "101"), (-1, "-1"), (75.0, "75.0"), ("75", "'75'"), (True, "True")]
)
def test_bad_quality(function: Codec, quality: int, text: str) -> None:
    with pytest.raises(ParameterError, match=f"^JPEG quality must be a whole number from 1 to 100, got {text}\\.$"):
        function(pictures(1, 3, 8, 8), quality)


@each_function
@pytest.mark.parametrize(("subsampling", "text"), [("411", "'411'"), (420, "420"), ("4:2:0", "'4:2:0'")])
def test_bad_subsampling(function: Codec, subsampling: str, text: str) -> None:
    with pytest.raises(ParameterError, match=f"^JPEG subsampling must be one of 444, 422, 420, got {text}\\.$"):
        function(pictures(1, 3, 8, 8), 50, subsampling)


@each_function
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 4, 8, 8), "JPEG keeps no alpha channel: images must be gray or RGB, got (2, 4, 8, 8)."),
        (torch.zeros(2, 2, 8, 8), "JPEG keeps no alpha channel: images must be gray or RGB, got (2, 2, 8, 8)."),
        (torch.zeros(2, 5, 8, 8), "images must have shape (N, C, H, W) with C 1 or 3, got (2, 5, 8, 8)."),
        (torch.zeros(3, 8, 8), "images must have shape (N, C, H, W) with C 1 or 3, got (3, 8, 8)."),
        (torch.zeros(1, 3, 8, 8).double(), "images must be float32 in [0, 1], got torch.float64."),
        (np.zeros((1, 3, 8, 8), np.float32), "images must be a torch tensor, got ndarray."),
        (torch.full((1, 3, 8, 8), -0.5), "images must be in [0, 1], found values from -0.5 to -0.5."),
        (
            torch.full((1, 3, 8, 8), 200.0),
            "images must be in [0, 1], found values from 200 to 200. Divide 8-bit images by 255.",
        ),
        (
            torch.stack([torch.zeros(3, 8, 8), torch.full((3, 8, 8), torch.nan)]),
            "images must be finite: image 1 has NaN or infinite pixels.",
        ),
        (torch.zeros(1, 1, 65_501, 1), "JPEG holds images of 1 to 65,500 pixels a side, got 65501 x 1."),
        (torch.zeros(1, 1, 1, 65_501), "JPEG holds images of 1 to 65,500 pixels a side, got 1 x 65501."),
        (torch.zeros(2, 3, 0, 8), "images must have pixels, got 0 x 8."),
    ],
)
def test_bad_images(function: Codec, images: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        function(images)
