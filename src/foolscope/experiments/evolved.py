"""What an evolution found: chains of filters, judged on images that the search never saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from numpy.typing import NDArray

from foolscope.attacks.agv import Step
from foolscope.filters import Chain
from foolscope.measure import Mean, Proportion


@dataclass(frozen=True, kw_only=True)
class Clean:
    """One model on the untouched held-out images.

    `detection` is the share that its detector takes for adversarial, wrongly; `threshold` is what it was calibrated to.
    Both are None without a detector.
    """

    model: str
    role: str
    accuracy: Proportion
    detection: Proportion | None
    threshold: float | None


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A chain on the held-out images, as one model sees it.

    `asr` is the attack success rate against the true label: of the images that are classified right untouched, the
    share that no longer is.  `asr_clean` is that against the clean prediction: of all images, the share whose
    prediction changes, as the thesis counts.  `detection` is the share of all filtered images that is detected, None
    without a detector.  `saved` is the share of successes that survive being saved with 8 bits.
    """

    model: str
    accuracy: Proportion
    asr: Proportion
    asr_clean: Proportion
    detection: Proportion | None
    saved: Proportion


@dataclass(frozen=True, kw_only=True)
class Searched:
    """What the search knew of a chain, on its own images; `queries` is what it had asked when it found the chain."""

    asr: float
    asr_clean: float
    detection: float | None
    step: int
    queries: int


@dataclass(frozen=True, kw_only=True)
class Found:
    """A chain, its mean `distances` (linf, l2, ssim) and its judgments: the models searched against, then the others.

    `searched` is None of a chain that was not searched for but is shown for comparison.
    """

    chain: Chain
    searched: Searched | None
    distances: Mapping[str, Mean]
    judged: tuple[Judged, ...]


@dataclass(frozen=True, kw_only=True)
class Together:
    """What a chain does to several models at once: the rates as the search counted them, on the held-out images.

    They are those of the model that is fooled least and the one that detects most, or means, as the search's `several`
    says.
    """

    asr: float
    asr_clean: float
    detection: float | None


@dataclass(frozen=True, kw_only=True)
class Evolved:
    """The front of a search, the most successful chain first, beside the published chains.

    `about` says what was searched, how to repeat it and with which versions.  `history` has one entry a step.
    `sheet` holds a few held-out images, uint8 (n, H, W, C), and `sheet_labels` what they show.
    """

    about: dict[str, Any]
    clean: tuple[Clean, ...]
    front: tuple[Found, ...]
    published: tuple[Found, ...]
    history: tuple[Step, ...]
    sheet: NDArray[Any] = field(repr=False)
    sheet_labels: tuple[str, ...] = field(repr=False)

    def together(self, found: Found) -> Together | None:
        """A chain against all models that were searched; None where it was one."""
        seen = [one for one, clean in zip(found.judged, self.clean, strict=True) if clean.role == "searched"]
        if len(seen) < 2:
            return None
        worst = self.about["settings"]["several"] == "worst"
        rates = [one.detection.value for one in seen if one.detection]
        return Together(
            asr=(min if worst else fmean)(one.asr.value for one in seen),
            asr_clean=(min if worst else fmean)(one.asr_clean.value for one in seen),
            detection=(max if worst else fmean)(rates) if rates else None,
        )
