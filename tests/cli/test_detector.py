"""`detector` and `detectors`: calibrating, judging on attacks, looking at files, and what goes wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from foolscope.attacks import Untargeted, parse_attack
from foolscope.data import load_data
from foolscope.defenses import CalibratedDetector, halves, parse_detector, roc
from foolscope.files import write_bytes
from foolscope.images import encode_png, quantize
from foolscope.models import load_model
from foolscope.randomness import generator
from tests.cli.running import Program
from tests.experiments.networks import digits, digits_lenet

ATTACK = "fgsm:eps=0.2"


@pytest.fixture
def saved() -> Path:
    """A calibrated detector in the current folder."""
    path = Path("detector.json")
    parse_detector("fs").calibrate(digits_lenet(), digits(200).images, rate=0.1).save(path)
    return path


def pictures(folder: Path, images: Tensor) -> list[Path]:
    paths = [folder / f"{number}.png" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        write_bytes(path, encode_png(image))
    return paths


def test_calibrates_judges_and_saves(program: Program, net: str) -> None:
    outcome = program(
        "detector", net, "--data", "digits", "--limit", 300, "--rate", 0.1, "--seed", 3, "--attack", ATTACK,
        "--attack", "fgsm:eps=0", "--out", "made/detector.json", "--json",
    )  # fmt: skip
    assert outcome.code == 0
    assert outcome.err == f"Detector: {Path('made/detector.json').resolve()}\n"
    model, data = digits_lenet(), load_data("digits", limit=300, seed=3)
    first, second = (data.rows(rows) for rows in halves(300, seed=3))
    found = parse_detector("fs").calibrate(model, first.images, 0.1)
    assert CalibratedDetector.load(Path("made/detector.json")).to_json() == outcome.json["detector"]
    assert outcome.json["detector"]["detector"] == found.detector.spec()
    clean = found.score(model, second.images)
    assert outcome.json["clean"]["successes"] == int((clean > found.threshold).sum())
    assert outcome.json["clean"]["trials"] == outcome.json["data"]["images"] == 150
    result = parse_attack(ATTACK)(model, second.images, Untargeted(second.labels), rng=generator(3))
    fooling = result.images[result.success & ~result.already]
    judged, idle = outcome.json["attacks"]
    assert judged["fooled"] == judged["detected"]["trials"] == len(fooling) > 20
    curve = roc(clean, found.score(model, fooling))
    assert judged["auc"] == curve.auc
    assert judged["roc"]["true_positive"] == curve.true_positive.tolist()
    assert judged["roc"]["thresholds"][-1] is None
    assert idle == {"attack": "fgsm:eps=0", "fooled": 0, "detected": None, "auc": None, "roc": None}


def test_prints_a_table(program: Program, net: str) -> None:
    outcome = program("detector", net, "--data", "digits", "--limit", 200, "--attack", ATTACK, "--attack", "fgm:eps=0")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0].startswith("fs:squeezers=(bits:depth=1;median),threshold=")
    assert lines[1].endswith("calibrated on 100 clean images to detect 5 % of them at most")
    (clean,) = [line.split() for line in lines if line.split()[:1] == ["clean"]]
    assert clean[1] == "100"
    assert any(f"{ATTACK}, those that fool" in line for line in lines)
    assert any("fgm:eps=0, none that fools" in line for line in lines)


def test_a_saved_detector_is_judged_by_all_images(program: Program, net: str, saved: Path) -> None:
    outcome = program("detector", net, "--data", "digits", "--limit", 120, "--use", saved, "--json")
    assert outcome.code == 0
    assert outcome.json["clean"]["trials"] == 120
    assert outcome.json["detector"] == json.loads(saved.read_text())


def test_looks_at_files_and_folders(program: Program, net: str, saved: Path, tmp_path: Path) -> None:
    images = quantize(torch.cat([digits(4).images, 0.5 + 0.5 * digits(4).images[:2]]))
    files = pictures(tmp_path / "pictures", images)
    (tmp_path / "pictures" / "notes.txt").write_text("no image")
    found, model = CalibratedDetector.load(saved), digits_lenet()
    rows = program("detector", net, files[5], tmp_path / "pictures", "--use", saved, "--json").json["images"]
    assert [row["file"] for row in rows] == [str(files[5]), *map(str, files)]
    assert [row["score"] for row in rows[1:]] == pytest.approx(found.score(model, images).tolist(), abs=1e-6)
    assert [row["detected"] for row in rows[1:]] == found.detects(model, images).tolist()
    assert [row["prediction"] for row in rows[1:]] == [str(p) for p in model(images).argmax(1).tolist()]
    outcome = program("detector", net, tmp_path / "pictures", "--use", saved)
    assert [line.split()[0] for line in outcome.out.splitlines() if ".png" in line] == list(map(str, files))
    assert outcome.err == f"detected: score above {found.threshold:.4f}\n"


ANY_SIZE = """
import torch

