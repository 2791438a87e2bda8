"""`explain`: a page, figures and numbers, and one line for everything that cannot be explained."""

from __future__ import annotations

import html
import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from foolscope import explain
from foolscope.attacks import Untargeted, parse_attack
from foolscope.cli.explain_inputs import bands, file_names, layers, qualities
from foolscope.cli.explain_methods import METHODS
from foolscope.explain import Band
from foolscope.explain.frequencies import CORNER
from foolscope.images import encode_png
from foolscope.randomness import generator
from tests.cli.running import Outcome, Program
from tests.experiments.networks import digits, digits_lenet

SMALL = ("--resolution", "4", "--reach", "1", "--qualities", "50,10", "--limit", "6")
EVERYTHING = ",".join(METHODS)
BLACK_BOX = """
import torch
from torch import nn


class Box(nn.Module):
    differentiable = False
    input_shape = (1, 28, 28)

    def forward(self, x):
        with torch.no_grad():
            return torch.stack([x.mean((1, 2, 3)), x.amax((1, 2, 3))], 1)


class Dense(nn.Module):
    input_shape = (1, 28, 28)

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(784, 10)

    def forward(self, x):
        return self.layer(x.flatten(1))
"""


@pytest.fixture
def module(program: Program) -> None:
    Path("explained.py").write_text(BLACK_BOX)


def run(program: Program, *arguments: object) -> Outcome:
    outcome = program("explain", *arguments)
    assert outcome.code == 0, outcome.err
    return outcome


def test_a_random_defense_draws_what_the_seed_says(program: Program, net: str) -> None:
    asked = ("digits", "--model", net, "--attack", "fgsm:eps=0.1", "--limit", "6", "--defense", "noise:sigma=0.3")
    first, second, other = (
        run(program, *asked, "--seed", seed, "--out", f"out{number}", "--json").json
        for number, seed in enumerate(("3", "3", "4"))
    )
    assert first["images"] == second["images"]
    assert first["methods"] == second["methods"]
    assert first["methods"] != other["methods"]


def test_all_methods_write_one_page_and_their_files(program: Program, net: str) -> None:
    asked = ("digits", "--model", net, "--method", EVERYTHING, "--attack", "pgd:eps=0.2,steps=5", *SMALL)
    outcome = run(program, *asked, "--json")
    assert outcome.err == f"Explanation: {Path('foolscope-explained/explain.html').resolve()}\n"
    told = outcome.json
    assert told == json.loads(Path("foolscope-explained/explain.json").read_text())
    assert list(told["methods"]) == list(METHODS)
    written = {path.name for path in Path("foolscope-explained").iterdir()}
    named = {name for method in told["methods"].values() for name in method["files"]}
    assert written == named | {"explain.html", "explain.json"}
    assert all(method["measures"] for method in told["methods"].values())
    assert [image["class"] for image in told["images"]] == digits(6).labels.tolist()
    page = Path("foolscope-explained/explain.html").read_text()
    assert page.count("<section>") == len(METHODS) + 3
    for method in told["methods"].values():
        for measure in method["measures"]:
            assert measure["what"].split(" ")[0] in page
    with Image.open("foolscope-explained/jpeg.gif") as movie:
        assert movie.n_frames == 2  # type: ignore[attr-defined]


def test_what_it_says_is_what_the_library_says(program: Program, net: str) -> None:
    run(program, "digits", "--model", net, "--attack", "fgsm:eps=0.1", "--limit", "4", "--out", "here")
    data, model = digits(4), digits_lenet()
    found = torch.from_numpy(np.load("here/saliency.npy"))
    torch.testing.assert_close(found, explain.saliency(model, data.images, data.labels))
    attacked = parse_attack("fgsm:eps=0.1")(model, data.images, Untargeted(data.labels), rng=generator(0)).images
    found = torch.from_numpy(np.load("here/saliency-attacked.npy"))
    torch.testing.assert_close(found, explain.saliency(model, attacked, data.labels))


def test_the_command_that_is_told_repeats_it(program: Program, net: str) -> None:
    asked = ("digits", "--model", net, "--method", "heatmap,bands", "--reach", "1", "--norm", "2.5", "--limit", "5",
             "--seed", "3", "--bands", "0,0.2", "--defense", "jpeg:quality=30")  # fmt: skip
    first = run(program, *asked, "--json").json
    words = shlex.split(first["about"]["command"])
    assert words[:2] == ["foolscope", "explain"]
    assert "--direction" not in words
    assert run(program, *words[2:], "--json").json == first
    assert first["about"]["defense"] == "jpeg:quality=30"
    assert first["methods"]["heatmap"]["norm"] == 2.5
    assert first["methods"]["heatmap"]["clipped"], "a defense takes images in [0, 1] alone"


