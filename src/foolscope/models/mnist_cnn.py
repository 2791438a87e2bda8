"""The MNIST network of Wong, Rice and Kolter (2020, arXiv 2001.03994), twice as wide.

    conv 1 -> 32, 4x4, stride 2, pad 1 · conv 32 -> 64, 4x4, stride 2, pad 1 · dense 3136 - 128 - 10

436,202 parameters.  Strides instead of pooling make it cheap enough to be trained against an attack on a laptop, and it
is wide enough to learn MNIST against linf perturbations of 0.3, which LeNet is not.
"""

from __future__ import annotations

from torch import Tensor, nn


class MnistCNN(nn.Module):
    """Logits (N, num_classes) of gray 28 x 28 images."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 4, stride=2, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 4, stride=2, padding=1), nn.ReLU()
        )
        self.classifier = nn.Sequential(nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(x).flatten(1))
        return logits
