"""The section 'Can these numbers be believed?'."""

from __future__ import annotations

from dataclasses import replace

import pytest

from foolscope.experiments.examined import Examined
from foolscope.experiments.results import Results
from foolscope.masking import Evidence, Examination
from foolscope.measure import Proportion
from foolscope.report import page
from tests.report.made import JPEG, results
from tests.report.test_html import Reader

PASSED = Evidence.told("images", "passed", "The network classifies 90 of 100 images right.")
FAILED = Evidence.share("loss", Proportion(45, 90), "Of 90 images, PGD on the margin fools 45 that PGD leaves.")
UNCLEAR = Evidence.told("gradient", "unclear", "<net> gives no gradients.")


def made(*evidence: Evidence, defense: str = "") -> Results:
    found = Examination(
        eps=8 / 255,
        norm="linf",
        attack="pgd:steps=20",
        clean=Proportion(90, 100),
        accuracy=Proportion(60, 100),
        lowest=Proportion(15, 100),
        evidence=evidence,
    )
    return replace(results(), examinations=(Examined(defense=defense, examination=found),))


def text(found: Results) -> str:
    reader = Reader(page(found))
    assert not reader.open
    return " ".join("".join(reader.texts).replace("\u00a0", " ").split())


def test_the_verdict_the_number_and_the_evidence_are_told() -> None:
    told = text(made(PASSED, FAILED))
    assert "Can these numbers be believed?" in told
    assert "no defense: masked" in told
    assert "The number cannot be believed: gradients are masked" in told
    assert "At ε = 8/255 in ℓ∞ pgd:steps=20 leaves 60.0 % [50.2, 69.1] of 100 images" in told
    assert "together 15.0 % [9.3, 23.3]." in told
    assert FAILED.question + FAILED.sentence + "failed50.0 %[39.9, 60.1]10.0 %" in told
    assert PASSED.question + PASSED.sentence + "passed" in told


@pytest.mark.parametrize(
    ("evidence", "verdict"), [((PASSED,), "believable"), ((PASSED, UNCLEAR), "inconclusive"), ((FAILED,), "masked")]
)
def test_every_verdict_is_in_words(evidence: tuple[Evidence, ...], verdict: str) -> None:
    assert f"{JPEG}: {verdict}" in text(made(*evidence, defense=JPEG))


def test_text_is_escaped() -> None:
    assert "&lt;net&gt; gives no gradients." in page(made(UNCLEAR))


def test_nothing_is_said_where_nothing_was_examined() -> None:
    assert "believed" not in page(results())
