"""Sanity warnings: planted models bring them out, an honest network does not."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from foolscope.experiments import AuditProgress, Results, Store, audit
from foolscope.experiments.sanity import clean_warnings, curve_warnings
from tests.experiments.networks import SINGULAR, Linear, Noisy, Probabilities, Quantized, Rooted, digits, digits_lenet


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


class Cut(nn.Module):
    """Lets no gradient pass."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = digits_lenet()(x.detach()).detach()
        return logits


def test_a_network_that_lets_no_gradient_pass_is_told_of(tmp_path: Path) -> None:
    assert "zero-gradient" in codes(audited(Cut(), tmp_path))


def test_a_quantizing_layer_has_gradients_of_zero(tmp_path: Path) -> None:
    results = audited(Quantized(digits_lenet()), tmp_path)
    assert "zero-gradient" in codes(results)
    (warning,) = [warning for warning in results.warnings if warning.code == "zero-gradient"]
    assert warning.message == (
        "The loss has a gradient of exactly zero on some images: gradient attacks cannot move there, which says "
        "nothing about robustness."
    )
    assert warning.evidence == {"share of images": 1.0, "images": 100.0}


@pytest.mark.parametrize("attacks", [("fgsm", "bim:steps=2"), ("filter:chain=juno",)], ids=["gradients", "black box"])
def test_gradients_that_break_on_some_images(tmp_path: Path, attacks: tuple[str, ...]) -> None:
    data = digits(100)
    pixels = data.pixels.copy()
    pixels[[17, 40], 0, 0] = SINGULAR
    broken = replace(data, pixels=pixels, digest="broken", origin=torch.arange(100) + 200)
    eps = None if attacks[0].startswith("filter") else "0.1"
    results = audit(Rooted(digits_lenet()), broken, attacks, eps=eps, store=Store(tmp_path))
    assert codes(results) == ["broken-gradient"]
    assert results.warnings[0].message == (
        "Gradients are NaN or infinite on 2 of the images, first on image 217: attacks that follow them stop there, "
        "which says nothing about robustness."
    )
    assert results.warnings[0].evidence == {"share of images": 0.02, "images": 2.0}
    for record in results.records:
        assert np.flatnonzero(record.arrays["broken"]).tolist() == ([17, 40] if eps else [])


def test_gradients_that_break_in_an_attack_alone(tmp_path: Path) -> None:
    results = audited(digits_lenet(), tmp_path, ("fgsm",))
    first, second = results.records
    marked = np.arange(100) == 5
    found = replace(results, records=(first, replace(second, arrays={**second.arrays, "broken": marked})))
    assert [(w.code, w.evidence["images"]) for w in curve_warnings(found)] == [("broken-gradient", 1.0)]


def test_cells_of_versions_that_marked_none_are_read(tmp_path: Path) -> None:
    store, many = Store(tmp_path), digits(500).rows(torch.arange(520) % 500)

    def found(count: int) -> tuple[Results, int]:
        seen: list[AuditProgress] = []
        part = many.rows(slice(0, count))
        return audit(Linear(), part, ("fgsm",), eps="0.1", store=store, watch=seen.append), seen[-1].reused

    found(512)
    stripped = 0
    for path in list(tmp_path.glob("*/*/cell.json")):
        spec = json.loads(path.read_text())["spec"]
        cell = store.load(spec)
        assert cell is not None
        if spec["kind"] == "attack":
            shutil.rmtree(path.parent)
            store.save(spec, {name: array for name, array in cell.arrays.items() if name != "broken"}, cell.info)
            stripped += 1
    assert stripped == 1
    results, reused = found(520)
    assert reused == 2
    (record,) = results.records
    assert record.arrays["broken"].shape == (520,)
    assert not record.arrays["broken"].any()


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


class Shifted(nn.Module):
    """Answers with the next class: right but for the order of its classes."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = digits_lenet()(x).roll(1, 1)
        return logits


class Constant(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0 * x.flatten(1)[:, :10] + torch.arange(10)


@pytest.mark.parametrize(
    ("model", "how"),
    [(Shifted(), "is hardly better than guessing"), (Constant(), "gives every image the same class")],
    ids=["shifted", "constant"],
)
def test_a_model_at_chance(tmp_path: Path, model: nn.Module, how: str) -> None:
    results = audited(model, tmp_path)
    (warning,) = [warning for warning in results.warnings if warning.code == "chance"]
    assert warning.message == (
        f"The model {how}: what attacks do to it means nothing. The usual cause is its preprocessing, which belongs "
        "into its first layers and takes images in [0, 1], or labels in another order than its classes."
    )
    value = results.clean_accuracy().value
    assert warning.evidence == {"clean accuracy": value, "accuracy of guessing": 0.1}
    assert value < 0.2


def test_a_model_somewhat_better_than_guessing_is_let_pass(tmp_path: Path) -> None:
    results = audited(Quantized(digits_lenet()), tmp_path)
    assert results.clean_accuracy().value > 0.3
    assert "chance" not in codes(results)
