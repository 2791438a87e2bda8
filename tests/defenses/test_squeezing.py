"""Squeezers against SciPy, OpenCV and scikit-image, pixel by pixel, and against what can be computed by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from skimage.restoration import denoise_tv_chambolle
from torch import Tensor

from foolscope.data import load_data
from foolscope.defenses import Defense, Gaussian, Median, NonLocalMeans, TotalVariation, parse_defense
from foolscope.defenses import non_local_means as nlm
from foolscope.errors import FoolscopeError, InputError, ParameterError, SpecError
from foolscope.images import quantize
from tests.support import needs_data

SQUEEZERS = (
    "bits:depth=1",
    "bits:depth=5",
    "median:size=2",
    "median:size=3",
    "median:size=6",
    "nlm:search=5,patch=3,strength=20",
    "nlm:search=5,patch=1,strength=4",
    "gaussian:sigma=0.7",
    "tv:weight=0.1,steps=5",
)
SIZES = [(3, 9, 13), (1, 9, 13), (3, 1, 5), (1, 2, 1), (3, 4, 4)]


@pytest.fixture(params=[1, 2], ids=["1-thread", "2-threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    """With and without threads of our own."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def pictures(count: int, channels: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Noise, smoothed noise and nearly flat images in turn: patches that are alike, a little alike, and not at all."""
    noise = torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(seed))
    kinds = torch.stack([noise, F.avg_pool2d(noise, 5, 1, 2), 0.5 + 0.04 * noise])
    return kinds[torch.arange(count) % 3, torch.arange(count)]


def opencv(images: Tensor, search: int, patch: int, strength: float) -> Tensor:
    """EvadeML-Zoo's loop: 8 bits, one image after the other, RGB as it is."""
    levels: NDArray[np.uint8] = np.rint(images.permute(0, 2, 3, 1).numpy() * np.float32(255)).astype(np.uint8)
    clean: list[NDArray[np.uint8]] = []
    for image in levels:
        if image.shape[2] == 3:
            found = cv2.fastNlMeansDenoisingColored(image, None, strength, strength, patch, search)
        else:
            found = cv2.fastNlMeansDenoising(image, None, strength, patch, search)
        clean.append(found.reshape(image.shape))
    return torch.from_numpy(np.stack(clean)).permute(0, 3, 1, 2).float() / 255


@pytest.mark.parametrize("squeezer", SQUEEZERS)
@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_shape_range_layout_and_the_images_themselves_are_kept(squeezer: str, shape: tuple[int, int, int]) -> None:
    squeeze = parse_defense(squeezer)
    images = pictures(5, *shape)
    before = images.clone()
    out = squeeze(images)
    assert (out.shape, out.dtype, out.is_contiguous()) == (images.shape, torch.float32, True)
    assert 0 <= float(out.min()) <= float(out.max()) <= 1
    assert torch.equal(images, before)
    alone = torch.cat([squeeze(image[None]) for image in images])
    assert torch.equal(out, alone)
    last = squeeze(images.contiguous(memory_format=torch.channels_last))
    assert torch.equal(last, out)
    assert last.is_contiguous(memory_format=torch.channels_last)
    turned = images.transpose(2, 3)
    assert torch.equal(squeeze(turned), squeeze(turned.contiguous()))
    assert squeeze(images[:0]).shape == (0, *shape)


@pytest.mark.parametrize("squeezer", SQUEEZERS)
def test_batches_of_several_chunks_give_what_their_images_give_alone(squeezer: str) -> None:
    squeeze, images = parse_defense(squeezer), pictures(90, 3, 17, 16)
    alone = torch.cat([squeeze(image[None]) for image in images])
    assert torch.equal(squeeze(images), alone)


@pytest.mark.parametrize("squeezer", SQUEEZERS)
def test_flat_gray_images_of_one_bit_stay_as_they_are(squeezer: str) -> None:
    flat = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 8, 7).contiguous()
    torch.testing.assert_close(parse_defense(squeezer)(flat), flat, rtol=0, atol=1e-6)


