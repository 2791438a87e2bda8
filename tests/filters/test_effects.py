"""Effects against pixels worked out by hand, against Pillow, and against each other; their gradients."""

from __future__ import annotations

import colorsys
import itertools
import math
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageFilter
from scipy import ndimage
from torch import Tensor

from foolscope.errors import FoolscopeError, InputError, ParameterError
from foolscope.filters import effects
from foolscope.images import from_uint8, to_pil
from foolscope.randomness import generator
from tests.filters.pictures import pictures

BLUE = {"hue": (180.0, 260.0), "saturation": (0.2, 1.0), "value": (0.1, 0.9)}

Effect = Callable[[Tensor, effects.Amount], Tensor]


def one_curve(images: Tensor, slope: effects.Amount) -> Tensor:
    return effects.tone_curves(images, slope)


def blues(images: Tensor, slope: effects.Amount) -> Tensor:
    return effects.selective_color(images, slope, slope, slope, **BLUE)  # type: ignore[arg-type]


EFFECTS: dict[str, tuple[Effect, float, float]] = {
    "brightness": (effects.brightness, 0.5, 1.6),
    "contrast": (effects.contrast, 0.4, 1.8),
    "saturation": (effects.saturation, 0.0, 2.3),
    "gamma": (effects.gamma, 0.6, 1.9),
    "tone curves": (one_curve, 0.5, 1.4),
    "hue rotation": (effects.hue_rotation, -50.0, 170.0),
    "selective color": (blues, 0.6, 1.3),
    "sharpness": (effects.sharpness, 0.2, 2.0),
    "vignette": (effects.vignette, 0.1, 0.8),
    "blur": (effects.blur, 0.4, 1.3),
    "grain": (effects.grain, 0.05, 0.4),
}
"""Each effect with two amounts."""

NEUTRAL = {"hue rotation": 0.0, "vignette": 0.0, "blur": 0.0, "grain": 0.0}
"""Amounts that change nothing; 1 for the others."""

COLORS = {"saturation", "hue rotation", "selective color"}
"""What leaves gray images as they are."""

each_effect = pytest.mark.parametrize("name", EFFECTS)


def pixels(*colors: tuple[float, float, float]) -> Tensor:
    """An image (1, 3, 1, W) of these colors."""
    return torch.tensor(colors).T[None, :, None].contiguous()


def flat(images: Tensor) -> list[list[float]]:
    """The colors of an image of one row."""
    return images[0, :, 0].T.tolist()


def close(images: Tensor, *colors: tuple[float, float, float]) -> None:
    assert np.allclose(flat(images), colors, rtol=0, atol=1e-6), flat(images)


PAIR = pixels((0.2, 0.4, 0.6), (1.0, 0.5, 0.0))  # luma 0.363 and 0.5925, in the mean 0.47775


def test_brightness_by_hand() -> None:
    close(effects.brightness(PAIR, 1.5), (0.3, 0.6, 0.9), (1, 0.75, 0))


def test_contrast_by_hand() -> None:
    close(effects.contrast(PAIR, 0.5), (0.338875, 0.438875, 0.538875), (0.738875, 0.488875, 0.238875))
    close(effects.contrast(PAIR, 2), (0, 0.32225, 0.72225), (1, 0.52225, 0))


def test_saturation_by_hand() -> None:
    close(effects.saturation(PAIR, 0), (0.363, 0.363, 0.363), (0.5925, 0.5925, 0.5925))
    close(effects.saturation(PAIR, 2), (0.037, 0.437, 0.837), (1, 0.4075, 0))


def test_gamma_by_hand() -> None:
    image = pixels((0.1, 0.2, 0.5), (0.26, 0.1, 0.1))  # from 0.1 to 0.5: shares 0, 1/4, 1 and 0.4
    close(effects.gamma(image, 2), (0.1, 0.3, 0.5), (0.1 + 0.4 * math.sqrt(0.4), 0.1, 0.1))
    close(effects.gamma(image, 0.5), (0.1, 0.125, 0.5), (0.164, 0.1, 0.1))


