"""Grad-CAM against class activation maps in closed form, and the layer that it finds."""

from __future__ import annotations

import logging

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foolscope.errors import InputError, SpecError
from foolscope.explain.grad_cam import (
    channels_to_front,
    class_activation,
    grad_cam,
    grad_cam_layer,
    tokens_to_grid,
)
from foolscope.explain.layers import layer_names
from foolscope.models import load_model
from foolscope.models.engine import Engine
from tests.explain.networks import Rooted, linear, random, small

LABELS = torch.tensor([0, 3, 1])
IMAGES = random(3, 3, 12, 12)


def expected_cam(model: nn.Sequential, images: Tensor, labels: Tensor) -> Tensor:
    """Class activation maps (Zhou et al. 2016): of a network that ends in a global mean, the last layer's weights."""
    with torch.no_grad():
        maps: Tensor = model[0](images)
        weights = model.get_parameter("3.weight")[labels] / maps[0, 0].numel()
        return (weights[:, :, None, None] * maps).sum(1).relu()


def test_of_a_global_mean_it_is_the_class_activation_map() -> None:
    model = small()
    found = class_activation(model, IMAGES, LABELS)
    torch.testing.assert_close(found.values, expected_cam(model, IMAGES, LABELS), atol=1e-6, rtol=1e-4)
    assert found.layer == "0"
    assert not found.empty.any()
    assert not found.broken.any()


