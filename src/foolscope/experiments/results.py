"""What an audit found: per-sample records, and the curves, intervals and costs that are read out of them.

Accuracy under attack is the share of all images that the attacked network still classifies right.  Attack success is
the share of the images that it classified right untouched and no longer does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foolscope.attacks import Attack
from foolscope.defenses import parse_defense
from foolscope.experiments.cells import PLAIN
from foolscope.experiments.examined import Examined
from foolscope.experiments.explained import Explained
from foolscope.experiments.grid import UNRESTRICTED, norm_of, without_eps
from foolscope.measure import Proportion, accuracy, per_class

DISTANCES = ("l0", "l1", "l2", "linf", "ssim", "psnr")
REPEAT_TOLERANCE = 1e-4
"""Logits of the same images may differ by so much, relative to the largest, where nothing is random."""

_ROUNDING = 1e-6
"""What a radius and a distance may be apart: both are rounded to float32."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One attack at one epsilon as one network sees it.  Arrays are (N,), in the data set's order.

    `source` is the spec of the defense that was attacked, with the gradient that was followed, `victim` of the one that
    was shown the result, both '' of the plain network; `mode` is one of `audit_jobs.MODES`.  `eps` is None of an
    unrestricted attack.  All records of one run of a minimum-norm attack have its `seconds`.
    """

    attack: Attack
    source: str
    victim: str
    mode: str
    arrays: dict[str, NDArray[Any]]
    seconds: float
    eps: float | None

    def within(self, eps: float, untouched: NDArray[Any]) -> Record:
        """What a minimum-norm attack did with at most `eps`: images that it moved farther count as left alone.

        `untouched` (N,) are the victim's predictions on the images as they were.
        """
        farther = self.arrays[norm_of(self.attack)] > eps * (1 + _ROUNDING)
        alone: dict[str, Any] = {
            "prediction": untouched,
            "prediction_saved": untouched,
            "success": False,
            **dict.fromkeys(("l0", "l1", "l2", "linf"), 0),
            "ssim": 1,
            "psnr": np.inf,
        }
        changed = {name: np.where(farther, there, self.arrays[name]) for name, there in alone.items()}
        kept = {name: values.astype(self.arrays[name].dtype) for name, values in changed.items()}
        return replace(self, arrays=self.arrays | kept, eps=eps)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an attack left of a network; `distances` are means over the images attacked, the passes over all images.

    `saved` is the share of successes that survive being saved with 8 bits.
    """

    accuracy: Proportion
    success: Proportion
    saved: Proportion
    distances: dict[str, float | None]
    forwards: float
    backwards: float


@dataclass(frozen=True, kw_only=True)
class Point(Outcome):
    """One point of a curve: the outcome at a radius."""

    eps: float


@dataclass(frozen=True, kw_only=True)
class Strongest:
    """The attack that leaves least of a network by itself, at the radius and in the mode in which it does."""

    attack: str
    mode: str
    eps: float | None
    accuracy: Proportion


