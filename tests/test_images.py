"""The image contract, 8 bits, and files of every sort."""

from __future__ import annotations

import io
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from foolscope import images as module
from foolscope.errors import CorruptError, InputError, MissingError
from foolscope.images import (
    check_images,
    check_labels,
    decode_image,
    encode_png,
    from_uint8,
    quantize,
    to_pil,
    to_uint8,
)
from foolscope.randomness import generator


def rand(*shape: int) -> Tensor:
    return torch.rand(shape, generator=generator(0))


def with_value(value: float, image: int) -> Tensor:
    images = rand(3, 1, 2, 2)
    images[image, 0, 1, 1] = value
    return images


# --- contract ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("images", [rand(2, 1, 4, 5), rand(1, 3, 1, 1), rand(0, 3, 4, 4), torch.zeros(1, 3, 2, 2)])
def test_good_images_come_back(images: Tensor) -> None:
    assert check_images(images) is images


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((1, 1, 2, 2)), "images must be a torch tensor, got ndarray."),
        (None, "images must be a torch tensor, got NoneType."),
        (rand(3, 4, 4), "images must have shape (N, C, H, W) with C 1 or 3, got (3, 4, 4)."),
        (rand(2, 4, 4, 3), "images must have shape (N, C, H, W) with C 1 or 3, got (2, 4, 4, 3)."),
        (rand(1, 1, 2, 2).double(), "images must be float32 in [0, 1], got torch.float64."),
        (torch.zeros(1, 1, 2, 2, dtype=torch.uint8), "images must be float32 in [0, 1], got torch.uint8."),
        (with_value(torch.nan, 1), "images must be finite: image 1 has NaN or infinite pixels."),
        (with_value(-torch.inf, 2), "images must be finite: image 2 has NaN or infinite pixels."),
        (with_value(-0.25, 0).clamp_max(0.5), "images must be in [0, 1], found values from -0.25 to 0.5."),
        (
            with_value(200, 0).clamp_min(0.5),
            "images must be in [0, 1], found values from 0.5 to 200. Divide 8-bit images by 255.",
        ),
        (with_value(1.25, 0).clamp_min(0.5), "images must be in [0, 1], found values from 0.5 to 1.25."),
    ],
)
def test_bad_images(images: Any, message: str) -> None:
    if "found values from -0.25" in message:
        images[1, 0, 0, 0] = 0.5
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        check_images(images)
    with pytest.raises(InputError, match=f"^{re.escape(message.replace('images', 'the second images', 1))}$"):
        check_images(images, "the second images")


def test_images_with_a_history_are_checked_silently() -> None:
    images = rand(1, 1, 2, 2).requires_grad_()
    assert check_images(images) is images


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
def test_good_labels_become_int64(dtype: torch.dtype) -> None:
    checked = check_labels(torch.tensor([0, 2, 1], dtype=dtype), 3, 3)
    assert checked.dtype == torch.int64
    assert checked.tolist() == [0, 2, 1]
    assert check_labels(torch.zeros(0, dtype=dtype), 0, 3).shape == (0,)
    assert check_labels(torch.tensor([99], dtype=dtype), 1, None).tolist() == [99]


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        ([0, 1, 2], 3, "labels must be a tensor of whole numbers."),
        (torch.tensor([0.0, 1.0, 2.0]), 3, "labels must be a tensor of whole numbers."),
        (torch.tensor([True, False, True]), 3, "labels must be a tensor of whole numbers."),
        (torch.tensor([0, 1]), 3, "labels must have shape (3,), one for each image, got (2,)."),
        (torch.zeros(3, 1, dtype=torch.int64), 3, "labels must have shape (3,), one for each image, got (3, 1)."),
        (torch.tensor([0, 1, 3]), 3, "labels must be class indices from 0 to 2, found 0 to 3."),
        (torch.tensor([-1, 1, 2]), 3, "labels must be class indices from 0 to 2, found -1 to 2."),
        (torch.tensor([-1, 1, 2]), None, "labels must be class indices from 0, found -1 to 2."),
    ],
)
def test_bad_labels(labels: Any, classes: int | None, message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        check_labels(labels, 3, classes)


# --- 8 bits -----------------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**31))
def test_quantize_rounds_to_the_nearest_level(seed: int) -> None:
    images = torch.rand(2, 3, 4, 4, generator=generator(seed))
    before = images.clone()
    rounded = quantize(images)
    assert torch.equal(images, before)
    assert ((rounded - images).abs() <= 0.5 / 255 + 1e-7).all()
    assert torch.equal(rounded, from_uint8(to_uint8(images)))
    assert torch.equal(quantize(rounded), rounded)


def test_all_256_levels_survive() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    images = from_uint8(levels)
    assert images.dtype == torch.float32 and images.shape == (1, 1, 16, 16)
    assert images.min() == 0 and images.max() == 1
    assert np.array_equal(to_uint8(images), levels)
    assert torch.equal(quantize(images), images)


def test_from_uint8_takes_read_only_arrays_and_copies() -> None:
    array = np.zeros((1, 2, 2, 3), np.uint8)
    array.setflags(write=False)
    images = from_uint8(array)
    images += 1
    assert array.max() == 0


@pytest.mark.parametrize("channels", [1, 3])
def test_png_keeps_every_level(channels: int) -> None:
    image = quantize(rand(channels, 5, 7))
    assert to_pil(image).mode == {1: "L", 3: "RGB"}[channels]
    assert to_pil(image).size == (7, 5)
    back = decode_image(encode_png(image))
    assert torch.equal(from_uint8(back[None])[0], image)
    assert to_uint8(image.requires_grad_()[None]).shape == (1, 5, 7, channels)


# --- files ------------------------------------------------------------------------------------------------------------


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(source: bytes | Path, channels: int | None = None) -> list[Any]:
    decoded: NDArray[np.uint8] = decode_image(source, channels)
    assert decoded.dtype == np.uint8 and decoded.ndim == 3
    values: list[Any] = decoded.tolist()
    return values


def test_channels() -> None:
    gray, color = Image.new("L", (1, 1), 90), Image.new("RGB", (1, 1), (255, 0, 0))
    assert pixels(encoded(gray)) == [[[90]]]
    assert pixels(encoded(gray), 3) == [[[90, 90, 90]]]
    assert pixels(encoded(color)) == [[[255, 0, 0]]]
    assert pixels(encoded(color), 1) == [[[76]]]  # 0.299 of red
    assert pixels(encoded(Image.new("1", (1, 1), 1))) == [[[255]]]
    assert pixels(encoded(color.convert("P"))) == [[[255, 0, 0]]]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("RGBA", (1, 1), (255, 100, 0, 0)), [0, 0, 0]),
        (Image.new("RGBA", (1, 1), (255, 100, 0, 255)), [255, 100, 0]),
        (Image.new("RGBA", (1, 1), (200, 100, 0, 51)), [40, 20, 0]),
        (Image.new("LA", (1, 1), (200, 0)), [0]),
        (Image.new("LA", (1, 1), (200, 51)), [40]),
    ],
)
def test_transparency_is_laid_on_black(image: Image.Image, expected: list[int]) -> None:
    assert pixels(encoded(image)) == [[expected]]
    assert pixels(encoded(image), 3)[0][0] == (expected if len(expected) == 3 else expected * 3)


