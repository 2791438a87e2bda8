"""What the catalog has beyond the report's figures: chosen chains, masked networks, layers, shared cells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foolscope.errors import InputError, ParameterError
from foolscope.experiments.catalog.agv import Chain, Judgment, best
from foolscope.experiments.catalog.agv_front import _filters, _line
from foolscope.experiments.catalog.cifar_cnn import _epochs, _layers
from foolscope.experiments.catalog.common import (
    IMAGENET_NETWORKS,
    correct_within,
    mean_percent,
    read,
    shipped_networks,
    written,
)
from foolscope.experiments.experiment import Images, Library, Work
from foolscope.experiments.running import Asked, Planned, plan
from foolscope.experiments.store import Store, cell_key
from foolscope.measure import Proportion
from foolscope.models import load_model
from foolscope.models.cifar_cnn import CifarCNN

FIGURE_19 = [
    ("Conv2d", (32, 32, 32), 896),
    ("BatchNorm2d", (32, 32, 32), 128),
    ("Conv2d", (32, 32, 32), 9248),
    ("BatchNorm2d", (32, 32, 32), 128),
    ("MaxPool2d", (32, 16, 16), 0),
    ("Dropout", (32, 16, 16), 0),
    ("Conv2d", (64, 16, 16), 18496),
    ("BatchNorm2d", (64, 16, 16), 256),
    ("Conv2d", (64, 16, 16), 36928),
    ("BatchNorm2d", (64, 16, 16), 256),
    ("MaxPool2d", (64, 8, 8), 0),
    ("Dropout", (64, 8, 8), 0),
    ("Conv2d", (128, 8, 8), 73856),
    ("BatchNorm2d", (128, 8, 8), 512),
    ("Conv2d", (128, 8, 8), 147584),
    ("BatchNorm2d", (128, 8, 8), 512),
    ("MaxPool2d", (128, 4, 4), 0),
    ("Dropout", (128, 4, 4), 0),
    ("Linear", (128,), 262272),
    ("Dropout", (128,), 0),
    ("Linear", (10,), 1290),
]
"""The report's table: layer, output (channels first) and parameters, trained or not; without its flatten."""


def planned(name: str, data: str = "digits", **settings: str) -> Planned:
    return plan(Asked(name=name, data=data, settings=settings, limit=4), store=Store(Path("nowhere")))


def test_the_layers_are_those_of_figure_19() -> None:
    network = CifarCNN().eval()
    found = _layers(network, torch.zeros(1, 3, 32, 32))
    counted = [(one["kind"], tuple(one["shape"]), one["parameters"] + one["buffers"]) for one in found]
    assert [row for row in counted if row[0] != "ReLU"] == FIGURE_19
    assert sum(one["parameters"] for one in found) == 551_466
    assert sum(one["buffers"] for one in found) == 896
    assert not any(module._forward_hooks for module in network.modules())


def test_a_minimum_norm_attack_says_at_every_radius_what_stands() -> None:
    arrays: dict[str, Any] = {
        "already": np.array([True, False, False, False]),
        "success": np.array([True, True, True, False]),
        "linf": np.array([0.0, 0.1, 0.3, 0.05]),
    }
    cases = {0.0: [0, 1, 1, 1], 0.1: [0, 0, 1, 1], 0.2: [0, 0, 1, 1], 0.3: [0, 0, 0, 1]}
    for eps, standing in cases.items():
        assert correct_within(arrays, eps).tolist() == [bool(one) for one in standing]


def chain(spec: str, searched: tuple[float, float] | None) -> Chain:
    judged = Judgment(asr=Proportion(1, 2), detection=Proportion(0, 2))
    return Chain(spec=spec, title="", linf=0.1, searched=searched, judged=(judged,))


@pytest.mark.parametrize(
    ("searched", "expected"),
    [
        ([(0.9, 0.5), (0.6, 0.05), (0.7, 0.06), (0.5, 0.0)], 1),  # the most successful one that is not detected
        ([(0.9, 0.5), (0.6, 0.2)], 1),  # all are: the least detected one
    ],
)
def test_the_best_chain(searched: list[tuple[float, float]], expected: int) -> None:
    front = [chain(str(place), one) for place, one in enumerate(searched)]
    assert best([*front, chain("published", None)]) is front[expected]


