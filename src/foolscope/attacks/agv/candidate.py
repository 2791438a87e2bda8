"""What is known about a chain that was judged on all images, and the front of those that no other dominates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from foolscope.filters.chain import Chain


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What a chain does to one model, in numbers of images.

    `right` of `images` are classified right untouched, `fooled` of these no longer after filtering.  Of all,
    `changed` have another prediction than untouched and `detected` are flagged (None without a detector).
    """

    model: str
    images: int
    right: int
    fooled: int
    changed: int
    detected: int | None

    @property
    def asr(self) -> float:
        """Attack success rate against the true label: `fooled` of `right`; 0 where no image is classified right."""
        return self.fooled / max(1, self.right)

    @property
    def asr_clean(self) -> float:
        """Attack success rate against the clean prediction: `changed` of `images`."""
        return self.changed / self.images

    @property
    def detection(self) -> float | None:
        """Detection rate: `detected` of `images`."""
        return None if self.detected is None else self.detected / self.images


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """A chain judged on N images against M models.

    `right`, `fooled`, `changed` and `detected` are bool (M, N), in the sense of `Tally`; `distances` are means over the
    images.  With several models the rates are those of the model that is fooled least and the one that detects most, or
    means, as `several` says.  `step` is when the search found it (0 without a search), `queries` what all models had
    been asked by then.
    """

    chain: Chain
    models: tuple[str, ...]
    several: str = field(repr=False)
    right: Tensor = field(repr=False)
    fooled: Tensor = field(repr=False)
    changed: Tensor = field(repr=False)
    detected: Tensor | None = field(repr=False)
    distances: Mapping[str, float]
    step: int
    queries: int

    @property
    def tallies(self) -> tuple[Tally, ...]:
        """The counts, model by model."""
        return tuple(
            Tally(
                model=model,
                images=self.right.shape[1],
                right=int(self.right[i].sum()),
                fooled=int(self.fooled[i].sum()),
                changed=int(self.changed[i].sum()),
                detected=None if self.detected is None else int(self.detected[i].sum()),
            )
            for i, model in enumerate(self.models)
        )

    @property
    def asr(self) -> float:
        """Attack success rate against the true label."""
        return self._overall([tally.asr for tally in self.tallies], min)

    @property
    def asr_clean(self) -> float:
        """Attack success rate against the clean prediction."""
        return self._overall([tally.asr_clean for tally in self.tallies], min)

    @property
    def detection(self) -> float | None:
        """Detection rate; None without a detector."""
        rates = [tally.detection for tally in self.tallies if tally.detection is not None]
        return self._overall(rates, max) if rates else None

    def _overall(self, rates: list[float], worst: Any) -> float:
        return float(worst(rates)) if self.several == "worst" else sum(rates) / len(rates)


@dataclass(frozen=True)
class Front:
    """Candidates that no other dominates in `objectives`, the most successful first.

    `hypervolume` is the share of the unit cube that they dominate: 1 - ASR and every objective, as shares of the values
    in `settings.OBJECTIVES`, from their best value 0 to 1.
    """

    objectives: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    hypervolume: float


def packed(flags: Tensor) -> list[str]:
    """Flags (M, N) as hexadecimal text, one a row."""
    return [f"{int(''.join('01'[bit] for bit in row), 2):x}" for row in flags.int().tolist()]


def unpacked(rows: list[str], count: int) -> Tensor:
    """The flags (M, `count`) that `packed` made text of.  Raises `ValueError` for text that it cannot have made."""
    numbers = [int(row, 16) for row in rows]
    if not all(0 <= number < 1 << count for number in numbers):
        raise ValueError(f"not {count} flags")
    texts = [f"{number:0{count}b}" for number in numbers]
    return torch.tensor([[bit == "1" for bit in text] for text in texts])
