"""Norms against their definitions, a slow bisection, and what is known of their balls."""

from __future__ import annotations

import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from foolscope.errors import SpecError
from foolscope.norms import L1_SHARE, NORMS, Norm, expand, l0, l1, l2, linf
from foolscope.randomness import Streams, generator

each_norm = pytest.mark.parametrize("norm", NORMS.values(), ids=repr)
many = settings(max_examples=60, deadline=None)

shapes = st.tuples(st.integers(1, 4), st.sampled_from([1, 3]), st.integers(1, 6), st.integers(1, 6))
scales = st.sampled_from([1e-30, 1e-12, 1e-3, 1.0, 1e3])


@st.composite
def perturbations(draw: st.DrawFn, scales: st.SearchStrategy[float] = scales) -> Tensor:
    """Values of any scale, some of them 0, some equal in size."""
    shape, scale, seed = draw(shapes), draw(scales), draw(st.integers(0, 2**31))
    rng = generator(seed)
    x = torch.randn(shape, generator=rng)
    if draw(st.booleans()):
        x = x.sign() * (x.abs() * 2).round() / 2  # ties and zeros
    return x * scale


def lengths(norm: str, x: Tensor) -> Tensor:
    order = {"l1": 1, "l2": 2, "linf": math.inf}[norm]
    found: Tensor = torch.linalg.vector_norm(x.flatten(1).double(), order, dim=1)
    return found


def test_names() -> None:
    assert {name: repr(norm) for name, norm in NORMS.items()} == {"l1": "l1", "l2": "l2", "linf": "linf"}
    assert (NORMS["l1"], NORMS["l2"], NORMS["linf"]) == (l1, l2, linf)
    message = "unknown norm 'linff'. Did you mean linf? 'foolscope attacks' lists all."
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        NORMS["linff"]


@each_norm
@many
@given(x=perturbations())
def test_length(norm: Norm, x: Tensor) -> None:
    torch.testing.assert_close(norm.length(x * 1.0).double(), lengths(norm.name, x), rtol=1e-5, atol=1e-18)


def test_lengths_by_hand() -> None:
    x = torch.tensor([[[[3.0, -4.0], [0.0, 0.0]]], [[[0.0, 0.0], [0.0, -2.0]]]])
    assert l1.length(x).tolist() == [7, 2]
    assert l2.length(x).tolist() == [5, 2]
    assert linf.length(x).tolist() == [4, 2]


def test_l0_counts_positions_not_values() -> None:
    x = torch.zeros(3, 3, 2, 2)
    x[0, :, 0, 0] = torch.tensor([0.1, -0.2, 0.3])
    x[0, 1, 1, 1] = 0.5
    x[1, 2, 0, 1] = 1e-4
    assert l0(x).tolist() == [2, 1, 0]
    assert l0(x, tolerance=1e-3).tolist() == [2, 0, 0]


def test_expand() -> None:
    like = torch.zeros(2, 3, 4, 5)
    assert expand(torch.tensor([1.0, 2.0]), like).shape == (2, 1, 1, 1)
    assert expand(0.5, like) == 0.5
    single = torch.tensor(0.5)
    assert expand(single, like) is single


# --- projection -------------------------------------------------------------------------------------------------------


def bisected(x: Tensor, eps: Tensor) -> Tensor:
    """The nearest point of the l1 ball: |x| - theta with theta found by halving, in float64."""
    wide, bound = x.flatten(1).double(), eps.double()[:, None]
    low, high = torch.zeros_like(bound), wide.abs().amax(1, keepdim=True)
    for _ in range(200):
        theta = (low + high) / 2
        too_long = (wide.abs() - theta).clamp_min(0).sum(1, keepdim=True) > bound
        low, high = torch.where(too_long, theta, low), torch.where(too_long, high, theta)
    shrunk = wide.sign() * (wide.abs() - high).clamp_min(0)
    return torch.where(wide.abs().sum(1, keepdim=True) <= bound, wide, shrunk).view(x.shape)