def test_the_line_of_a_front_rises() -> None:
    """A chain that is detected more and succeeds less than another is in the table alone."""
    judged = [(2, 1), (8, 1), (5, 3), (9, 4), (1, 0)]
    front = [
        replace(chain(str(n), None), judged=(Judgment(asr=Proportion(asr, 10), detection=Proportion(found, 10)),))
        for n, (asr, found) in enumerate(judged)
    ]
    line = _line("lenet", front)
    assert list(line.x) == [0.0, 0.0, 10.0, 40.0]
    assert list(line.y) == pytest.approx([0.0, 10.0, 80.0, 90.0])
    assert _filters("juno:strength=0.1|reyes") == "juno, reyes"


def test_json_is_kept_as_bytes() -> None:
    value = {"b": [1, 2.5, None], "a": "é"}
    assert read(written(value)) == value
    assert written(value).dtype == np.uint8


@pytest.mark.parametrize(
    ("first", "second", "data", "settings"),
    [
        ("agv-front", "agv-transfer", "digits", {}),
        ("masking", "overfitting", "digits", {"epochs": "1", "seeds": "0"}),
        ("large-images", "adaptive-jpeg", "photos", {"models": "torchvision:squeezenet1_1?weights=none"}),
    ],
)
def test_experiments_share_cells(first: str, second: str, data: str, settings: dict[str, str]) -> None:
    """What the second one asks for with the settings that the first one has is among the first one's cells."""
    same = {"eps": "1/255,2/255,4/255,8/255", "qualities": "30,75", "attack": "apgd:steps=30"}
    same = same if first == "large-images" else {}
    cells = [set(planned(name, data, **given).works) for name, given in ((first, settings), (second, settings | same))]
    kinds = {"predict", "training", "evolution"} if first == "masking" else {work.kind for work in cells[1]}
    asked = {work for work in cells[1] if work.kind in kinds}
    assert asked
    assert asked <= cells[0]


def test_networks_of_an_evolution() -> None:
    with pytest.raises(InputError, match=r"agv-front needs two networks or more, .* and has 1 for digits: name some"):
        planned("agv-front", models="lenet")
    models = [work.model for work in planned("agv-transfer").works]
    assert models == [*shipped_networks("digits"), *shipped_networks("mnist")]


def test_photographs_are_searched_on_with_networks_that_know_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def load(spec: str, *given: object, **options: object) -> torch.nn.Module:
        asked.append(spec)
        return load_model("torchvision:squeezenet1_1?weights=none")

    monkeypatch.setattr("foolscope.experiments.experiment.load_model", load)
    assert [work.model for work in planned("agv-front", "photos").works] == IMAGENET_NETWORKS.split("|")
    assert set(asked) == set(IMAGENET_NETWORKS.split("|"))


def test_an_untrained_network_is_refused() -> None:
    with pytest.raises(ParameterError, match="epochs must be at least 1, got 0: a network of 0 epochs is not trained"):
        planned("overfitting", epochs="0,1")


def test_what_a_cell_needs_beside_a_training_leaves_its_network_a_digest() -> None:
    """Another network of the same name is another cell, whatever else it needs."""
    library, images = Library(), Images(data="digits", end=8)
    need = Work(kind="overview", images=images, options={"shown": 1, "seed": 0})
    works = [
        Work(kind="predict", images=images, model=model, options={"victims": [""]}, needs=(need,))
        for model in ("lenet", "lenet:weights=digits", "lenet:weights=mnist")
    ]
    first, same, other = (cell_key(library.spec(work)) for work in works)
    assert first == same != other
    assert works[0].training is None


def test_an_epochs_accuracy_has_the_interval_over_the_seeds_or_over_the_images() -> None:
    one, other = Proportion(90, 100), Proportion(80, 100)
    (alone,) = _epochs([[one]])
    assert (alone.value, alone.low, alone.high) == (90.0, 100 * one.low, 100 * one.high)
    (both,) = _epochs([[one], [other]])
    assert both == mean_percent([0.9, 0.8])
