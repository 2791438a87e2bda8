"""Bad input from end to end: one clear line each, exit code 2, and nothing half-written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

import foolscope as fs
from foolscope.errors import InputError
from tests.cli.running import Program
from tests.cli.spoiled.checks import audit, unchanged, unchanged_but_decoded
from tests.experiments.networks import Linear, digits, digits_lenet


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (audit("lenett"), "unknown model 'lenett'. Did you mean lenet, resnet20? 'foolscope models' lists all."),
        (audit("lenet", "digit"), "unknown data set 'digit'. Did you mean digits? 'foolscope datasets' lists all."),
        (
            ["audit", "lenet", "--data", "digits", "--attacks", "fgsm,pdg"],
            "unknown attack 'pdg'. Did you mean pgd, apgd? 'foolscope attacks' lists all.",
        ),
        (
            audit("lenet", "digits", "--defense", "jpge"),
            "unknown defense 'jpge'. Did you mean jpeg? 'foolscope defenses' lists all.",
        ),
        (
            audit("lenet", "digits", "--split", "tset"),
            "digits has no split 'tset'. Did you mean test? It has train and test.",
        ),
        (
            audit("lenet:weights=mnits", "digits"),
            "lenet has no weights 'mnits'. Did you mean mnist, digits? Shipped: weights=digits, weights=mnist. A "
            "file's name ends in .safetensors.",
        ),
        (
            ["audit", "lenet", "--data", "digits", "--attacks", "pgd:epss=0.1"],
            "pgd has no parameter 'epss'. Did you mean eps, steps, step? 'foolscope attacks pgd' lists all.",
        ),
        (
            ["attack", "pgd:eps=0.1", "x.png", "--model", "lenet", "--target", "ten"],
            "x.png: no such file.",
        ),
    ],
)
def test_unknown_names(program: Program, arguments: list[str], message: str) -> None:
    assert unchanged(program, *arguments) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (audit("lenet:"), "malformed spec 'lenet:': nothing follows the colon."),
        (audit("len et"), "malformed spec 'len et': expected NAME or NAME:KEY=VALUE,KEY=VALUE."),
        (audit(""), "malformed spec '': expected NAME or NAME:KEY=VALUE,KEY=VALUE."),
        (audit("lenet:extra=two"), "lenet: extra: 'two' is not a whole number."),
        (audit("lenet:extra=1,extra=2"), "malformed spec 'lenet:extra=1,extra=2': 'extra' is given twice."),
        (audit("lenet:extra=-1"), "lenet: extra must be between 0 and 100, got -1."),
        (audit("lenet:four"), "malformed spec 'lenet:four': 'four' is not KEY=VALUE."),
        (
            audit("torchvision"),
            "malformed spec 'torchvision': expected torchvision:NETWORK, as in 'torchvision:resnet50'.",
        ),
        (audit("py:nets"), "'nets' is not MODULE:FACTORY, as in 'py:mynet:build'."),
        (audit("lenet", "folder"), "malformed spec 'folder': expected folder:PATH, as in 'folder:photos'."),
        (audit("lenet", "hf:mnist"), "malformed data set 'mnist': expected OWNER/NAME, as in 'hf:ylecun/mnist'."),
        (
            ["audit", "lenet", "--data", "digits", "--attacks", "pgd:eps=(0.1"],
            "malformed spec 'pgd:eps=(0.1': its parentheses do not balance.",
        ),
        (
            ["audit", "lenet", "--data", "digits", "--attacks", "pgd:steps=ten"],
            "pgd: steps: 'ten' is not a whole number.",
        ),
        (
            ["audit", "lenet", "--data", "digits", "--eps", "0.1:0.2"],
            "eps: '0.1:0.2' is neither a number nor FIRST:LAST:STEP.",
        ),
        (
            ["audit", "lenet", "--data", "digits", "--eps", "l3=0.1"],
            "eps: unknown norm 'l3' in 'l3=0.1': linf, l2, l1, l0 can bound an attack.",
        ),
        (
            ["audit", "lenet", "--data", "digits", "--attacks", "fgsm", "--eps", "l2=0.1"],
            "eps: no attack is in l2; those asked for are in linf.",
        ),
    ],
)
def test_malformed_specs(program: Program, arguments: list[str], message: str) -> None:
    assert unchanged(program, *arguments) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["audit", "lenet", "--data", "digits", "--eps", "-0.1"], "eps must be at least 0, got -0.1."),
        (
            ["audit", "lenet", "--data", "digits", "--attacks", "pgd:eps=-0.1"],
            "pgd: eps must be between 0 and 1e+06, got -0.1.",
        ),
        (
            ["audit", "lenet", "--data", "digits", "--attacks", "fgsm", "--eps", "0"],
            "fgsm: no radius above 0 is given; 0 is the clean accuracy, always shown.",
        ),
        (
            ["attack", "fgsm:eps=-1/255", "x.png", "--model", "lenet"],
            "fgsm: eps must be between 0 and 1e+06, got -1/255.",
        ),
        (
            ["train", "lenet", "--data", "digits", "--adversarial", "pgd:eps=-1"],
            "pgd: eps must be between 0 and 1e+06, got -1.",
        ),
        (audit("lenet", "digits", "--defense", "jpeg:quality=0"), "jpeg: quality must be between 1 and 100, got 0."),
        (
            audit("lenet", "digits", "--precision", "half"),
            "--precision must be float32, bfloat16 or float64, got 'half'.",
        ),
        (
            audit("lenet", "digits", "--device", "meta"),
            "--device meta is not there: Cannot copy out of meta tensor; no data!",
        ),
    ],
)
def test_values_out_of_range(program: Program, arguments: list[str], message: str) -> None:
    assert unchanged(program, *arguments) == message


def test_a_device_that_is_not_there(program: Program) -> None:
    message = unchanged(program, *audit("lenet", "digits", "--device", "nonsense"))
    assert message.startswith("--device nonsense is not there: ")


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("nans", "Net returns NaN or infinite logits, first for image 0 of the batch."),
        ("images", "Conv2d must return logits of shape (1, K), got (1, 10, 26, 26)."),
        (
            "color",
            "Sequential fails on images of shape (1, 1, 28, 28): Given groups=1, weight of size [4, 3, 3, 3], expected "
            "input[1, 1, 28, 28] to have 3 channels, but got 1 channels instead",
        ),
        ("three", "digits has 10 classes, but Sequential gives 3 logits."),
        ("number", "py:nets:number must return a torch.nn.Module, got int."),
        ("fails", "py:nets:fails fails: ValueError: no luck."),
    ],
)
def test_models_that_break_the_contract(program: Program, factory: str, message: str) -> None:
    assert unchanged(program, *audit(f"py:nets:{factory}")) == message


def test_a_module_that_is_not_there(program: Program) -> None:
    message = f"no Python module 'nothere' in {Path.cwd()} or on the path."
    assert unchanged(program, *audit("py:nothere:build")) == message
    message = f"py:nets:nothing: 'nothing' of {Path.cwd() / 'nets.py'} is not a function that returns a module."
    assert unchanged(program, *audit("py:nets:nothing")) == message


def test_probabilities_are_a_warning_and_no_error(program: Program) -> None:
    outcome = program(*audit("py:nets:soft"), "--json")
    assert outcome.code == 0
    assert "probabilities" in [warning["code"] for warning in outcome.json["warnings"]]


def listed(label: int, size: tuple[int, int] = (28, 28), mode: str = "L") -> str:
    """A folder with one image of that label."""
    folder = Path("listed")
    folder.mkdir()
    Image.new(mode, size).save(folder / "a.png")
    (folder / "labels.csv").write_text(f"file,label\na.png,{label}\n")
    return "folder:listed"


def test_labels_out_of_range(program: Program, net: str) -> None:
    message = unchanged_but_decoded(program, *audit(net, listed(10)))
    assert message == "folder:listed has labels up to 10, but lenet has 10 classes."


@pytest.mark.parametrize(("size", "mode", "have"), [((20, 20), "L", "1 x 20 x 20"), ((28, 28), "RGB", "3 x 28 x 28")])
def test_images_of_another_shape(program: Program, net: str, size: tuple[int, int], mode: str, have: str) -> None:
    message = f"lenet takes images of 1 x 28 x 28 (channels x height x width), got {have}."
    assert unchanged_but_decoded(program, *audit(net, listed(1, size, mode))) == message


def bad(change: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    return change(digits(4).images)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            bad(lambda x: x.index_fill(0, torch.tensor([2]), float("nan"))),
            "images must be finite: image 2 has NaN or infinite pixels.",
        ),
        (bad(lambda x: x * 255), "images must be in [0, 1], found values from 0 to 255. Divide 8-bit images by 255."),
        (bad(lambda x: x.double()), "images must be float32 in [0, 1], got torch.float64."),
        (bad(lambda x: x[:, 0]), "images must have shape (N, C, H, W) with C 1 or 3, got (4, 28, 28)."),
        (bad(lambda x: x.repeat(1, 2, 1, 1)), "images must have shape (N, C, H, W) with C 1 or 3, got (4, 2, 28, 28)."),
        (bad(lambda x: x[..., :20]), "lenet takes images of 1 x 28 x 28 (channels x height x width), got 1 x 28 x 20."),
    ],
    ids=["nan", "bytes", "double", "flat", "two channels", "narrow"],
)
def test_images_that_break_the_contract(images: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError) as caught:
        fs.attacks.FGSM(eps=0.1)(digits_lenet(), images, fs.Untargeted(torch.zeros(4, dtype=torch.int64)))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 2, 10], "labels must be class indices from 0 to 9, found 0 to 10."),
        ([0, 1, 2, -1], "labels must be class indices from 0 to 9, found -1 to 2."),
        ([0, 1], "labels must have shape (4,), one for each image, got (2,)."),
        ([0.0, 1.0, 2.0, 3.0], "labels must be a tensor of whole numbers."),
    ],
)
def test_labels_that_break_the_contract(labels: list[float], message: str) -> None:
    for model in (digits_lenet(), Linear()):
        with pytest.raises(InputError) as caught:
            fs.attacks.FGSM(eps=0.1)(model, digits(4).images, fs.Untargeted(torch.tensor(labels)))
        assert str(caught.value) == message


def test_classes_that_do_not_match_name_both(program: Program, net: str) -> None:
    for name in ("cat", "dog"):
        (Path("animals") / name).mkdir(parents=True)
        Image.new("L", (28, 28)).save(Path("animals") / name / "a.png")
    message = unchanged_but_decoded(program, *audit(net, "folder:animals"))
    assert message == "folder:animals has 2 classes (cat, dog), but lenet has 10 classes."