class Brightness(torch.nn.Module):
    def forward(self, images):
        mean = images.mean((1, 2, 3))
        return torch.stack([3 * mean, torch.zeros_like(mean)], 1)
"""


def test_files_of_several_sizes_are_scored_in_their_order(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "any_size.py").write_text(ANY_SIZE)
    monkeypatch.syspath_prepend(tmp_path)
    model = load_model("py:any_size:Brightness")
    images = [torch.full((1, 3, 9, 7 + number % 2), number / 10) for number in range(5)]
    files = [path for number, image in enumerate(images) for path in pictures(tmp_path / str(number), image)]
    saved = parse_detector("fs").calibrate(model, torch.rand(20, 3, 8, 8, generator=generator(0)))
    saved.save(Path("sizes.json"))
    rows = program("detector", "py:any_size:Brightness", *files, "--use", "sizes.json", "--json").json["images"]
    want = [float(saved.score(model, quantize(image))) for image in images]
    assert [row["score"] for row in rows] == pytest.approx(want, abs=1e-6)


def test_another_models_detector_is_refused(program: Program, saved: Path) -> None:
    own = CalibratedDetector.load(saved)
    message = program.fails("detector", "lenet:weights=digits", "--data", "digits", "--use", saved)
    assert message.startswith(f"the detector was calibrated for lenet ({own.model_digest[:12]}), not for lenet (")
    assert message.endswith("): calibrate it for that model.")


def test_the_detectors_are_listed(program: Program) -> None:
    outcome = program("detectors")
    assert outcome.code == 0
    assert "feature squeezing" in outcome.out
    shown = program("detectors", "fs")
    assert "source: Xu, Evans, Qi 2018, arXiv 1704.01155\n" in shown.out
    assert [p["name"] for p in program("detectors", "fs", "--json").json["parameters"]] == ["squeezers", "threshold"]
    assert (
        program.fails("detectors", "fx") == "unknown detector 'fx'. Did you mean fs? 'foolscope detectors' lists all."
    )


ONE_OF_TWO = "name a data set with --data, or image files to look at: one of the two."
FILES = "image files are looked at with a saved detector, --use FILE, and without --attack."
AS_SAVED = "--use takes the detector as it was saved: leave out --detector, --rate and --out."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], ONE_OF_TWO),
        (["a.png", "--data", "digits"], ONE_OF_TWO),
        (["a.png"], FILES),
        (["a.png", "--use", "detector.json", "--attack", "pgd"], FILES),
        (["--data", "digits", "--use", "detector.json", "--out", "x.json"], AS_SAVED),
        (["--data", "digits", "--use", "detector.json", "--rate", "0.1"], AS_SAVED),
        (["--data", "digits", "--use", "detector.json", "--detector", "fs:squeezers=bits"], AS_SAVED),
        (
            ["--data", "digits", "--detector", "fs:threshold=1"],
            "calibrating finds the threshold: leave it out of --detector 'fs:threshold=1'.",
        ),
        (
            ["--data", "digits", "--use", "none.json"],
            "none.json: no such file; 'foolscope detector' makes one with --out.",
        ),
        (["--data", "digits", "--rate", "2"], "the rate of false positives must be between 0 and 1, got 2."),
        (["--data", "digits", "--limit", "10"], "a rate of 0.05 needs at least 20 clean images, got 5."),
        (["none.png", "--use", "detector.json"], "none.png: no such file."),
        (["empty", "--use", "detector.json"], "empty: no image files in this folder."),
        (["--data", "digits", "--out", "detector.json/x.json"], "cannot write into detector.json: detector.json is a "
         "file, not a folder: name another --out."),
    ],
)  # fmt: skip
def test_what_goes_wrong(program: Program, net: str, saved: Path, arguments: list[str], message: str) -> None:
    Path("empty").mkdir()
    assert program.fails("detector", net, *arguments) == message
