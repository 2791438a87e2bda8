"""Sanity warnings: planted models bring them out, an honest network does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torch import nn

from foolscope.experiments import Results, Store, audit
from foolscope.experiments.sanity import clean_warnings
from tests.experiments.networks import Noisy, Probabilities, Quantized, digits, digits_lenet


def audited(model: nn.Module, folder: Path, attacks: tuple[str, ...] = ("fgsm", "pgd:steps=5")) -> Results:
    return audit(model, digits(100), attacks, eps="0.05,0.1", store=Store(folder))


def codes(results: Results) -> list[str]:
    return [warning.code for warning in results.warnings]


def test_an_honest_network_gets_none(tmp_path: Path) -> None:
    assert codes(audited(digits_lenet(), tmp_path, ("fgsm", "bim:steps=5", "pgd:steps=10", "fgm"))) == []


def test_probabilities(tmp_path: Path) -> None:
    results = audited(Probabilities(digits_lenet()), tmp_path)
    assert "probabilities" in codes(results)
    (warning,) = [warning for warning in results.warnings if warning.code == "probabilities"]
    assert warning.message == (
        "The model returns probabilities, not logits: their gradients vanish where it is sure, and gradient attacks "
        "look weaker than they are. Remove the softmax."
    )
    assert warning.evidence == {"share of outputs that sum to 1": 1.0}


def test_random_outputs(tmp_path: Path) -> None:
    results = audited(Noisy(digits_lenet()), tmp_path)
    assert codes(results)[0] == "random"
    assert results.warnings[0].message == (
        "The model answers the same images differently: it draws random numbers. Attacks that do not average over them "
        "look weaker than they are."
    )
    assert results.warnings[0].evidence["largest relative difference of logits"] > 1e-3


def test_a_quantizing_layer_has_gradients_of_zero(tmp_path: Path) -> None:
    results = audited(Quantized(digits_lenet()), tmp_path)
    assert "zero-gradient" in codes(results)
    (warning,) = [warning for warning in results.warnings if warning.code == "zero-gradient"]
    assert warning.message == (
        "The loss has a gradient of exactly zero on some images: gradient attacks cannot move there, which says "
        "nothing about robustness."
    )
    assert warning.evidence == {"share of images": 1.0, "images": 100.0}


def test_an_iterative_attack_that_is_weaker_than_one_step(tmp_path: Path) -> None:
    results = audited(digits_lenet(), tmp_path, ("fgsm", "pgd:steps=2,step=(0.0001),random_start=false"))
    assert codes(results) == ["iterative-weaker"]
    (warning,) = results.warnings
    assert warning.message == (
        "pgd:steps=2,step=0.0001,random_start=false leaves more accuracy than the one-step fgsm: the gradients mislead "
        "it. The smaller number is the one that counts."
    )
    gaps = {}
    for eps in (0.05, 0.1):
        single, iterative = (next(p for p in curve.points if p.eps == eps) for curve in results.curves)
        gaps[eps] = iterative.accuracy.value - single.accuracy.value
    worst = max(gaps, key=lambda eps: gaps[eps])
    assert warning.evidence == pytest.approx({"eps": worst, "accuracy gap": gaps[worst]})


def test_a_few_outputs_that_look_like_shares_are_no_warning() -> None:
    looks = np.zeros(100, dtype=bool)
    looks[:98] = True
    clean = {"looks_like_probabilities": looks, "repeat_difference": np.full(100, 1e-5)}
    assert list(clean_warnings(clean)) == []
