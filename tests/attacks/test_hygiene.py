"""An attack leaves the network and all random generators as it found them, however it ends."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

from foolscope.attacks import Attack, Progress, Untargeted
from foolscope.errors import Cancelled, InputError
from foolscope.randomness import generator
from tests.attacks.cases import Noisy, each_case

SHAPE = (3, 6, 5)


class Failure(Exception):
    """What the network itself raises."""


PASSES = [0]


@fx.wrap  # one node of a traced network, so that a folded one counts too
def counted(images: Tensor, limit: int) -> Tensor:
    PASSES[0] += 1
    if PASSES[0] > limit:
        raise Failure
    return images


class Network(nn.Module):
    """With BatchNorm and dropout; raises `Failure` after `limit` passes."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5))
        self.classifier = nn.Linear(4 * 30, 3)
        self.limit = limit

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(counted(images, self.limit)).flatten(1))
        return logits


def prepared(kind: str, limit: int) -> nn.Module:
    """A network with every kind of flag set somewhere and unset elsewhere, in one of the engine's ways of running."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = Network(limit).train()
    PASSES[0] = 0
    model.features[1].eval()
    model.features[0].weight.requires_grad_(False)
    model.classifier.bias.grad = torch.full((3,), 7.0)
    if kind == "hooked":
        model.features[0].register_forward_hook(lambda module, inputs, output: None)
        model.classifier.register_full_backward_hook(lambda module, inputs, output: None)
    if kind == "cannot be copied":
        model.kept = model.classifier.weight * 2  # no leaf: deepcopy refuses it
    return model


def snapshot(model: nn.Module) -> dict[str, Any]:
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "training": [module.training for module in model.modules()],
        "modules": [id(module) for module in model.modules()],
        "hooks": [list(getattr(module, name).items()) for module in model.modules() for name in hooks],
        "parameters": [
            (name, id(p), p.data_ptr(), p.requires_grad, p._version) for name, p in model.named_parameters()
        ],
        "layout": [p.stride() for p in model.parameters()],
        "values": [p.detach().clone().tolist() for p in model.parameters()],
        "gradients": [None if p.grad is None else p.grad.tolist() for p in model.parameters()],
        "buffers": [(name, id(b), b.tolist()) for name, b in model.named_buffers()],
    }


def generators() -> list[Any]:
    return [torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())]


def cancel(progress: Progress) -> None:
    raise Cancelled


@each_case
@pytest.mark.parametrize("kind", ["folded", "hooked", "cannot be copied"])
@pytest.mark.parametrize(
    ("limit", "watch", "error"),
    [
        (10**6, None, None),
        (10**6, cancel, Cancelled),
        (4, None, InputError),
    ],  # folding takes three passes, the classes one
    ids=["success", "cancelled", "failure"],
)
def test_the_network_is_left_as_it_was(
    attack: Attack,
    kind: str,
    limit: int,
    watch: Callable[[Progress], None] | None,
    error: type[Exception] | None,
) -> None:
    model = prepared(kind, limit if kind == "folded" else limit - 3)
    images = torch.rand(4, *SHAPE, generator=generator(1))
    goal, rng = Untargeted(torch.tensor([0, 1, 2, 0])), generator(0)
    before, randomness, inputs = snapshot(model), generators(), images.clone()
    with pytest.raises(error) if error else nullcontext():
        attack(model, images, goal, rng=rng, watch=watch)
    assert snapshot(model) == before
    assert generators() == randomness
    assert torch.equal(images, inputs)
    assert goal.labels.tolist() == [0, 1, 2, 0]
    assert not torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled()


@each_case
def test_a_random_network_draws_nothing_from_the_users_generator(attack: Attack) -> None:
    model, images = Noisy(3 * 30), torch.rand(4, *SHAPE, generator=generator(1))
    before = generators()
    attack(model, images, Untargeted(torch.zeros(4, dtype=torch.int64)))
    assert generators() == before


@each_case
def test_attacks_run_where_gradients_are_off(attack: Attack) -> None:
    model, images = prepared("folded", 10**6), torch.rand(4, *SHAPE, generator=generator(1))
    goal = Untargeted(torch.tensor([0, 1, 2, 0]))
    expected = attack(model, images, goal)
    with torch.no_grad():
        found = attack(model, images, goal)
    assert torch.equal(found.images, expected.images)
    assert torch.is_grad_enabled()
