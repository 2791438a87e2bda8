from __future__ import annotations

import pytest
import torch
from torch import nn

from foolscope.models.cifar_cnn import CifarCNN
from foolscope.models.lenet import LeNet
from foolscope.models.mnist_cnn import MnistCNN
from foolscope.models.resnet import ResNet20


def _trainable(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("extra", "count"), [(0, 61_706), (2, 150_978), (4, 282_562), (6, 414_146), (10, 677_314), (20, 1_335_234)]
)
def test_lenet_has_as_many_parameters_as_the_report_says(extra: int, count: int) -> None:
    assert _trainable(LeNet(extra=extra)) == count


def test_cifar_cnn_has_as_many_parameters_as_keras_counts_in_figure_19() -> None:
    network = CifarCNN()
    statistics = sum(value.numel() for key, value in network.named_buffers() if "running" in key)
    assert (_trainable(network), statistics) == (551_466, 896)
    assert _trainable(network) + statistics == 552_362


def test_mnist_cnn_and_resnet20_have_the_documented_sizes() -> None:
    assert _trainable(MnistCNN()) == 436_202
    assert _trainable(ResNet20()) == 269_722


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (LeNet(7, extra=1), (1, 28, 28)),
        (MnistCNN(7), (1, 28, 28)),
        (CifarCNN(7, channels=1), (1, 32, 32)),
        (CifarCNN(7), (3, 32, 32)),
        (ResNet20(7, channels=1), (1, 28, 28)),
        (ResNet20(7), (3, 64, 48)),
    ],
    ids=["lenet", "mnist-cnn", "cifar-cnn-gray", "cifar-cnn", "resnet20-gray", "resnet20-large"],
)
def test_networks_give_one_logit_a_class_that_depends_on_every_pixel(
    network: nn.Module, shape: tuple[int, int, int]
) -> None:
    images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    logits = network.eval()(images)
    assert logits.shape == (2, 7)
    (gradient,) = torch.autograd.grad(logits.square().sum(), images)
    assert gradient.isfinite().all()
    # Border pixels of LeNet's unpadded second convolution and ReLUs that are off leave few pixels without influence.
    assert (gradient != 0).float().mean() > 0.5


def test_twenty_extra_layers_keep_the_signal_alive() -> None:
    torch.manual_seed(0)
    images = torch.rand(8, 1, 28, 28)
    spread = LeNet(extra=20)(images).std(0).mean()
    assert spread > 1e-3
