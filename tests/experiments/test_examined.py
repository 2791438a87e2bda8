"""Examinations in an audit: which are made, that they are kept, and what random defenses are attacked with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import foolscope as fs
from foolscope.attacks import FGSM, PGD, parse_attack
from foolscope.attacks.attack import LOOKS
from foolscope.errors import ParameterError, SpecError
from foolscope.experiments import AuditProgress, Results, Store, audit
from foolscope.experiments.cells import PLAIN, AttackJob, Subject
from foolscope.experiments.examined import examination_jobs, reference_radius
from foolscope.experiments.grid import AttackGrid
from foolscope.models.engine import Engine
from foolscope.models.expectation import Expectation
from tests.experiments.networks import digits, digits_lenet

JPEG, NOISE = "jpeg:quality=50", "noise:sigma=0.05"


class Saturated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = digits_lenet()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = 1000 * self.inner(x)
        return logits


@pytest.mark.parametrize(
    ("norm", "radii", "expected"),
    [
        ("linf", (1 / 255, 8 / 255, 16 / 255), 8 / 255),
        ("linf", (0.1, 0.2, 0.3), 0.3),
        ("linf", (0.01, 0.02, 0.05), 0.02),
        ("l2", (0.1, 0.3), 0.3),  # the middle, not the usual one of linf
        ("l2", (0.5, 1.0, 2.0), 1.0),
    ],
)
def test_the_reference_radius(norm: str, radii: tuple[float, ...], expected: float) -> None:
    assert reference_radius(norm, radii) == expected


def test_one_examination_a_network_in_the_first_norm_with_radii() -> None:
    grids = [
        AttackGrid(parse_attack("filter:chain=agv-b"), ()),
        AttackGrid(PGD(norm="l2"), (0.5, 1.0, 2.0)),
        AttackGrid(FGSM(), (0.1, 0.3)),
    ]
    found = [(job.victim, job.norm, job.eps, job.seed) for job in examination_jobs(grids, ("", JPEG), 5)]
    assert found == [("", "l2", 1.0, 5), (JPEG, "l2", 1.0, 5)]
    sources = [job.source for job in examination_jobs(grids, ("", JPEG, "bits:depth=3"), 5)]
    assert sources == ["", f"{JPEG},gradient=differentiable", "bits:depth=3"]
    with pytest.raises(SpecError) as caught:
        examination_jobs(grids[:1], ("",), 0)
    assert str(caught.value) == "an examination needs an attack with a radius in l1, l2, linf: add pgd."


def examined(store: Store, *, examine: bool = False) -> tuple[Results, AuditProgress]:
    seen: list[AuditProgress] = []
    results = audit(
        Saturated(), digits(70), ["fgsm"], eps="0.1,0.3", defenses=[JPEG], examine=examine, store=store,
        watch=seen.append, black_box=0,
    )  # fmt: skip
    assert seen[-1].passes == pytest.approx(seen[-1].total_passes)
    return results, seen[-1]


def test_an_audit_examines_every_network_and_resumes(tmp_path: Path) -> None:
    plain, first = examined(Store(tmp_path))
    assert plain.examinations == ()
    results, second = examined(Store(tmp_path), examine=True)
    assert (second.cells, second.reused) == (first.cells + 2, first.cells), "all other cells are those without it"
    assert [found.defense for found in results.examinations] == [PLAIN, JPEG]
    assert {(found.examination.eps, found.examination.norm) for found in results.examinations} == {(0.3, "linf")}
    assert results.examinations[0].examination.verdict == "masked"
    again, third = examined(Store(tmp_path), examine=True)
    assert third.reused == third.cells
    assert again.examinations == results.examinations
    told = fs.report.to_json(results)["examinations"]
    number = results.examinations[0].examination.accuracy
    assert [(entry["defense"], entry["verdict"]) for entry in told] == [
        (found.defense, found.examination.verdict) for found in results.examinations
    ]
    assert told[0]["accuracy"]["value"] == number.value
    assert told[0]["accuracy"]["high"] == number.high
    assert "examine=True" in results.about["python"]
    page = fs.report.page(results)
    assert "Can these numbers be believed?" in page and "no defense: masked" in page
    assert "Can these numbers be believed?" not in fs.report.page(plain)


def test_gradients_behind_a_random_defense_are_means_over_draws() -> None:
    subject = Subject.of(digits_lenet(), (JPEG, NOISE), "float32", None, eot=4)
    assert [type(engine) for engine in subject.engines.values()] == [Engine, Engine, Expectation]
    assert [engine.draws for engine in subject.engines.values()] == [1, 1, 4]
    once = Subject.of(digits_lenet(), (NOISE,), "float32", None, eot=1)
    assert type(once.engines[NOISE]) is Engine


def test_draws_decide_a_cell_only_where_there_are_several() -> None:
    subject, data = Subject.of(digits_lenet(), (NOISE,), "float32", None, eot=4), digits(4)

    def spec(eot: int) -> dict[str, object]:
        job = AttackJob(attack=PGD(), source=NOISE, victims=(NOISE,), seed=0, precision="float32", eot=eot)
        return job.spec(subject, data, keeps_samples=False)

    assert "eot" not in spec(1)
    assert spec(4) == spec(1) | {"eot": 4, "attack": {**spec(1)["attack"], "early_stop": False}}  # type: ignore[dict-item]


def test_an_audit_averages_over_draws_behind_random_defenses_alone(tmp_path: Path) -> None:
    data, asked = digits(24), {"eps": "0.1", "defenses": [NOISE, JPEG], "store": Store(tmp_path)}
    results = audit(digits_lenet(), data, ["pgd:steps=3"], eot=5, black_box=0, **asked)  # type: ignore[arg-type]
    costs = {(record.victim, record.mode): record.arrays["forwards"].max() for record in results.records}
    assert costs[NOISE, "differentiable + eot"] in range(1 + 3 * 5 + 1, 1 + 3 * 5 + 1 + LOOKS)
    assert costs[JPEG, "straight-through"] == costs[JPEG, "differentiable"] == 1 + 3 + 1
    noisy = next(
        record for record in results.records if (record.victim, record.mode) == (NOISE, "differentiable + eot")
    )
    behind = Expectation(fs.defended(digits_lenet(), NOISE), draws=5)
    attack = PGD(eps=0.1, steps=3, early_stop=False)
    with torch.random.fork_rng():
        made = attack(behind, data.images, fs.Untargeted(data.labels), rng=torch.Generator().manual_seed(0))
    assert torch.equal(torch.from_numpy(noisy.arrays["prediction"]), made.predictions)
    assert "eot=5" in results.about["python"]


def test_new_draws_are_no_attack(tmp_path: Path) -> None:
    """Attacks with next to no radius: every one of them asks the random network once more, and none fools it."""
    asked = {"eps": "0.000001", "defenses": ["resize-pad:scale=0.5"], "store": Store(tmp_path)}
    attacks = ["fgsm", "bim:steps=2", "pgd:steps=2", "apgd:steps=2"]
    results = audit(digits_lenet(), digits(64), attacks, eot=2, black_box=0, **asked)  # type: ignore[arg-type]
    (weakest,) = [curve for curve in results.weakest if curve.defense]
    clean, under = (point.accuracy for point in weakest.points)
    singles = [curve.points[1].accuracy for curve in results.curves if curve.defense == weakest.defense]
    assert under == min(singles, key=lambda one: one.value)
    assert under.high > clean.value - 0.1
    assert not [warning for warning in results.warnings if warning.code == "iterative-weaker"]


def test_no_draws_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"^eot must be at least 1, got 0\.$"):
        audit(digits_lenet(), digits(4), ["fgsm"], eot=0, store=Store(tmp_path))
