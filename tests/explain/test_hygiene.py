"""Explaining a network leaves it, its images and all random generators as they were, however it ends."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from foolscope import explain
from foolscope.data import ImageSet
from foolscope.errors import InputError
from foolscope.explain.maps import grad_cam_map
from foolscope.images import from_uint8, to_uint8
from tests.attacks.test_hygiene import SHAPE, generators, prepared, snapshot
from tests.explain.networks import random

IMAGES = from_uint8(to_uint8(random(4, *SHAPE)))
LABELS = torch.tensor([0, 1, 2, 0])
MAPS = random(4, *SHAPE[1:])


def data() -> ImageSet:
    return ImageSet(
        name="made", split="test", pixels=to_uint8(IMAGES), labels=LABELS, num_classes=3, digest="0" * 64, total=4
    )


Case = Callable[[nn.Module, Tensor], object]

CASES: dict[str, Case] = {
    "saliency": lambda model, x: explain.saliency(model, x, LABELS),
    "smooth grad": lambda model, x: explain.smooth_grad(model, x, LABELS, samples=2),
    "integrated gradients": lambda model, x: explain.integrated_gradients(model, x, LABELS, steps=2),
    "grad-cam": lambda model, x: explain.grad_cam(model, x, LABELS),
    "grad-cam at a layer": lambda model, x: explain.grad_cam(model, x, LABELS, "features.0"),
    "probing": lambda model, x: explain.transfer_function(model, size=SHAPE[1:], resolution=2),
    "probing a layer": lambda model, x: explain.transfer_function(model, "features.2", SHAPE[1:], resolution=2),
    "closed form": lambda model, x: explain.kernel_transfer_function(model, "features.0", SHAPE[1:]),
    "jacobian": lambda model, x: explain.jacobian_transfer_function(model, x, LABELS),
    "heat map": lambda model, x: explain.fourier_heatmap(model, data(), 1.0, reach=1),
    "bands": lambda model, x: explain.band_accuracy(model, data()),
    "noise bands": lambda model, x: explain.noise_bands(model, x, x.flip(2), LABELS),
    "stability": lambda model, x: explain.explanation_stability(model, x, x.flip(2), LABELS),
    "stability of grad-cam": lambda model, x: explain.explanation_stability(
        model, x, x.flip(2), LABELS, explain=grad_cam_map
    ),
    "deletion": lambda model, x: explain.deletion_curve(model, x, LABELS, MAPS, steps=2),
    "insertion": lambda model, x: explain.insertion_curve(model, x, LABELS, MAPS, steps=2),
    "model randomization": lambda model, x: explain.model_randomization(model, x, LABELS),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("kind", ["folded", "hooked", "cannot be copied"])
@pytest.mark.parametrize(("limit", "error"), [(10**6, None), (0, InputError)], ids=["success", "failure"])
def test_the_network_is_left_as_it_was(case: Case, kind: str, limit: int, error: type[Exception] | None) -> None:
    model, images, labels = prepared(kind, limit), IMAGES.clone(), LABELS.clone()
    before, randomness = snapshot(model), generators()
    refused = kind == "cannot be copied" and case is CASES["model randomization"]
    with pytest.raises(error or InputError) if error or refused else nullcontext():
        case(model, images)
    assert snapshot(model) == before
    assert generators() == randomness
    assert torch.equal(images, IMAGES)
    assert torch.equal(labels, LABELS)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_explanations_run_where_gradients_are_off(case: Case) -> None:
    with torch.no_grad():
        case(prepared("folded", 10**6), IMAGES)
    assert torch.is_grad_enabled()