def test_gamma_has_the_extrema_of_each_whole_image() -> None:
    images = torch.cat([pixels((0.1, 0.2, 0.5)), pixels((0, 0.25, 1))])
    found = effects.gamma(images, torch.tensor([2.0, 2.0]))
    close(found[:1], (0.1, 0.3, 0.5))
    close(found[1:], (0, 0.5, 1))


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_gamma_leaves_flat_images(level: float) -> None:
    image = torch.full((1, 3, 2, 2), level)
    assert torch.equal(effects.gamma(image, 2.2), image)


@pytest.mark.parametrize("slope", [0.0, 0.5, 0.9, 1.0, 1.2, 1.9])
def test_tone_curves_run_through_their_four_points(slope: float) -> None:
    levels = torch.tensor([0.0, 64.0, 128.0, 255.0]).view(1, 1, 1, 4) / 255
    expected = [0, 64 * slope, 128 * slope, 255]
    assert (255 * effects.tone_curves(levels, slope)).flatten().tolist() == pytest.approx(expected, abs=1e-4)


def test_tone_curves_are_cubics_and_clip_their_points_first() -> None:
    slope = 2.5  # 64 k = 160, and 128 k = 320 counts as 255
    cubic = np.polyfit([0, 64, 128, 255], [0, 160, 255, 255], 3)
    levels = np.arange(256)
    expected = np.polyval(cubic, levels).clip(0, 255)
    found = effects.tone_curves(torch.arange(256.0).view(1, 1, 1, 256) / 255, slope).flatten() * 255
    assert np.allclose(found, expected, atol=1e-3)


def test_tone_curves_of_three_channels() -> None:
    close(effects.tone_curves(pixels((128 / 255, 64 / 255, 0.9)), 0.5, 2.0, 1.0), (64 / 255, 128 / 255, 0.9))


@pytest.mark.parametrize(
    ("degrees", "colors"),
    [
        (120, ((0, 1, 0), (0.8, 0.5, 0.2), (0.4, 0.4, 0.4))),
        (-120, ((0, 0, 1), (0.2, 0.8, 0.5), (0.4, 0.4, 0.4))),
        (60, ((1, 1, 0), (0.8, 0.2, 0.5), (0.4, 0.4, 0.4))),  # a violet of 270 degrees becomes a rose of 330
        (360, ((1, 0, 0), (0.5, 0.2, 0.8), (0.4, 0.4, 0.4))),
    ],
)
def test_hue_rotation_by_hand(degrees: float, colors: tuple[tuple[float, float, float], ...]) -> None:
    image = pixels((1, 0, 0), (0.5, 0.2, 0.8), (0.4, 0.4, 0.4))
    close(effects.hue_rotation(image, degrees), *colors)


@pytest.mark.parametrize("degrees", [-250.0, -13.0, 77.0, 400.0])
def test_hue_rotation_is_that_of_the_standard_library(degrees: float) -> None:
    image = pictures(1, height=1, width=60)
    expected = []
    for color in flat(image):
        hue, saturation, value = colorsys.rgb_to_hsv(*color)
        expected.append(colorsys.hsv_to_rgb((hue + degrees / 360) % 1, saturation, value))
    assert np.allclose(flat(effects.hue_rotation(image, degrees)), expected, atol=1e-5)


def test_selective_color_by_hand() -> None:
    image = pixels((0, 0, 64 / 255), (64 / 255, 0, 0), (0.25, 0.25, 0.25), (0, 0, 1))
    changed = effects.selective_color(image, 1, 1, 2, **BLUE)  # type: ignore[arg-type]
    close(changed, (0, 0, 128 / 255), (64 / 255, 0, 0), (0.25, 0.25, 0.25), (0, 0, 1))  # not red, gray, too bright


