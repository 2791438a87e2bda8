"""`train`: weights that the next command can use."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from foolscope.defenses.adversarial_training import FGSMRS, TRADES
from foolscope.models.training import Recipe
from tests.cli.running import Program


def test_trains_and_the_result_can_be_audited(program: Program) -> None:
    outcome = program(
        "train", "lenet", "--data", "digits", "--limit", 64, "--epochs", 2, "--recipe", "lr=0.02,batch=32"
    )
    assert outcome.code == 0
    preview, first, last = outcome.out.splitlines()
    assert preview.endswith(": a preview")
    assert first.endswith(" % of 500 test images right")
    assert last == "file:lenet-digits.safetensors"
    assert [line.split(",")[0] for line in outcome.err.splitlines()] == ["epoch 1 of 2", "epoch 2 of 2"]
    assert sorted(path.name for path in Path().iterdir()) == [
        "lenet-digits.curves.json", "lenet-digits.json", "lenet-digits.safetensors",
    ]  # fmt: skip
    audited = program("audit", last, "--data", "digits", "--attacks", "fgsm", "--eps", "0.1", "--limit", 4, "--json")
    assert audited.code == 0
    assert audited.json["about"]["model"]["trained_on"] == "digits"


def test_json(program: Program) -> None:
    asked = ("train", "lenet", "--data", "digits", "--limit", 64, "--epochs", 1, "--out", "a/net.safetensors")
    content = program(*asked, "--name", "mine", "--adversarial", "fgsm:eps=0.1", "--json").json
    assert content["weights"] == "a/net.safetensors"
    assert content["card"]["name"] == "mine"
    assert content["card"]["adversarial"] == "fgsm:eps=0.1"
    assert content["card"]["robust_accuracy"].endswith("under pgd:eps=0.1 on 500 test images")
    assert len(content["curves"]["loss"]) == 1
    out = program(*asked, "--name", "mine", "--adversarial", "fgsm:eps=0.1").out
    assert content["card"]["robust_accuracy"] in out.splitlines()
    assert "weights of epoch 1 of 1: the most robust on 6 held-out training images" in out.splitlines()
    assert "held-out" not in program(*asked, "--adversarial", "fgsm:eps=0.1", "--held-out", 0).out


def test_some_of_the_images_are_marked_as_a_preview(program: Program) -> None:
    asked = ("train", "lenet", "--data", "digits", "--epochs", 1)
    assert (
        program(*asked, "--limit", 32).out.splitlines()[0] == "trained on digits train (32 of 1,297 images): a preview"
    )
    data = {"spec": "digits", "split": "train", "images": 32, "of": 1297, "preview": True}
    assert program(*asked, "--limit", 32, "--json").json["data"] == data


def test_a_recipe_changes_the_usual_one_and_keeps_the_rest(program: Program) -> None:
    asked = ("train", "lenet", "--data", "digits", "--limit", 64, "--json")
    card = program(*asked, "--recipe", "epochs=1,lr=0.03").json["card"]
    assert (card["epochs"], card["recipe"]["lr"], card["recipe"]["shift"]) == (1, 0.03, 2)
    card = program(*asked, "--recipe", "epochs=3", "--epochs", 1).json["card"]
    assert card["epochs"] == 1


def test_the_help_names_every_setting(program: Program) -> None:
    text = " ".join(program("train", "--help").out.split())
    for kind in (Recipe, TRADES, FGSMRS):
        for field in dataclasses.fields(kind):
            assert field.name in text, field.name


def test_says_what_is_wrong(program: Program) -> None:
    asked = ("train", "lenet", "--data", "digits", "--limit", 8)
    message = "recipe has no parameter 'lrr'. Did you mean lr? 'foolscope train --help' lists all."
    assert program.fails(*asked, "--recipe", "lrr=1") == message
    assert program.fails(*asked, "--recipe", "lr") == "malformed spec 'recipe:lr': 'lr' is not KEY=VALUE."
    assert program.fails(*asked, "--recipe", "lr=-1") == "recipe: lr must be at least 0, got -1."
    assert program.fails(*asked, "--out", "net.pt") == "'net.pt' must end in .safetensors."
    assert not list(Path().iterdir())


def test_a_loss_that_runs_away_is_one_line(program: Program) -> None:
    message = program.fails(
        "train", "lenet", "--data", "digits", "--limit", 256, "--epochs", 30, "--recipe", "lr=1e18,precision=float32"
    )
    assert message.startswith("the training loss is ")
    assert message.endswith("; a smaller lr or clip=1 may help.")
    assert not list(Path().iterdir())
