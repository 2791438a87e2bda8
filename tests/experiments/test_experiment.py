"""Experiments: cells as data, stores that say what happened, runs that go on."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from foolscope.errors import Cancelled, FoolscopeError, MissingError, ParameterError, SpecError, StorageError
from foolscope.experiments import catalog, running
from foolscope.experiments.experiment import (
    Experiment,
    Found,
    Images,
    Kind,
    Library,
    Sample,
    Scene,
    Work,
    compute,
    numbers,
)
from foolscope.experiments.findings import Findings
from foolscope.experiments.lease import Leases
from foolscope.experiments.runner import Cost, Rates, RunProgress
from foolscope.experiments.running import Asked, parse_settings, plan, read_asked, run, run_planned, shown
from foolscope.experiments.store import SCHEMA, Store, cell_key
from foolscope.registry import Registry
from foolscope.spec import parameter

IMAGES = Images(data="digits", end=8)
COMPUTED: list[int] = []
"""The values of the cells that were computed."""
BROKEN: set[int] = set()
"""The values of the cells that fail."""


def square(scene: Scene) -> dict[str, Tensor]:
    value = int(scene.options["value"])
    COMPUTED.append(value)
    if value in BROKEN:
        raise ValueError("it does not work")
    below = sum(int(arrays["square"]) for arrays in scene.needed)
    return {"square": torch.tensor(value * value + below), "noise": torch.rand(3)}


@dataclass(frozen=True, kw_only=True)
class Squares(Experiment):
    """Squares of numbers, each on top of the one before where `chained`.

    The seed: none.

    Differences: none.
    """

    name: ClassVar[str] = "squares"
    figure: ClassVar[str] = "none"
    summary: ClassVar[str] = "squares"
    on: ClassVar[tuple[str, ...]] = ("digits",)

    values: str = parameter("1,2,3", "numbers")
    chained: bool = parameter(False, "whether each needs the one before")

    def cells(self, sample: Sample) -> list[Work]:
        works: list[Work] = []
        for value in numbers(self.values, "values", int):
            needs = tuple(works[-1:]) if self.chained else ()
            works.append(Work(kind="square", images=IMAGES, options={"value": value}, needs=needs, cost=float(value)))
        return works

    def show(self, sample: Sample, found: Found) -> Findings:
        return Findings(told=tuple(str(int(found[work]["square"])) for work in self.cells(sample)))


@pytest.fixture(autouse=True)
def _squares(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    kinds = Registry("kind of cell", "nothing", {**catalog.KINDS, "square": Kind(square)})
    monkeypatch.setattr(catalog, "KINDS", kinds)
    monkeypatch.setattr(running, "EXPERIMENTS", Registry("experiment", "foolscope experiments", {"squares": Squares}))
    COMPUTED.clear()
    BROKEN.clear()
    yield


def squares(store: Store, values: str = "1,2,3", **asked: Any) -> running.RunResult:
    settings = {"values": values, **asked.pop("settings", {})}
    return run("squares", store=store, settings=settings, jobs=1, **asked)


def test_a_run_computes_once_and_a_wider_grid_what_is_new(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = squares(store)
    assert first.findings.told == ("1", "4", "9")
    assert (first.computed, first.reused) == (3, 0)
    again = squares(store)
    assert again.findings == first.findings
    assert (again.computed, again.reused) == (0, 3)
    wider = squares(store, "2,3,5")
    assert wider.findings.told == ("4", "9", "25")
    assert (wider.computed, wider.reused) == (1, 2)
    assert COMPUTED == [1, 2, 3, 5]


def test_needs_come_first_and_decide(tmp_path: Path) -> None:
    store = Store(tmp_path)
    chained = squares(store, "3,4", settings={"chained": "true"})
    assert chained.findings.told == ("9", "25")
    squares(store, "3,4")
    assert COMPUTED == [3, 4, 4], "a 4 on top of a 3 is another cell than a 4 alone"


def test_what_a_cell_needs_is_computed_though_nobody_lists_it(tmp_path: Path) -> None:
    below = Work(kind="square", images=IMAGES, options={"value": 2})
    above = Work(kind="square", images=IMAGES, options={"value": 3}, needs=(below,))
    assert running._needs_first([above, above]) == (below, above)


def test_a_failed_cell_keeps_its_error_and_is_tried_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    BROKEN.add(2)
    message = (
        r"1 of 3 cells failed, first one of kind square: ValueError: it does not work \(.*test_experiment.py:\d+\). "
        "The same command tries them again."
    )
    with pytest.raises(FoolscopeError, match=message):
        squares(store)
    assert COMPUTED == [1, 2, 3], "the others go on"
    planned = plan(Asked(name="squares", data="digits", settings={}), store=store)
    assert (planned.estimate().done, planned.estimate().failed) == (2, 1)
    (work,) = planned.missing()
    assert str(store.failure(planned.library.spec(work))).startswith("ValueError: it does not work")
    BROKEN.clear()
    assert squares(store).computed == 1
    assert store.failure(planned.library.spec(work)) is None


def test_what_needs_a_failed_cell_is_not_tried(tmp_path: Path) -> None:
    BROKEN.add(1)
    with pytest.raises(FoolscopeError, match="3 of 3 cells failed, first one of kind square: ValueError"):
        squares(Store(tmp_path), settings={"chained": "true"})
    assert COMPUTED == [1]


@pytest.mark.parametrize("chained", ["false", "true"])
def test_a_damaged_cell_is_computed_again(tmp_path: Path, caplog: pytest.LogCaptureFixture, chained: str) -> None:
    store = Store(tmp_path)
    settings = {"chained": chained}
    whole = squares(store, settings=settings)
    planned = plan(Asked(name="squares", data="digits", settings=settings), store=store)
    (store.path(planned.library.spec(planned.works[1])) / "arrays.npz").write_bytes(b"damaged")
    with caplog.at_level(logging.WARNING, "foolscope"):
        mended = squares(store, settings=settings)
    assert mended.findings == whole.findings
    assert mended.computed == 1
    assert COMPUTED == [1, 2, 3, 2]
    assert "set aside in" in caplog.text


def test_a_damaged_need_is_computed_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    squares(store, "1,2", settings={"chained": "true"})
    planned = plan(Asked(name="squares", data="digits", settings={"chained": "true", "values": "1,2"}), store=store)
    (store.path(planned.library.spec(planned.works[1])) / "arrays.npz").write_bytes(b"damaged")
    assert squares(store, "1,2,3", settings={"chained": "true"}).findings.told == ("1", "5", "14")


def test_two_runs_share_the_work(tmp_path: Path) -> None:
    """What another process holds is waited for; what it finishes is taken."""
    store = Store(tmp_path)
    planned = plan(Asked(name="squares", data="digits", settings={}), store=store)
    spec = planned.library.spec(planned.works[0])
    other = Leases(store.root)
    assert other.take(cell_key(spec))

    def watch(progress: RunProgress) -> None:
        if progress.done == 2 and spec not in store:  # the other one finishes while this one waits
            store.save(spec, {"square": np.array(1), "noise": np.zeros(3)}, {"seconds": 0.0})
            other.close()

    result = run_planned(planned, jobs=1, watch=watch)
    assert COMPUTED == [2, 3]
    assert result.findings.told == ("1", "4", "9")
    assert result.computed == 2


def test_progress_is_told_and_a_run_can_be_stopped_and_goes_on(tmp_path: Path) -> None:
    store, seen = Store(tmp_path), []

    def watch(progress: RunProgress) -> None:
        seen.append(progress)
        if progress.done == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        squares(store, watch=watch)
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert seen[-1].passes == 3.0
    assert seen[-1].total_passes == 6.0
    assert seen[-1].seconds_left is not None
    assert squares(store).computed == 1
    assert list((tmp_path / "leases").iterdir()) == []


def test_a_dry_run_estimates_from_what_was_done(tmp_path: Path) -> None:
    store = Store(tmp_path)
    planned = plan(Asked(name="squares", data="digits", settings={"values": "1,2"}), store=store)
    before = planned.estimate()
    assert (before.cells, before.done, before.seconds, before.size) == (2, 0, None, None)
    assert before.unknown_cells == 2
    assert not list(tmp_path.iterdir()), "it leaves nothing"
    squares(store, "1,2")
    (tmp_path / "rates.json").write_text(json.dumps({"square  digits": [3.0, 6.0, 2, 1000]}))
    wider = replace(
        planned, works=plan(Asked(name="squares", data="digits", settings={"values": "1,5"}), store=store).works
    )
    estimate = wider.estimate()
    assert (estimate.cells, estimate.done, estimate.seconds, estimate.size) == (2, 1, 10.0, 500)


def test_a_network_that_was_never_met_counts_as_the_others_do(tmp_path: Path) -> None:
    sums = {
        "square lenet digits": [2.0, 2.0, 1, 100],
        "square resnet20 digits": [2.0, 6.0, 1, 300],
        "square  mnist": [],
    }
    (tmp_path / "rates.json").write_text(json.dumps(sums))
    works = [Work(kind="square", images=IMAGES, model=model, cost=3.0) for model in ("lenet", "cifar-cnn")]
    unknown = Work(kind="square", images=Images(data="mnist"))
    rates = Rates(tmp_path)
    assert rates.of(works[:1]) == Cost(seconds=3.0, size=100, unknown_cells=0)
    assert rates.of(works[1:]) == Cost(seconds=6.0, size=200, unknown_cells=0)
    assert rates.of([unknown, *works, unknown]) == Cost(seconds=9.0, size=300, unknown_cells=2)
    assert rates.of([unknown]) == Cost(seconds=None, size=None, unknown_cells=1)
    assert rates.of([]) == Cost(seconds=0.0, size=0, unknown_cells=0)


def test_rates_outlive_a_run_that_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foolscope.experiments.runner._RATES_SECONDS", 0.0)
    seen = []

    def watch(progress: RunProgress) -> None:
        seen.append(json.loads((tmp_path / "rates.json").read_text()) if progress.done else {})
        if progress.done == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        squares(Store(tmp_path), watch=watch)
    assert [sums["square  digits"][2] for sums in seen if sums] == [1, 1, 2]


def test_the_rates_are_what_cells_took(tmp_path: Path) -> None:
    squares(Store(tmp_path))
    ((key, sums),) = json.loads((tmp_path / "rates.json").read_text()).items()
    assert key == "square  digits"
    assert sums[0] == 6.0
    assert sums[1] > 0
    assert sums[2] == 3
    assert sums[3] == sum(file.stat().st_size for file in tmp_path.glob("??/*/*"))


@pytest.mark.parametrize(
    "sums",
    [
        "[1]", "[1, 2, 3, 4, 5]", "[0, 2, 3, 4]", "[1, 2, 0, 4]", "[1, 2, 1e-320, 4]", "[-1, 2, 3, 4]",
        "[1, NaN, 3, 4]", "[1, Infinity, 3, 4]", f"[1, 2, 3, 1{'0' * 400}]", "null", "{}", '"1234"',
        '["1", "2", "3", "4"]', "[[1], 2, 3, 4]",
    ],
)  # fmt: skip
def test_damaged_rates_cost_an_estimate_and_no_run(tmp_path: Path, sums: str) -> None:
    (tmp_path / "rates.json").write_text(f'{{"square  digits": {sums}, "other": [1.0, 2.0, 3, 4]}}')
    store = Store(tmp_path)
    estimate = plan(Asked(name="squares", data="digits", settings={}), store=store).estimate()
    assert (estimate.seconds, estimate.size) == (None, None)
    assert squares(store).computed == 3
    rates = json.loads((tmp_path / "rates.json").read_text())
    assert rates["other"] == [1.0, 2.0, 3, 4]
    assert rates["square  digits"][0] == 6.0


@pytest.mark.parametrize("content", ["", "{", "[]", "[" * 100_000, "null"])
def test_a_file_of_rates_that_is_none_costs_no_run(tmp_path: Path, content: str) -> None:
    (tmp_path / "rates.json").write_text(content)
    assert squares(Store(tmp_path)).computed == 3


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": "?"}', None])
def test_a_store_says_its_schema(tmp_path: Path, content: str | None, caplog: pytest.LogCaptureFixture) -> None:
    if content is not None:
        (tmp_path / "store.json").write_text(content)
    with caplog.at_level(logging.WARNING, "foolscope"):
        Store(tmp_path).open()
    assert json.loads((tmp_path / "store.json").read_text()) == {"schema": SCHEMA}
    assert ("store.json says no schema: it is written anew" in caplog.text) == (content is not None)


def test_a_store_of_a_newer_schema_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text(json.dumps({"schema": SCHEMA + 1}))
    message = (
        rf"kept by schema {SCHEMA + 1}, this version knows {SCHEMA}: "
        r"update foolscope or set FOOLSCOPE_HOME to another folder\."
    )
    with pytest.raises(StorageError, match=message):
        squares(Store(tmp_path))
    with pytest.raises(StorageError, match=message):
        plan(Asked(name="squares", data="digits", settings={}), store=Store(tmp_path))
    with pytest.raises(StorageError, match=message):
        Store(tmp_path).open()
    assert COMPUTED == []
    assert [path.name for path in tmp_path.iterdir()] == ["store.json"]


def test_a_store_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(StorageError, match="cannot write"):
        squares(Store(tmp_path / "store"))
    assert COMPUTED == []


def test_random_numbers_are_the_same_wherever_a_cell_runs(tmp_path: Path) -> None:
    work = Work(kind="square", images=IMAGES, options={"value": 1})
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    first, second = (compute(work, (), Library()) for _ in range(2))
    assert np.array_equal(first["noise"], second["noise"])
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_work_is_named_by_content(tmp_path: Path) -> None:
    library = Library()
    work = Work(kind="under-attack", images=IMAGES, model="lenet", options={"attack": "fgsm:eps=0.1"})
    same = Work(kind="under-attack", images=IMAGES, model="lenet", options={"attack": "fgsm:eps=0.10"}, cost=9.0)
    assert cell_key(library.spec(work)) == cell_key(library.spec(same)), "an attack is its parameters, cost is nothing"
    by_name = replace(work, model="lenet:weights=digits")
    assert cell_key(library.spec(by_name)) == cell_key(library.spec(work)), "a network is its weights"
    others = [
        replace(work, options={"attack": "fgsm:eps=0.2"}),
        replace(work, images=replace(IMAGES, end=9)),
        replace(work, model="lenet:weights=none"),
        replace(work, kind="predict"),
        replace(work, needs=(same,)),
    ]
    assert len({cell_key(library.spec(w)) for w in (work, *others)}) == 6
    assert pickle.loads(pickle.dumps(work)) == work
    assert hash(same) != hash(work) or same == work
    assert work != "work"


def test_the_same_images_are_the_same_however_they_were_chosen() -> None:
    library = Library()
    whole = Work(kind="square", images=Images(data="digits", begin=0, end=500), options={})
    assert library.spec(whole)["data"] == library.images(Images(data="digits")).digest
    few = Images(data="digits", limit=20, seed=3)
    assert library.images(replace(few, begin=5, end=9)).digest == library.images(few).rows(slice(5, 9)).digest


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"name": "square"}, SpecError, "unknown experiment 'square'. Did you mean squares?"),
        ({"settings": {"value": "1"}}, SpecError, "squares has no parameter 'value'. Did you mean values?"),
        ({"settings": {"values": "1,x"}}, SpecError, "values: 'x' is not a whole number."),
        ({"settings": {"values": "1,-1"}}, ParameterError, "values must be at least 0 and finite, got 1,-1."),
        ({"limit": 0}, ParameterError, "limit must be at least 1, got 0."),
        ({"seed": -1}, ParameterError, "seed must be between 0"),
        ({"data": "digit"}, SpecError, "unknown data set 'digit'. Did you mean digits?"),
    ],
)
def test_what_cannot_be_asked(tmp_path: Path, asked: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        run(asked.pop("name", "squares"), store=Store(tmp_path), **asked)
    assert message in str(raised.value)


@pytest.mark.parametrize("text", ["eps", "=1", "eps=", " =1"])
def test_settings_that_cannot_be_read(text: str) -> None:
    with pytest.raises(SpecError, match=r"--set: '.*' is not KEY=VALUE, as in eps=0.1,0.2\."):
        parse_settings([text])


def test_settings() -> None:
    assert parse_settings(["eps=0.1,0.2", " model = lenet:extra=4 "]) == {"eps": "0.1,0.2", "model": "lenet:extra=4"}
    with pytest.raises(SpecError, match="--set: 'eps' is given twice"):
        parse_settings(["eps=1", "eps=2"])


def test_numbers() -> None:
    assert numbers("0.2, 8/255,0.2", "eps") == (8 / 255, 0.2)
    assert numbers("3,1", "k", int) == (1, 3)
    with pytest.raises(ParameterError):
        numbers("inf", "eps")


def test_a_run_is_drawn_from_the_store_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    asked = Asked(name="squares", data="digits", settings={"values": "1,2"})
    with pytest.raises(MissingError, match="a cell of kind square is not in the store"):
        shown(plan(asked, store=store))
    result = run_planned(plan(asked, store=store), jobs=1)
    COMPUTED.clear()
    assert shown(plan(asked, store=store)).findings == result.findings
    assert COMPUTED == []


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    message = (
        f"{tmp_path} holds no run: 'foolscope run NAME --out {tmp_path}' makes one, "
        "and the same command goes on with a run that was stopped."
    )
    with pytest.raises(StorageError) as raised:
        read_asked(tmp_path)
    assert str(raised.value) == message


def test_the_command_asks_for_the_same() -> None:
    asked = Asked(name="squares", data="folder:my images", settings={"values": "1,2"}, limit=4, seed=7)
    assert asked.command() == "foolscope run squares --data 'folder:my images' --set values=1,2 --limit 4 --seed 7"
