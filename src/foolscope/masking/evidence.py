"""What speaks for or against a robustness number: pieces of evidence, each judged by its threshold, and the verdict."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from foolscope.measure import Z_95, Proportion

Outcome = Literal["passed", "failed", "unclear", "not applicable"]
Verdict = Literal["believable", "masked", "inconclusive"]


@dataclass(frozen=True)
class Question:
    """What is asked, and the share of images up to which the answer speaks for the number."""

    text: str
    threshold: float | None = None


QUESTIONS = {
    "images": Question("Are there enough images that the network classifies right?"),
    "deterministic": Question("Does the network answer alike twice, or are its gradients averaged over draws?"),
    "expectation": Question("Do gradients averaged over draws find no more than those of one draw?", 0.05),
    "gradient": Question("Has every image a gradient to follow?", 0.05),
    "saturation": Question("Does one step find as much as in float64 with cooled logits?", 0.05),
    "loss": Question("Does the margin find no more than the cross-entropy?", 0.10),
    "temperature": Question("Do cooled logits find no more?", 0.02),
    "float64": Question("Does float64 find no more than float32?", 0.02),
    "one-step": Question("Does one step find no more than many?", 0.05),
    "steps": Question("Do more steps find no more?", 0.05),
    "black-box": Question("Does a search without gradients find no more than gradients?", 0.05),
    "transfer": Question("Do images that fool another network find no more?", 0.05),
    "random-search": Question("Do random points of the ball find no more?", 0.02),
    "unbounded": Question("Does an attack that may do anything fool every image?", 0.05),
}
"""Every piece of evidence by its code, in the order in which they are told; 'yes' is what a believable number answers.

Thresholds are above what networks show that hide nothing: up to 6 % for the margin, which is another loss and not only
another precision, 3 % for one step, 2 % for cooled logits, 4 % for Square behind a straight-through gradient, else 1 %.
"""

FEWEST_IMAGES = 50
"""Of fewer images that the network classifies right, none fooled still leaves room for 7 %."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One piece of evidence.

    `value` is the share of the images at stake, with its 95 % interval from `low` to `high`, and `threshold` what it is
    held against; None where nothing was measured.  `outcome` is 'failed' where all of the interval is above the
    threshold, 'unclear' where only the value is and the interval does not hold 0, or where nobody can tell, else
    'passed'.  `sentence` says what was seen.
    """

    code: str
    question: str
    outcome: Outcome
    sentence: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    threshold: float | None = None

    @classmethod
    def told(cls, code: str, outcome: Outcome, sentence: str) -> Self:
        """Evidence that is no share of images."""
        return cls(code=code, question=QUESTIONS[code].text, outcome=outcome, sentence=sentence)

    @classmethod
    def measured(cls, code: str, value: float, low: float, high: float, sentence: str) -> Self:
        """Evidence that is a share of images, judged by its threshold."""
        question = QUESTIONS[code]
        assert question.threshold is not None
        outcome: Outcome = "passed"
        if value > question.threshold and low > 0:
            outcome = "failed" if low > question.threshold else "unclear"
        return cls(
            code=code, question=question.text, outcome=outcome, sentence=sentence,
            value=value, low=low, high=high, threshold=question.threshold,
        )  # fmt: skip

    @classmethod
    def share(cls, code: str, share: Proportion, sentence: str) -> Self:
        """Evidence that is a share of images with Wilson's interval."""
        return cls.measured(code, share.value, share.low, share.high, sentence)


def paired_difference(gained: int, lost: int, trials: int) -> tuple[float, float, float]:
    """(gained - lost) / trials with its 95 % interval: what one attack fools more than another of the same images.

    `gained` images only the first fools, `lost` only the second.  Half an image more of each kind keeps the interval
    honest for few: Agresti and Min 2005, Statistics in Medicine 24(5), 'Simple improved confidence intervals for
    comparing matched proportions'.
    """
    up, down, count = gained + 0.5, lost + 0.5, trials + 2
    center = (up - down) / count
    reach = Z_95 * math.sqrt(up + down - (up - down) ** 2 / count) / count
    return (gained - lost) / trials, max(-1.0, center - reach), min(1.0, center + reach)


@dataclass(frozen=True, kw_only=True)
class Examination:
    """Whether a robustness number can be believed.

    `verdict` is 'masked' where any evidence failed, else 'inconclusive' where any is unclear, else 'believable'.
    `accuracy` is the number: the share of all images that are still right under `attack`, a spec.  `lowest` is the
    share that is right under every attack of the examination inside the ball; `clean` without any.  `eps` is a radius
    in `norm`.
    """

    eps: float
    norm: str
    attack: str
    clean: Proportion
    accuracy: Proportion
    lowest: Proportion
    evidence: tuple[Evidence, ...]

    @property
    def verdict(self) -> Verdict:
        """'believable', 'masked' or 'inconclusive'."""
        if self.found("failed"):
            return "masked"
        return "inconclusive" if self.found("unclear") else "believable"

    def found(self, *outcomes: Outcome) -> tuple[Evidence, ...]:
        """The evidence with one of these outcomes."""
        return tuple(piece for piece in self.evidence if piece.outcome in outcomes)

    @property
    def reason(self) -> str:
        """The verdict's reason in a sentence or more: what failed, or what is unclear."""
        against = self.found("failed") or self.found("unclear")
        if against:
            return " ".join(piece.sentence for piece in against)
        passed = len(self.found("passed"))
        return f"None of {passed} pieces of evidence speaks against it."

    def to_dict(self) -> dict[str, Any]:
        """A value that JSON can hold, from which `from_dict` makes this again."""
        return {"verdict": self.verdict, "reason": self.reason, **asdict(self)}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """The examination that `to_dict` told."""
        return cls(
            eps=content["eps"],
            norm=content["norm"],
            attack=content["attack"],
            clean=Proportion(**content["clean"]),
            accuracy=Proportion(**content["accuracy"]),
            lowest=Proportion(**content["lowest"]),
            evidence=tuple(Evidence(**piece) for piece in content["evidence"]),
        )
