"""The catalog: every experiment runs on embedded digits, tells what the seed showed, and draws from the store."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from foolscope.data import load_data
from foolscope.errors import InputError
from foolscope.experiments.catalog import EXPERIMENTS
from foolscope.experiments.catalog.common import AGREES, file_names, mean_percent
from foolscope.experiments.catalog.first_error import _against_seed, _distance, _first, _spread
from foolscope.experiments.catalog.gain import Gain, helps_most
from foolscope.experiments.catalog.masking import conclusion
from foolscope.experiments.catalog.noise_spectrum import _WHITE
from foolscope.experiments.catalog.trained import change, told_change, trend
from foolscope.experiments.experiment import networks
from foolscope.experiments.findings import Bars, Figure, Line, Pictures
from foolscope.experiments.running import RunResult, run, run_planned
from foolscope.experiments.store import Store
from foolscope.measure import Mean, Proportion
from foolscope.report.explain_figures import FILE, png_file
from foolscope.report.explain_panels import _line_styles
from foolscope.report.gallery import write_run
from foolscope.report.gallery_drawing import chart
from foolscope.spec import describe_parameters

SEARCH = {
    "images": "20", "filters": "2", "population": "4", "epochs": "1", "detector": "fs:squeezers=bits:depth=1",
    "models": "lenet|lenet:weights=mnist",
}  # fmt: skip
SMALL: dict[str, tuple[int, dict[str, str]]] = {
    "targeted-grid": (4, {"attack": "cw:searches=2,steps=30"}),
    "attack-noise": (4, {}),
    "jpeg-levels": (4, {"qualities": "10,90", "shown": "1"}),
    "jpeg-carlini-wagner": (6, {"kappa": "0,5", "qualities": "10,50", "attack": "cw:searches=2,steps=20"}),
    "jpeg-epsilon": (16, {"eps": "0.05,0.2", "qualities": "10,90"}),
    "jpeg-accuracy": (16, {"eps": "0.05", "qualities": "10,90"}),
    "adaptive-jpeg": (16, {"eps": "0.05", "qualities": "10", "attack": "bim:steps=3"}),
    "transfer-function": (4, {"layers": "2", "resolution": "5"}),
    "transfer-function-jpeg": (4, {"qualities": "5,100", "resolution": "5"}),
    "fourier-heatmap": (2, {}),
    "noise-spectrum": (8, {"attacks": "fgsm:eps=0.15;fgm:eps=2"}),
    "saliency": (12, {"attack": "fgsm:eps=0.3", "shown": "2"}),
    "first-error": (8, {"steps": "10"}),
    "overfitting": (8, {"epochs": "1,2", "eps": "0.1", "seeds": "0,1", "train_images": "64", "attacks": "fgsm"}),
    "overparameterization": (
        8,
        {"extra": "0,10", "eps": "0.1", "seeds": "0", "epochs": "1", "train_images": "64", "attacks": "fgsm"},
    ),
    "leaderboard": (12, {"attacks": "fgsm;pgd:steps=3"}),
    "cifar-cnn": (16, {"epochs": "2", "train_images": "64"}),
    "masking": (
        60,
        {
            "epochs": "1,2",
            "eps": "0.1",
            "seeds": "0,1",
            "train_images": "64",
            "attacks": "fgsm",
            "nearest": "fmn:norm=linf,steps=5",
            "blind": "square:queries=10",
        },
    ),
    "large-images": (
        2,
        {
            "models": "torchvision:squeezenet1_1?weights=none",
            "qualities": "5",
            "resolution": "3",
            "eps": "4/255",
            "defenses": "30",
            "attack": "fgsm",
        },
    ),
    "agv-front": (20, SEARCH),
    "agv-transfer": (20, SEARCH),
}
"""For each experiment a limit and settings with which it takes moments."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("catalog") / "store")


def data_of(name: str) -> str:
    return "photos" if name == "large-images" else "digits"


