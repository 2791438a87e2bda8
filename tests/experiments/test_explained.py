"""Explanations in an audit: of the strongest attack, from the images that its cell keeps, each method once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import foolscope as fs
from foolscope import explain
from foolscope.attacks import PGD, Attack, parse_attack
from foolscope.data import ImageSet
from foolscope.errors import InputError, SpecError
from foolscope.experiments import AuditProgress, Results, Store, audit
from foolscope.experiments.cells import SAMPLES
from foolscope.experiments.explained import strongest
from foolscope.experiments.grid import eps_of
from foolscope.experiments.results import Record
from tests.experiments.networks import Linear, digits, digits_lenet
from tests.report.test_html import Reader

METHODS = ("saliency", "grad-cam")


def explained(store: Store, methods: tuple[str, ...] = METHODS, data: ImageSet | None = None) -> tuple[Results, int]:
    """The results, and how many cells were not there; `reused` and `passes` add up."""
    seen: list[AuditProgress] = []
    results = audit(
        digits_lenet(), data or digits(40), ["fgsm", "pgd:steps=5"], eps="0.1,0.2", defenses=["jpeg:quality=50"],
        black_box=0, explain=methods, store=store, watch=seen.append,
    )  # fmt: skip
    assert seen[-1].done == seen[-1].cells
    assert seen[-1].passes == pytest.approx(seen[-1].total_passes)
    return results, seen[-1].cells - seen[-1].reused


def test_an_audit_explains_its_strongest_attack_and_computes_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    assert explained(store, ())[0].explained is None
    results, new = explained(store)
    assert new == len(METHODS), "the attacks' own cells are enough"
    found = results.explained
    assert found is not None
    assert found.attack == "pgd:eps=0.2,steps=5"
    assert found.looked_at == SAMPLES
    data = digits(40)
    assert torch.equal(found.images, data.images[found.index])
    assert torch.equal(found.labels, data.labels[found.index])
    attacked = parse_attack(found.attack)(
        digits_lenet(), data.images, fs.Untargeted(data.labels), rng=torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(found.adversarial, attacked.images[found.index])
    assert torch.equal(found.answers, attacked.predictions[found.index])
    saliency, grad_cam = found.maps
    for images, maps in ((found.images, saliency.original), (found.adversarial, saliency.adversarial)):
        torch.testing.assert_close(maps, explain.EXPLAINERS["saliency"](digits_lenet(), images, found.labels))
    assert grad_cam.layer == explain.grad_cam_layer(digits_lenet(), found.images)
    energy = explain.energy_on_salient(found.adversarial - found.images, saliency.original)
    torch.testing.assert_close(saliency.energy.energy, energy.energy)
    monkeypatch.setattr("foolscope.experiments.explained._computed", lambda *_: pytest.fail("it is in the store"))
    again, new = explained(store)
    assert new == 0
    assert fs.report.to_json(again)["explained"] == fs.report.to_json(results)["explained"]
    assert fs.report.page(again) == fs.report.page(results)


def test_the_report_shows_it(tmp_path: Path) -> None:
    results, _ = explained(Store(tmp_path), ("grad-cam",))
    page = fs.report.page(results)
    told = " ".join(Reader(page).texts)
    assert "Where the network looks" in told
    assert "pgd:eps=0.2,steps=5 leaves least of the network without a defense" in told
    assert "Where the layer network.features.4 sees the class" in told
    assert not Reader(page).open
    assert "explain=['grad-cam']" in results.about["python"]
    written = fs.report.to_json(results)["explained"]
    (method,) = written["methods"]
    assert results.explained is not None
    agreement = results.explained.maps[0].agreement.means()["rank_correlation"]
    assert method["agreement"]["rank_correlation"]["value"] == agreement.value
    assert len(written["images"]) == len(results.explained.index)
    assert "Where the network looks" not in fs.report.page(explained(Store(tmp_path), ())[0])


def test_an_attack_that_changes_nothing_leaves_nothing_to_explain(tmp_path: Path) -> None:
    data = digits(12)
    wrong = replace(data, labels=(digits_lenet()(data.images).argmax(1) + 1) % 10, digest="0" * 64)
    results, _ = explained(Store(tmp_path), METHODS, wrong)
    assert results.explained is not None
    assert (results.explained.maps, results.explained.spectrum) == ((), None)
    assert "changed none of the first 8 images, so there is nothing to explain." in fs.report.page(results)
    assert fs.report.to_json(results)["explained"]["images"] == []


def record(attack: Attack, right: int, moved: float, victim: str = "") -> Record:
    """An attack that leaves so many of ten images right."""
    prediction = (np.arange(10) >= right).astype(np.int64)
    arrays = {"prediction": prediction, "label": np.zeros(10, np.int64), "l2": np.full(10, moved)}
    mode = "oblivious" if victim else "none"
    eps = eps_of(attack)
    return Record(attack=attack, source="", victim=victim, mode=mode, arrays=arrays, seconds=0.0, eps=eps)


def test_the_strongest_leaves_least_at_the_reference_radius_and_moves_least() -> None:
    far, near, beyond = PGD(eps=0.3), PGD(eps=0.3, steps=7), PGD(eps=0.5)
    chain = parse_attack("filter:chain=agv-b")
    records = [record(chain, 0, 9.0), record(far, 2, 3.0), record(near, 2, 2.0), record(beyond, 0, 5.0),
               record(PGD(eps=0.3, steps=1), 0, 1.0, "jpeg")]  # fmt: skip
    assert strongest(records).attack == near
    assert strongest([record(far, 3, 1.0), *records]).attack == near
    assert strongest([record(chain, 4, 9.0), record(parse_attack("filter:chain=agv-a"), 5, 1.0)]).attack == chain


def test_an_audit_that_cannot_explain_fails_before_it_attacks(tmp_path: Path) -> None:
    def planned(methods: list[str]) -> None:
        audit(Linear(), digits(4), ["fgsm"], explain=methods, store=Store(tmp_path), watch=lambda _: pytest.fail("ran"))

    with pytest.raises(SpecError) as unknown:
        planned(["salency"])
    assert str(unknown.value) == (
        "an audit is explained by saliency, smooth-grad, integrated-gradients, grad-cam, not by 'salency'. Did you "
        "mean saliency?"
    )
    with pytest.raises(InputError) as dense:
        planned(["grad-cam"])
    assert str(dense.value).startswith("Linear has no convolution with more than one position")
