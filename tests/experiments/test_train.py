"""Training by name: recipes, what is written, resumption, refusals."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foolscope.data import ImageSet
from foolscope.errors import Cancelled, FoolscopeError, InputError, ParameterError, SpecError, StorageError
from foolscope.experiments import train as train_module
from foolscope.experiments.train import RECIPES, default_recipe, train_model
from foolscope.files import file_digest
from foolscope.models import load_model
from foolscope.models.cards import load_card
from foolscope.models.training import Recipe, TrainingProgress
from tests.experiments.networks import digits

SMALL: dict[str, Any] = {"limit": 64, "epochs": 2, "recipe": Recipe(batch=16, lr=0.02, shift=1)}


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOOLSCOPE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def images(count: int, channels: int) -> ImageSet:
    pixels = np.zeros((count, 4, 4, channels), np.uint8)
    labels = torch.zeros(count, dtype=torch.int64)
    return ImageSet(
        name="made", split="train", pixels=pixels, labels=labels, num_classes=1, digest="d", total=count
    )  # fmt: skip


@pytest.mark.parametrize(
    ("model", "count", "channels", "recipe"),
    [
        ("lenet", 20_000, 1, RECIPES["lenet"]),
        ("lenet:extra=0", 20_000, 1, RECIPES["lenet"]),
        ("lenet:extra=4", 20_000, 1, RECIPES["lenet"].replace(clip=1.0)),
        ("lenet", 1_000, 1, RECIPES["lenet"].replace(epochs=5 * RECIPES["lenet"].epochs)),
        ("mnist-cnn", 20_000, 1, RECIPES["mnist-cnn"]),
        ("resnet20", 20_000, 1, RECIPES["resnet20-gray"]),
        ("resnet20", 20_000, 3, RECIPES["resnet20"]),
        ("cifar-cnn", 20_000, 3, RECIPES["cifar-cnn"]),
        ("torchvision:resnet18", 20_000, 3, Recipe(shift=4, flip=True)),
        ("torchvision:resnet18", 20_000, 1, Recipe(shift=2)),
    ],
)
def test_the_usual_recipe(model: str, count: int, channels: int, recipe: Recipe) -> None:
    assert default_recipe(model, images(count, channels)) == recipe
    assert not (channels == 1 and recipe.flip), "digits are not mirrored"


def test_writes_weights_card_and_curves(tmp_path: Path) -> None:
    trained = train_model("lenet", "digits", out=tmp_path / "new" / "net.safetensors", name="mine", **SMALL)
    assert trained.path == tmp_path / "new" / "net.safetensors"
    assert sorted(path.name for path in trained.path.parent.iterdir()) == [
        "net.curves.json", "net.json", "net.safetensors",
    ]  # fmt: skip
    card = load_card(tmp_path / "new" / "net.json")
    assert card == trained.card
    assert card.sha256 == file_digest(trained.path)
    assert (card.architecture, card.name, card.data, card.epochs, card.images) == ("lenet", "mine", "digits", 2, 500)
    assert card.parameters == 61_706
    assert card.license == "not stated"
    modes = {path.stat().st_mode & 0o777 for path in trained.path.parent.iterdir()}
    assert len(modes) == 1, "whoever can read the card can read the weights"
    assert (card.adversarial, card.robust_accuracy) == (None, None)
    curves = json.loads((tmp_path / "new" / "net.curves.json").read_text())
    assert {name: len(values) for name, values in curves.items()} == dict.fromkeys(
        ("loss", "accuracy", "validation", "seconds"), 2
    ) | {"robust": 0}
    assert (card.held_out, card.kept_epoch) == (0, None)
    assert curves["validation"][-1] == pytest.approx(card.accuracy)
    model = load_model(f"file:{trained.path}")
    test = digits(500)
    with torch.no_grad():
        assert torch.allclose(model(test.images), trained.model(test.images), atol=1e-5)
        assert float((model(test.images).argmax(1) == test.labels).float().mean()) == pytest.approx(card.accuracy)
    assert model.class_names == tuple("0123456789")


def test_the_default_place_is_the_current_folder(tmp_path: Path) -> None:
    assert train_model("lenet", "digits", **SMALL).path.resolve() == tmp_path / "lenet-digits.safetensors"


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"adversarial": "trades:eps=0.1,steps=2"},
        {"adversarial": "fgsm-rs:eps=0.1", "held_out": 20},
        {"adversarial": "fgsm", "held_out": 0},
    ],
    ids=["plain", "trades", "held out", "not held out"],
)
def test_the_cards_command_trains_the_same_bits(tmp_path: Path, more: dict[str, Any]) -> None:
    from foolscope.cli import main

    first = train_model("lenet", "digits", seed=2, out=tmp_path / "a.safetensors", name="my net", **SMALL, **more)
    arguments = shlex.split(first.card.command)
    assert arguments[:2] == ["foolscope", "train"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOOLSCOPE_HOME", str(tmp_path / "another"))
        with pytest.raises(SystemExit) as left:
            main([*arguments[1:], "--out", str(tmp_path / "b.safetensors")])
    assert left.value.code == 0
    assert file_digest(tmp_path / "b.safetensors") == first.card.sha256
    assert load_card(tmp_path / "b.json").command == first.card.command


def test_a_training_that_is_stopped_goes_on(tmp_path: Path) -> None:
    whole = train_model("lenet", "digits", out=tmp_path / "whole.safetensors", **SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOOLSCOPE_HOME", str(tmp_path / "another"))

        def stop(progress: TrainingProgress) -> None:
            if progress.step == 6:
                raise Cancelled

        with pytest.raises(Cancelled):
            train_model("lenet", "digits", out=tmp_path / "part.safetensors", watch=stop, **SMALL)
        assert not (tmp_path / "part.safetensors").exists()
        assert not (tmp_path / "part.json").exists()
        steps: list[int] = []
        part = train_model(
            "lenet", "digits", out=tmp_path / "part.safetensors", watch=lambda p: steps.append(p.step), **SMALL
        )
    assert steps == [5, 6, 7, 8]  # from the end of the first epoch
    assert part.card.sha256 == whole.card.sha256


def test_a_guarded_training_that_is_stopped_goes_on_and_keeps_the_same_epoch(tmp_path: Path) -> None:
    asked = {**SMALL, "adversarial": "trades:eps=0.1,steps=1", "epochs": 3}
    whole = train_model("lenet", "digits", out=tmp_path / "whole.safetensors", **asked)

    def stop(progress: TrainingProgress) -> None:
        if progress.step == 7:
            raise Cancelled

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOOLSCOPE_HOME", str(tmp_path / "another"))
        with pytest.raises(Cancelled):
            train_model("lenet", "digits", out=tmp_path / "part.safetensors", watch=stop, **asked)
        part = train_model("lenet", "digits", out=tmp_path / "part.safetensors", **asked)
    assert part.card.sha256 == whole.card.sha256
    assert part.curves.robust == whole.curves.robust
    assert part.card.kept_epoch == whole.card.kept_epoch


def test_the_most_robust_epoch_is_chosen_on_images_that_are_not_trained_on(tmp_path: Path) -> None:
    asked = {**SMALL, "adversarial": "fgsm:eps=0.1", "epochs": 3}
    trained = train_model("lenet", "digits", out=tmp_path / "net.safetensors", **asked)
    card, curves = trained.card, trained.curves
    assert (card.held_out, len(curves.robust)) == (6, 3)  # a tenth of 64
    assert card.kept_epoch == 1 + curves.robust.index(max(curves.robust))
    assert "--held-out" not in card.command
    assert sum(round(6 * share) == pytest.approx(6 * share) for share in curves.robust) == 3
    judged, others = train_module._parts(trained.data, 6, seed=0)
    assert (len(judged), len(others)) == (6, 58)
    assert judged.origin is not None and others.origin is not None
    assert not set(judged.origin.tolist()) & set(others.origin.tolist())


def test_another_seed_or_adversary_is_another_training(tmp_path: Path) -> None:
    digests = [
        train_model("lenet", "digits", out=tmp_path / "net.safetensors", **{**SMALL, **more}).card.sha256
        for more in ({}, {"seed": 1}, {"adversarial": "fgsm:eps=0.1"}, {"limit": 63}, {"epochs": 1},
        {"adversarial": "fgsm:eps=0.1", "held_out": 0}, {"adversarial": "trades:eps=0.1,steps=1"}, {})
    ]  # fmt: skip
    assert len(set(digests)) == 7
    assert digests[0] == digests[-1]


def test_the_card_of_an_adversarial_training_tells_attack_and_robust_accuracy(tmp_path: Path) -> None:
    trained = train_model(
        "lenet", "digits", adversarial="pgd:eps=0.1,steps=2", out=tmp_path / "net.safetensors", **SMALL
    )
    assert trained.card.adversarial == "pgd:eps=0.1,steps=2,early_stop=false"
    assert "--adversarial pgd:eps=0.1,steps=2" in trained.card.command
    pattern = r"\d+\.\d % \[\d+\.\d, \d+\.\d\] under pgd:eps=0.1 on 500 test images"
    assert re.fullmatch(pattern, trained.card.robust_accuracy or "")


@pytest.mark.parametrize(
    ("model", "asked", "message", "kind"),
    [
        (
            "lenett",
            {},
            "unknown model 'lenett'. Did you mean lenet, resnet20? 'foolscope models' lists all.",
            SpecError,
        ),
        (
            "lenet:weights=none",
            {},
            "'lenet:weights=none': a training starts from random weights; name no weights, and the seed by --seed.",
            SpecError,
        ),
        (
            "py:mynet:build",
            {},
            "'py:mynet:build' cannot be trained by name: train your own module with models.training.train.",
            SpecError,
        ),
        (
            "file:net.safetensors",
            {},
            "'file:net.safetensors' cannot be trained by name: train your own module with models.training.train.",
            SpecError,
        ),
        (
            "cifar-cnn",
            {},
            "cifar-cnn takes images of 3 x 32 x 32 (channels x height x width), digits has 1 x 28 x 28.",
            InputError,
        ),
        ("lenet", {"out": Path("net.pt")}, "'net.pt' must end in .safetensors.", SpecError),
        ("lenet", {"out": Path("x.safetensors")}, "'x.safetensors' is a folder: name a file in it.", SpecError),
        (
            "lenet",
            {"adversarial": "pdg"},
            "unknown attack 'pdg'. Did you mean pgd, apgd? 'foolscope attacks' lists all.",
            SpecError,
        ),
        (
            "lenet",
            {"seed": 10**20},
            f"seed must be between 0 and 9223372036854775807 (2^63 - 1), got {10**20}.",
            ParameterError,
        ),
        ("lenet", {"epochs": -1}, "recipe: epochs must be at least 1, got -1.", ParameterError),
        (
            "lenet",
            {"held_out": 5},
            "held-out images decide how robust an epoch is: name an attack to train against, too.",
            SpecError,
        ),
        (
            "lenet",
            {"held_out": 32, "adversarial": "fgsm"},
            "held_out must be between 0 and 31, fewer than the images, got 32.",
            ParameterError,
        ),
    ],
)
def test_says_what_is_wrong_before_it_trains(
    tmp_path: Path, model: str, asked: dict[str, Any], message: str, kind: type[FoolscopeError]
) -> None:
    (tmp_path / "x.safetensors").mkdir()

    def never(progress: TrainingProgress) -> None:
        raise AssertionError

    with pytest.raises(kind, match=f"^{re.escape(message)}$"):
        train_model(model, "digits", limit=32, watch=never, **asked)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_largest_seed_trains(tmp_path: Path) -> None:
    asked = {**SMALL, "epochs": 1, "adversarial": "fgsm:eps=0.1"}
    digests = [
        train_model("lenet", "digits", seed=seed, out=tmp_path / "net.safetensors", **asked).card.sha256
        for seed in (2**63 - 1, 2**63 - 2)
    ]
    assert digests[0] != digests[1]


def test_a_place_that_cannot_be_written_is_told_before_the_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    message = r"^cannot write into .*file: .*file is a file, not a folder: name another --out\.$"
    with pytest.raises(StorageError, match=message):
        train_model("lenet", "digits", out=tmp_path / "file" / "net.safetensors", **SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOOLSCOPE_HOME", str(tmp_path / "file"))
        with pytest.raises(StorageError, match=r"set FOOLSCOPE_HOME to a folder that can be written\.$"):
            train_model("lenet", "digits", **SMALL)
    assert not list(tmp_path.rglob("*.pt"))
