"""Styles against a second implementation; strength and intensity as they are meant."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from foolscope import filters
from foolscope.errors import InputError, ParameterError, SpecError
from foolscope.filters import AGV_A, AGV_A_CODE, AGV_B, AGV_B_CODE, FILTERS, Chain, Clarendon, Filter, Juno
from foolscope.filters.styles import Interval
from foolscope.images import from_uint8
from foolscope.randomness import generator
from tests.filters import reference
from tests.filters.pictures import pictures

each_filter = pytest.mark.parametrize("name", FILTERS)
GRAY = [name for name, kind in FILTERS.items() if kind.takes_gray]


def expected(images: Tensor, chain: Chain) -> Tensor:
    """The images after a chain, by the reference: float64."""
    done = []
    for image in images:
        now = reference.picture(image)
        for item in chain.filters:
            now = reference.mixed(now, item.name, item.strength, item.intensity)
        done.append(torch.from_numpy(now).permute(2, 0, 1)[: len(image)])
    return torch.stack(done)


def intensities(name: str) -> list[float]:
    """The ends of the range that is searched, 1, the ends of what a spec may ask for, and two extremes."""
    return sorted({*FILTERS[name].intensity_range, 1.0, 0.5, 1.5, 0.1, 3.0})


def test_every_filter_of_the_authors_is_there() -> None:
    assert list(FILTERS) == list(reference.STYLES)


@each_filter
@pytest.mark.parametrize("gradients", [False, True])
def test_styles_are_the_references(name: str, gradients: bool) -> None:
    """Both implementations, in place and with gradients, at every intensity and strength, to 1e-5."""
    images = pictures()
    for intensity, strength in itertools.product(intensities(name), (1.0, 0.35)):
        item = FILTERS[name](strength=strength, intensity=intensity)
        found = item(images.clone().requires_grad_(gradients))
        assert found.requires_grad == gradients
        want = expected(images, Chain((item,)))
        assert torch.allclose(found.detach().double(), want, rtol=0, atol=1e-5), (intensity, strength)


@each_filter
@pytest.mark.parametrize("intensity", [0.1, 0.5, 1.0, 5.0])
def test_flat_images_are_the_references(name: str, intensity: float) -> None:
    """Black, nearly black, gray and white, whose span is 0, and one of a color."""
    grays = [torch.full((3,), level) for level in (0.0, 1e-6, 0.25, 1.0)]
    images = torch.stack([*grays, torch.tensor([0.1, 0.2, 0.9])]).view(5, 3, 1, 1).repeat(1, 1, 4, 5)
    item = FILTERS[name](intensity=intensity)
    slow = item(images.clone().requires_grad_()).detach()
    torch.testing.assert_close(item(images), slow, rtol=0, atol=2e-5)
    torch.testing.assert_close(slow.double(), expected(images, Chain((item,))), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", GRAY)
@pytest.mark.parametrize("gradients", [False, True])
def test_gray_images_are_color_images_with_equal_channels(name: str, gradients: bool) -> None:
    images = pictures(4, channels=1)
    for intensity in intensities(name):
        item = FILTERS[name](intensity=intensity)
        found = item(images.clone().requires_grad_(gradients))
        assert found.shape == images.shape
        assert torch.allclose(found.detach().double(), expected(images, Chain((item,))), rtol=0, atol=1e-5)


@each_filter
def test_what_would_color_gray_images_says_so(name: str) -> None:
    if name in GRAY:
        return
    message = f"{name} would color gray images; {', '.join(GRAY)} do not."
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        FILTERS[name]()(pictures(2, channels=1))
    # They would: the reference's result has different channels.
    image = reference.STYLES[name](reference.picture(pictures(1, channels=1)[0]), 1.0)
    assert np.ptp(image, axis=-1).max() > 0.01


@pytest.mark.parametrize("chain", [AGV_A, AGV_B, AGV_A_CODE, AGV_B_CODE], ids=lambda chain: str(chain.title))
def test_the_published_chains_are_the_references(chain: Chain) -> None:
    images = pictures(9, height=16, width=16)
    assert torch.allclose(chain(images).double(), expected(images, chain), rtol=0, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(list(FILTERS)), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
def test_any_chain_is_the_references(names: list[str], seed: int) -> None:
    drawn = torch.rand(2, len(names), generator=generator(seed)).tolist()
    items = [FILTERS[n](strength=s, intensity=0.5 + a) for n, s, a in zip(names, *drawn, strict=True)]
    images = torch.rand(2, 3, 5, 6, generator=generator(seed))
    # In float64: a long chain of steep curves magnifies the last bits of a float32.
    found = Chain(tuple(items))(images.double())
    assert torch.allclose(found, expected(images, Chain(tuple(items))), rtol=0, atol=1e-5)


def test_lark_finds_blue_where_opencv_does() -> None:
    """On 8-bit pixels, within the rounding of OpenCV's hues."""
    import cv2

    rng = np.random.default_rng(0)
    levels = rng.integers(0, 256, (1, 80, 80, 3), dtype=np.uint8)
    hsv = cv2.cvtColor(levels[0], cv2.COLOR_RGB2HSV)
    blue = cv2.inRange(hsv, np.array([90, 50, 30]), np.array([130, 255, 230])) > 0
    inside = cv2.inRange(hsv, np.array([92, 53, 31]), np.array([128, 255, 229])) > 0
    outside = cv2.inRange(hsv, np.array([88, 48, 29]), np.array([132, 255, 231])) == 0
    images = from_uint8(levels)
    changed = filters.effects.selective_color(
        images, 0.8, hue=(180, 260), saturation=(50 / 255, 1), value=(30 / 255, 230 / 255)
    )
    found = (changed != images).any(1)[0].numpy()
    assert inside.sum() > 500
    assert found[inside].all()
    assert not found[outside].any()
    assert (found != blue).mean() < 0.01


