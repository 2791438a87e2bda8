"""Explanations under attack, and where a noise falls."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from foolscope.attacks import PGD, Untargeted
from foolscope.errors import InputError, ParameterError
from foolscope.explain import (
    agreement,
    energy_on_salient,
    equally_noisy,
    explanation_stability,
    jointly_normalized,
    pixel_saliency,
    saliency,
)
from foolscope.explain.maps import grad_cam_map, saliency_map
from foolscope.models.engine import Engine
from foolscope.norms import l2
from foolscope.randomness import generator
from tests.attacks.cases import trained
from tests.explain.networks import linear, random


def attacked(count: int = 12) -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    problem = trained()
    images, labels = problem.images[:count], problem.labels[:count]
    return (
        problem.model,
        images,
        PGD(eps=2.0, norm="l2", steps=8)(problem.model, images, Untargeted(labels)).images,
        labels,
    )


def test_a_linear_models_maps_do_not_change() -> None:
    model, _ = linear()
    images, labels = random(4, 3, 6, 5), torch.tensor([0, 1, 2, 3])
    found = explanation_stability(model, images, (images + 0.2).clamp(0, 1), labels)
    for comparison in (found.true_class, found.before, found.after):
        for measured in (comparison.agreement, comparison.null):
            assert measured.rank_correlation.tolist() == pytest.approx([1] * 4)
            assert measured.center_shift.tolist() == [0] * 4


def test_classes_and_maps_are_those_they_are_called() -> None:
    model, images, adversarial, labels = attacked()
    found = explanation_stability(model, images, adversarial, labels, k=30)
    engine = Engine(model)
    before, after = engine.predict(images), engine.predict(adversarial)
    assert (before != after).any()
    for comparison, first, second in [
        (found.true_class, labels, labels),
        (found.before, before, before),
        (found.after, after, after),
        (found.predicted, before, after),
    ]:
        assert torch.equal(comparison.original_classes, first)
        assert torch.equal(comparison.adversarial_classes, second)
        maps = [pixel_saliency(saliency(model, x, c)) for x, c in ((images, first), (adversarial, second))]
        shown = jointly_normalized(*maps)
        assert torch.equal(comparison.original, shown[0])
        assert torch.equal(comparison.adversarial, shown[1])
        expected = agreement(maps[0], maps[1], k=30)
        assert torch.equal(comparison.agreement.rank_correlation, expected.rank_correlation)
        assert comparison.null.k == 30


def test_null_levels_are_of_noise_of_the_same_norm() -> None:
    model, images, adversarial, labels = attacked()
    found = explanation_stability(model, images, adversarial, labels)
    torch.testing.assert_close(l2.length(found.noisy - images), l2.length(adversarial - images), rtol=1e-4, atol=0)
    maps = [saliency_map(model, x, labels) for x in (images, found.noisy)]
    expected = agreement(maps[0], maps[1])
    assert torch.equal(found.true_class.null.intersection, expected.intersection)
    random_prediction = Engine(model).predict(found.noisy)
    own = agreement(saliency_map(model, images, found.before.original_classes),
                    saliency_map(model, found.noisy, random_prediction))  # fmt: skip
    assert torch.equal(found.predicted.null.ssim, own.ssim)
    assert torch.equal(explanation_stability(model, images, adversarial, labels).noisy, found.noisy)
    other = explanation_stability(model, images, adversarial, labels, rng=generator(1))
    assert not torch.equal(other.noisy, found.noisy)


def test_other_methods() -> None:
    model, images, adversarial, labels = attacked(3)
    found = explanation_stability(model, images, adversarial, labels, explain=grad_cam_map)
    expected = agreement(grad_cam_map(model, images, labels), grad_cam_map(model, adversarial, labels))
    torch.testing.assert_close(
        found.true_class.agreement.intersection, expected.intersection, rtol=0, atol=0, equal_nan=True
    )


def test_noise_keeps_its_length_where_it_is_clipped() -> None:
    black = torch.zeros(3, 1, 8, 8)
    adversarial = black + torch.tensor([0.01, 0.1, 0.5]).view(3, 1, 1, 1)
    found = equally_noisy(black, adversarial)
    torch.testing.assert_close(l2.length(found), l2.length(adversarial), rtol=1e-4, atol=0)
    assert float(found.min()) == 0
    assert torch.equal(equally_noisy(black, black), black)


def test_where_noise_falls_by_hand() -> None:
    maps = torch.tensor([[[4.0, 3.0], [2.0, 1.0]]])
    noise = torch.tensor([[[[1.0, 0.0], [2.0, 1.0]], [[1.0, 1.0], [0.0, 0.0]]]])  # energies 2, 1, 4, 1
    found = energy_on_salient(noise, maps, (0.01, 0.5, 0.75, 1))
    assert found.pixels.tolist() == [0.25, 0.5, 0.75, 1]
    assert found.energy.tolist() == [pytest.approx([2 / 8, 3 / 8, 7 / 8, 1])]
    assert [mean.value for mean in found.means] == pytest.approx([2 / 8, 3 / 8, 7 / 8, 1])


def test_noise_that_ignores_the_map_falls_by_chance() -> None:
    noise, maps = torch.randn(300, 3, 10, 10, generator=generator(0)), random(300, 10, 10)
    found = energy_on_salient(noise, maps)
    for mean, chance in zip(found.means, found.pixels.tolist(), strict=True):
        assert mean.value == pytest.approx(chance, abs=4 * (mean.high - mean.value) / 1.96)


def test_a_gradient_step_falls_on_salient_pixels() -> None:
    model, weight = linear()
    images, labels = random(4, 3, 6, 5), torch.tensor([0, 1, 2, 3])
    found = energy_on_salient(weight[labels], saliency_map(model, images, labels), (0.2,))
    assert found.means[0].low > 0.2
    no_noise = energy_on_salient(torch.zeros(4, 3, 6, 5), saliency_map(model, images, labels), (0.2,))
    assert no_noise.energy.isnan().all()
    assert no_noise.means[0].count == 0


def test_bad_input() -> None:
    model, _ = linear()
    images, labels = random(4, 3, 6, 5), torch.tensor([0, 1, 2, 3])
    with pytest.raises(
        InputError,
        match=r"^adversarial images must have the originals' shape \(4, 3, 6, 5\), got "
        r"\(2, 3, 6, 5\)\.$",
    ):
        explanation_stability(model, images, images[:2], labels)
    with pytest.raises(
        InputError,
        match=r"^maps of noise \(4, 3, 6, 5\) must have its samples and size, got "
        r"\(3, 6, 5\)\.$",
    ):
        energy_on_salient(images, random(3, 6, 5))
    with pytest.raises(ParameterError, match=r"^shares of pixels must be above 0 and at most 1, got \(0\.5, 0\)\.$"):
        energy_on_salient(images, random(4, 6, 5), (0.5, 0))
    with pytest.raises(InputError, match=r"^noise must be finite: sample 0 has NaN or infinite values\.$"):
        energy_on_salient(images * math.nan, random(4, 6, 5))