def small(name: str, store: Store) -> RunResult:
    limit, settings = SMALL.get(name, (16, {}))
    return run(name, data_of(name), limit=limit, settings=settings, store=store, jobs=1)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_it_runs_draws_and_repeats(name: str, store: Store, tmp_path: Path) -> None:
    first = small(name, store)
    again = small(name, store)
    assert first.computed + first.reused > 0
    assert again.computed == 0
    assert again.findings.told == first.findings.told
    assert first.findings.told
    assert all(row.why for row in first.findings.compared), "every row says why ours is not the seed's, or that it is"
    page = write_run(first, tmp_path)
    text = page.read_text()
    told = first.experiment.told()
    assert "What the seed showed" in text
    assert told["seed"].split(".")[0][:20].replace("'", "&#x27;") in text
    written = json.loads((tmp_path / "run.json").read_text())
    assert written["asked"]["name"] == name
    assert written["about"]["data"]["preview"]
    for figure in first.findings.figures:
        for kind in ("svg", "png"):
            assert (tmp_path / "figures" / f"{figure.name}.{kind}").stat().st_size > 500
        assert (tmp_path / "data" / f"{figure.name}.csv").is_file() != isinstance(figure.content, Pictures)
    for animation in first.findings.animations:
        assert (tmp_path / "figures" / f"{animation.name}.gif").read_bytes()[:6] == b"GIF89a"
    for table in first.findings.tables:
        found = pq.read_table(tmp_path / "data" / f"table-{table.name}.parquet")
        assert found.num_rows == len(table.rows)
        assert found.column_names[0] == table.columns[0]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_it_tells_what_the_seed_showed(name: str) -> None:
    kind = EXPERIMENTS[name]
    told = kind.told()
    assert all(told[key] for key in ("what", "seed", "differences"))
    assert kind.figure
    assert kind.summary
    assert data_of(name) in kind.on
    assert not told["differences"][0].islower(), "a paragraph begins with a capital letter"
    assert all(parameter["help"] for parameter in describe_parameters(kind))


def test_accuracy_is_that_of_the_attack_itself(store: Store) -> None:
    """jpeg-epsilon's numbers, by hand."""
    from foolscope import defended, load_model
    from foolscope.attacks import FGSM, Untargeted
    from foolscope.models.engine import Engine

    result = small("jpeg-epsilon", store)
    data = load_data("digits", limit=16)
    model = load_model("lenet", data.task)
    attacked = FGSM(eps=0.2)(model, data.images, Untargeted(data.labels))
    plain = float((attacked.predictions == data.labels).double().mean())
    behind = Engine(defended(model, "jpeg:quality=10")).predict(attacked.images)
    rows = {str(row[0]): row[1] for row in result.findings.tables[0].rows}
    assert rows["lenet, no JPEG, ε 0.2"].value == plain  # type: ignore[union-attr]
    assert rows["lenet, quality 10, ε 0.2"].value == float((behind == data.labels).double().mean())  # type: ignore[union-attr]


def test_experiments_share_cells(tmp_path: Path) -> None:
    """jpeg-accuracy asks for what jpeg-epsilon has attacked: nothing is computed twice."""
    settings = {"eps": "0.1", "qualities": "10,90"}
    first, second = (
        run(name, "digits", settings=settings, limit=8, store=Store(tmp_path), jobs=1)
        for name in ("jpeg-epsilon", "jpeg-accuracy")
    )
    assert (first.computed, second.computed, second.reused) == (2, 0, 2)


def test_table_1_has_eleven_layers_in_its_row_of_ten(store: Store) -> None:
    result = small("overparameterization", store)
    plain, ten, *_ = result.findings.compared
    assert (plain.seed, plain.ours, plain.why) == ("61,706", 61_706, AGREES)
    assert (ten.seed, ten.ours) == ("743,106", 677_314)
    assert ten.why == "the report's row is that of 11 layers; 10 are 677,314"


def test_a_training_is_a_cell_that_its_attacks_need(store: Store) -> None:
    """The weights in the store are those that training by hand gives, and the accuracy is theirs."""
    from foolscope import load_model
    from foolscope.experiments.running import Asked, plan
    from foolscope.models.engine import Engine
    from foolscope.models.training import Recipe, train

    limit, settings = SMALL["overparameterization"]
    planned = plan(Asked(name="overparameterization", data="digits", settings=settings, limit=limit), store=store)
    run_planned(planned, jobs=1)
    training = next(work for work in planned.works if work.kind == "training")
    cell = store.load(planned.library.spec(training))
    assert cell is not None
    data = load_data("digits", "train", limit=64)
    network = load_model(training.model or "", data.task)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train(network, data.pixels, data.labels, Recipe(**training.options["recipe"]), seed=0)
    torch.set_num_threads(threads)
    for name, value in network.state_dict().items():
        assert np.array_equal(cell.arrays[f"weight {name}"], value.numpy())
    attacked = next(work for work in planned.works if work.kind == "predict" and work.needs == (training,))
    found = store.load(planned.library.spec(attacked))
    assert found is not None
    test = load_data("digits", limit=limit)
    assert found.arrays["prediction_0"].tolist() == Engine(network).predict(test.images).tolist()