def test_files_are_explained_for_what_the_model_sees_or_is_told(program: Program, net: str) -> None:
    for number, image in enumerate(digits(2).images):
        Path(f"digit{number}.png").write_bytes(encode_png(image))
    told = run(program, "digit0.png", "digit1.png", "--model", net, "--json").json
    seen = digits_lenet()(digits(2).images).argmax(1).tolist()
    assert [image["class"] for image in told["images"]] == seen
    assert told["about"]["data"]["spec"] == "2 files"
    assert [image["file"] for image in told["images"]] == ["digit0.png", "digit1.png"]
    page = Path("foolscope-explained/explain.html").read_text()
    assert "2 images: digit0.png and digit1.png" in page
    assert "digit1.png: " in page and "image 0" not in page
    told = run(program, "digit0.png", "--model", net, "--label", "7", "--json").json
    assert [image["class"] for image in told["images"]] == [7]
    outcome = run(program, "digit0.png", "--model", net)
    assert "share of the map on its strongest 10 % of pixels" in outcome.out


def test_a_folder_does_not_hide_the_data_set_of_its_name(program: Program, net: str) -> None:
    Path("digits").mkdir()
    assert run(program, "digits", "--model", net, "--limit", "2", "--json").json["about"]["data"]["spec"] == "digits"


def test_files_of_one_name_are_told_apart_by_their_folders() -> None:
    assert file_names(["a/x.png", "b/y.png"]) == ("x.png", "y.png")
    assert file_names(["a/x.png", "b/x.png"]) == ("a/x.png", "b/x.png")


def test_layers_may_be_named_and_are_listed(program: Program, net: str) -> None:
    names = run(program, "--model", net, "--layer", "list", "--json").json
    assert list(names) == explain.layer_names(digits_lenet())
    assert names["network.features.3"] == "Conv2d"
    assert "network.features.3" in run(program, "--model", net, "--layer", "list").out
    named = ("--layer", "network.features.0", "--layer", "logits", "--defense", "bits:depth=3")
    told = run(
        program, "digits", "--model", net, "--method", "transfer-function,grad-cam", *SMALL, *named, "--json"
    ).json
    functions = told["methods"]["transfer-function"]["functions"]
    assert [one["layer"] for one in functions] == ["model.network.features.0", None]
    assert told["methods"]["grad-cam"]["layer"] == "model.network.features.0"
    assert layers(digits_lenet(), ["network.features.3", "logits"], False, net) == ("network.features.3", "logits")


def test_methods_are_listed(program: Program) -> None:
    assert run(program, "--method", "list", "--json").json == {name: one.summary for name, one in METHODS.items()}
    assert "gradients, --attack" in run(program, "--method", "list").out


def test_a_black_box_has_its_frequencies_explained(program: Program, module: None) -> None:
    asked = ("digits", "--model", "py:explained:Box", *SMALL)
    told = run(program, *asked, "--method", "transfer-function,heatmap,jpeg", "--json").json
    assert list(told["methods"]) == ["transfer-function", "heatmap", "jpeg"]
    message = program.fails("explain", *asked, "--method", "bands,saliency")
    assert message == (
        "saliency needs gradients and Box gives none: transfer functions, Fourier heat maps and band tests work "
        "without."
    )


