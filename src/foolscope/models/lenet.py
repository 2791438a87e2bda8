"""LeNet-5 as the report uses it (LeCun et al. 1998), with extra dense layers for the over-parameterization study.

    conv 1 -> 6, 5x5, pad 2 · pool · conv 6 -> 16, 5x5 · pool · dense 400 - 120 - 84 [- 256 x extra] - 10

61,706 parameters; with 2, 4, 6, 10 and 20 extra layers 150,978, 282,562, 414,146, 677,314 and 1,335,234.  The report's
Table 1 gives 743,106 for 10 layers, which is what 11 layers have.
"""

from __future__ import annotations

import itertools

from torch import Tensor, nn

EXTRA_WIDTH = 256


class LeNet(nn.Module):
    """Logits (N, num_classes) of gray 28 x 28 images; `extra` layers of 256 units stand before the last layer."""

    def __init__(self, num_classes: int = 10, extra: int = 0) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)
        )
        widths = [400, 120, 84, *[EXTRA_WIDTH] * extra]
        hidden = [layer for i, o in itertools.pairwise(widths) for layer in (nn.Linear(i, o), nn.ReLU())]
        self.classifier = nn.Sequential(*hidden, nn.Linear(widths[-1], num_classes))
        for module in self.classifier:
            if isinstance(module, nn.Linear):  # He et al. 2015: without it, 20 extra layers do not train
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(x).flatten(1))
        return logits