@pytest.mark.parametrize("squeezer", ["bits", "median", "nlm", "gaussian", "tv"])
def test_gradients_pass_straight_through_or_not_at_all(squeezer: str) -> None:
    images = pictures(3, 3, 8, 8).requires_grad_()
    weights = torch.linspace(-1, 1, images.numel()).view_as(images)
    through = parse_defense(f"{squeezer}:gradient=straight-through")
    (gradient,) = torch.autograd.grad((through(images) * weights).sum(), images)
    assert torch.equal(gradient, weights)
    none = parse_defense(f"{squeezer}:gradient=none")(images)
    assert not none.requires_grad
    assert torch.equal(none, through(images).detach())
    assert parse_defense(squeezer).gradient == ("differentiable" if squeezer == "gaussian" else "straight-through")


def test_squeezers_are_chained() -> None:
    images = pictures(3, 3, 8, 9)
    chain = parse_defense("median:size=3|bits:depth=3|gaussian")
    by_hand = parse_defense("gaussian")(parse_defense("bits:depth=3")(Defense(Median(size=3))(images)))
    assert torch.equal(chain(images), by_hand)
    assert chain.gradient == "straight-through"


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("bits:depth=0", ParameterError, "bits: depth must be between 1 and 8, got 0."),
        ("bits:depth=9", ParameterError, "bits: depth must be between 1 and 8, got 9."),
        ("median:size=1", ParameterError, "median: size must be between 2 and 7, got 1."),
        ("median:size=8", ParameterError, "median: size must be between 2 and 7, got 8."),
        ("nlm:search=12", ParameterError, "nlm: search must be odd, got 12."),
        ("nlm:patch=4", ParameterError, "nlm: patch must be odd, got 4."),
        ("nlm:search=37", ParameterError, "nlm: search must be between 1 and 35, got 37."),
        ("nlm:strength=0", ParameterError, "nlm: strength must be between 0.1 and 255, got 0."),
        ("gaussian:sigma=0", ParameterError, "gaussian: sigma must be between 0.1 and 20, got 0."),
        ("tv:weight=0", ParameterError, "tv: weight must be between 0.001 and 10, got 0."),
        ("tv:steps=0", ParameterError, "tv: steps must be between 1 and 10000, got 0."),
        (
            "bits:gradient=differentiable",
            ParameterError,
            "bits: gradient must be one of straight-through, none, got 'differentiable'.",
        ),
        ("medain", SpecError, "unknown defense 'medain'. Did you mean median? 'foolscope defenses' lists all."),
    ],
)
def test_bad_specs(text: str, error: type[FoolscopeError], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        parse_defense(text)


@pytest.mark.parametrize("squeezer", ["bits", "median", "nlm", "gaussian", "tv"])
def test_images_outside_the_box_are_refused(squeezer: str) -> None:
    with pytest.raises(InputError, match=r"^images must be in \[0, 1\], found values from 1\.2 to 1\.2\.$"):
        parse_defense(squeezer)(torch.full((1, 3, 4, 4), 1.2))


@pytest.mark.parametrize(
    ("depth", "value", "level"),
    [
        (1, 0.49, 0),
        (1, 0.5, 0),
        (1, 0.51, 1),
        (2, 0.5, 2 / 3),
        (2, 0.4, 1 / 3),
        (5, 0.1, 3 / 31),
        (8, 7 / 255, 7 / 255),
    ],
)
def test_bits_by_hand(depth: int, value: float, level: float) -> None:
    got = parse_defense(f"bits:depth={depth}")(torch.full((1, 1, 1, 1), value))
    assert float(got) == pytest.approx(level, abs=1e-7)


@pytest.mark.parametrize("depth", range(1, 9))
def test_bits_are_numpys(depth: int) -> None:
    images = pictures(6, 3, 16, 16)
    steps = np.float32(2**depth - 1)
    assert np.array_equal(parse_defense(f"bits:depth={depth}")(images).numpy(), np.rint(images.numpy() * steps) / steps)


def test_eight_bits_are_all_that_an_8_bit_image_has() -> None:
    images = quantize(pictures(6, 3, 16, 16))
    assert torch.equal(parse_defense("bits:depth=8")(images), images)


@settings(max_examples=60, deadline=None)
@given(depth=st.integers(1, 8), values=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30))
def test_bits_twice_are_bits_once(depth: int, values: list[float]) -> None:
    squeeze = parse_defense(f"bits:depth={depth}")
    once = squeeze(torch.tensor(values).view(1, 1, 1, -1))
    assert torch.equal(squeeze(once), once)
    assert len(once.unique()) <= 2**depth