@dataclass(frozen=True, kw_only=True)
class WeakestPoint(Point):
    """Where every image meets the attack that is worst for it, and which of them does most; None where eps = 0."""

    strongest: Strongest | None = None


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Accuracy against epsilon of one attack on one network; the first point is eps = 0, the clean accuracy."""

    attack: str
    norm: str
    defense: str
    mode: str
    points: tuple[Point, ...]


@dataclass(frozen=True, kw_only=True)
class WeakestCurve(Curve):
    """The curve of all attacks together on one network."""

    points: tuple[WeakestPoint, ...]


@dataclass(frozen=True, kw_only=True)
class Unrestricted:
    """What an attack without a radius, such as a filter, left of one network."""

    attack: str
    defense: str
    mode: str
    outcome: Outcome


@dataclass(frozen=True, kw_only=True)
class SanityWarning:
    """Something that makes a number hard to believe: a stable code, one sentence, and the figures behind it."""

    code: str
    message: str
    evidence: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One image of the report: (C, H, W) float32 in [0, 1], and what every network makes of it."""

    index: int
    label: int
    attack: str
    eps: float | None
    source: str
    image: NDArray[np.float32]
    adversarial: NDArray[np.float32]
    clean_predictions: dict[str, int]
    predictions: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Results:
    """Everything that an audit found.  `about` says what was audited, how to repeat it and with which versions."""

    about: dict[str, Any]
    class_names: tuple[str, ...] | None
    clean: dict[str, NDArray[Any]]
    victims: tuple[str, ...]
    records: tuple[Record, ...]
    samples: tuple[Sample, ...] = field(repr=False)
    warnings: tuple[SanityWarning, ...]
    origin: NDArray[np.int64] | None = field(default=None, repr=False)
    """Of a part of a data set the images' places in the whole (N,)."""
    examinations: tuple[Examined, ...] = ()
    """Whether the numbers can be believed, one examination a network; none where they were not asked for."""
    explained: Explained | None = field(default=None, repr=False)
    """What the strongest attack does to where the plain network looks; None where it was not asked for."""

    def place(self, index: int) -> int:
        """The place in the whole data set of the image `index` of these."""
        return index if self.origin is None else int(self.origin[index])

    @property
    def labels(self) -> Tensor:
        """True classes (N,)."""
        return torch.from_numpy(self.clean["label"])

    def clean_correct(self, victim: str = PLAIN) -> Tensor:
        """Which untouched images a network classifies right: bool (N,)."""
        return torch.from_numpy(self.clean[f"prediction_{self.victims.index(victim)}"]) == self.labels

    def is_random(self, victim: str) -> bool:
        """Whether a network answers otherwise every time, by itself or because its defense draws random numbers."""
        if victim and parse_defense(victim).random:
            return True
        differences = self.clean.get("repeat_difference")
        return differences is not None and float(differences.max(initial=0)) > REPEAT_TOLERANCE

    def clean_accuracy(self, victim: str = PLAIN) -> Proportion:
        """Accuracy on untouched images; `victim` is '' for the plain network or a defense's spec."""
        return accuracy(self.clean_correct(victim))

    def class_accuracy(self, victim: str = PLAIN) -> list[tuple[str, Proportion]]:
        """Clean accuracy of each class that occurs."""
        rows = per_class(self.clean_correct(victim), self.labels, self.class_names)
        return [(name, share) for name, share in rows if share.trials]

    @cached_property
    def curves(self) -> tuple[Curve, ...]:
        """One curve for every attack and mode: plain, then each defense oblivious and in each adaptive mode."""
        groups: dict[tuple[str, str, str], list[tuple[float, Record]]] = {}
        for record in self.records:
            if record.eps is not None:
                key = (without_eps(record.attack), record.victim, record.mode)
                groups.setdefault(key, []).append((record.eps, record))
        return tuple(self._curve(*key, records) for key, records in groups.items())

    @cached_property
    def unrestricted(self) -> tuple[Unrestricted, ...]:
        """The attacks without a radius, each as every network meets it."""
        return tuple(
            Unrestricted(attack=r.attack.spec(), defense=r.victim, mode=r.mode, outcome=Outcome(**self._outcome(r)))
            for r in self.records
            if r.eps is None
        )

    def _curve(self, attack: str, victim: str, mode: str, records: list[tuple[float, Record]]) -> Curve:
        clean = self.clean_accuracy(victim)
        nothing = Proportion(0, clean.successes)
        untouched: dict[str, float | None] = {**dict.fromkeys(DISTANCES, 0.0), "ssim": 1.0, "psnr": None}
        first = Point(
            eps=0.0, accuracy=clean, success=nothing, saved=Proportion(0, 0), distances=untouched,
            forwards=1.0, backwards=0.0,
        )  # fmt: skip
        points = [Point(eps=eps, **self._outcome(record)) for eps, record in sorted(records, key=lambda pair: pair[0])]
        norm = norm_of(records[0][1].attack)
        return Curve(attack=attack, norm=norm, defense=victim, mode=mode, points=(first, *points))

    def still_correct(self, record: Record, *, saved: bool = False) -> Tensor:
        """Which images the record's victim still classifies right: bool (N,)."""
        column = "prediction_saved" if saved else "prediction"
        return torch.from_numpy(record.arrays[column]) == self.labels

    def _correct_within(self, record: Record, norm: str, eps: float) -> Tensor:
        """Which images are still classified right, or were only moved out of the ball: bool (N,)."""
        correct = self.still_correct(record)
        if record.eps is not None:
            return correct
        moved_out = torch.from_numpy(record.arrays[norm]) > eps
        return torch.where(moved_out, self.clean_correct(record.victim), correct)

    def _outcome(self, record: Record) -> dict[str, Any]:
        """The fields of an `Outcome`."""
        correct, before = self.still_correct(record), self.clean_correct(record.victim)
        attacked = ~torch.from_numpy(record.arrays["already"])
        fooled = before & ~correct
        return {
            "accuracy": accuracy(correct),
            "success": accuracy(fooled[before]),
            "saved": accuracy(~self.still_correct(record, saved=True)[fooled]),
            "distances": {name: _mean(record.arrays[name], attacked) for name in DISTANCES},
            "forwards": float(record.arrays["forwards"].mean()),
            "backwards": float(record.arrays["backwards"].mean()),
        }

    @cached_property
    def weakest(self) -> tuple[WeakestCurve, ...]:
        """Per norm and defense: accuracy where every image meets the attack that is worst for it.

        All attacks up to the radius count, since a smaller ball lies in a larger one, and unrestricted ones on the
        images that they leave inside the ball; of a defense oblivious and adaptive ones: the number that it deserves.
        Of a network that draws random numbers it is the one attack that leaves least: who asks it once more for every
        attack sees more errors, and none of them is an attack's.
        """
        curves = []
        norms = dict.fromkeys(norm_of(record.attack) for record in self.records)
        for norm in (norm for norm in norms if norm != UNRESTRICTED):
            for victim in self.victims:
                chosen = [r for r in self.records if r.victim == victim and norm_of(r.attack) in (norm, UNRESTRICTED)]
                radii = sorted({record.eps for record in chosen if record.eps is not None})
                points = [self._weakest_point(victim, norm, eps, chosen) for eps in radii]
                first = WeakestPoint(
                    eps=0.0, accuracy=self.clean_accuracy(victim), success=Proportion(0, 0), saved=Proportion(0, 0),
                    distances={}, forwards=1.0, backwards=0.0,
                )  # fmt: skip
                mode = "none" if victim == PLAIN else "worst case"
                curves.append(WeakestCurve(attack="all", norm=norm, defense=victim, mode=mode, points=(first, *points)))
        return tuple(curves)

    def _weakest_point(self, victim: str, norm: str, eps: float, records: list[Record]) -> WeakestPoint:
        here = [record for record in records if record.eps is None or record.eps <= eps]
        standing = torch.stack([self._correct_within(record, norm, eps) for record in here])
        least = int(standing.sum(1).argmin())
        correct = standing[least] if self.is_random(victim) else standing.all(0)
        before = self.clean_correct(victim)
        runs = {(record.attack, record.source): record.arrays for record in here}
        return WeakestPoint(
            eps=eps,
            accuracy=accuracy(correct),
            success=accuracy((before & ~correct)[before]),
            saved=Proportion(0, 0),
            distances={},
            forwards=sum(float(arrays["forwards"].mean()) for arrays in runs.values()),
            backwards=sum(float(arrays["backwards"].mean()) for arrays in runs.values()),
            strongest=Strongest(
                attack=without_eps(here[least].attack),
                mode=here[least].mode,
                eps=here[least].eps,
                accuracy=accuracy(standing[least]),
            ),
        )


def _mean(values: NDArray[Any], chosen: Tensor) -> float | None:
    """Mean over the chosen samples; None of no samples or where it is not finite (the PSNR of equal images)."""
    picked = values[chosen.numpy()].astype(np.float64)
    if not len(picked):
        return None
    mean = float(picked.mean())
    return mean if math.isfinite(mean) else None
