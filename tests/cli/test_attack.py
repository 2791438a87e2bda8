"""`attack`: images in, adversarial PNGs out, exactly the pixels that were judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from foolscope.images import decode_image, encode_png, from_uint8
from tests.cli.running import Program
from tests.experiments.networks import SINGULAR, digits, digits_lenet


@pytest.fixture
def files(program: Program) -> list[Path]:
    """Three digits as PNG."""
    paths = [Path(f"digit{number}.png") for number in range(3)]
    for path, image in zip(paths, digits(3).images, strict=True):
        path.write_bytes(encode_png(image))
    return paths


def reread(path: str) -> Tensor:
    return from_uint8(decode_image(Path(path))[None])


def judged(row: dict[str, Any]) -> int:
    with torch.no_grad():
        return int(digits_lenet()(reread(row["file"])).argmax())


@pytest.mark.parametrize("attack", ["pgd:eps=0.1", "fgm:eps=1.5", "bim:eps=0.15"])
def test_what_is_saved_is_what_was_judged(program: Program, net: str, files: list[Path], attack: str) -> None:
    outcome = program("attack", attack, *files, "--model", net, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    rows = outcome.json["images"]
    assert [Path(row["file"]).name for row in rows] == [f"{n:03d}-digit{n}.png" for n in range(3)]
    for row, path in zip(rows, files, strict=True):
        change = reread(row["file"]) - reread(str(path))
        assert str(judged(row)) == row["prediction"]
        assert row["success"] == (row["prediction"] != row["label"])
        assert float(change.abs().max()) == pytest.approx(row["linf"], abs=1e-6)
        assert float(change.norm()) == pytest.approx(row["l2"], abs=1e-5)
        assert row["forwards"] > 0
    assert sum(row["success"] for row in rows) >= 2


def test_one_file_keeps_its_name(program: Program, net: str, files: list[Path]) -> None:
    outcome = program("attack", "pgd:eps=0.1", files[0], "--model", net)
    assert outcome.code == 0
    assert [path.name for path in Path("foolscope-attacked").iterdir()] == ["digit0.png"]
    assert "foolscope-attacked/digit0.png" in outcome.out


def test_an_original_is_never_overwritten(program: Program, net: str, files: list[Path]) -> None:
    before = files[0].read_bytes()
    message = program.fails("attack", "pgd:eps=0.1", files[0], "--model", net, "--out", ".")
    assert message == "digit0.png would be overwritten by its own adversarial image: name another --out."
    assert files[0].read_bytes() == before


def test_without_a_label_what_the_model_sees_counts(program: Program, net: str, files: list[Path]) -> None:
    (row,) = program("attack", "fgsm:eps=0.1", files[0], "--model", net, "--json").json["images"]
    assert row["label"] == str(int(digits_lenet()(reread(str(files[0]))).argmax()))
    assert not row["already"]


@pytest.mark.parametrize("given", ["5", "05"])
def test_labels_one_for_all_or_one_each(program: Program, net: str, files: list[Path], given: str) -> None:
    rows = program("attack", "fgsm:eps=0", *files, "--model", net, "--label", given, "--json").json["images"]
    assert [row["label"] for row in rows] == ["5"] * 3
    labels = digits(3).labels.tolist()
    each = [part for label in labels for part in ("--label", label)]
    rows = program("attack", "fgsm:eps=0", *files, "--model", net, *each, "--json").json["images"]
    assert [row["label"] for row in rows] == [str(label) for label in labels]
    assert [row["already"] for row in rows] == [judged(row) != label for row, label in zip(rows, labels, strict=True)]


def test_broken_gradients_are_warned_of(program: Program, net: str, files: list[Path]) -> None:
    pixels = decode_image(files[1]).copy()
    pixels[0, 0] = SINGULAR
    Image.fromarray(pixels.squeeze()).save(files[1])
    Path("rooted.py").write_text(
        "from foolscope.models import load_model\nfrom tests.experiments.networks import Rooted\n\n\n"
        f"def build():\n    return Rooted(load_model({net!r}))\n"
    )
    outcome = program("attack", "fgsm:eps=0.1", *files, "--model", "py:rooted:build", "--json")
    assert outcome.code == 0
    assert [row["broken"] for row in outcome.json["images"]] == [False, True, False]
    assert outcome.err == (
        "warning: NaN or infinite gradients on 1 of 3 images, first for foolscope-attacked/001-digit1.png: the attack "
        "stopped there, which says nothing about robustness.\n"
    )


def test_images_that_are_wrong_already_are_said_and_left(program: Program, net: str, files: list[Path]) -> None:
    wrong = (int(digits_lenet()(reread(str(files[0]))).argmax()) + 1) % 10
    outcome = program("attack", "pgd:eps=0.1", files[0], "--model", net, "--label", wrong)
    assert "already" in outcome.out
    assert torch.equal(reread("foolscope-attacked/digit0.png"), reread(str(files[0])))


def test_all_targets_are_tried_one_after_the_other(program: Program, net: str, files: list[Path]) -> None:
    asked = ("attack", "pgd:eps=0.3,steps=20", *files[:2], "--model", net, "--label", "1", "--target", "all", "--json")
    rows = program(*asked).json["images"]
    assert [(row["label"], row["target"]) for row in rows] == 2 * [("1", str(t)) for t in range(10) if t != 1]
    assert [Path(row["file"]).stem for row in rows[:9]] == [
        f"000-{files[0].stem}-to-{target}" for target in range(10) if target != 1
    ]
    for row in rows:
        assert row["success"] == (str(judged(row)) == row["target"])
    assert sum(row["success"] for row in rows) > 9
    table = program(*asked[:-1]).out
    assert "target" in table


def test_a_target_is_reached(program: Program, net: str, files: list[Path]) -> None:
    seen = int(digits_lenet()(reread(str(files[0]))).argmax())
    reached = []
    for target in range(10):
        if target == seen:
            continue
        asked = ("attack", "pgd:eps=0.3,steps=20", files[0], "--model", net, "--target", target, "--json")
        (row,) = program(*asked).json["images"]
        assert row["success"] == (judged(row) == target)
        reached.append(row["success"])
    assert sum(reached) >= 7


def test_a_data_set_instead_of_files(program: Program, net: str) -> None:
    outcome = program("attack", "pgd:eps=0.1", "--data", "digits", "--limit", 5, "--model", net, "--out", "x", "--json")
    rows = outcome.json["images"]
    chosen = digits(5)
    assert chosen.origin is not None
    assert [row["file"] for row in rows] == [f"x/{number:05d}.png" for number in chosen.origin.tolist()]
    assert outcome.json["data"] == {"spec": "digits", "split": "test", "images": 5, "of": 500, "preview": True}
    assert [row["label"] for row in rows] == [str(label) for label in digits(5).labels.tolist()]
    assert all(str(judged(row)) == row["prediction"] for row in rows)


def test_a_color_file_on_a_gray_model_and_a_gray_one_on_a_color_model(program: Program, net: str) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (28, 28, 3), dtype=np.uint8)).save("color.png")
    assert program("attack", "fgsm:eps=0.1", "color.png", "--model", net).code == 0
    assert decode_image(Path("foolscope-attacked/color.png")).shape == (28, 28, 1)
    Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8)).save("gray.png")
    assert program("attack", "fgsm:eps=0.1", "gray.png", "--model", "cifar-cnn:weights=none").code == 0
    assert decode_image(Path("foolscope-attacked/gray.png")).shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name image files or a data set with --data: one of the two."),
        (["digit0.png", "--data", "digits"], "name image files or a data set with --data: one of the two."),
        (["--data", "digits", "--label", "3"], "--label is for image files: the images of --data have labels."),
        (["digit0.png", "--label", "1", "--label", "2"], "2 labels for 1 images: give one, or one for each."),
        (["digit0.png", "--label", "10"], "class 10: lenet has classes 0 to 9."),
        (["digit0.png", "--label", "six"], "lenet has no class 'six'. A number from 0 to 9 will do."),
        (["digit0.png", "--label=-1"], "lenet has no class '-1'. A number from 0 to 9 will do."),
        (["digit0.png", "--target", "12"], "class 12: lenet has classes 0 to 9."),
        (["nothere.png"], "nothere.png: no such file."),
        (["folder"], "folder: cannot be read (Is a directory)."),
        (["text.png"], "text.png: not an image that Pillow can read."),
        (["half.png"], "half.png: damaged image (image file is truncated)."),
        (["large.png"], "lenet takes images of 1 x 28 x 28 (channels x height x width), got 1 x 30 x 40."),
        (
            ["digit0.png", "large.png"],
            "lenet takes images of 1 x 28 x 28 (channels x height x width), got 1 x 30 x 40.",
        ),
        (["digit0.png", "--limit", "1"], "--limit and --split are for --data: leave them out with image files."),
        (["digit0.png", "--split", "train"], "--limit and --split are for --data: leave them out with image files."),
        (
            ["digit0.png", "digit1.png", "--label", "1", "--label", "3", "--target", "3"],
            "--target 3 is the true class by --label: name another one.",
        ),
        (
            ["digit0.png", "--out", "text.png"],
            "cannot write into text.png: text.png is a file, not a folder: name another --out.",
        ),
        (
            ["digit0.png", "--out", "text.png/a"],
            "cannot write into text.png/a: text.png is a file, not a folder: name another --out.",
        ),
    ],
)
def test_says_what_is_wrong_and_writes_nothing(
    program: Program, net: str, files: list[Path], arguments: list[str], message: str
) -> None:
    Path("folder").mkdir()
    Path("text.png").write_text("hello")
    Path("half.png").write_bytes(files[0].read_bytes()[:100])
    Image.new("L", (40, 30)).save("large.png")
    before = sorted(Path().rglob("*"))
    assert program.fails("attack", "pgd:eps=0.1", *arguments, "--model", net) == message
    assert sorted(Path().rglob("*")) == before


def test_classes_by_name(program: Program) -> None:
    """Names are compared without case, spaces and underscores; one that stands for two classes is refused."""
    from foolscope.cli.attack import class_index
    from foolscope.errors import SpecError
    from foolscope.models.classifier import Classifier
    from tests.experiments.networks import Linear

    names = ("Great white shark", "crane", "tench", "crane")
    model = Classifier(Linear(4), name="zoo", input_shape=(1, 28, 28), num_classes=4, class_names=names)
    assert class_index(model, "great_white_shark", 4) == 0
    assert class_index(model, "TENCH", 4) == 2
    assert class_index(model, "3", 4) == 3
    with pytest.raises(SpecError, match=r"^'crane' is class 1 and 3 of zoo: give one\.$"):
        class_index(model, "crane", 4)
    with pytest.raises(
        SpecError, match=r"^zoo has no class 'trench'\. Did you mean tench\? A number from 0 to 3 will do"
    ):
        class_index(model, "trench", 4)


def test_some_of_the_images_are_marked_as_a_preview(program: Program, net: str) -> None:
    asked = ("attack", "fgsm:eps=0.1", "--data", "digits", "--model", net)
    assert program(*asked, "--limit", 3).out.splitlines()[0] == "digits test (3 of 500 images): a preview"
    assert "preview" not in program(*asked).out


def test_images_of_different_sizes_are_attacked_size_by_size(program: Program) -> None:
    Path("sized.py").write_text(
        "import torch\nfrom torch import nn\n\n\ndef build():\n    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3))\n"
    )
    rng = np.random.default_rng(0)
    sizes = {"a.png": (20, 24), "b.png": (16, 16), "c.png": (20, 24)}
    for name, size in sizes.items():
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(name)
    asked = ("attack", "pgd:eps=0.2,steps=3", "--model", "py:sized:build", "--label", 0, "--label", 1, "--label", 2)
    together = program(*asked, *sizes, "--json").json["images"]
    assert [Path(row["file"]).name for row in together] == ["000-a.png", "001-b.png", "002-c.png"]
    assert [row["label"] for row in together] == ["0", "1", "2"]
    for row, (name, size) in zip(together, sizes.items(), strict=True):
        assert decode_image(Path(row["file"])).shape == (*size, 1)
        (alone,) = program(*asked[:4], "--label", row["label"], name, "--out", "alone", "--json").json["images"]
        assert {**alone, "file": ""} == {**row, "file": ""}
