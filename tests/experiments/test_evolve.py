"""Evolving chains: which images serve what, judgments are what anyone would count, and a kill loses nothing."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import foolscope as fs
from foolscope.attacks.agv import color_difference
from foolscope.data import load_data
from foolscope.errors import Cancelled, CorruptError, InputError, ParameterError, SpecError
from foolscope.experiments import Evolved, EvolveProgress, Store, evolve
from foolscope.experiments.evolve_images import CALIBRATION, Asked, prepared
from foolscope.experiments.evolved import Together
from foolscope.experiments.search_file import NAME
from foolscope.images import quantize
from foolscope.models.engine import Engine
from foolscope.report import evolution_json, evolution_page
from tests.experiments.evolving import BITS, SMALL, Brightness, evolved, pictures
from tests.experiments.networks import digits_lenet


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Evolved:
    return evolved(tmp_path_factory.mktemp("evolved"))


def asked(data: str, **more: Any) -> Asked:
    known: dict[str, Any] = {"detector": None, "images": 30, "held_out": 40, "seed": 0, "transfer": (), "models": ()}
    return Asked(**{**known, "data": data, **more})


def rows(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


def comparable(result: Evolved) -> Any:
    return json.loads(json.dumps(evolution_json(result)))


def test_with_training_images_the_parts_are_three_and_disjoint() -> None:
    parts, _ = prepared(asked("digits", models=(digits_lenet(),), held_out=300), None, True)
    assert (parts.searched.split, parts.calibration.split, parts.held_out.split) == ("train", "test", "test")
    assert (len(parts.searched), len(parts.calibration), len(parts.held_out)) == (30, min(249, CALIBRATION), 250)
    assert not rows(parts.calibration.images) & rows(parts.held_out.images)
    assert rows(parts.held_out.images) <= rows(load_data("digits").images)
    other, _ = prepared(asked("digits", models=(digits_lenet(),), seed=1), None, True)
    assert rows(other.searched.images) != rows(parts.searched.images)


def test_with_one_split_the_searched_images_calibrate_and_others_judge(tmp_path: Path) -> None:
    data = pictures(tmp_path)
    parts, _ = prepared(asked(data, models=(Brightness(),), images=100), None, True)
    assert rows(parts.calibration.images) == rows(parts.searched.images)
    assert (len(parts.searched), len(parts.held_out)) == (23, 24)
    assert not rows(parts.searched.images) & rows(parts.held_out.images)


def test_judgments_are_counted_on_the_held_out_images(found: Evolved, tmp_path: Path) -> None:
    engines = [Engine(Brightness()), Engine(Brightness(0.45, red=3.0))]
    parts, witnesses = prepared(
        asked(
            found.about["data"]["spec"], models=(Brightness(),), transfer=(Brightness(0.45, red=3.0),),
            detector=BITS, images=24, held_out=20,
        ), None, True,
    )  # fmt: skip
    images, labels = parts.held_out.images, parts.held_out.labels
    assert [one.role for one in found.clean] == ["searched", "transfer"]
    for result in (*found.front, *found.published):
        filtered = result.chain(images)
        assert result.distances["linf"].value == pytest.approx(
            float((filtered - images).abs().flatten(1).amax(1).mean()), rel=1e-6
        )
        for seen, engine, witness, clean in zip(result.judged, engines, witnesses, found.clean, strict=True):
            untouched, now, kept = (engine.predict(x) for x in (images, filtered, quantize(filtered)))
            right, wrong = untouched == labels, now != labels
            assert clean.accuracy.successes == int(right.sum())
            assert (seen.asr.successes, seen.asr.trials) == (int((right & wrong).sum()), int(right.sum()))
            assert (seen.asr_clean.successes, seen.asr_clean.trials) == (int((now != untouched).sum()), 20)
            assert seen.saved.successes == int((right & wrong & (kept != labels)).sum())
            assert witness.detector is not None
            assert seen.detection is not None
            assert seen.detection.successes == int(witness.detector.detects(engine, filtered).sum())


def test_the_front_holds_what_the_search_found_best_first(found: Evolved) -> None:
    searched = [one.searched for one in found.front]
    assert searched
    assert all(one is not None and 1 <= one.step <= len(found.history) for one in searched)
    rates = [one.asr for one in searched if one]
    assert rates == sorted(rates, reverse=True)
    assert max(rates) > 0.4, "darkening and lightening fools a network that looks at nothing else"
    assert [one.chain.title for one in found.published] == ["AGV-A", "AGV-B"]
    assert found.about["objectives"] == ["detection", "linf"]
    assert found.sheet.shape == (8, 12, 12, 3)
    assert set(found.sheet_labels) == {"dark", "light"}


def test_a_search_that_is_stopped_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    data = pictures(tmp_path / "pictures")
    settings = {**SMALL, "epochs": 2, "held_out": 8}
    whole = evolve(Brightness(), data, store=Store(tmp_path / "a"), **settings)
    seen = 0

    def stop(progress: EvolveProgress) -> None:
        nonlocal seen
        seen += 1
        if seen % 9 == 0:
            raise Cancelled("stop")

    folder = tmp_path / "folder"
    for _ in range(40):
        with contextlib.suppress(Cancelled):
            evolve(Brightness(), data, store=Store(tmp_path / "b"), folder=folder, watch=stop, **settings)
            break
    assert seen > 9
    again = evolve(Brightness(), data, store=Store(tmp_path / "b"), folder=folder, **settings)
    assert comparable(again) == comparable(whole)


def test_progress_counts_steps_then_chains(tmp_path: Path) -> None:
    seen: list[EvolveProgress] = []
    result = evolve(Brightness(), pictures(tmp_path / "p"), store=Store(tmp_path), watch=seen.append, **SMALL)
    chains = len(result.front) + 2
    judging = [one for one in seen if one.label.startswith("judging")]
    assert [(one.done, one.total) for one in judging] == [(place, chains) for place in range(chains)]
    steps = seen[: -len(judging)]
    assert {one.total for one in steps} == {len(result.history)}
    assert [one.done for one in steps] == sorted(one.done for one in steps)
    assert not steps[0].front
    assert judging[-1].front


def test_several_models_are_fooled_by_one_chain(tmp_path: Path) -> None:
    models = [Brightness(), Brightness(0.48, red=2.0)]
    result = evolve(models, pictures(tmp_path / "p"), store=Store(tmp_path), **SMALL)
    assert [one.role for one in result.clean] == ["searched", "searched"]
    assert result.about["objectives"] == ["linf"]
    assert all(one.detection is None for one in result.front[0].judged)
    for found in result.front:
        rates = [one.asr.value for one in found.judged]
        assert result.together(found) == Together(
            asr=min(rates), asr_clean=min(one.asr_clean.value for one in found.judged), detection=None
        )
        mean = replace(result, about={**result.about, "settings": {**result.about["settings"], "several": "mean"}})
        assert mean.together(found).asr == pytest.approx(sum(rates) / 2)  # type: ignore[union-attr]
    assert "Searched, worst" in evolution_page(result)
    assert evolution_json(result)["front"][0]["together"]["asr"] == min(one.asr.value for one in result.front[0].judged)


def test_another_search_in_the_folder_is_refused_by_its_first_difference(tmp_path: Path) -> None:
    data, folder, store = pictures(tmp_path / "p"), tmp_path / "out", Store(tmp_path / "store")
    evolve(Brightness(), data, folder=folder, store=store, **SMALL)
    path = folder / NAME
    end = "Name another folder with --out, or remove the file."
    for changed, message in [
        ({"filters": 3}, f"{path}: the saved search has filters=2, not filters=3. {end}"),
        ({"seed": 4}, f"{path}: the saved search has seed=0, not seed=4. {end}"),
        ({"images": 20}, f"{path}: the saved search was on 23 images, not 20. {end}"),
    ]:
        with pytest.raises(InputError) as error:
            evolve(Brightness(), data, folder=folder, store=store, **{**SMALL, **changed})
        assert str(error.value) == message
    with pytest.raises(InputError) as error:
        evolve(Brightness(0.51), data, folder=folder, store=store, **SMALL)
    assert str(error.value) == f"{path}: the saved search was against other models. {end}"
    for damage in (
        "",
        "{}",
        "[" * 100_000,
        "[1]",
        path.read_text()[:-200],
        path.read_text().replace('"generator"', '"other"'),
    ):
        path.write_text(damage)
        with pytest.raises(CorruptError) as damaged:
            evolve(Brightness(), data, folder=folder, store=store, **SMALL)
        assert str(damaged.value) == f"{path}: damaged; remove it to search anew."


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"filtres": 3}, SpecError, "evolve has no setting 'filtres'. Did you mean filters?"),
        ({"filters": 11}, ParameterError, "agv: filters must be between 1 and 10, got 11"),
        ({"objective": "detection"}, InputError, "detector"),
        ({"detector": "fx"}, SpecError, "unknown detector 'fx'"),
    ],
)
def test_what_is_asked_wrongly_is_told(
    tmp_path: Path, changed: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        evolve(Brightness(), pictures(tmp_path / "p"), store=Store(tmp_path), **{**SMALL, **changed})


def test_too_few_images_and_a_model_that_is_always_wrong_are_told(tmp_path: Path) -> None:
    few = pictures(tmp_path / "few", count=2)
    with pytest.raises(InputError, match="has 2 images: a search needs some, and others to judge its chains on"):
        evolve(Brightness(), few, store=Store(tmp_path), **SMALL)

    class Wrong(Brightness):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return -super().forward(x)

    with pytest.raises(InputError, match="misclassifies all 23 images untouched: there is nothing to attack"):
        evolve(Wrong(), pictures(tmp_path / "p"), store=Store(tmp_path), **SMALL)


def test_gray_images_are_searched_and_judged_without_chains_that_color(tmp_path: Path) -> None:
    result = evolve(
        digits_lenet(), "digits", store=Store(tmp_path), pool="gingham,juno,lark", **{**SMALL, "held_out": 8}
    )
    assert result.published == ()
    assert result.sheet.shape[3] == 1
    assert result.front


def test_every_distance_that_is_minimized_is_judged(tmp_path: Path) -> None:
    data = pictures(tmp_path / "p")
    result = evolve(Brightness(), data, store=Store(tmp_path), objective="color,ssim", **SMALL)
    assert list(result.front[0].distances) == ["linf", "l2", "ssim", "color"]
    parts, _ = prepared(asked(data, models=(Brightness(),), images=24, held_out=20), None, True)
    images = parts.held_out.images
    found = color_difference(images, result.front[0].chain(images))
    assert result.front[0].distances["color"].value == pytest.approx(float(found.mean()), rel=1e-4)


@pytest.mark.parametrize(
    ("models", "changed", "message"),
    [
        ([Brightness(), Brightness()], {}, "Brightness is named twice: name every model once."),
        ([Brightness()], {"held_out": 1}, "leaves 1 images to judge on: at least 2 are needed."),
    ],
)
def test_what_cannot_be_judged_is_told_before_the_search(
    tmp_path: Path, models: list[Brightness], changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        evolve(models, pictures(tmp_path / "p"), store=Store(tmp_path), **{**SMALL, **changed})


def test_a_threshold_that_calibration_would_replace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="leave it out of --detector 'fs:threshold=1'"):
        evolve(Brightness(), pictures(tmp_path / "p"), store=Store(tmp_path), detector="fs:threshold=1", **SMALL)


def test_two_searches_do_not_write_into_one_folder(tmp_path: Path) -> None:
    data, folder = pictures(tmp_path / "p"), tmp_path / "out"
    other = tmp_path / "other"
    evolve(Brightness(), data, folder=other, store=Store(tmp_path), seed=1, **SMALL)
    begun = False

    def interfere(progress: EvolveProgress) -> None:
        nonlocal begun
        if progress.done == 1 and not begun:
            begun = True
            (folder / NAME).write_bytes((other / NAME).read_bytes())

    with pytest.raises(InputError, match="another search writes into this folder: name another one with --out"):
        evolve(Brightness(), data, folder=folder, store=Store(tmp_path), watch=interfere, **SMALL)


def test_the_python_that_it_tells_repeats_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOOLSCOPE_HOME", str(tmp_path))
    spec, other = (f"py:tests.experiments.evolving:{name}" for name in ("brightness", "reddish"))
    result = fs.evolve(spec, pictures(tmp_path / "p"), detector=BITS, transfer=[other], seed=3, mutation=0.25, **SMALL)
    names: dict[str, Any] = {}
    exec(result.about["python"], names)
    assert comparable(names["evolved"]) == comparable(result)