@pytest.mark.parametrize("hue", [(180.0, 260.0), (0.0, 60.0), (340.0, 20.0), (100.0, 280.0), (300.0, 359.0)])
def test_selective_color_chooses_as_the_standard_library(hue: tuple[float, float]) -> None:
    image = pictures(1, height=1, width=3000)
    chosen = effects.selective_color(image, 0.5, hue=hue, saturation=(0.3, 0.8), value=(0.2, 0.7)) != image
    expected = []
    for color in flat(image):
        found, saturation, value = colorsys.rgb_to_hsv(*color)
        inside = (360 * found - hue[0]) % 360 <= (hue[1] - hue[0]) % 360
        expected.append(inside and 0.3 <= saturation <= 0.8 and 0.2 <= value <= 0.7)
    assert chosen.any(1).flatten().tolist() == expected
    assert 10 < sum(expected) < 2000


def test_the_guide_decides_what_selective_color_changes() -> None:
    image, guide = pixels((0.5, 0.5, 0.5), (0, 0, 0.5)), pixels((0, 0, 0.5), (0.5, 0, 0))
    changed = effects.selective_color(image, 0.5, guide=guide, **BLUE)
    assert (changed != image).any(1).flatten().tolist() == [True, False]


def test_sharpness_by_hand() -> None:
    image = torch.full((1, 1, 3, 3), 0.26)
    image[0, 0, 1, 1] = 0.52  # the smoothed middle: (8 x 0.26 + 5 x 0.52) / 13 = 0.36
    sharper = effects.sharpness(image, 2)
    assert float(sharper[0, 0, 1, 1]) == pytest.approx(0.68)
    assert float(effects.sharpness(image, 0)[0, 0, 1, 1]) == pytest.approx(0.36)
    sharper[0, 0, 1, 1] = 0.52
    assert torch.allclose(sharper, image)  # the border stays


@pytest.mark.parametrize(("height", "width"), [(5, 7), (4, 4), (1, 3)])
def test_vignette_by_hand(height: int, width: int) -> None:
    dark = effects.vignette(torch.full((1, 1, height, width), 0.8), 0.5)[0, 0]
    corner = 0.4 if height > 1 else 0.6  # without height half of the corner's distance is lacking
    assert dark[[0, 0, -1, -1], [0, -1, 0, -1]].tolist() == pytest.approx([corner] * 4)
    if height % 2 and width % 2:
        assert float(dark[height // 2, width // 2]) == pytest.approx(0.8)
    assert torch.allclose(dark, dark.flip(0, 1))


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.3])
def test_blur_is_scipys(sigma: float) -> None:
    images = pictures(3, height=11, width=8)
    radius = math.ceil(4 * sigma)
    expected = ndimage.gaussian_filter(images.double().numpy(), (0, 0, sigma, sigma), mode="nearest", radius=radius)
    assert np.allclose(effects.blur(images, sigma), expected, atol=1e-6)


def test_grain_is_even_deterministic_and_as_strong_as_asked() -> None:
    gray = torch.full((2, 3, 64, 96), 0.5)
    noisy = effects.grain(gray, 0.4) - gray
    assert torch.equal(noisy, effects.grain(gray, 0.4) - gray)
    assert torch.equal(noisy[0, 0], noisy[1, 2])
    assert float(noisy.abs().max()) <= 0.4
    assert 0.03 < float(noisy[0, 0].std()) < 0.2
    assert abs(float(noisy.mean())) < 0.02
    assert not torch.equal(noisy, effects.grain(gray, 0.4, seed=1) - gray)
    assert torch.allclose(effects.grain(gray, 0.2) - gray, noisy / 2, atol=1e-6)


