"""Evidence, its thresholds, and the verdict."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foolscope.masking import QUESTIONS, Evidence, Examination
from foolscope.masking.evidence import Outcome, Verdict, paired_difference
from foolscope.measure import Proportion


def examination(*outcomes: Outcome) -> Examination:
    evidence = tuple(
        Evidence.told(code, outcome, f"It {outcome}.") for code, outcome in zip(QUESTIONS, outcomes, strict=False)
    )
    return Examination(
        eps=0.1,
        norm="linf",
        attack="pgd:eps=0.1",
        clean=Proportion(9, 10),
        accuracy=Proportion(5, 10),
        lowest=Proportion(4, 10),
        evidence=evidence,
    )


@pytest.mark.parametrize(
    ("value", "low", "high", "outcome"),
    [
        (0.05, 0.04, 0.06, "passed"),  # the threshold itself is allowed
        (0.07, 0.04, 0.10, "unclear"),
        (0.07, -0.01, 0.15, "passed"),
        (0.09, 0.06, 0.12, "failed"),
        (-0.2, -0.3, -0.1, "passed"),
    ],
)
def test_a_share_is_held_against_its_threshold(value: float, low: float, high: float, outcome: Outcome) -> None:
    found = Evidence.measured("steps", value, low, high, "So it is.")
    assert QUESTIONS["steps"].threshold == 0.05
    assert (found.outcome, found.threshold, found.question) == (outcome, 0.05, QUESTIONS["steps"].text)


def test_a_share_has_wilsons_interval() -> None:
    share = Proportion(20, 100)
    found = Evidence.share("steps", share, "So it is.")
    assert (found.value, found.low, found.high, found.outcome) == (0.2, share.low, share.high, "failed")


def test_the_paired_interval_is_that_of_agresti_and_min() -> None:
    # By hand: (13.5 - 1.5) / 129 -+ 1.959964 sqrt(15 - 144 / 129) / 129.
    value, low, high = paired_difference(13, 1, 127)
    reach = 1.959964 * math.sqrt(15 - 144 / 129) / 129
    assert value == 12 / 127
    assert (low, high) == pytest.approx((12 / 129 - reach, 12 / 129 + reach), abs=1e-7)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 500))
def test_a_paired_difference_is_antisymmetric_and_inside_its_interval(gained: int, lost: int, rest: int) -> None:
    trials = gained + lost + rest
    value, low, high = paired_difference(gained, lost, trials)
    assert -1 <= low <= value <= high <= 1
    assert paired_difference(lost, gained, trials) == pytest.approx((-value, -high, -low))


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        (("passed", "passed"), "believable"),
        (("passed", "not applicable"), "believable"),
        (("unclear", "passed"), "inconclusive"),
        (("unclear", "failed"), "masked"),
    ],
)
def test_the_worst_evidence_decides(outcomes: tuple[Outcome, ...], verdict: Verdict) -> None:
    assert examination(*outcomes).verdict == verdict


def test_the_reason_tells_what_speaks_against_the_number() -> None:
    assert examination("unclear", "failed", "passed").reason == "It failed."
    assert examination("unclear", "passed").reason == "It unclear."
    assert examination("passed", "not applicable", "passed").reason == (
        "None of 2 pieces of evidence speaks against it."
    )


def test_an_examination_round_trips_through_json() -> None:
    told = examination("unclear", "failed", "passed")
    content = json.loads(json.dumps(told.to_dict(), allow_nan=False))
    assert Examination.from_dict(content) == told
    assert (content["verdict"], content["reason"]) == ("masked", "It failed.")
