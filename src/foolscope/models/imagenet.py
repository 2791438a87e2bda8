"""The 1000 classes of ImageNet-1K in the order of every network trained on it (sorted WordNet ids)."""

from __future__ import annotations

from functools import cache


@cache
def class_names() -> tuple[str, ...]:
    """The 1000 names, as torchvision writes them."""
    from torchvision.models import AlexNet_Weights

    return tuple(AlexNet_Weights.DEFAULT.meta["categories"])