def test_grain_is_smooth_within_its_cells() -> None:
    def roughness(cell: float) -> float:
        noise = effects.grain(torch.full((1, 1, 96, 96), 0.5), 0.5, cell=cell) - 0.5
        return float(noise.diff(dim=3).square().mean() / noise.square().mean())

    assert roughness(32.0) < 0.2 * roughness(4.0)


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.3, 2.5])
@pytest.mark.parametrize(
    ("effect", "enhancement"),
    [
        (effects.brightness, ImageEnhance.Brightness),
        (effects.contrast, ImageEnhance.Contrast),
        (effects.saturation, ImageEnhance.Color),
        (effects.sharpness, ImageEnhance.Sharpness),
    ],
)
def test_pillow_agrees_to_its_rounding(effect: Effect, enhancement: type, factor: float) -> None:
    for image in from_uint8((255 * pictures(3)).byte().permute(0, 2, 3, 1).numpy()):
        enhanced = np.asarray(enhancement(to_pil(image)).enhance(factor)).transpose(2, 0, 1)
        # Pillow rounds the mean or smoothed value, which the factor magnifies, and cuts off its result.
        assert np.abs(255 * effect(image[None], factor)[0].numpy() - enhanced).max() <= 1 + abs(1 - factor)


def test_pillow_smooths_alike() -> None:
    image = from_uint8((255 * pictures(1)).byte().permute(0, 2, 3, 1).numpy())
    smooth = np.asarray(Image.Image.filter(to_pil(image[0]), ImageFilter.SMOOTH)).transpose(2, 0, 1)
    assert np.abs(255 * effects.sharpness(image, 0)[0].numpy() - smooth).max() <= 1


@each_effect
def test_the_neutral_amount_changes_nothing(name: str) -> None:
    images = pictures()
    found = EFFECTS[name][0](images, NEUTRAL.get(name, 1.0))
    torch.testing.assert_close(found, images, rtol=0, atol=1e-6)


@each_effect
@pytest.mark.parametrize("channels", [1, 3])
def test_shape_range_and_the_images_are_kept(name: str, channels: int) -> None:
    effect, *amounts = EFFECTS[name]
    for height, width in ((9, 12), (1, 1), (2, 5)):
        images = pictures(4, channels, height, width)
        before = images.clone()
        for amount in amounts:
            out = effect(images, amount)
            assert (out.shape, out.dtype) == (images.shape, torch.float32)
            assert 0 <= float(out.min()) <= float(out.max()) <= 1
            assert torch.equal(images, before)
        assert effect(images[:0], amounts[0]).shape == (0, channels, height, width)


@each_effect
def test_an_amount_for_each_image(name: str) -> None:
    effect, first, second = EFFECTS[name]
    images = pictures(5)
    amounts = torch.linspace(first, second, 5)
    alone = torch.cat([effect(images[i : i + 1], float(amounts[i])) for i in range(5)])
    torch.testing.assert_close(effect(images, amounts), alone, rtol=0, atol=2e-6)


@each_effect
def test_gray_images_are_color_images_with_equal_channels(name: str) -> None:
    effect, *amounts = EFFECTS[name]
    gray = pictures(4, channels=1)
    for amount in amounts:
        found = effect(gray, amount)
        torch.testing.assert_close(found.expand(-1, 3, -1, -1), effect(gray.expand(-1, 3, -1, -1), amount))
        assert torch.equal(found, gray) == (name in COLORS)


@each_effect
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    effect, first, second = EFFECTS[name]
    # Away from 0 and 1, where values are clipped, and without equal ones, which share the gradient of an extremum.
    images = (0.3 + 0.25 * torch.rand(2, 3, 4, 3, generator=generator(0))).double()
    scale = torch.tensor([0.2, 0.4]).double()
    amounts = (first + scale * (second - first)).requires_grad_()
    if name == "vignette":
        amounts = (0.3 * scale).requires_grad_()
    images.requires_grad_()
    assert torch.autograd.gradcheck(effect, (images, amounts), eps=1e-7, atol=1e-4)