def test_a_transparent_palette_color_is_black() -> None:
    image = Image.new("RGB", (2, 1), (9, 200, 30)).convert("P")
    image.putpixel((1, 0), 1)
    index = image.getpixel((0, 0))
    assert pixels(encoded(image, transparency=index))[0][0] == [0, 0, 0]


def test_16_bit_is_scaled_not_clipped() -> None:
    array = np.array([[0, 257, 30_000, 65_535]], dtype=np.uint16)
    assert pixels(encoded(Image.fromarray(array))) == [[[0], [1], [117], [255]]]


def test_cmyk() -> None:
    found = pixels(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100))[0][0]
    assert found[0] > 250 and found[1] < 5 and found[2] < 5


def test_rotation_is_honored() -> None:
    image = Image.new("RGB", (2, 1))
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to the right
    assert pixels(encoded(image, exif=exif)) == [[[255, 255, 255]], [[0, 0, 0]]]


def test_an_animations_first_frame_is_taken() -> None:
    frames = [Image.new("L", (2, 2), value) for value in (50, 200)]
    source = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pixels(source, 1)[0][0] == [50]


def test_paths_and_names(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(encoded(Image.new("L", (1, 1), 7)))
    assert pixels(path) == [[[7]]]
    missing = tmp_path / "none.png"
    with pytest.raises(MissingError, match=f"^{re.escape(str(missing))}: no such file\\.$"):
        decode_image(missing)
    text = tmp_path / "text.png"
    text.write_text("no image")
    for source, name in ((text, str(text)), (b"no image", "image"), (b"", "image")):
        with pytest.raises(CorruptError, match=f"^{re.escape(name)}: not an image that Pillow can read\\.$"):
            decode_image(source)
    with pytest.raises(CorruptError, match=r"^row 7: not an image that Pillow can read\.$"):
        decode_image(b"no image", name="row 7")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_truncated_images_are_refused(kind: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    whole = encoded(noise, kind)
    decode_image(whole)
    for length in (len(whole) // 2, len(whole) * 9 // 10):
        with pytest.raises(
            CorruptError, match=r"^image: (damaged image \(.+\)|not an image that Pillow can read)\.$"
        ) as caught:
            decode_image(whole[:length])
        assert "\n" not in str(caught.value)


def test_damaged_checksums_are_refused() -> None:
    whole = bytearray(encoded(Image.new("L", (50, 50), 7)))
    whole[whole.index(b"IDAT") + 6] ^= 0xFF
    with pytest.raises(CorruptError, match=r"^image: damaged image \(.+\)\.$"):
        decode_image(bytes(whole))


def huge(width: int, height: int) -> bytes:
    """A PNG that says it is this large."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("width", "height", "message"),
    [
        (8001, 8000, "image: 8001 x 8000 pixels are more than 64,000,000."),
        (10_000, 10_000, "image: more than 64,000,000 pixels."),  # Pillow warns
        (60_000, 60_000, "image: more than 64,000,000 pixels."),  # Pillow refuses
    ],
)
def test_images_that_are_too_large_are_refused_before_they_are_decoded(width: int, height: int, message: str) -> None:
    with pytest.raises(CorruptError, match=f"^{re.escape(message)}$"):
        decode_image(huge(width, height))


def test_the_limit_is_the_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PIXELS", 5)
    with pytest.raises(CorruptError, match=r"^image: 3 x 2 pixels are more than 5\.$"):
        decode_image(encoded(Image.new("L", (3, 2))))
    monkeypatch.setattr(module, "MAX_PIXELS", 6)
    assert decode_image(encoded(Image.new("L", (3, 2)))).shape == (2, 3, 1)
