"""Saliency, SmoothGrad and integrated gradients against models whose gradients are known."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from foolscope.errors import InputError, ParameterError
from foolscope.explain.saliency import (
    completeness_gap,
    integrated_gradients,
    pixel_ranking,
    pixel_saliency,
    saliency,
    smooth_grad,
)
from foolscope.models import Classifier
from foolscope.models.engine import Engine
from foolscope.randomness import generator
from tests.explain.networks import Polynomial, Rooted, linear, random, small

IMAGES = random(5, 3, 6, 5)
LABELS = torch.tensor([0, 3, 1, 2, 1])


def test_a_linear_models_saliency_is_its_weight() -> None:
    model, weight = linear()
    assert torch.equal(saliency(model, IMAGES, LABELS), weight[LABELS])
    torch.testing.assert_close(smooth_grad(model, IMAGES, LABELS, samples=3), weight[LABELS])


def test_saliency_is_of_logits_of_the_class_asked_for() -> None:
    model = Polynomial(random(4, 3, 3, 6, 5, seed=3) - 0.5)
    found = saliency(model, IMAGES, LABELS)
    for row, label in enumerate(LABELS.tolist()):
        torch.testing.assert_close(found[row], model.gradient(IMAGES[row], label), atol=1e-6, rtol=1e-5)


def test_smooth_grad_is_the_mean_under_noise() -> None:
    """The gradient a + 2 b x + 3 c x^2 has the mean a + 2 b x + 3 c (x^2 + noise^2)."""
    model, noise = Polynomial(random(4, 3, 3, 6, 5, seed=3) - 0.5), 0.05
    images = 0.4 + 0.2 * IMAGES  # no noise is clipped
    found = smooth_grad(model, images, LABELS, samples=800, noise=noise)
    for row, label in enumerate(LABELS.tolist()):
        expected = model.gradient(images[row], label) + 3 * model.of(label)[2] * noise**2
        assert float((found[row] - expected).abs().max()) < 5 * 2 * noise / 800**0.5


def test_smooth_grad_keeps_images_in_range() -> None:
    class Watching(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            assert float(images.detach().min()) >= 0
            assert float(images.detach().max()) <= 1
            return images.mean((2, 3))

    assert smooth_grad(Watching(), IMAGES, torch.zeros(5).long(), samples=2, noise=3.0).shape == IMAGES.shape


@pytest.mark.parametrize("baseline", [0.0, 0.5, random(3, 6, 5, seed=9)], ids=["black", "gray", "an image"])
def test_integrated_gradients_of_a_polynomial_are_exact(baseline: torch.Tensor | float) -> None:
    """Two nodes integrate a gradient of degree 2 exactly: each pixel adds p(x) - p(baseline)."""
    model = Polynomial(random(4, 3, 3, 6, 5, seed=3) - 0.5)
    found = integrated_gradients(model, IMAGES, LABELS, baseline=baseline, steps=2)
    begin = torch.as_tensor(baseline).expand_as(IMAGES)
    for row, label in enumerate(LABELS.tolist()):
        a, b, c = model.of(label)
        x, y = IMAGES[row], begin[row]
        torch.testing.assert_close(found[row], a * (x - y) + b * (x**2 - y**2) + c * (x**3 - y**3))
    gap = completeness_gap(model, IMAGES, LABELS, found, baseline=baseline)
    torch.testing.assert_close(gap, torch.zeros(5), atol=1e-5, rtol=0)
    rough = integrated_gradients(model, IMAGES, LABELS, baseline=baseline, steps=1)
    assert float(completeness_gap(model, IMAGES, LABELS, rough, baseline=baseline).abs().max()) > 1e-3


def test_integrated_gradients_of_a_network_are_complete() -> None:
    model, images = small(), random(3, 3, 12, 12)
    maps = integrated_gradients(model, images, LABELS[:3], steps=64)
    change = Engine(model).logits(images) - Engine(model).logits(torch.zeros_like(images))
    assert float(completeness_gap(model, images, LABELS[:3], maps).abs().max()) < 0.02 * float(change.abs().max())


def test_pixels_are_ranked_by_their_largest_channel() -> None:
    maps = torch.tensor([[[[1.0, -5.0], [0.0, 2.0]], [[-3.0, 1.0], [0.0, 2.0]]]])
    assert pixel_saliency(maps).tolist() == [[[3.0, 5.0], [0.0, 2.0]]]
    assert pixel_ranking(maps).tolist() == [[1, 0, 3, 2]]
    assert pixel_ranking(torch.ones(1, 2, 2)).tolist() == [[0, 1, 2, 3]]


def test_a_batch_gives_what_its_images_give() -> None:
    model, images = small(), random(5, 3, 12, 12)
    for explain in (saliency, smooth_grad, integrated_gradients):
        together = explain(model, images, LABELS)
        alone = torch.cat([explain(model, images[i : i + 1], LABELS[i : i + 1]) for i in range(5)])
        torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-5)


def test_the_seed_decides_the_noise() -> None:
    model, images = small(), random(2, 3, 12, 12)
    first, again, other = (smooth_grad(model, images, LABELS[:2], samples=2, rng=generator(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_no_images() -> None:
    for explain in (saliency, smooth_grad, integrated_gradients):
        assert explain(small(), torch.empty(0, 3, 12, 12), torch.empty(0).long()).shape == (0, 3, 12, 12)


def test_bad_input() -> None:
    model, _ = linear()
    black_box = Classifier(model, name="box", input_shape=(3, 6, 5), num_classes=4, differentiable=False)
    message = (
        r"^saliency needs gradients and box gives none: transfer functions, Fourier heat maps and band tests work "
        r"without\.$"
    )
    with pytest.raises(InputError, match=message):
        saliency(black_box, IMAGES, LABELS)
    with pytest.raises(InputError, match=r"^labels must be class indices from 0 to 3, found 1 to 4\.$"):
        saliency(model, IMAGES[:2], torch.tensor([1, 4]))
    with pytest.raises(InputError, match=r"^images must be in \[0, 1\], found values from [\d.]+ to 25"):
        saliency(model, IMAGES * 255, LABELS)
    with pytest.raises(ParameterError, match=r"^SmoothGrad needs samples >= 1 and noise >= 0, got 0 and 0\.15\.$"):
        smooth_grad(model, IMAGES, LABELS, samples=0)
    with pytest.raises(ParameterError, match=r"^SmoothGrad needs samples >= 1 and noise >= 0, got 25 and -1\.$"):
        smooth_grad(model, IMAGES, LABELS, noise=-1)
    with pytest.raises(ParameterError, match=r"^integrated gradients need steps >= 1, got 0\.$"):
        integrated_gradients(model, IMAGES, LABELS, steps=0)
    with pytest.raises(ParameterError, match=r"^the baseline must be in \[0, 1\], found values from 0 to 2\.$"):
        integrated_gradients(model, IMAGES, LABELS, baseline=torch.tensor([0.0, 2.0, 1.0, 1.0, 1.0]))


def test_gradients_that_are_not_finite_are_no_saliency() -> None:
    images = torch.cat([torch.full((1, 1, 4, 4), 0.9), torch.full((1, 1, 4, 4), 0.1)])
    with pytest.raises(InputError, match=r"^Rooted has NaN or infinite gradients, first for image 1 of the batch\.$"):
        saliency(Rooted().eval(), images, torch.tensor([0, 1]))
