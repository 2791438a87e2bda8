"""Curves and the weakest points against a case that is computed by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from foolscope.attacks import FGSM, PGD, Attack
from foolscope.experiments.grid import eps_of
from foolscope.experiments.results import Record, Results, Strongest
from foolscope.measure import Proportion
from tests.experiments.unrestricted import Darken

LABELS = np.array([0, 1, 2, 0, 1])
CLEAN = np.array([0, 1, 2, 0, 0])  # the last is wrong untouched
DEFENDED = np.array([0, 1, 2, 1, 1])  # behind the defense the fourth is
JPEG = "jpeg"


def record(attack: Attack, predictions: list[int], saved: list[int], source: str = "", victim: str = "") -> Record:
    arrays: dict[str, NDArray[Any]] = {
        "prediction": np.array(predictions),
        "prediction_saved": np.array(saved),
        "already": CLEAN != LABELS,
        "forwards": np.array([3, 3, 3, 3, 1]),
        "backwards": np.array([2, 2, 2, 2, 0]),
        "psnr": np.array([10.0, 20.0, 30.0, 40.0, np.inf]),
        **{name: np.array([1.0, 2.0, 3.0, 4.0, 100.0]) for name in ("l0", "l1", "l2", "linf", "ssim")},
    }
    mode = ("straight-through" if source else "oblivious") if victim else "none"
    return Record(
        attack=attack, source=source, victim=victim, mode=mode, arrays=arrays, seconds=1.0, eps=eps_of(attack)
    )


RESULTS = Results(
    about={},
    class_names=("a", "b", "c", "d"),
    clean={"label": LABELS, "prediction_0": CLEAN, "prediction_1": DEFENDED},
    victims=("", JPEG),
    records=(
        record(FGSM(eps=0.2), [1, 0, 2, 0, 0], [0, 0, 2, 0, 0]),  # fools 0 and 1; 0 is right again once saved
        record(FGSM(eps=0.1), [1, 1, 2, 0, 0], [1, 1, 2, 0, 0]),
        record(PGD(eps=0.2, steps=7), [0, 0, 0, 0, 1], [0, 0, 0, 0, 1]),  # fools 1 and 2; the last became right
        record(FGSM(eps=0.2), [0, 1, 0, 1, 1], [0, 1, 0, 1, 1], "", JPEG),
        record(FGSM(eps=0.2), [1, 1, 2, 0, 1], [1, 1, 2, 0, 1], JPEG, JPEG),
    ),
    samples=(),
    warnings=(),
)


def test_clean_accuracy() -> None:
    assert RESULTS.clean_accuracy() == Proportion(4, 5)
    assert RESULTS.clean_accuracy(JPEG) == Proportion(4, 5)
    assert RESULTS.clean_correct(JPEG).tolist() == [True, True, True, False, True]
    assert RESULTS.class_accuracy() == [("a", Proportion(2, 2)), ("b", Proportion(1, 2)), ("c", Proportion(1, 1))]


def test_curves_are_plain_then_oblivious_then_adaptive() -> None:
    told = [(curve.attack, curve.norm, curve.defense, curve.mode) for curve in RESULTS.curves]
    assert told == [
        ("fgsm", "linf", "", "none"),
        ("pgd:steps=7", "linf", "", "none"),
        ("fgsm", "linf", JPEG, "oblivious"),
        ("fgsm", "linf", JPEG, "straight-through"),
    ]


def test_a_curve_by_hand() -> None:
    first, weak, strong = RESULTS.curves[0].points
    assert [point.eps for point in (first, weak, strong)] == [0, 0.1, 0.2]
    assert (first.accuracy, first.success) == (Proportion(4, 5), Proportion(0, 4))
    assert first.distances == {"l0": 0, "l1": 0, "l2": 0, "linf": 0, "ssim": 1, "psnr": None}
    assert (weak.accuracy, weak.success, weak.saved) == (Proportion(3, 5), Proportion(1, 4), Proportion(1, 1))
    assert (strong.accuracy, strong.success, strong.saved) == (Proportion(2, 5), Proportion(2, 4), Proportion(1, 2))
    assert strong.distances == {"l0": 2.5, "l1": 2.5, "l2": 2.5, "linf": 2.5, "ssim": 2.5, "psnr": 25.0}
    assert (strong.forwards, strong.backwards) == pytest.approx((13 / 5, 8 / 5))


def test_an_image_that_was_wrong_never_counts_as_success() -> None:
    (_, point) = RESULTS.curves[1].points
    assert point.accuracy == Proportion(3, 5)  # 0, 3 and the last, which the noise made right
    assert point.success == Proportion(2, 4)


def test_success_against_a_defense_counts_what_was_right_behind_it() -> None:
    (_, oblivious), (_, adaptive) = (curve.points for curve in RESULTS.curves[2:])
    assert (oblivious.accuracy, oblivious.success) == (Proportion(3, 5), Proportion(1, 4))
    assert (adaptive.accuracy, adaptive.success) == (Proportion(4, 5), Proportion(1, 4))


def test_the_weakest_by_hand() -> None:
    plain, behind = RESULTS.weakest
    assert (plain.defense, plain.mode, plain.norm) == ("", "none", "linf")
    assert [(point.eps, point.accuracy) for point in plain.points] == [
        (0, Proportion(4, 5)),
        (0.1, Proportion(3, 5)),
        (0.2, Proportion(1, 5)),  # only image 3 stands against both attacks
    ]
    assert plain.points[2].success == Proportion(3, 4)
    assert plain.points[2].forwards == pytest.approx(3 * 13 / 5)  # one attack at 0.1, two at 0.2
    assert (behind.defense, behind.mode) == (JPEG, "worst case")
    assert [(point.eps, point.accuracy) for point in behind.points] == [(0, Proportion(4, 5)), (0.2, Proportion(2, 5))]


def test_the_weakest_names_the_attack_that_does_most_alone() -> None:
    plain, behind = RESULTS.weakest
    assert plain.points[0].strongest is None
    assert [point.strongest for point in plain.points[1:]] == [
        Strongest(attack="fgsm", mode="none", eps=0.1, accuracy=Proportion(3, 5)),
        Strongest(attack="fgsm", mode="none", eps=0.2, accuracy=Proportion(2, 5)),
    ]
    assert behind.points[1].strongest == Strongest(
        attack="fgsm", mode="oblivious", eps=0.2, accuracy=Proportion(3, 5)
    )  # the adaptive one leaves 4 of 5


def test_an_unrestricted_attack_has_no_curve_and_counts_inside_the_ball_alone() -> None:
    darker = record(Darken(share=0.5), [1, 2, 0, 1, 0], [1, 2, 0, 1, 0])  # fools 0 to 3, at distances 1, 2, 3 and 4
    results = replace(RESULTS, victims=("",), records=(record(FGSM(eps=2.5), [0, 1, 2, 0, 0], [0] * 5), darker))
    assert [curve.attack for curve in results.curves] == ["fgsm"]
    (found,) = results.unrestricted
    assert (found.attack, found.defense, found.mode) == ("darken:share=0.5", "", "none")
    assert (found.outcome.accuracy, found.outcome.success) == (Proportion(0, 5), Proportion(4, 4))
    (weakest,) = results.weakest
    assert weakest.norm == "linf"
    assert [(point.eps, point.accuracy) for point in weakest.points] == [(0, Proportion(4, 5)), (2.5, Proportion(2, 5))]


def test_a_mean_of_nothing_is_none() -> None:
    only = record(FGSM(eps=0.1), [1, 1, 1, 1, 1], [1, 1, 1, 1, 1])
    only.arrays["already"][:] = True
    results = Results(
        about={}, class_names=None, clean=RESULTS.clean, victims=("",), records=(only,), samples=(), warnings=()
    )
    assert set(results.curves[0].points[1].distances.values()) == {None}