def test_class_counts_are_exact(store: Store) -> None:
    counts = load_data("digits", "train").labels.bincount().tolist()
    rows = {row[0]: row[1] for row in small("dataset-overview", store).findings.tables[0].rows}
    assert [rows[f"train: {digit}"] for digit in range(10)] == counts


def test_the_first_error_is_the_first_change() -> None:
    answers = torch.tensor([[1, 1, 2, 1], [3, 3, 3, 3], [0, 1, 1, 0]])
    assert _first(answers).tolist() == [2, math.inf, 1]
    assert _spread(60, 30, 6) == [0, 10, 19, 29, 30, 60]


def test_every_picture_of_the_first_error_has_its_radius_and_answer(tmp_path: Path) -> None:
    asked = {"steps": "10", "models": "lenet|lenet:extra=4,weights=none"}
    result = run("first-error", "digits", settings=asked, limit=4, store=Store(tmp_path), jobs=1)
    names = [figure.name for figure in result.findings.figures]
    assert names == [
        "steps-lenet-fgsm", "steps-lenet-fgm", "steps-lenet-extra-4-weights-none-fgsm",
        "steps-lenet-extra-4-weights-none-fgm", "first-errors",
    ]  # fmt: skip
    for figure, attack in zip(result.findings.figures, ("fgsm", "fgm"), strict=False):
        assert isinstance(figure.content, Pictures)
        ((title, _),) = figure.content.rows
        assert title == attack
        assert all(re.fullmatch(r"ε [0-9.]+: \d", column) for column in figure.content.columns)
    assert [row.seed for row in result.findings.compared] == ["FGSM needs a smaller ε than FGM"] * 2


def test_the_first_errors_are_compared_in_one_norm() -> None:
    """FGM needs less for two of the three images that err; where one never errs its distance is infinite."""
    fgsm, fgm = torch.tensor([1.0, 2.0, math.inf, math.inf]), torch.tensor([0.5, 3.0, 1.0, math.inf])
    row = _against_seed("lenet", fgsm, fgm)
    assert row.seed == "FGSM needs a smaller ε than FGM"
    assert row.ours == "2, 1"
    assert row.why.startswith("the report's ε are radii of two norms; in l2 FGM needs less for 66.7 %")
    l2 = torch.tensor([[0.0, 1.0, 2.0], [0.0, 1.5, 3.0]])
    assert _distance(l2, torch.tensor([2.0, math.inf], dtype=torch.float64)).tolist() == [2.0, math.inf]


@pytest.mark.parametrize("name", ["transfer-function", "jpeg-rescue"])
def test_two_networks_of_one_architecture_have_figures_of_their_own(name: str, store: Store) -> None:
    settings = {"models": "lenet|lenet:weights=digits", **({"attack": "fgsm:eps=0.03"} if "rescue" in name else {})}
    limit = 64 if "rescue" in name else 4
    result = run(name, "digits", settings=settings, limit=limit, store=store, jobs=1)
    names = [figure.name for figure in result.findings.figures]
    assert len(names) == len(set(names)) == (2 if "rescue" in name else 4)


def points(low: float, high: float, count: int = 3) -> Mean:
    return Mean((low + high) / 2, low, high, count)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({0.1: points(1, 3), 0.2: points(2, 4)}, "agrees: it rises at every radius"),
        (
            {0.1: points(1, 3), 0.2: points(-2, 4)},
            "rises at ε = 0.1; 3 trainings of each network show no change elsewhere",
        ),
        ({0.1: points(1, 3), 0.2: points(-4, -1)}, "rises at ε = 0.1; falls at ε = 0.2"),
        ({0.1: points(-1, 3)}, "3 trainings of each network show no change at any radius"),
        ({0.1: points(1, 3, 1)}, "one training of each network cannot tell"),
    ],
)
def test_a_trend_is_one_where_the_changes_say_so(changes: dict[float, Mean], told: str) -> None:
    assert trend(changes) == told


def test_a_change_is_taken_seed_by_seed() -> None:
    """Seeds that differ much and all gain two points have gained two points."""
    gained = change([0.1, 0.5, 0.9], [0.12, 0.52, 0.92])
    assert [gained.value, gained.low, gained.high] == pytest.approx([2.0, 2.0, 2.0])
    assert told_change(change([0.1], [0.2])) == "+10.0 points of one seed"