def test_an_audit_explains_its_strongest_attack(program: Program, net: str) -> None:
    asked = ("audit", net, "--data", "digits", "--limit", "6", "--attacks", "fgsm", "--eps", "0.2", "--out", "audited")
    outcome = program(*asked, "--explain", "saliency,grad-cam", "--json")
    assert outcome.code == 0, outcome.err
    told = outcome.json
    assert [one["method"] for one in told["explained"]["methods"]] == ["saliency", "grad-cam"]
    assert "--explain saliency,grad-cam" in told["about"]["command"]
    page = Path("audited/report.html").read_text()
    again = re.search(r"<code>(foolscope explain .*?)</code>", page)
    assert again is not None
    words = shlex.split(html.unescape(again[1]))
    assert words[words.index("--method") + 1] == "saliency,grad-cam,stability,spectrum"
    assert run(program, *words[2:-2], "--limit", "6", "--json").json["about"]["attack"] == "fgsm:eps=0.2"
    message = program.fails(*asked, "--explain", "stability")
    assert message.endswith("grad-cam, not by 'stability'. Did you mean saliency?")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digits"], "name a model with --model: 'foolscope models' lists them."),
        (["--model", "lenet"], "name image files or a data set: 'foolscope explain digits --model lenet'."),
        (["nope.png", "--model", "lenet"], "nope.png: no such file."),
        (["mine", "--model", "lenet"], "mine is a folder: name its images, or it as a data set, 'folder:mine'."),
        (["digts", "--model", "lenet"], "unknown data set 'digts'. Did you mean digits? 'foolscope datasets' lists "
         "all."),
        (["digits", "--model", "lenet", "--method", "salency"], "unknown method 'salency'. Did you mean saliency, "
         "stability? 'foolscope explain --method list' lists all."),
        (["digits", "--model", "lenet", "--layer", "features.0"], "lenet has no layer 'features.0'. Did you mean "
         "network.features.0, network.features.5, network.features.4? 'foolscope explain --model lenet --layer list' "
         "lists all."),
        (["digits", "--model", "lenet", "--method", "spectrum"], "spectrum needs an attack: name one, such as "
         "--attack pgd:eps=8/255, or files by --against."),
        (["digits", "--model", "lenet", "--against", "a.png"], "--against is for image files: the images of a data set "
         "are attacked by --attack."),
        (["a.png", "--model", "lenet", "--against", "b.png", "--attack", "fgsm"], "--against has the adversarial "
         "images already: leave out --attack."),
        (["a.png", "a.png", "--model", "lenet", "--against", "b.png"], "1 adversarial file for 2 images: name one "
         "for each."),
        (["a.png", "--model", "lenet", "--against", "b.png"], "b.png has 20 x 28 pixels, its original 28 x 28."),
        (["a.png", "--model", "lenet", "--against", "a.png"], "a.png: the same pixels as the originals, so there is "
         "nothing to explain."),
        (["digits", "--model", "lenet", "--method", "heatmap", "--reach", "14"], "reach must be between 0 and 13 "
         "cycles a side for images of 28 pixels, got 14: more is above the Nyquist frequency, 0.5 cycles per pixel."),
        (["digits", "--model", "lenet", "--bands", "0,0.8"], "a band needs 0 <= low < high <= 0.7071 cycles per pixel "
         "(the corner of the plane; Nyquist is 0.5 along an axis), got 0 to 0.8."),
        (["digits", "--model", "lenet", "--bands", "0.3,0.1"], "--bands '0.3,0.1': edges must ascend."),
        (["digits", "--model", "lenet", "--qualities", "low"], "--qualities 'low': expected whole numbers, as in "
         "10,50,90 or 10:90:20."),
        (["digits", "--model", "lenet", "--qualities", "0:50:10"], "--qualities must be between 1 and 100, got "
         "'0:50:10'."),
        (["digits", "--model", "lenet", "--reshape", "token"], "--reshape must be tokens or channels-last, got "
         "'token'."),
        (["digits", "--model", "lenet", "--label", "3"], "--label is for image files: the images of a data set have "
         "labels."),
        (["digits", "--model", "lenet", "--method", "transfer-function", "--direction", "red"], "a gray image has no "
         "red: direction must be gray."),
        (["digits", "--model", "lenet", "--attack", "pgd:eps=0", "--limit", "3"], "pgd:eps=0 changed no image, of 3 "
         "with 3 classified right: only those are attacked."),
        (["digits", "--model", "py:explained:Dense", "--method", "grad-cam"], "Dense has no convolution with more than "
         "one position: name a layer (layer=) and how its answer becomes (N, C, H, W) (reshape=); "
         "fs.explain.layer_names(model) lists the layers. Here the options --layer and --reshape do; '--layer list' "
         "lists them."),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(program: Program, module: None, net: str, arguments: list[str], message: str) -> None:
    Path("mine").mkdir()
    for name, width in {"a": 28, "b": 20}.items():
        Image.new("L", (width, 28), 90).save(f"{name}.png")
    known = [net if argument == "lenet" else argument for argument in arguments]
    assert program.fails("explain", *known) == message.replace("--model lenet --layer", f"--model {net} --layer")


def test_images_of_one_color(program: Program, net: str) -> None:
    for number, level in enumerate((0, 90)):
        Image.fromarray(np.full((28, 28), level, np.uint8)).save(f"flat{number}.png")
    for method in ("bands", "faithfulness"):
        message = program.fails("explain", "flat0.png", "flat1.png", "--model", net, "--method", method)
        assert message == f"{method} needs images that show something: every image has one color."
    outcome = run(program, "flat0.png", "flat1.png", "--model", net, "--method", "saliency,grad-cam")
    assert outcome.err.startswith("warning: 2 of 2 images have one color: nothing can be seen in them.\n")


def test_files_of_two_sizes(program: Program) -> None:
    for name, size in (("a.png", (28, 28)), ("b.png", (32, 20))):
        Image.new("L", size, 7).save(name)
    message = program.fails("explain", "a.png", "b.png", "--model", "lenet")
    assert message == "files to explain together must have one size: a.png has 28 x 28, b.png 32 x 20."


def test_qualities_and_bands_are_read() -> None:
    assert qualities("90,10,10") == (10, 90)
    assert qualities("10:50:20") == (10, 30, 50)
    assert bands(None) == explain.BANDS
    assert bands("0,0.1,0.3") == (Band(0, 0.1), Band(0.1, 0.3), Band(0.3, CORNER))
    assert bands("0.1,0.7071") == (Band(0.1, CORNER),)


def test_every_method_tells_what_it_needs() -> None:
    known: dict[str, Any] = {name: (one.needs_gradients, one.needs_attack) for name, one in METHODS.items()}
    assert [name for name, (_, attack) in known.items() if attack] == ["stability", "spectrum"]
    assert [name for name, (gradients, _) in known.items() if not gradients] == [
        "transfer-function", "jpeg", "spectrum", "heatmap", "bands",
    ]  # fmt: skip
