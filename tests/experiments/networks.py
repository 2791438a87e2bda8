"""Networks that the tests of experiments and of the command line attack."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from foolscope.data import ImageSet, load_data
from foolscope.models import Classifier, load_model
from foolscope.models.training import Recipe, train
from foolscope.models.weight_files import save_weights


@cache
def digits_lenet() -> Classifier:
    """A LeNet that has learned digits in seconds."""
    data = load_data("digits", "train")
    model = load_model("lenet:weights=none", data.task)
    assert isinstance(model, Classifier)
    train(model, data.pixels, data.labels, Recipe(epochs=8, batch=32, lr=0.02, precision="float32"))
    return model


def weights_file(folder: Path) -> str:
    """Its weights as a spec."""
    path = folder / "net.safetensors"
    save_weights(digits_lenet().network, path)
    return f"file:{path}?arch=lenet"


def digits(count: int) -> ImageSet:
    """Test images."""
    return load_data("digits", limit=count)


class Linear(nn.Module):
    """Logits of 28 x 28 images from one random layer; says nothing of itself."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.layer = nn.Linear(784, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layer(x.flatten(1))
        return logits


class Probabilities(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        shares: Tensor = self.inner(x).softmax(1)
        return shares


class Noisy(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x + 0.05 * torch.randn_like(x))
        return logits


SINGULAR = 128
"""In steps of 1/255."""


class Rooted(nn.Module):
    """Adds a root to all logits, which changes no prediction: its slope is NaN where the first pixel is `SINGULAR`."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x) + (x[:, 0, 0, :1] - SINGULAR / 255).abs().sqrt()
        return logits


class Quantized(nn.Module):
    """Rounds its images to a few levels, which has a gradient of zero everywhere."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner((x * 8).round() / 8)
        return logits