@pytest.mark.parametrize("amount", [0.7, 1.0, 2.2])
def test_gradients_of_gamma_are_finite_at_black(amount: float) -> None:
    images = pixels((0, 0.5, 1)).requires_grad_()
    gammas = torch.tensor([amount], requires_grad=True)
    gradients = torch.autograd.grad(effects.gamma(images, gammas).sum(), (images, gammas))
    assert all(gradient.isfinite().all() for gradient in gradients)


AWAY: dict[str, list[list[float]]] = {
    "brightness": [[1, 0.7, 0.4, 0], [1, 1.2, 2, 9]],
    "contrast": [[1, 0.7, 0.4, 0], [1, 1.2, 2, 9]],
    "saturation": [[1, 0.7, 0.4, 0], [1, 1.2, 2, 9]],
    "gamma": [[1, 0.8, 0.5, 0.2], [1, 1.3, 2, 9]],
    "tone curves": [[1, 0.8, 0.5, 0], [1, 1.2, 1.6, 1.99]],
    "hue rotation": [[0, 10, 60, 180], [0, -20, -100, -180]],
    "selective color": [[1, 0.8, 0.5, 0], [1, 1.2, 1.6, 1.99]],
    "sharpness": [[1, 0.7, 0.4, 0], [1, 1.2, 2, 9]],
    "vignette": [[0, 0.2, 0.5, 1]],
    "grain": [[0, 0.1, 0.2, 1]],
}
"""Amounts further and further from the neutral one.  A blur is left out: a pixel can swing back as it widens."""


@each_effect
def test_larger_amounts_change_every_value_more(name: str) -> None:
    images = pictures()
    for amounts in AWAY.get(name, []):
        changes = [(EFFECTS[name][0](images, amount) - images).abs() for amount in amounts]
        for less, more in itertools.pairwise(changes):
            if name == "hue rotation":  # the channels take turns: what grows is the whole pixel's change
                less, more = less.amax(1), more.amax(1)
            assert (more >= less - 1e-6).all()
            assert more.mean() > less.mean()


def test_a_wider_blur_leaves_less_contrast() -> None:
    images = pictures(1)
    spreads = [float(effects.blur(images, sigma).std()) for sigma in (0, 0.5, 1, 2, 4)]
    assert spreads == sorted(spreads, reverse=True)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: effects.gamma(x, 0), ParameterError, "gamma must be more than 0, got 0."),
        (
            lambda x: effects.gamma(x, torch.tensor([1.0, -0.5])),
            ParameterError,
            "gamma must be more than 0, got -0.5.",
        ),
        (
            lambda x: effects.tone_curves(x, 1, 1),
            ParameterError,
            "tone curves need one slope or three (red, green, blue), got 2.",
        ),
        (
            lambda x: effects.tone_curves(x[:, :1], 1, 1, 1),
            InputError,
            "tone curves for red, green and blue would color gray images: give one slope for all.",
        ),
        (
            lambda x: effects.selective_color(x, 1, hue=(10, 200), saturation=(0.1, 1), value=(0, 1)),
            ParameterError,
            "a range of hues must be more than 0 and at most 180 degrees wide, got 10 to 200.",
        ),
        (
            lambda x: effects.selective_color(x, 1, hue=(10, 20), saturation=(0, 1), value=(0, 1)),
            ParameterError,
            "selective color needs a least saturation above 0, got 0.",
        ),
        (lambda x: effects.blur(x, -1), ParameterError, "blur: sigma must be between 0 and 100 pixels, got -1."),
        (lambda x: effects.blur(x, 1e9), ParameterError, "blur: sigma must be between 0 and 100 pixels, got 1e+09."),
        (lambda x: effects.grain(x, 1, cell=0), ParameterError, "grain: cell must be more than 0, got 0."),
    ],
)
def test_bad_amounts(call: Callable[[Tensor], Tensor], error: type[FoolscopeError], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call(pictures(2))
