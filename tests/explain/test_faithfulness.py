"""Deletion and insertion curves and model randomization."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from foolscope.errors import InputError, ParameterError
from foolscope.explain import deletion_curve, insertion_curve, model_randomization
from foolscope.explain.maps import saliency_map
from foolscope.models.engine import Engine
from foolscope.randomness import generator
from tests.attacks.cases import trained
from tests.explain.networks import linear, random, small


class Bright(nn.Module):
    """Two classes whose logits differ by the sum of the pixels in the left half."""

    differentiable = False

    def forward(self, images: Tensor) -> Tensor:
        left = images[..., : images.shape[-1] // 2].sum((1, 2, 3))
        return torch.stack([torch.zeros_like(left), left - 1], 1)


def test_deletion_by_hand() -> None:
    """Two white pixels on black, ranked first: the logit is 1, then 0, then -1 for good."""
    images = torch.zeros(1, 1, 2, 4)
    images[0, 0, 0, 0] = images[0, 0, 1, 1] = 1
    maps = images[:, 0] * torch.tensor([[2.0, 1, 1, 1], [1, 1, 1, 1]])
    black, label = torch.zeros(1, 1, 1, 1), torch.tensor([1])
    found = deletion_curve(Bright(), images, label, maps, steps=8, canvas=black)
    expected = torch.tensor([1.0, 0] + [-1.0] * 7).sigmoid().double()
    torch.testing.assert_close(found.probabilities[0], expected, atol=1e-6, rtol=0)
    assert found.pixels.tolist() == [k / 8 for k in range(9)]
    area = float((expected[1:] + expected[:-1]).sum()) / 16
    assert found.area.tolist() == pytest.approx([area])
    put_back = insertion_curve(Bright(), images, label, maps, steps=8, canvas=black)
    expected = torch.tensor([-1.0, 0] + [1.0] * 7).sigmoid().double()
    torch.testing.assert_close(put_back.probabilities[0], expected, atol=1e-6, rtol=0)
    assert [mean.value for mean in put_back.means] == pytest.approx(expected.tolist())


def test_a_map_that_points_at_what_counts_beats_a_random_order() -> None:
    images, labels = torch.ones(6, 1, 8, 8), torch.ones(6).long()
    images[:, :, ::3] = 0.9
    maps = torch.zeros(6, 8, 8)
    maps[:, :, :4] = 1
    black = torch.zeros(1, 1, 1, 1)
    deleted = deletion_curve(Bright(), images, labels, maps, canvas=black)
    inserted = insertion_curve(Bright(), images, labels, maps, canvas=black)
    assert (deleted.area < deleted.null_area).all()
    assert (inserted.area > inserted.null_area).all()
    for curve in (deleted, inserted):  # both orders begin and end at the same images
        torch.testing.assert_close(curve.probabilities[:, [0, -1]], curve.null_probabilities[:, [0, -1]])


def test_the_canvas_is_the_mean_color() -> None:
    model, images, labels = small(), random(3, 3, 12, 12), torch.tensor([0, 1, 2])
    found = deletion_curve(model, images, labels, random(3, 12, 12), steps=2)
    ends = images, images.mean((2, 3), keepdim=True).expand_as(images)
    for column, x in zip((0, -1), ends, strict=True):
        expected = Engine(model).logits(x).softmax(1)[torch.arange(3), labels].double()
        torch.testing.assert_close(found.probabilities[:, column], expected, atol=1e-5, rtol=0)
    of_one_color = deletion_curve(model, ends[1].contiguous(), labels, random(3, 12, 12), steps=3)
    assert float((of_one_color.probabilities - of_one_color.probabilities[:, :1]).abs().max()) < 1e-5


def test_the_seed_decides_the_random_order() -> None:
    model, images, labels, maps = small(), random(3, 3, 12, 12), torch.tensor([0, 1, 2]), random(3, 12, 12)
    first, again, other = (
        deletion_curve(model, images, labels, maps, steps=4, rng=generator(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first.null_probabilities, again.null_probabilities)
    assert not torch.equal(first.null_probabilities, other.null_probabilities)
    assert torch.equal(first.probabilities, other.probabilities)
    alone = deletion_curve(model, images[1:2], labels[1:2], maps[1:2], steps=4, rng=generator(1))
    torch.testing.assert_close(alone.null_probabilities, first.null_probabilities[1:2])


@pytest.mark.parametrize("cascade", [True, False])
def test_randomizing_changes_maps_and_not_the_model(cascade: bool) -> None:
    problem = trained()
    images, labels = problem.images[:8], problem.labels[:8]
    before = {name: value.clone() for name, value in problem.model.state_dict().items()}
    found = model_randomization(problem.model, images, labels, cascade=cascade)
    assert [step.layer for step in found] == ["6", "3", "1", "0"]
    assert all(torch.equal(value, before[name]) for name, value in problem.model.state_dict().items())
    correlations = [step.agreement.means()["rank_correlation"].value for step in found]
    assert max(correlations) < 0.95
    if cascade:
        assert correlations[-1] < 0.8  # small strided networks keep the pattern of their strides
    again = model_randomization(problem.model, images, labels, cascade=cascade)
    assert torch.equal(found[-1].agreement.ssim, again[-1].agreement.ssim)


def test_a_map_that_ignores_the_network_is_found_out() -> None:
    problem = trained()
    found = model_randomization(
        problem.model, problem.images[:3], problem.labels[:3], explain=lambda model, images, labels: images[:, 0]
    )
    assert all(step.agreement.rank_correlation.tolist() == pytest.approx([1] * 3) for step in found)


def test_randomized_weights_are_noise_of_their_mean_and_spread() -> None:
    model, weight = linear()
    images, labels = random(2, 3, 6, 5), torch.tensor([0, 1])
    (step,) = model_randomization(model, images, labels, rng=generator(5))
    noise = torch.randn(4, 90, generator=generator(5))
    randomized = weight.flatten(1).mean() + weight.flatten(1).std(correction=0) * noise
    changed = nn.Sequential(nn.Flatten(), nn.Linear(90, 4))
    changed.get_parameter("1.weight").data = randomized
    expected = torch.linalg.vector_norm(
        _center(saliency_map(model, images, labels)) - _center(saliency_map(changed, images, labels)), dim=1
    )
    torch.testing.assert_close(step.agreement.center_shift, expected, rtol=1e-4, atol=1e-6)


def _center(maps: Tensor) -> Tensor:
    mass = maps.double()
    y, x = torch.meshgrid(torch.arange(maps.shape[1]), torch.arange(maps.shape[2]), indexing="ij")
    return torch.stack([(mass * y).sum((1, 2)), (mass * x).sum((1, 2))], 1) / mass.sum((1, 2))[:, None]


def test_bad_input() -> None:
    model, _ = linear()
    images, labels, maps = random(2, 3, 6, 5), torch.tensor([0, 1]), random(2, 6, 5)
    with pytest.raises(InputError, match=r"^maps must be of the images \(2, 3, 6, 5\), got \(2, 5, 6\)\.$"):
        deletion_curve(model, images, labels, maps.transpose(1, 2))
    with pytest.raises(ParameterError, match=r"^steps must be at least 1, got 0\.$"):
        insertion_curve(model, images, labels, maps, steps=0)
    with pytest.raises(InputError, match=r"^Mean has no parameters to randomize\.$"):
        model_randomization(Mean(), images, labels)
    model.kept = model.get_parameter("1.weight") * 2  # no leaf: deepcopy refuses it
    with pytest.raises(InputError, match=r"^Sequential cannot be copied, so it cannot be randomized: "):
        model_randomization(model, images, labels)


class Mean(nn.Module):
    """Without parameters."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))
