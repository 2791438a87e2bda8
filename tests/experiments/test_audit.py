"""The audit as a library: its jobs, what it reuses, what it refuses, and that what it writes down repeats it."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import foolscope as fs
from foolscope.attacks import DDN, FGSM, PGD, Square
from foolscope.attacks.attack import LOOKS
from foolscope.data import ImageSet
from foolscope.defenses import parse_defense
from foolscope.errors import Cancelled, InputError, ParameterError, SpecError
from foolscope.experiments import Audit, AuditProgress, Results, Store, audit
from foolscope.experiments.audit_jobs import adaptive_sources, companions, distinct, is_adaptive
from foolscope.experiments.cells import Subject
from foolscope.experiments.grid import attack_grids
from foolscope.measure import accuracy
from foolscope.models.classifier import Classifier
from foolscope.models.engine import Engine
from foolscope.randomness import generator
from tests.experiments.networks import Linear, digits, digits_lenet, weights_file
from tests.experiments.unrestricted import Darken

JPEG = "jpeg:quality=50"
SMOOTH = f"{JPEG},gradient=differentiable"


def comparable(results: Results) -> dict[str, Any]:
    """All but the time."""
    content = fs.report.to_json(results)
    del content["timing"]
    return json.loads(json.dumps(content))  # type: ignore[no-any-return]


def counted(
    store: Store, model: nn.Module, data: ImageSet, attacks: list[str], **more: Any
) -> tuple[Results, int, int]:
    """The results, the number of cells and how many of them were reused."""
    seen: list[AuditProgress] = []
    results = audit(model, data, attacks, store=store, watch=seen.append, **more)
    assert seen[-1].done == seen[-1].cells
    assert seen[-1].passes == pytest.approx(seen[-1].total_passes)
    return results, seen[-1].cells, seen[-1].reused


def planned(specs: tuple[str, ...], attacks: list[str], eot: int = 1, queries: int = 0) -> Audit:
    """An audit of the first digits at two radii in linf, or the middle one of three in l2."""
    sources = [source for spec in specs for source in (spec, *adaptive_sources(spec).values())]
    subject = Subject.of(digits_lenet(), tuple(sources), "float32", None, eot)
    grids = attack_grids(attacks, {"": (0.1, 0.2)}, (1, 28, 28))
    return Audit(
        subject=subject, data=digits(4), grids=grids, defenses=specs, seed=7, precision="float32",
        companions=companions(grids, queries),
    )  # fmt: skip


def test_attacks_meet_the_plain_network_then_each_defense_obliviously_and_along_each_gradient() -> None:
    closed = "jpeg:quality=20,gradient=none"
    plan = planned((JPEG, closed), ["pgd:steps=2", "fgsm"], queries=9)
    met = [(m.job.executed.spec(), m.job.source, m.job.victims, m.victims, m.mode) for m in plan.meetings()]
    each = ["pgd:eps=0.1,steps=2", "pgd:eps=0.2,steps=2", "fgsm:eps=0.1", "fgsm:eps=0.2"]
    to_the_end = [f"{spec},early_stop=false" if spec.startswith("pgd") else spec for spec in each]
    square = "square:eps=0.2,queries=9"
    assert met == [
        *((spec, "", ("",), ("",), "none") for spec in each),
        *((spec, "", (JPEG, closed), (JPEG, closed), "oblivious") for spec in to_the_end),
        *((spec, JPEG, (JPEG,), (JPEG,), "straight-through") for spec in each),
        *((spec, SMOOTH, (SMOOTH,), (JPEG,), "differentiable") for spec in each),
        (square, JPEG, (JPEG,), (JPEG,), "black box"),
        (square, closed, (closed,), (closed,), "black box"),  # it lets no gradients pass
    ]
    assert {meeting.job.seed for meeting in plan.meetings()} == {7}


@pytest.mark.parametrize(
    ("defense", "eot", "modes"),
    [
        ("noise", 3, ["differentiable + eot"]),
        ("noise", 1, ["differentiable"]),
        ("random-jpeg", 3, ["differentiable + eot", "straight-through + eot"]),  # its own gradient first
        ("bits", 3, ["straight-through"]),
        ("jpeg|noise", 3, ["straight-through + eot", "differentiable + eot"]),
        ("jpeg:gradient=none", 3, []),
    ],
)
def test_the_modes_of_a_defense(defense: str, eot: int, modes: list[str]) -> None:
    plan = planned((defense,), ["bim:steps=1"], eot)
    adaptive = [meeting for meeting in plan.meetings() if is_adaptive(meeting.mode)]
    assert list(dict.fromkeys(meeting.mode for meeting in adaptive)) == modes
    looks = LOOKS - 1 if parse_defense(defense).random else 0
    assert {meeting.passes for meeting in adaptive} <= {1 + (eot if "eot" in mode else 1) + looks for mode in modes}


@pytest.mark.parametrize(
    ("attacks", "queries", "expected"),
    [
        (["fgsm"], 50, ["square:eps=0.3,queries=50"]),  # the radius that the summary speaks of
        (["pgd:norm=l2", "ddn", "fgsm"], 50, ["square:eps=2,norm=l2,queries=50", "square:eps=0.3,queries=50"]),
        (["fgsm", "square:queries=9"], 50, []),  # somebody asks for one
        (["fgm:norm=l1"], 50, []),  # Square knows no l1
        (["filter:chain=juno"], 50, []),
        (["fgsm"], 0, []),
    ],
)
def test_square_stands_in_where_no_black_box_attack_is_asked_for(
    attacks: list[str], queries: int, expected: list[str]
) -> None:
    grids = attack_grids(attacks, {}, (1, 28, 28))
    assert [attack.spec() for grid in companions(grids, queries) for attack in grid.attacks] == expected


def test_a_gradient_that_was_followed_before_is_not_followed_again(tmp_path: Path) -> None:
    store, asked = Store(tmp_path), {"eps": "0.1", "black_box": 0}
    _, cells, _ = counted(store, digits_lenet(), digits(8), ["fgsm"], defenses=[SMOOTH], **asked)
    assert cells == 1 + 1 + 1 + 2  # clean, plain, oblivious, both gradients
    results, cells, reused = counted(store, digits_lenet(), digits(8), ["fgsm"], defenses=[JPEG], **asked)
    assert (cells, reused) == (5, 3)
    assert results.victims == ("", JPEG)


def test_a_black_box_attack_also_meets_defenses_without_gradients(tmp_path: Path) -> None:
    data, spec = digits(20), "jpeg:quality=20,gradient=none"
    results = audit(
        digits_lenet(), data, ["fgsm:eps=0.1", Darken(share=0.2)], defenses=[spec], black_box=5, store=Store(tmp_path)
    )
    assert [(found.defense, found.mode) for found in results.unrestricted] == [
        ("", "none"), (spec, "oblivious"), (spec, "black box")
    ]  # fmt: skip
    assert [(curve.attack, curve.mode) for curve in results.curves] == [
        ("fgsm", "none"), ("fgsm", "oblivious"), ("square:queries=5", "black box")
    ]  # fmt: skip
    darker = data.images * 0.2
    with torch.no_grad():
        right = digits_lenet()(darker).argmax(1) == data.labels
    assert results.unrestricted[0].outcome.accuracy.successes == int(right.sum())
    assert results.unrestricted[0].outcome.distances["linf"] == pytest.approx(0.8, abs=0.01)


def test_numbers_are_those_of_the_attacks_themselves(tmp_path: Path) -> None:
    data, model = digits(40), digits_lenet()
    results = audit(
        model, data, ["fgsm", "pgd:steps=5"], eps="0.1", defenses=[JPEG], black_box=20, store=Store(tmp_path)
    )
    behind = fs.defended(model, JPEG)
    images, labels = data.images, data.labels
    attack = PGD(eps=0.1, steps=5)

    def made(network: nn.Module, **changes: Any) -> Tensor:
        rng = torch.Generator().manual_seed(0)
        return attack.replace(**changes)(network, images, fs.Untargeted(labels), rng=rng).images

    def right(network: nn.Module, shown: Tensor) -> int:
        with torch.no_grad():
            return int((network(shown).argmax(1) == labels).sum())

    expected = {
        ("", "none"): right(model, made(model)),
        (JPEG, "oblivious"): right(behind, made(model, early_stop=False)),
        (JPEG, "straight-through"): right(behind, made(behind)),
        (JPEG, "differentiable"): right(behind, made(fs.defended(model, SMOOTH))),
    }
    found = {
        (curve.defense, curve.mode): curve.points[1].accuracy.successes
        for curve in results.curves
        if curve.attack == "pgd:steps=5"
    }
    assert found == expected
    square = Square(eps=0.1, queries=20)(behind, images, fs.Untargeted(labels), rng=torch.Generator().manual_seed(0))
    blind = next(curve for curve in results.curves if curve.mode == "black box")
    assert blind.points[1].accuracy.successes == right(behind, square.images)
    assert results.clean_accuracy().successes == right(model, images)
    assert results.clean_accuracy(JPEG).successes == right(behind, images)
    assert results.clean_accuracy().value > 0.9


def test_one_run_of_a_minimum_norm_attack_tells_all_radii(tmp_path: Path) -> None:
    network, data, radii = digits_lenet(), digits(24), (0.5, 1.0, 1.5)
    results, cells, _ = counted(
        Store(tmp_path), network, data, ["ddn:steps=20", "pgd:norm=l2,steps=2"], eps=radii, defenses=[JPEG],
        black_box=0,
    )  # fmt: skip
    assert cells == 1 + 3 * 1 + 4 * 3, "the nearest images are looked for once on each network"
    found = DDN(steps=20)(network, data.images, fs.Untargeted(data.labels), rng=generator(0))
    curve = next(curve for curve in results.curves if curve.attack == "ddn:steps=20" and curve.mode == "none")
    clean = Engine(network).predict(data.images) == data.labels
    for point in curve.points[1:]:
        near = found.success & (found.distance("l2") <= point.eps)
        assert point.accuracy == accuracy(clean & ~near)
        moved = found.distance("l2")[~found.already] * near[~found.already]
        assert point.distances["l2"] == pytest.approx(float(moved.mean()), rel=1e-5)
    weakest = next(curve for curve in results.weakest if curve.defense == "")
    steps = next(curve for curve in results.curves if curve.attack.startswith("pgd") and curve.mode == "none")
    assert weakest.points[-1].forwards == pytest.approx(
        curve.points[1].forwards + sum(point.forwards for point in steps.points[1:])
    ), "its passes count once"
    times = [run for run in fs.report.to_json(results)["timing"]["attacks"] if run["attack"] == "ddn:steps=20"]
    assert [(run["mode"], run["eps"]) for run in times] == [
        ("none", None), ("straight-through", None), ("differentiable", None)
    ]  # fmt: skip
    page = fs.report.page(results)
    assert "noise ×" in page and ", ℓ2 " in page, "what it found is shown with its length"


def test_more_radii_attacks_and_defenses_reuse_what_is_there(tmp_path: Path) -> None:
    store, model, data = Store(tmp_path), digits_lenet(), digits(16)
    _, cells, reused = counted(store, model, data, ["fgsm"], eps="0.1")
    assert (cells, reused) == (2, 0)
    _, cells, reused = counted(store, model, data, ["fgsm"], eps="0.1")
    assert (cells, reused) == (2, 2)
    _, cells, reused = counted(store, model, data, ["fgsm"], eps="0.05:0.2:0.05")
    assert (cells, reused) == (5, 2)
    _, cells, reused = counted(store, model, data, ["fgsm", "fgm"], eps="0.1")
    assert (cells, reused) == (3, 2)
    _, cells, reused = counted(store, model, data, ["fgsm"], eps="0.1", defenses=[JPEG], black_box=2)
    assert (cells, reused) == (6, 1)  # the clean cell has another victim
    _, cells, reused = counted(store, model, data, ["fgsm"], eps="0.1", seed=1)
    assert (cells, reused) == (2, 1)


def test_more_images_reuse_whole_blocks(tmp_path: Path) -> None:
    store, model = Store(tmp_path), Linear()
    many = fs.load_data("digits", "train")
    _, cells, reused = counted(store, model, many, ["fgsm"], eps="0.1", limit=512)
    assert (cells, reused) == (2, 0)
    grown, cells, reused = counted(store, model, many, ["fgsm"], eps="0.1", limit=1100)
    assert (cells, reused) == (6, 2)
    fresh = audit(model, many, ["fgsm"], eps="0.1", limit=1100, store=Store(tmp_path / "other"))
    assert comparable(fresh) == comparable(grown)


def test_stopping_anywhere_changes_nothing(tmp_path: Path) -> None:
    model, data = digits_lenet(), digits(16)
    asked: dict[str, Any] = {"eps": "0.05,0.1", "defenses": [JPEG], "black_box": 3}
    whole = audit(model, data, ["fgsm", "pgd:steps=3"], store=Store(tmp_path / "whole"), **asked)
    store, stopped = Store(tmp_path / "interrupted"), 0
    for stop in (1, 2, 5, 9, 14, 20, 3):
        calls = iter(range(1, stop))

        def watch(_: AuditProgress, calls: Iterator[int] = calls) -> None:
            if next(calls, None) is None:
                raise Cancelled

        with contextlib.suppress(Cancelled):
            audit(model, data, ["fgsm", "pgd:steps=3"], store=store, watch=watch, **asked)
            continue
        stopped += 1
    resumed = audit(model, data, ["fgsm", "pgd:steps=3"], store=store, **asked)
    assert stopped >= 5
    assert comparable(resumed) == comparable(whole)


def test_a_damaged_cell_is_computed_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store, model, data = Store(tmp_path), digits_lenet(), digits(16)
    whole, _, _ = counted(store, model, data, ["fgsm"], eps="0.1,0.2")
    path = sorted(tmp_path.glob("*/*/arrays.npz"))[1]
    path.write_bytes(path.read_bytes()[:100])
    again, cells, reused = counted(store, model, data, ["fgsm"], eps="0.1,0.2")
    assert (cells, reused) == (3, 2)
    assert comparable(again) == comparable(whole)
    assert "set aside in" in caplog.text


@pytest.mark.parametrize("attacks", ["fgsm,fgm,pgd:steps=2", "fgsm:eps=0.1,pgd:steps=2", "pgd:eps=8/255,steps=2,bim"])
def test_command_and_python_repeat_the_audit(tmp_path: Path, attacks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FOOLSCOPE_HOME", str(tmp_path / "home"))
    spec = weights_file(tmp_path)
    asked = fs.experiments.grid.split_attacks(attacks)
    results = audit(
        spec, "digits", asked, defenses=[JPEG], limit=8, seed=5, black_box=9, store=Store(tmp_path / "first")
    )
    assert results.about["data"]["preview"]
    scope: dict[str, Any] = {}
    exec(results.about["python"], scope)
    assert comparable(scope["results"]) == comparable(results)
    from foolscope.cli import main

    arguments = shlex.split(results.about["command"])
    assert arguments[0] == "foolscope"
    monkeypatch.setenv("FOOLSCOPE_HOME", str(tmp_path / "another"))
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as left, contextlib.redirect_stdout(io.StringIO()):
        main([*arguments[1:], "--out", str(out)])
    assert left.value.code == 0
    content = json.loads((out / "results.json").read_text())
    del content["timing"]
    assert content == comparable(results)


def test_objects_are_audited_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model, data = Linear(), digits(8)
    model.train()
    results = audit(model, data, [FGSM(eps=0.1)], limit=6, seed=3, store=Store(tmp_path))
    assert model.training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    about = results.about
    assert about["model"]["spec"] is None
    assert about["model"]["name"] == "Linear"
    assert about["command"] is None
    assert about["data"]["images"] == 6
    scope: dict[str, Any] = {"model": model, "data": data.limit(6, 3)}
    exec(about["python"], scope)
    assert comparable(scope["results"])["curves"] == comparable(results)["curves"]


def test_a_whole_split_is_no_preview(tmp_path: Path) -> None:
    results = audit(Linear(), "digits", ["fgsm"], eps="0.1", store=Store(tmp_path))
    assert not results.about["data"]["preview"]
    assert results.about["data"]["images"] == results.about["data"]["of"] == 500
    assert "limit=None" in results.about["python"]


def test_random_numbers_are_left_as_found(tmp_path: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    audit(digits_lenet(), digits(8), ["pgd:steps=2"], eps="0.1", defenses=[JPEG], black_box=2, store=Store(tmp_path))
    assert torch.equal(torch.get_rng_state(), before)


def test_samples_are_right_untouched_and_shown_to_every_victim(tmp_path: Path) -> None:
    model = digits_lenet()
    results = audit(model, digits(16), ["fgsm"], eps="0.1", defenses=[JPEG], black_box=0, store=Store(tmp_path))
    assert len(results.samples) == 9  # three of each: plain, oblivious, adaptive
    for sample in results.samples:
        image = torch.from_numpy(sample.image)
        assert sample.clean_predictions[sample.source if sample.source in sample.clean_predictions else JPEG] in range(
            10
        )
        assert int(model(image[None]).argmax()) == sample.label
        for victim, prediction in sample.predictions.items():
            network = fs.defended(model, victim) if victim else model
            assert int(network(torch.from_numpy(sample.adversarial)[None]).argmax()) == prediction
        assert np.abs(sample.adversarial - sample.image).max() <= 0.1 + 1e-6


def named(classes: tuple[str, ...], count: int | None = None) -> Classifier:
    network = Linear(count or len(classes))
    return Classifier(
        network, name="zoo", input_shape=(1, 28, 28), num_classes=count or len(classes), class_names=classes or None
    )


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            named(tuple("abcdefghij")),
            "class '0' of digits is not among those of zoo: digits has 10 classes (0, 1, 2, ...), zoo has 10 classes "
            "(a, b, c, ...).",
        ),
        (named((), 7), "digits has 10 classes (0, 1, 2, ...), but zoo has 7 classes."),
        (Linear(3), "digits has 10 classes, but Linear gives 3 logits."),
        (nn.Conv2d(1, 10, 3), "Conv2d must return logits of shape (1, K), got (1, 10, 26, 26)."),
        (
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()),
            "Sequential fails on images of shape (1, 1, 28, 28): Given groups=1, weight of size [4, 3, 3, 3], expected "
            "input[1, 1, 28, 28] to have 3 channels, but got 1 channels instead",
        ),
    ],
)
def test_a_model_that_does_not_fit_names_both(tmp_path: Path, model: nn.Module, message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        audit(model, digits(4), ["fgsm"], eps="0.1", store=Store(tmp_path))
    assert not list(tmp_path.iterdir())


def test_classes_are_matched_by_name(tmp_path: Path) -> None:
    """A model that knows the digits in another order is audited with its own indices."""
    model = Classifier(
        digits_lenet().network,
        name="turned",
        input_shape=(1, 28, 28),
        num_classes=10,
        class_names=tuple("0123456789"),
        preprocess=[*digits_lenet().preprocess],
    )

    class Turned(Classifier):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images).flip(1)

    turned = Turned(
        digits_lenet().network, name="turned", input_shape=(1, 28, 28), num_classes=10,
        class_names=tuple("9876543210"), preprocess=[*digits_lenet().preprocess],
    )  # fmt: skip
    plain, other = (audit(net, digits(32), ["fgsm"], eps="0.1", store=Store(tmp_path)) for net in (model, turned))
    assert plain.clean_accuracy() == other.clean_accuracy()
    assert plain.clean_accuracy().value > 0.9


def test_a_black_box_is_not_attacked_by_gradients(tmp_path: Path) -> None:
    model = Classifier(Linear(), name="box", input_shape=(1, 28, 28), num_classes=10, differentiable=False)
    with pytest.raises(
        SpecError,
        match=r"^box gives no gradients: fgsm, pgd:steps=2 cannot attack it; square and filter:chain=agv-b can\.$",
    ):
        audit(model, digits(4), ["fgsm", "pgd:steps=2"], store=Store(tmp_path))


@pytest.mark.parametrize(
    ("asked", "message", "kind"),
    [
        ({"eps": (0.1, -0.1)}, "eps must be at least 0, got -0.1.", ParameterError),
        ({"eps": {"linf": (-0.1,)}}, "eps must be at least 0, got -0.1.", ParameterError),
        (
            {"eps": {"l9": (0.1,)}},
            "eps: unknown norm 'l9' in 'l9=0.1': linf, l2, l1, l0 can bound an attack.",
            SpecError,
        ),
        ({"defenses": ["jpg"]}, "unknown defense 'jpg'. Did you mean jpeg? 'foolscope defenses' lists all.", SpecError),
        ({"limit": 0}, "limit must be at least 1, got 0.", ParameterError),
        ({"black_box": -1}, "black_box must be at least 0 queries, got -1.", ParameterError),
    ],
)
def test_says_what_is_wrong(tmp_path: Path, asked: dict[str, Any], message: str, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=f"^{re.escape(message)}$"):
        audit(Linear(), digits(4), ["fgsm"], store=Store(tmp_path), **asked)


def test_no_images_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^digits has no images to audit\.$"):
        audit(Linear(), digits(4).rows(slice(0, 0)), ["fgsm"], store=Store(tmp_path))


def test_the_same_defense_twice_is_one(tmp_path: Path) -> None:
    results = audit(
        Linear(), digits(4), ["fgsm"], eps="0.1", defenses=[JPEG, "jpeg:subsampling=420,quality=50"],
        black_box=0, store=Store(tmp_path),
    )  # fmt: skip
    assert results.victims == ("", JPEG)


def test_defenses_that_differ_in_their_gradient_alone_are_one() -> None:
    closed = f"{JPEG},gradient=none"
    assert distinct([JPEG, SMOOTH, closed, "bits", "bits"]) == (JPEG, closed, "bits")
    assert distinct([SMOOTH, JPEG]) == (SMOOTH,)