@each_norm
@many
@given(
    x=perturbations(st.sampled_from([1e-12, 1e-3, 1.0, 1e3])),
    share=st.sampled_from([0.0, 1e-3, 0.3, 0.99, 1.5]),
    per_sample=st.booleans(),
)
def test_projection_is_the_nearest_point_of_the_ball(norm: Norm, x: Tensor, share: float, per_sample: bool) -> None:
    before = x.clone()
    size = lengths(norm.name, x)
    eps = share * size if per_sample else (share * size.mean()).expand(len(x))
    found = norm.project(x, eps.float() if per_sample else float(eps[0]))
    scale = x.abs().amax().double()
    assert torch.equal(x, before)
    assert found.shape == x.shape and found.dtype == x.dtype
    rounding = {"l1": x[0].numel() * 1e-7, "l2": 1e-7, "linf": 0.0}[norm.name] * scale
    assert (lengths(norm.name, found) <= eps.float().double() * (1 + 1e-6) + rounding).all()
    again = norm.project(found, eps.float() if per_sample else float(eps[0]))
    torch.testing.assert_close(again, found, atol=float(scale) * 1e-6, rtol=1e-5)
    inside = size <= eps * (1 - 1e-5)
    assert torch.equal(found[inside], x[inside])
    bound = eps.view(-1, 1, 1, 1)
    nearest = {
        "linf": x.double().clamp(-bound, bound),
        "l2": x.double() * (bound / size.clamp_min(1e-300).view(-1, 1, 1, 1)).clamp_max(1),
        "l1": bisected(x, eps),
    }[norm.name]
    torch.testing.assert_close(found.double(), nearest, atol=float(scale) * 1e-5 + 1e-45, rtol=1e-4)


@each_norm
def test_no_point_of_the_ball_is_nearer(norm: Norm) -> None:
    x = torch.randn(1, 1, 4, 4, generator=generator(1)).expand(500, 1, 4, 4)
    others = norm.random_point(Streams(0, torch.rand(500, 1, 4, 4, generator=generator(2))), (1, 4, 4), 1.0)
    found = norm.project(x, 1.0)
    assert ((x - found).flatten(1).norm(dim=1) <= (x - others).flatten(1).norm(dim=1)).all()
    towards = norm.project(found + 0.05 * others, 1.0)  # points near it
    assert ((x - found).flatten(1).norm(dim=1) <= (x - towards).flatten(1).norm(dim=1) + 1e-6).all()


@each_norm
def test_projection_of_nothing_and_onto_nothing(norm: Norm) -> None:
    zero, x = torch.zeros(2, 3, 4, 4), torch.randn(2, 3, 4, 4, generator=generator(0))
    assert torch.equal(norm.project(zero, 0.5), zero)
    assert torch.equal(norm.project(x, 0.0), zero)
    assert norm.project(x[:0], 0.5).shape == (0, 3, 4, 4)
    assert torch.equal(norm.project(x, torch.tensor([0.0, 1e9])), torch.stack([zero[0], x[1]]))
    assert torch.equal(norm.project(x, torch.tensor(0.5)), norm.project(x, 0.5))


# --- steepest ---------------------------------------------------------------------------------------------------------


@each_norm
@many
@given(gradient=perturbations())
def test_steepest_has_norm_1_and_goes_up(norm: Norm, gradient: Tensor) -> None:
    direction = norm.steepest(gradient)
    assert direction.shape == gradient.shape
    assert direction.isfinite().all()
    moving = gradient.flatten(1).any(1)
    torch.testing.assert_close(norm.length(direction), moving.float(), atol=1e-5, rtol=0)
    assert torch.equal(direction[~moving], torch.zeros_like(direction[~moving]))
    gain = (gradient.double() * direction).flatten(1).sum(1)
    dual = {"l1": None, "l2": lengths("l2", gradient), "linf": lengths("l1", gradient)}[norm.name]
    if dual is not None:  # no direction of norm 1 gains more than the dual norm
        torch.testing.assert_close(gain, dual, rtol=1e-5, atol=1e-40)
    assert (gain >= 0).all()