def scipys_median(images: Tensor, size: int) -> NDArray[np.float32]:
    found: NDArray[np.float32] = ndimage.median_filter(images.numpy(), size=(1, 1, size, size), mode="reflect")
    return found


def test_a_median_by_hand() -> None:
    image = torch.tensor([[0.1, 0.9, 0.2], [0.8, 0.3, 0.7], [0.4, 0.6, 0.5]]).view(1, 1, 3, 3)
    # Windows of 2 x 2 that end at each pixel, the edge mirrored: the third smallest of four.
    want = torch.tensor([[0.1, 0.9, 0.9], [0.8, 0.8, 0.7], [0.8, 0.6, 0.6]])
    assert torch.equal(parse_defense("median")(image)[0, 0], want)
    assert float(parse_defense("median:size=3")(image)[0, 0, 1, 1]) == 0.5


@pytest.mark.parametrize("size", range(2, 8))
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 17, 40), *SIZES], ids=str)
def test_medians_are_scipys(size: int, shape: tuple[int, int, int]) -> None:
    images = pictures(6, *shape)
    assert np.array_equal(parse_defense(f"median:size={size}")(images).numpy(), scipys_median(images, size))


@settings(max_examples=80, deadline=None)
@given(
    size=st.integers(2, 7),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    levels=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_medians_of_many_equal_values_are_scipys(size: int, height: int, width: int, levels: int, seed: int) -> None:
    noise = torch.rand(2, 1, height, width, generator=torch.Generator().manual_seed(seed))
    images = (noise * levels).round() / levels
    assert np.array_equal(parse_defense(f"median:size={size}")(images).numpy(), scipys_median(images, size))


@pytest.mark.parametrize(
    ("search", "patch", "strength"),
    [
        (13, 3, 2.0),  # EvadeML-Zoo's for CIFAR-10
        (11, 3, 4.0),  # and for ImageNet
        (13, 3, 6.5),  # weights that 16 bits cannot hold
        (21, 7, 10.0),  # OpenCV's defaults for windows
        (5, 5, 60.0),
        (3, 1, 3.0),
        (7, 1, 255.0),
        (1, 3, 2.0),
        (13, 3, 0.1),
        (9, 15, 1.7),
    ],
)
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 11, 6), *SIZES], ids=str)
def test_non_local_means_are_opencvs(
    search: int, patch: int, strength: float, shape: tuple[int, int, int], threads: None
) -> None:
    images = pictures(4, *shape)
    got = Defense(NonLocalMeans(search=search, patch=patch, strength=strength))(images)
    assert torch.equal(got, opencv(images, search, patch, strength))


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 4),
    channels=st.sampled_from([1, 3]),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    search=st.integers(0, 7).map(lambda half: 2 * half + 1),
    patch=st.integers(0, 3).map(lambda half: 2 * half + 1),
    strength=st.floats(0.1, 40),
    seed=st.integers(0, 1000),
)
def test_any_non_local_means_are_opencvs(
    count: int, channels: int, height: int, width: int, search: int, patch: int, strength: float, seed: int
) -> None:
    images = pictures(count, channels, height, width, seed)
    got = Defense(NonLocalMeans(search=search, patch=patch, strength=strength))(images)
    assert torch.equal(got, opencv(images, search, patch, strength))


def test_blocks_of_rows_and_images_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    images = pictures(5, 3, 70, 19)
    whole = parse_defense("nlm:strength=10")(images)
    monkeypatch.setattr(nlm, "_BLOCK_PIXELS", 19)
    assert torch.equal(parse_defense("nlm:strength=10")(images), whole)


