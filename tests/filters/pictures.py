"""Images that show what filters do: noise, smooth colors, flat ones, pixels of exactly 0 and 1."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from foolscope.randomness import generator


def pictures(count: int = 6, channels: int = 3, height: int = 9, width: int = 12, seed: int = 0) -> Tensor:
    """Noise with values cut at 0 and 1, smooth noise of few levels, and dim noise, in turn: float32 (N, C, H, W)."""
    noise = torch.rand(count, channels, height, width, generator=generator(seed))
    coarse = torch.rand(count, channels, 3, 3, generator=generator(seed + 1))
    smooth = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)
    kinds = torch.stack([(1.4 * noise - 0.2).clamp(0, 1), smooth, 0.2 + 0.3 * noise])
    return kinds[torch.arange(count) % 3, torch.arange(count)]