@pytest.mark.parametrize(
    ("shown", "left", "told"),
    [
        (points(1, 3), points(1, 3), "stays under all attacks together: it is no masking"),
        (points(1, 3), points(-1, 3), "under all attacks together none is shown: it may be masking"),
        (points(-1, 3), points(1, 3), "Under all attacks together there is a gain, and under fgsm none is shown"),
        (points(-1, 3), points(-1, 3), "3 seeds show no gain beyond chance, neither under fgsm nor"),
        (points(1, 3, 1), points(1, 3, 1), "One training of each network cannot tell"),
    ],
)
def test_a_gain_is_masking_where_other_attacks_do_not_see_it(shown: Mean, left: Mean, told: str) -> None:
    assert told in conclusion("fgsm", shown, left)


def test_file_names_differ_where_specs_do() -> None:
    specs = ["lenet", "lenet:extra=4", "file:a-b", "file:a/b", "lenet"]
    assert list(file_names(specs).values()) == ["lenet", "lenet-extra-4", "file-a-b", "file-a-b-or-2"]


def test_the_lines_of_a_chart_differ_and_so_do_its_marks(tmp_path: Path) -> None:
    lines = tuple(Line(str(n), [0.0, 1.0], [float(n), 1.0]) for n in range(42))
    styles = _line_styles(lines, FILE)
    assert len(set(styles)) == 42
    assert [color for color, _, _ in styles[:6]] == list(FILE.series)
    groups = tuple((str(n), ((0.5, 0.4, 0.6),)) for n in range(9))
    bars = Figure(name="bars", caption="", content=(Bars(title="", categories=("one",), groups=groups, y=""),))
    assert len(png_file(chart(bars))) > 500


def test_a_gain_is_one_that_chance_does_not_explain() -> None:
    """By the binomial distribution: of 11 images that change all are won with a chance of 2 in 2^11."""
    right, wrong = np.ones(11, np.bool_), np.zeros(11, np.bool_)
    assert (Gain.of(wrong, right).won, Gain.of(wrong, right).lost) == (11, 0)
    assert Gain.of(wrong, right).p == pytest.approx(2 / 2**11)
    assert Gain.of(wrong, right, choices=30).p == pytest.approx(60 / 2**11)
    assert Gain.of(wrong, right, choices=30).is_shown
    assert not Gain.of(wrong[:5], right[:5]).is_shown, "5 of 5 are 1 in 16"
    assert not Gain.of(right, wrong).is_shown, "it is a loss"
    assert Gain.of(right, right).p == 1.0
    assert str(Gain(1234, 5, 0.0)) == "1,234 images won, 5 lost"


def test_of_two_images_no_gain_is_shown(store: Store) -> None:
    asked = {"eps": "0.2", "qualities": "10"}
    few = run("jpeg-epsilon", "digits", settings=asked, limit=2, store=store, jobs=1).findings
    assert few.compared[0].why.startswith("no gain is shown: ")


def test_white_noise_has_its_mean_frequency() -> None:
    """By sampling the square on a fine grid."""
    axis = (np.arange(1000) + 0.5) / 1000 - 0.5
    assert np.hypot(axis[:, None], axis).mean() == pytest.approx(_WHITE, abs=1e-3)


def test_networks_are_asked_for_where_none_is_known() -> None:
    data = load_data("photos", limit=1)
    assert networks("a | b", data) == ["a", "b"]
    with pytest.raises(InputError, match=r"no networks are known for photos .* name some by --set models="):
        networks("auto", data)


def test_an_unknown_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="target must be below the 10 classes, got 10"):
        run("attack-noise", "digits", settings={"target": "10"}, store=Store(tmp_path))


@pytest.mark.parametrize(
    ("right", "expected"), [([[5, 2], [6, 3], [5, 4]], (2, 1)), ([[5, 2], [4, 1], [4, 1]], (1, 0))]
)
def test_jpeg_helps_most_where_it_gains_most(right: list[list[int]], expected: tuple[int, int]) -> None:
    """Rows are the plain network and two qualities, columns radii."""
    assert helps_most([[Proportion(count, 10) for count in row] for row in right]) == expected


def test_the_interval_of_percents_ends_where_they_do() -> None:
    assert mean_percent([0.9, 1.0, 1.0]).high == 100.0
    assert mean_percent([0.0, 0.0, 0.1]).low == 0.0
    narrow = mean_percent([0.5, 0.51, 0.52])
    assert [narrow.low, narrow.high] == pytest.approx([48.52, 53.48], abs=0.01)
    assert math.isinf(mean_percent([0.5]).low), "one value says nothing"