@pytest.mark.parametrize(
    ("count", "height", "threads", "sizes"),
    [
        (200, 32, 1, [(100, 32)] * 2),
        (200, 32, 2, [(100, 32)] * 2),
        (300, 32, 2, [(75, 32)] * 4),
        (3, 32, 2, [(2, 32), (1, 32)]),
        (1, 300, 2, [(1, 150)] * 2),  # so that one photograph keeps both threads busy
        (1, 40, 2, [(1, 32), (1, 8)]),
        (1, 7000, 1, [(1, 3200), (1, 3200), (1, 600)]),
        (0, 32, 2, []),
    ],
)
def test_blocks_fit_the_cache_and_keep_every_thread_busy(
    count: int, height: int, threads: int, sizes: list[tuple[int, int]]
) -> None:
    blocks = list(nlm._blocks(count, height, 32, threads))
    assert [tuple(part.stop - part.start for part in block) for block in blocks] == sizes
    pixels = torch.zeros(count, height)
    for block in blocks:
        pixels[block] += 1
    assert (pixels == 1).all()


def test_large_images_come_out_of_opencv_alike() -> None:
    images = F.avg_pool2d(pictures(1, 3, 330, 340), 5, 1)  # more pixels than a block has
    assert torch.equal(parse_defense("nlm:search=5")(images), opencv(images, 5, 3, 2.0))


@needs_data
def test_cifar_images_come_out_of_opencv_alike(threads: None) -> None:
    images = load_data("cifar10", limit=60).images
    got = parse_defense("nlm")(images)
    assert torch.equal(got, opencv(images, 13, 3, 2.0))
    assert float((got != images).float().mean()) > 0.3


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 2.3])
@pytest.mark.parametrize("shape", [(3, 32, 32), *SIZES], ids=str)
def test_gaussians_are_scipys(sigma: float, shape: tuple[int, int, int]) -> None:
    images = pictures(4, *shape)
    want = ndimage.gaussian_filter(images.double().numpy(), (0, 0, sigma, sigma), mode="reflect")
    torch.testing.assert_close(
        Defense(Gaussian(sigma=sigma))(images).double(), torch.from_numpy(want), rtol=0, atol=4e-7
    )


def test_a_gaussian_has_its_own_gradient() -> None:
    images = (0.2 + 0.6 * pictures(3, 3, 9, 8)).requires_grad_()  # away from 0 and 1, where the result is clipped
    blur = parse_defense("gaussian:sigma=0.8")
    weights, change = torch.randn(2, *images.shape, generator=torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad((blur(images) * weights).sum(), images)
    moved = (blur(images + 0.1 * change.clamp(-1, 1)) - blur(images)).detach()  # exact, because a blur is linear
    difference = float((moved * weights).sum())
    assert difference == pytest.approx(float((gradient * 0.1 * change.clamp(-1, 1)).sum()), rel=1e-4)
    assert blur.gradient == "differentiable"


@pytest.mark.parametrize(("weight", "steps"), [(0.1, 50), (0.02, 10), (0.5, 100), (1.0, 1)])
@pytest.mark.parametrize("shape", [(3, 24, 24), (1, 9, 13), (3, 4, 4)], ids=str)
def test_total_variation_is_scikit_images(weight: float, steps: int, shape: tuple[int, int, int]) -> None:
    images = pictures(3, *shape)
    want = [
        denoise_tv_chambolle(image, weight=weight, eps=0, max_num_iter=steps + 1, channel_axis=0)
        for image in images.double().numpy()
    ]
    got = Defense(TotalVariation(weight=weight, steps=steps))(images)
    torch.testing.assert_close(got.double(), torch.from_numpy(np.stack(want)).clamp(0, 1), rtol=0, atol=2e-6)


@pytest.mark.parametrize(("weight", "low", "high"), [(0.4, 0.3, 0.6), (0.8, 0.4, 0.5), (2.0, 0.45, 0.45)])
def test_total_variation_moves_two_halves_towards_each_other(weight: float, low: float, high: float) -> None:
    """The minimum is known: a half of 4 columns moves by weight / 4, until both meet at their mean."""
    image = torch.tensor([0.2] * 4 + [0.7] * 4).expand(1, 1, 6, 8)
    got = Defense(TotalVariation(weight=weight, steps=3000))(image)
    want = torch.tensor([low] * 4 + [high] * 4).expand(1, 1, 6, 8)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-3)