@many
@given(perturbations())
def test_steepest_in_l1_moves_the_largest_values_equally(gradient: Tensor) -> None:
    flat = gradient.flatten(1)
    direction = l1.steepest(gradient).flatten(1)
    count = max(1, round(L1_SHARE * flat.shape[1]))
    for row, moved in zip(flat, direction, strict=True):
        chosen = moved.nonzero()[:, 0]
        assert len(chosen) == min(count, int((row != 0).sum()))
        if len(chosen):
            assert torch.equal(moved[chosen].sign(), row[chosen].sign())
            torch.testing.assert_close(moved[chosen].abs(), torch.full((len(chosen),), 1 / len(chosen)))
            rest = row.abs()[moved == 0]
            assert len(rest) == 0 or row.abs()[chosen].min() >= rest.max()


@each_norm
@pytest.mark.parametrize("size", [1e-42, 1e-38, 1e-25, 1e-8, 1e30])
def test_tiny_and_huge_gradients_have_a_direction(norm: Norm, size: float) -> None:
    gradient = torch.zeros(1, 1, 5, 5)
    gradient[0, 0, 1, 2], gradient[0, 0, 3, 3] = size, -size
    direction = norm.steepest(gradient)
    assert direction[0, 0, 1, 2] > 0
    assert float(norm.length(direction)[0]) == pytest.approx(1, abs=1e-5)


# --- random points ----------------------------------------------------------------------------------------------------


@each_norm
def test_random_points_are_uniform_in_the_ball(norm: Norm) -> None:
    """In d dimensions the share of points nearer than r is r^d; all orthants and coordinates are equal."""
    count, shape, d = 20_000, (1, 2, 3), 6
    streams = Streams(4, torch.rand(count, *shape, generator=generator(3)))
    points = norm.random_point(streams, shape, 2.0)
    assert points.shape == (count, *shape)
    assert points.dtype == torch.float32
    relative = lengths(norm.name, points) / 2
    assert relative.max() <= 1 + 1e-6
    for share in (0.1, 0.25, 0.5, 0.75, 0.9):
        below = float((relative < share ** (1 / d)).double().mean())
        assert abs(below - share) < 4.5 * math.sqrt(share * (1 - share) / count)
    flat = points.flatten(1).double()
    variance = {"linf": 4 / 3, "l2": 4 / (d + 2), "l1": 2 * 4 / ((d + 1) * (d + 2))}[norm.name]
    assert (flat.mean(0).abs() < 4.5 * math.sqrt(variance / count)).all()
    torch.testing.assert_close(flat.var(0), torch.full((d,), variance).double(), rtol=0.07, atol=0)
    correlation = torch.corrcoef(flat.T) - torch.eye(d).double()
    assert correlation.abs().max() < 4.5 / math.sqrt(count)
    orthants = ((flat > 0) * 2 ** torch.arange(d)).sum(1).bincount(minlength=2**d)
    assert (orthants.double() - count / 2**d).abs().max() < 5 * math.sqrt(count / 2**d)


@each_norm
def test_random_points_belong_to_their_images(norm: Norm) -> None:
    images = torch.rand(4, 3, 5, 5, generator=generator(1))
    eps = torch.tensor([0.1, 0.0, 2.0, 1.0])
    points = norm.random_point(Streams(8, images), (3, 5, 5), eps)
    assert (lengths(norm.name, points) <= eps * (1 + 1e-5)).all()
    assert torch.equal(points[1], torch.zeros(3, 5, 5))
    for i in range(4):
        alone = norm.random_point(Streams(8, images[i : i + 1]), (3, 5, 5), float(eps[i]))
        torch.testing.assert_close(points[i : i + 1], alone, rtol=1e-6, atol=0)
    assert norm.random_point(Streams(8, images[:0]), (3, 5, 5), 1.0).shape == (0, 3, 5, 5)


@pytest.mark.parametrize("eps", [5.0, 0.3, 2000.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_projection_of_large_inputs_ends_inside_the_l1_ball(eps: float, dtype: torch.dtype) -> None:
    x = torch.randn(4, 3, 160, 160, generator=generator(0), dtype=dtype)
    found = l1.project(x, eps)
    assert found.dtype == dtype
    size = torch.tensor([math.fsum(row) for row in found.flatten(1).double().abs().tolist()], dtype=torch.float64)
    assert (size <= eps).all()
    assert (size >= eps * (1 - 1e-6)).all()
