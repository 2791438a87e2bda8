"""A newcomer against the front: judged on all images, or dropped as soon as it cannot belong to the front.

What costs nothing is looked at first, what costs most last.

1. Distances and the limit need no query.
2. A few images: an incumbent whose other objectives are no worse drops the newcomer if it fools more of them with
   confidence, by the sign test on the images that only one of the two fools (McNemar 1947), at `CONFIDENCE`.
3. All images: from here on only what is certain drops it.
4. The detector, the images that past chains were detected on first, in parts: a count only rises, so the newcomer is
   dropped once an incumbent with as many successes has fewer detections.

So detection is computed only where it decides.  Whoever remains was judged on all images by everything.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from foolscope.attacks.agv.candidate import Candidate
from foolscope.attacks.agv.genome import Genomes
from foolscope.attacks.agv.judge import Judge

CONFIDENCE = 0.05
"""Probability at which the sign test drops a newcomer that is as good as the incumbent."""

_PART = 25
"""Images that the detector sees at once."""


def contest(
    judge: Judge, genome: Genomes, step: int, incumbents: Sequence[Candidate], first: Tensor
) -> Candidate | None:
    """One genome (m,) on all images, of which those numbered `first` come first; None where an incumbent beats it."""
    return _Contest(judge, genome, step, incumbents).result(first)


class _Contest:
    def __init__(self, judge: Judge, genome: Genomes, step: int, incumbents: Sequence[Candidate]) -> None:
        self.judge, self.chain, self.step = judge, judge.pool.chain(genome), step
        self.rows = torch.arange(len(judge.images), device=judge.images.device)
        self.filtered = self.chain(judge.images)
        self.distances = judge.distances(self.filtered, self.rows)
        self.incumbents = [(judge.objectives(incumbent), incumbent) for incumbent in incumbents]
        self.violation, *self.violations = judge.violations([self.distances["linf"], *map(_linf, incumbents)]).tolist()
        names = judge.settings.objectives
        self.bounds = [0.0, *(0.0 if name == "detection" else self._scaled(name) for name in names)]

    def _scaled(self, name: str) -> float:
        return self.distances[name] / self.judge.evaluator.scale(name)

    def result(self, first: Tensor) -> Candidate | None:
        """The newcomer judged on all images, or None."""
        if any(violation < self.violation for violation in self.violations):
            return None
        predictions, known = self._answers(first)
        if any(self._outdone(rival, predictions, first) for _, rival in self._rivals()):
            return None
        others = self.rows[~torch.isin(self.rows, first)]
        more_predictions, more_known = self._answers(others)
        order = torch.cat([first, others]).argsort()
        predictions = torch.cat([predictions, more_predictions], 1)[:, order]
        newcomer = self._described(self.rows, predictions, None)
        self.bounds[0] = self.judge.objectives(newcomer)[0]
        if self._dominated():
            return None
        if self.judge.evaluator.detectors:
            known = [torch.cat(parts)[order] for parts in zip(known, more_known, strict=True)]
            newcomer = self._described(self.rows, predictions, self._detected(predictions, known))
        return None if self._dominated() else newcomer

    def _answers(self, rows: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Predictions (M, n) and each model's probabilities (n, K)."""
        known = self.judge.evaluator.probabilities(self.filtered[rows], rows)
        return torch.stack([probabilities.argmax(1) for probabilities in known]), known

    def _rivals(self) -> list[tuple[list[float], Candidate]]:
        """The incumbents that are no worse in all that is known beside the success rate."""
        return [
            (objectives, incumbent)
            for (objectives, incumbent), violation in zip(self.incumbents, self.violations, strict=True)
            if violation <= self.violation
            and all(theirs <= own for theirs, own in zip(objectives[1:], self.bounds[1:], strict=True))
        ]

    def _dominated(self) -> bool:
        """Whether an incumbent dominates the best that the newcomer can still be."""
        return any(objectives[0] <= self.bounds[0] and objectives != self.bounds for objectives, _ in self._rivals())

    def _outdone(self, rival: Candidate, predictions: Tensor, rows: Tensor) -> bool:
        """Whether the rival fools more of some images with confidence."""
        own = self._described(rows, predictions, None)
        difference = self._successes(rival)[rows] - self._successes(own)
        wins, losses = int((difference > 0).sum()), int((difference < 0).sum())
        return wins > losses and sign_test(wins, losses) < CONFIDENCE

    def _successes(self, candidate: Candidate) -> Tensor:
        """Success (n,) on each image, of the model that is fooled least, or the mean over the models."""
        flags = (candidate.fooled if self.judge.settings.against == "label" else candidate.changed).float()
        return flags.mean(0) if self.judge.settings.several == "mean" else flags[flags.mean(1).argmin()]

    def _detected(self, predictions: Tensor, known: list[Tensor]) -> Tensor:
        """Flags (M, N); those of images that need not be looked at any more stay False."""
        evaluator, objectives = self.judge.evaluator, self.judge.settings.objectives
        flags = torch.zeros_like(predictions, dtype=torch.bool)
        seen = [incumbent.detected.sum(0) for _, incumbent in self.incumbents if incumbent.detected is not None]
        order = torch.stack(seen).sum(0).argsort(descending=True, stable=True) if seen else self.rows
        for rows in torch.split(order, _PART):
            flags[:, rows] = evaluator.detected(self.filtered[rows], rows, [p[rows] for p in known])
            if "detection" in objectives:
                place = 1 + objectives.index("detection")
                self.bounds[place] = self.judge.objectives(self._described(self.rows, predictions, flags))[place]
                if self._dominated():
                    break
        return flags

    def _described(self, rows: Tensor, predictions: Tensor, detected: Tensor | None) -> Candidate:
        return self.judge.evaluator.described(
            self.chain,
            rows,
            predictions,
            detected=detected,
            distances=self.distances,
            several=self.judge.settings.several,
            step=self.step,
        )


def _linf(candidate: Candidate) -> float:
    return candidate.distances["linf"]


def sign_test(wins: int, losses: int) -> float:
    """Probability of at least `wins` heads in wins + losses throws of a fair coin."""
    from scipy.special import betainc

    return float(betainc(wins, losses + 1, 0.5)) if wins else 1.0