@each_filter
@pytest.mark.parametrize("gradients", [False, True])
def test_strength_0_is_the_identity_bit_for_bit(name: str, gradients: bool) -> None:
    images = pictures().requires_grad_(gradients)
    kind = FILTERS[name]
    for intensity in intensities(name):
        assert torch.equal(kind(strength=0.0, intensity=intensity)(images), images)
        zeros, amounts = torch.zeros(1, len(images)), torch.full((1, len(images)), intensity)
        assert torch.equal(filters.apply([kind], zeros, amounts, images), images)


@each_filter
def test_strength_mixes_image_and_style(name: str) -> None:
    """So every distance grows in proportion to it."""
    images, kind = pictures(), FILTERS[name]
    change = kind.style(images) - images
    assert float(change.abs().mean()) > 0.01
    for strength in (0.1, 0.25, 0.5, 0.9):
        mixed = kind(strength=strength)(images)
        torch.testing.assert_close(mixed - images, strength * change, rtol=0, atol=1e-6)


GROWS: dict[str, Interval] = {
    "clarendon": (0.9, 1.5),
    "gingham": (1.0, 1.5),
    "reyes": (0.9, 1.5),
    "juno": (0.9, 1.5),
    "lark": (1.3, 1.5),
}
"""Intensities of the thesis' filters over which the mean change grows.

Below, some of their factors come nearer to 1: Lark's gamma, 0.8 a, changes least at 1.25.
"""


@pytest.mark.parametrize("name", GROWS)
def test_from_some_intensity_on_the_thesis_filters_change_images_more(name: str) -> None:
    changes = [change.mean() for change in changed_by(name, *GROWS[name])]
    assert all(more > less for less, more in itertools.pairwise(changes))


@pytest.mark.parametrize("name", [name for name in FILTERS if name not in GROWS])
def test_intensity_changes_every_image_more_with_our_filters(name: str) -> None:
    changes = changed_by(name, 0.5, 1.5)
    assert all((more > less).all() for less, more in itertools.pairwise(changes))


def changed_by(name: str, low: float, high: float) -> list[Tensor]:
    """The mean change of each image (N,), at intensities from low to high."""
    images = pictures(9, height=24, width=24)
    return [(FILTERS[name].style(images, float(a)) - images).abs().mean((1, 2, 3)) for a in np.linspace(low, high, 9)]


def test_a_filter_is_a_value() -> None:
    item = Juno(strength=0.5)
    assert item == Juno(strength=0.5, intensity=1.0)
    assert len({item, Clarendon(strength=0.5), Juno(strength=0.5)}) == 2
    assert hash(item) == hash(Juno(strength=0.5))
    assert item.spec() == "juno:strength=0.5"
    assert repr(item) == "Juno(strength=0.5, intensity=1.0)"


@each_filter
def test_search_ranges_lie_in_what_a_spec_may_ask_for(name: str) -> None:
    kind: type[Filter] = FILTERS[name]
    assert kind.name == name
    assert kind.summary
    assert "doi" in kind.source
    assert 0 <= kind.strength_range[0] < kind.strength_range[1] <= 1
    low, high = kind.usual_intensity
    assert low <= kind.intensity_range[0] < kind.intensity_range[1] <= high


def test_search_ranges_of_the_papers() -> None:
    ranges = {name: (kind.strength_range, kind.intensity_range) for name, kind in FILTERS.items()}
    assert ranges == {
        "clarendon": ((0.1, 1.0), (0.8, 1.3)),
        "gingham": ((0.1, 1.0), (0.8, 1.3)),
        "reyes": ((0.1, 1.0), (0.8, 1.1)),
        "juno": ((0.1, 1.0), (0.5, 1.5)),
        "lark": ((0.1, 1.0), (0.9, 1.1)),
        **dict.fromkeys(("hudson", "slumber", "stinson", "rise"), ((0.7, 1.0), (1.0, 1.15))),
        "perpetua": ((0.7, 1.0), (1.1, 1.45)),
    }


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"strength": 1.01}, "juno: strength must be between 0 and 1, got 1.01."),
        ({"strength": -0.1}, "juno: strength must be between 0 and 1, got -0.1."),
        ({"intensity": 0.0}, "juno: intensity must be between 0.1 and 5, got 0."),
        ({"intensity": 5.5}, "juno: intensity must be between 0.1 and 5, got 5.5."),
        ({"intensity": float("nan")}, "juno: intensity must be between 0.1 and 5, got nan."),
    ],
)
def test_limits(parameters: dict[str, float], message: str) -> None:
    with pytest.raises(ParameterError, match=f"^{re.escape(message)}$"):
        Juno(**parameters)


def test_unknown_filters() -> None:
    message = "unknown filter 'clarandon'. Did you mean clarendon? 'foolscope filters' lists all."
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        filters.apply(["clarandon"], [1.0], [1.0], pictures())