def test_maps_are_enlarged_and_normalized() -> None:
    model = small()
    maps, raw = grad_cam(model, IMAGES, LABELS), expected_cam(model, IMAGES, LABELS)
    large = F.interpolate(raw[:, None], (12, 12), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(maps, large / large.amax((1, 2), keepdim=True), atol=1e-5, rtol=1e-4)
    assert maps.amax((1, 2)).tolist() == pytest.approx([1, 1, 1])
    assert float(maps.min()) >= 0


def test_an_activation_in_place_does_not_reach_the_layer_before_it() -> None:
    """Layer 0.1 is what a ReLU in place gets: negative values, which it would overwrite, must count."""
    model = small()
    features = model.get_submodule("0")
    assert isinstance(features, nn.Sequential)
    with torch.no_grad():
        normal = features[:2](IMAGES)
    assert float(normal.min()) < 0
    found = class_activation(model, IMAGES, LABELS, "0.1")
    answer = normal.clone().requires_grad_()
    rest = nn.Sequential(*features[2:], *model[1:])
    score = rest(answer.clone()).gather(1, LABELS[:, None]).sum()
    (gradient,) = torch.autograd.grad(score, answer)
    expected = (gradient.mean((2, 3), keepdim=True) * normal).sum(1).relu()
    torch.testing.assert_close(found.values, expected, atol=1e-6, rtol=1e-4)


class Shared(nn.Module):
    """One ReLU for convolutions and dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.activation = nn.Conv2d(3, 4, 3), nn.ReLU()
        self.pool, self.dense, self.last = nn.AdaptiveAvgPool2d(2), nn.Linear(16, 8), nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.pool(self.activation(self.convolution(images)))
        logits: Tensor = self.last(self.activation(self.dense(maps.flatten(1))))
        return logits


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("lenet", "network.features.4"),  # after the activation, before the pooling
        ("mnist-cnn:weights=none", "network.features"),
        ("cifar-cnn", "network.features.21"),  # pooling is 21 + 1
        ("resnet20:weights=none", "network.blocks"),
    ],
)
def test_layers_of_our_networks(name: str, layer: str) -> None:
    model = load_model(name)
    images = random(2, 1, 28, 28) if name in ("lenet", "mnist-cnn:weights=none") else random(2, 3, 32, 32)
    assert grad_cam_layer(model, images) == layer
    found = class_activation(model, images, torch.tensor([1, 2]))
    assert found.layer == layer


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("resnet18", "layer4"),
        ("squeezenet1_1", "classifier.2"),
        ("densenet121", "features"),
        ("mobilenet_v3_small", "features"),
        ("shufflenet_v2_x0_5", "conv5"),
        ("regnet_y_400mf", "trunk_output"),
        ("convnext_tiny", "features"),
    ],
)
def test_layers_of_torchvision(name: str, layer: str) -> None:
    from torchvision import models

    assert grad_cam_layer(models.get_model(name, weights=None).eval(), random(1, 3, 64, 64)) == layer


@pytest.mark.parametrize(
    ("name", "layer"), [("test_resnet", "layer4"), ("test_efficientnet", "bn2"), ("test_convnext", "norm_pre")]
)
def test_layers_of_timm(name: str, layer: str) -> None:
    timm = pytest.importorskip("timm")
    assert grad_cam_layer(timm.create_model(name).eval(), random(1, 3, 160, 160)) == layer


def test_a_module_that_runs_again_later_is_not_taken() -> None:
    assert grad_cam_layer(Shared().eval(), random(1, 3, 9, 9)) == "convolution"


def test_a_parameter_of_the_whole_network_makes_it_no_transformer() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.scale = small(), nn.Parameter(torch.ones(()))

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.inner(images) * self.scale
            return logits

    assert grad_cam_layer(nn.Sequential(Scaled()).eval(), IMAGES) == "0.inner.0"


def test_a_transformer_with_a_reshape() -> None:
    timm = pytest.importorskip("timm")
    model = timm.create_model("test_vit").eval()
    images = random(2, 3, 160, 160)
    with pytest.raises(
        InputError,
        match=r"^VisionTransformer goes on after its last convolution with layers on tokens: "
        r"name one \(layer=\) and how its answer becomes \(N, C, H, W\) \(reshape=, such as "
        r"fs\.explain\.tokens_to_grid\); fs\.explain\.layer_names\(model\) lists the layers\.$",
    ):
        grad_cam(model, images, LABELS[:2])
    layer = next(name for name in reversed(layer_names(model)) if name.endswith("norm1"))
    found = class_activation(model, images, LABELS[:2], layer, reshape=tokens_to_grid)
    assert found.values.shape == (2, 10, 10)
    assert grad_cam(model, images, LABELS[:2], layer, reshape=tokens_to_grid).shape == (2, 160, 160)
    with pytest.raises(
        InputError,
        match=rf"^layer '{layer}' answers with shape \(2, 101, 64\), not \(N, C, H, W\): name "
        r"another \(layer=\), or how it becomes that \(reshape=, such as fs\.explain\.tokens_to_grid\)\.$",
    ):
        grad_cam(model, images, LABELS[:2], layer)


def test_reshapes() -> None:
    tokens = torch.arange(2 * 5 * 3).view(2, 5, 3)
    grid = tokens_to_grid(tokens)  # one class token before 2 x 2
    assert grid.shape == (2, 3, 2, 2)
    assert grid[1, :, 1, 0].tolist() == tokens[1, 3].tolist()
    assert channels_to_front(torch.zeros(2, 4, 5, 3)).shape == (2, 3, 4, 5)
    with pytest.raises(InputError, match=r"^tokens must have shape \(N, T, D\), got \(2, 3\)\.$"):
        tokens_to_grid(torch.zeros(2, 3))
    with pytest.raises(InputError, match=r"^a grid must have shape \(N, h, w, D\), got \(2, 3\)\.$"):
        channels_to_front(torch.zeros(2, 3))


def test_empty_maps_are_flagged(caplog: pytest.LogCaptureFixture) -> None:
    model = small()
    with torch.no_grad():
        model.get_parameter("3.weight")[1] = -1  # the maps are positive
    found = class_activation(model, IMAGES, torch.tensor([0, 1, 1]))
    assert found.empty.tolist() == [False, True, True]
    with caplog.at_level(logging.WARNING, "foolscope"):
        maps = grad_cam(model, IMAGES, torch.tensor([0, 1, 1]))
    assert maps[1:].abs().sum() == 0
    assert caplog.messages == ["Grad-CAM at 0 is 0 everywhere for 2 of 3 images, first for image 1"]


def test_broken_maps_are_flagged(caplog: pytest.LogCaptureFixture) -> None:
    images = torch.cat([torch.full((1, 1, 4, 4), 0.9), random(1, 1, 4, 4)])
    images[1, 0, 0, 0] = 0.1
    found = class_activation(Rooted().eval(), images, torch.tensor([0, 1]))
    assert found.broken.tolist() == [False, True]
    assert found.empty.tolist() == [False, False]
    with caplog.at_level(logging.WARNING, "foolscope"):
        assert grad_cam(Rooted().eval(), images, torch.tensor([0, 1]))[1].abs().sum() == 0
    assert caplog.messages == ["Grad-CAM at convolution is NaN or infinite for 1 of 2 images, first for image 1"]


def test_an_answer_that_does_not_depend_on_the_layer_has_no_map() -> None:
    class Ignoring(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(3, 2, 3)

        def forward(self, images: Tensor) -> Tensor:
            self.convolution(images)
            return images.mean((2, 3))

    assert class_activation(Ignoring(), IMAGES, torch.tensor([0, 1, 2])).empty.all()


def test_a_batch_gives_what_its_images_give() -> None:
    model = small()
    together = grad_cam(model, IMAGES, LABELS)
    alone = torch.cat([grad_cam(model, IMAGES[i : i + 1], LABELS[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-4)
    in_chunks = grad_cam(Engine(model, chunk=2), IMAGES, LABELS)
    torch.testing.assert_close(together, in_chunks, atol=1e-6, rtol=1e-4)


def test_images_of_one_color_and_no_images() -> None:
    model = small()
    assert grad_cam(model, torch.full((2, 3, 12, 12), 0.4), LABELS[:2]).isfinite().all()
    assert grad_cam(model, IMAGES[:0], LABELS[:0], "0").shape == (0, 12, 12)
    with pytest.raises(InputError, match=r"^Grad-CAM needs an image to find the layer with: name one by layer=\.$"):
        grad_cam(model, IMAGES[:0], LABELS[:0])


def test_bad_layers() -> None:
    model = small()
    with pytest.raises(
        SpecError,
        match=r"^Sequential has no layer '0\.9'\. Did you mean 0\.\d, 0\.\d, 0\.\d\? "
        r"fs\.explain\.layer_names\(model\) lists all\.$",
    ):
        grad_cam(model, IMAGES, LABELS, "0.9")
    without, _ = linear()
    with pytest.raises(
        InputError,
        match=r"^Sequential has no convolution with more than one position: name a layer "
        r"\(layer=\) and how its answer becomes \(N, C, H, W\) \(reshape=\); "
        r"fs\.explain\.layer_names\(model\) lists the layers\.$",
    ):
        grad_cam(without, random(3, 3, 6, 5), LABELS)
    shared = Shared().eval()
    shared.spare = nn.Conv2d(3, 3, 1)
    with pytest.raises(InputError, match=r"^Shared does not run its layer 'spare' for these images\.$"):
        grad_cam(shared, IMAGES, LABELS, "spare")
