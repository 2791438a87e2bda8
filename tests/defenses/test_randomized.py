"""Randomized defenses: what they draw, from where, and how gradients pass a draw."""

from __future__ import annotations

import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foolscope import jpeg
from foolscope.attacks import PGD, Untargeted
from foolscope.defenses import JPEG, Defense, Noise, RandomJPEG, ResizePad, Transform, defended, parse_defense
from foolscope.errors import InputError, ParameterError
from foolscope.models.engine import Engine
from foolscope.randomness import generator
from tests.attacks.cases import same, trained

KINDS: tuple[type[Transform], ...] = (ResizePad, RandomJPEG, Noise)
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(6, 3, 20, 17, generator=torch.Generator().manual_seed(1))


def seeded(transform: Transform | nn.Module, images: Tensor, seed: int = 0) -> Tensor:
    """What a defense gives when torch's generator has this seed."""
    defense = Defense(transform) if isinstance(transform, Transform) else transform
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        out: Tensor = defense(images)
        return out


def pulled_back(transform: Transform, images: Tensor, weights: Tensor, seed: int = 0) -> Tensor:
    x = images.detach().clone().requires_grad_()
    (found,) = torch.autograd.grad((seeded(transform, x, seed) * weights).sum(), x)
    return found


@each_kind
def test_the_generators_seed_decides_all(kind: type[Transform], images: Tensor) -> None:
    transform = kind()
    first = seeded(transform, images, 1)
    assert torch.equal(first, seeded(transform, images, 1))
    assert not torch.equal(first, seeded(transform, images, 2))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        assert torch.equal(Defense(transform)(images), first)
        assert not torch.equal(Defense(transform)(images), first)  # drawn anew


@each_kind
def test_images_draw_each_on_their_own(kind: type[Transform], images: Tensor) -> None:
    out = seeded(kind(), images[:1].expand(40, -1, -1, -1))
    assert len({tuple(image.flatten().tolist()) for image in out}) > 10


@each_kind
def test_it_says_that_it_is_random(kind: type[Transform]) -> None:
    assert kind.random
    assert Defense(JPEG(), kind()).random
    assert defended(nn.Flatten(), kind()).random
    for plain in (JPEG(), "bits|median"):
        assert not defended(nn.Flatten(), plain).random
    assert not defended(nn.Flatten(), nn.Identity()).random


@each_kind
@pytest.mark.parametrize("gradient", ["differentiable", "straight-through", "none"])
def test_shape_type_layout_and_range_are_the_images(kind: type[Transform], images: Tensor, gradient: str) -> None:
    transform = kind.from_spec(f"{kind.name}:gradient={gradient}")
    want = seeded(transform, images)
    assert want.shape == images.shape
    assert 0 <= float(want.min()) <= float(want.max()) <= 1
    for dtype in (torch.float64, torch.bfloat16):
        out = seeded(transform, images.to(dtype, memory_format=torch.channels_last))
        assert out.dtype == dtype
        assert out.is_contiguous(memory_format=torch.channels_last)
    last = seeded(transform, images.contiguous(memory_format=torch.channels_last))
    if kind is not Noise:  # whose numbers follow the layout
        torch.testing.assert_close(last, want)
    assert seeded(transform, images[:0]).shape == images[:0].shape
    assert seeded(transform, images[:, :1]).shape == images[:, :1].shape
    assert seeded(transform, images[..., :2, :3]).shape == (6, 3, 2, 3)


@each_kind
def test_three_ways_back(kind: type[Transform], images: Tensor) -> None:
    weights = torch.rand_like(images)
    straight = pulled_back(kind.from_spec(f"{kind.name}:gradient=straight-through"), images, weights)
    assert torch.equal(straight, weights)
    assert not torch.equal(pulled_back(kind(), images, weights), weights)
    assert not seeded(kind.from_spec(f"{kind.name}:gradient=none"), images.clone().requires_grad_()).requires_grad


@each_kind
def test_an_attack_gives_the_same_bits_and_leaves_the_generator(kind: type[Transform]) -> None:
    problem = trained()
    behind = defended(problem.model, kind())
    torch.manual_seed(3)
    before = torch.get_rng_state()
    results = [
        PGD(eps=0.1, steps=3)(behind, problem.images[:20], Untargeted(problem.labels[:20]), rng=generator(seed))
        for seed in (0, 0, 1)
    ]
    assert same(results[0], results[1])
    assert not same(results[0], results[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_padding_lies_around_the_interpolated_image(images: Tensor) -> None:
    transform = ResizePad(scale=0.6)
    sizes = set()
    for seed in range(15):
        frames, out = seeded(transform, torch.ones_like(images), seed), seeded(transform, images, seed)
        for image, frame, padded in zip(images, frames, out, strict=True):
            rows, columns = (frame[0] > 0).any(1).nonzero()[:, 0], (frame[0] > 0).any(0).nonzero()[:, 0]
            height, width = len(rows), len(columns)
            inside = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
            want = torch.zeros_like(image)
            shrunk = F.interpolate(image[None], (height, width), mode="bilinear", align_corners=False)
            want[:, inside[0], inside[1]] = shrunk[0]
            torch.testing.assert_close(padded, want)
            torch.testing.assert_close(frame, (want > 0).float())
            assert 12 <= height <= 20
            assert abs(height / 20 - width / 17) < 1 / 17
            sizes.add(height)
    assert sizes == set(range(12, 21))


def test_padding_falls_on_every_side(images: Tensor) -> None:
    places = set()
    for frame in seeded(ResizePad(scale=0.8), torch.ones(400, 1, 10, 10))[:, 0]:
        rows = (frame > 0).any(1).nonzero()[:, 0]
        places.add((len(rows), int(rows[0])))
    assert places == {(length, begin) for length in (8, 9, 10) for begin in range(11 - length)}


def test_the_full_size_changes_nothing(images: Tensor) -> None:
    assert torch.equal(seeded(ResizePad(scale=1), images), images)


def test_interpolation_has_its_adjoint_as_gradient(images: Tensor) -> None:
    transform, weights = ResizePad(scale=0.5), torch.rand_like(images)
    found = pulled_back(transform, images, weights)
    torch.testing.assert_close((found * images).sum(), (seeded(transform, images) * weights).sum())


def test_white_pixels_pass_their_gradient() -> None:
    """Weights that sum to 1 + 6e-8 would be cut off by the box."""
    gray = torch.full((50, 1, 13, 13), 0.5)
    ones = torch.ones_like(gray)
    assert torch.equal(pulled_back(ResizePad(), 2 * gray, ones), pulled_back(ResizePad(), gray, ones))


def test_each_image_gets_a_quality_of_the_range(images: Tensor) -> None:
    transform, many = RandomJPEG(low=30, high=33, subsampling="444"), images.repeat(20, 1, 1, 1)
    candidates = torch.stack([jpeg.compress(many, quality, "444") for quality in (30, 31, 32, 33)])
    hits = (candidates == seeded(transform, many)).flatten(2).all(2)
    assert hits.any(0).all()
    assert (hits.float().mean(1) > 0.1).all()


def test_a_range_of_one_quality_is_that_jpeg(images: Tensor) -> None:
    weights = torch.rand_like(images)
    drawn = RandomJPEG(low=40, high=40)
    assert torch.equal(seeded(drawn, images), jpeg.compress(images, 40))
    want = pulled_back(JPEG(quality=40, gradient="differentiable"), images, weights)
    assert torch.equal(pulled_back(drawn, images, weights), want)


def test_the_gradient_is_that_of_the_drawn_quality(images: Tensor) -> None:
    weights = torch.rand_like(images)
    found, out = pulled_back(RandomJPEG(low=20, high=23), images, weights), seeded(RandomJPEG(low=20, high=23), images)
    for quality in range(20, 24):
        drawn = (out == jpeg.compress(images, quality)).flatten(1).all(1)
        want = pulled_back(JPEG(quality=quality, gradient="differentiable"), images, weights)
        torch.testing.assert_close(found[drawn], want[drawn])


def test_noise_is_gaussian_and_clipped() -> None:
    gray, sigma = torch.full((64, 3, 32, 32), 0.5), 0.1
    noise = seeded(Noise(sigma=sigma), gray) - gray
    count = noise.numel()
    assert abs(float(noise.mean())) < 5 * sigma / count**0.5
    assert abs(float(noise.std()) / sigma - 1) < 5 / (2 * count) ** 0.5
    assert abs(float((noise.abs() < sigma).float().mean()) - 0.6827) < 0.005
    black = torch.zeros_like(gray)
    out = seeded(Noise(sigma=sigma), black)
    assert abs(float((out == 0).float().mean()) - 0.5) < 0.01
    found = pulled_back(Noise(sigma=sigma), black, torch.ones_like(black))
    assert torch.equal(found, (out > 0).float())


def test_the_engine_runs_them(images: Tensor) -> None:
    """BatchNorm is not folded where the network answers differently every time, and no draw is frozen."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 18 * 15, 3)]
        network = nn.Sequential(*layers).eval()
    for kind in KINDS:
        engine = Engine(defended(network, kind()))
        assert engine.gradients(images, lambda logits, rows: logits[:, 0]).images.abs().amax() > 0
        assert not torch.equal(engine.logits(images), engine.logits(images))


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("resize-pad:scale=0.9", "resize-pad"),
        ("random-jpeg:high=70,low=30", "random-jpeg:low=30,high=70"),
        ("noise:sigma=8/255|noise:sigma=4/255|jpeg", "noise|noise:sigma=4/255|jpeg"),
    ],
)
def test_specs(text: str, spec: str) -> None:
    assert parse_defense(text).spec() == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("resize-pad:scale=0", "resize-pad: scale must be between 0.1 and 1, got 0."),
        ("resize-pad:scale=1.2", "resize-pad: scale must be between 0.1 and 1, got 1.2."),
        ("random-jpeg:low=0", "random-jpeg: low must be between 1 and 100, got 0."),
        ("random-jpeg:high=101", "random-jpeg: high must be between 1 and 100, got 101."),
        ("random-jpeg:low=60,high=40", "random-jpeg: low must not be above high, got 60 and 40."),
        ("random-jpeg:subsampling=411", "random-jpeg: subsampling must be one of 444, 422, 420, got '411'."),
        ("noise:sigma=0", "noise: sigma must be between 0.001 and 1, got 0."),
        ("noise:sigma=-0.1", "noise: sigma must be between 0.001 and 1, got -0.1."),
        (
            "noise:gradient=exact",
            "noise: gradient must be one of differentiable, straight-through, none, got 'exact'.",
        ),
    ],
)
def test_bad_parameters(text: str, message: str) -> None:
    with pytest.raises(ParameterError, match=f"^{re.escape(message)}$"):
        parse_defense(text)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (ResizePad, "images must have shape (N, C, H, W) with C 1 or 3, got (2, 4, 8, 8)."),
        (RandomJPEG, "JPEG keeps no alpha channel: images must be gray or RGB, got (2, 4, 8, 8)."),
        (Noise, "images must have shape (N, C, H, W) with C 1 or 3, got (2, 4, 8, 8)."),
    ],
)
def test_bad_images(kind: type[Transform], message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        seeded(kind(), torch.zeros(2, 4, 8, 8))
    with pytest.raises(InputError, match=r"^images must be in \[0, 1\], found values from 1\.5 to 1\.5\.$"):
        seeded(kind(), torch.full((2, 3, 8, 8), 1.5))
