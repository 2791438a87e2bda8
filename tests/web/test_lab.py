"""Predict, attack, preview, defend, detect: what the server tells is what the library says of the pixels it shows."""

from __future__ import annotations

import io
import json
import shlex
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

import foolscope as fs
from foolscope.defenses import FeatureSqueezing
from foolscope.filters import AGV_B
from foolscope.images import encode_png, from_uint8, quantize, to_uint8
from foolscope.models import describe, load_model
from foolscope.models.engine import Engine
from foolscope.randomness import generator
from foolscope.web.attacking import BROKEN, Attacking
from foolscope.web.lab import _defended
from foolscope.web.networks import Network
from foolscope.web.pictures import PictureStore, picture_of
from foolscope.web.problems import GoneError, TookTooLongError
from foolscope.web.settings import Settings
from tests.cli.running import Program
from tests.web.serving import Served, refused, serving


def pixels(served: Served, picture: dict[str, Any]) -> NDArray[np.uint8]:
    answer = served.client.get(picture["url"])
    assert answer.status_code == 200
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def tensor(served: Served, picture: dict[str, Any]) -> Tensor:
    shown = pixels(served, picture)
    return from_uint8((shown if shown.ndim == 3 else shown[..., None])[None])


def uploaded(served: Served, seed: int = 0, side: int = 40) -> str:
    noise = torch.nn.functional.interpolate(torch.rand(1, 3, 5, 5, generator=generator(seed)), side)
    answer = served.upload(encode_png(quantize(noise)[0]))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def top(model: str, images: Tensor, count: int = 3) -> list[tuple[int, float]]:
    with torch.no_grad():
        shares, classes = load_model(model)(images).softmax(1)[0].topk(count)
    return list(zip(classes.tolist(), shares.tolist(), strict=True))


def same_top(told: list[dict[str, Any]], expected: list[tuple[int, float]]) -> None:
    assert [entry["index"] for entry in told] == [index for index, _ in expected]
    assert [entry["probability"] for entry in told] == pytest.approx([share for _, share in expected], abs=1e-5)


@pytest.mark.parametrize("model", ["cifar-cnn", "resnet20", "lenet:weights=digits"])
@pytest.mark.parametrize("image", ["photos-0", "digits-3", "upload"])
def test_what_is_shown_is_what_was_classified(served: Served, model: str, image: str) -> None:
    answer = served.post("/predict", model=model, image=uploaded(served) if image == "upload" else image, top=4)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    same_top(told["top"], top(model, tensor(served, told["shown"]), 4))
    side = 28 if model.startswith("lenet") else 32
    assert (told["shown"]["width"], told["shown"]["height"]) == (side, side)


def test_a_preset_is_correct_or_the_dialog_says_why_not(served: Served) -> None:
    right = served.post("/predict", model="cifar-cnn", image="photos-0").json()
    assert right["truth"] == {"index": 3, "name": "cat"}
    assert right["correct"] is True
    assert right["notes"] == ["cifar-cnn sees 32 x 32 pixels: scaled from 224 x 224"]
    assert right["message"] == "Correct: cifar-cnn sees 'cat'."
    wrong = next(
        told
        for row in range(60)
        if not (told := served.post("/predict", model="lenet", image=f"digits-{row}").json())["correct"]
    )
    seen, truth = wrong["top"][0]["name"], wrong["truth"]["name"]
    assert wrong["message"].startswith(f"Incorrect: lenet sees '{seen}', not '{truth}'. What is misclassified already ")
    attacked = served.post("/attack", model="lenet", image=wrong["shown"]["id"], attack="fgsm").json()
    assert attacked["truth"]["index"] == wrong["top"][0]["index"], "an upload's truth is what the network sees"


def test_an_uploads_truth_is_the_callers(served: Served) -> None:
    image = uploaded(served, 1)
    told = served.post("/predict", model="resnet20", image=image).json()
    assert told["truth"] is None
    assert told["correct"] is None
    assert told["message"].endswith("That is taken for the truth unless you choose another of these.")
    second = told["top"][1]["index"]
    attacked = served.post("/attack", model="resnet20", image=image, attack="fgsm", label=second).json()
    assert attacked["truth"]["index"] == second
    assert attacked["already"] is True
    assert attacked["adversarial"]["id"] == attacked["original"]["id"], "what is wrong already is left as it is"
    assert "there is nothing to attack" in attacked["message"]


def test_a_class_that_the_network_does_not_know(served: Served) -> None:
    told = served.post("/predict", model="resnet20", image="photos-1").json()
    assert told["truth"] is None
    assert told["correct"] is False, "whatever it sees"
    hint = "so it cannot be right: try another picture, such as photos-0 of photographs (tabby)."
    assert told["message"] == f"resnet20 sees '{told['top'][0]['name']}'. It has no class 'espresso', {hint}"
    digit = served.post("/predict", model="lenet:weights=digits", image="photos-1").json()
    assert digit["message"].endswith("such as digits-0 of handwritten digits (0).")
    defended = served.post("/defend", model="resnet20", image="photos-1", defense="bits").json()
    assert defended["correct"] is False


ATTACKS = [
    {"model": "resnet20", "image": "photos-0", "attack": "pgd:eps=6/255,steps=8", "seed": 7},
    {"model": "resnet20", "image": "photos-0", "attack": "pgd:eps=16/255,steps=10", "target": 5},
    {"model": "cifar-cnn", "image": "photos-0", "chain": "agv-b"},
    {"model": "lenet:weights=digits", "image": "digits-0", "attack": "fgsm:eps=0.2", "seed": 3},
]


@pytest.mark.parametrize("asked", ATTACKS, ids=lambda asked: f"{asked['model']}-{asked.get('attack', 'chain')}")
def test_an_attack_tells_what_it_did_and_how_to_repeat_it(
    served: Served, asked: dict[str, Any], program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = served.post("/attack", **asked)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    before, after = (tensor(served, told[name]) for name in ("original", "adversarial"))
    same_top(told["top_before"], top(asked["model"], before))
    same_top(told["top"], top(asked["model"], after))
    seen = told["top"][0]["index"]
    assert told["success"] == (seen == told["target"]["index"] if told["target"] else seen != told["truth"]["index"])

    gap = (after - before).double()
    assert told["distances"]["linf"] == pytest.approx(float(gap.abs().max()), rel=1e-5)
    assert told["distances"]["l2"] == pytest.approx(float(gap.norm()), rel=1e-5)
    assert told["distances"]["l1"] == pytest.approx(float(gap.abs().sum()), rel=1e-5)
    noise = tensor(served, told["noise"])
    expected = (0.5 + told["noise_factor"] * gap).clamp(0, 1)
    assert float((noise - expected).abs().max()) <= 0.51 / 255, "signed around gray"

    saved = served.client.get(told["original"]["url"]).content
    wanted = served.client.get(told["adversarial"]["url"], params={"download": 1})
    assert wanted.headers["content-disposition"] == f'attachment; filename="{told["adversarial"]["id"]}.png"'
    repeat = told["reproduce"]
    for way in ("python", "command"):
        folder = tmp_path / way
        folder.mkdir()
        monkeypatch.chdir(folder)
        (folder / repeat["file"]).write_bytes(saved)
        if way == "python":
            exec(compile(repeat["python"], "reproduce.py", "exec"), {})
        else:
            words = shlex.split(repeat["command"])
            assert words[0] == "foolscope"
            assert program(*words[1:]).code in (0, None)
        assert (folder / "adversarial" / repeat["file"]).read_bytes() == wanted.content, way


def test_the_seed_decides(served: Served) -> None:
    asked = {"model": "resnet20", "image": "photos-0", "attack": "pgd:eps=2/255,steps=1"}
    first, again, other = (served.post("/attack", **asked, seed=seed).json()["adversarial"]["id"] for seed in (1, 1, 2))
    assert first == again != other


def test_a_preview_is_the_attacks_image(served: Served) -> None:
    query = {"image": "photos-0", "model": "cifar-cnn", "chain": "agv-b"}
    answer = served.get("/preview.png", params=query)
    assert answer.headers["content-type"] == "image/png"
    shown = np.asarray(Image.open(io.BytesIO(answer.content)))
    seen = served.post("/predict", model="cifar-cnn", image="photos-0").json()["shown"]
    assert np.array_equal(shown[None], to_uint8(AGV_B(tensor(served, seen))))
    attacked = served.post("/attack", model="cifar-cnn", image="photos-0", chain="agv-b").json()
    assert np.array_equal(shown, pixels(served, attacked["adversarial"]))
    whole = served.get("/preview.png", params={"image": "photos-0", "chain": "clarendon"})
    assert Image.open(io.BytesIO(whole.content)).size == (224, 224)


def test_a_defense_is_the_librarys(served: Served) -> None:
    told = served.post("/defend", model="resnet20", image="photos-0", defense="jpeg:quality=30|bits:depth=4").json()
    seen = served.post("/predict", model="resnet20", image="photos-0").json()["shown"]
    expected = quantize(fs.parse_defense("jpeg:quality=30|bits:depth=4")(tensor(served, seen)))
    assert torch.equal(tensor(served, told["shown"]), expected)
    same_top(told["top"], top("resnet20", expected))
    assert told["correct"] == (told["top"][0]["index"] == told["truth"]["index"])


def test_a_defense_ends_with_its_time_and_its_caller() -> None:
    images, defense = torch.zeros(1, 3, 4, 4), fs.parse_defense("bits|bits")
    stop = threading.Event()
    with pytest.raises(TookTooLongError, match=r"^bits\|bits takes longer than the -1 s that it may here\.$"):
        _defended(defense, images, stop, -1)
    stop.set()
    with pytest.raises(GoneError):
        _defended(defense, images, stop, 60)


def test_a_defense_holds_up_nothing_else(served: Served) -> None:
    whole, waits = {"model": "resnet20", "image": "photos-0"}, threading.Event()
    with ThreadPoolExecutor(1) as pool:
        blocked = served.services.lab._defending._executor.submit(waits.wait, 60)
        answer = pool.submit(lambda: served.post("/defend", **whole, defense="bits"))
        try:
            assert served.post("/detect", **whole).status_code == 200
            assert served.post("/attack", **whole, attack="fgsm").status_code == 200
            assert not answer.done()
        finally:
            waits.set()
        assert blocked.result()
        assert answer.result().status_code == 200


@pytest.mark.parametrize("path", ["predict", "defend", "detect"])
def test_what_is_told_can_be_repeated(
    served: Served, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    defense = {"defense": "jpeg:quality=30"} if path == "defend" else {}
    told = served.post(f"/{path}", model="lenet:weights=digits", image="digits-1", **defense).json()
    again = told["reproduce"]
    assert again["command"] is None
    assert again["versions"]["foolscope"] == fs.__version__
    monkeypatch.chdir(tmp_path)
    Path(again["file"]).write_bytes(served.get(f"/images/{again['file']}").content)
    exec(compile(again["python"], "reproduce.py", "exec"), {})
    lines = [[float(word) for word in line.split()] for line in capsys.readouterr().out.splitlines()]
    if path == "detect":
        assert lines == [[pytest.approx(told["score"], abs=1e-5)]]
    else:
        assert lines == [[entry["index"], pytest.approx(entry["probability"], abs=1e-5)] for entry in told["top"]]


def test_a_detector_finds_its_threshold_in_the_background(served: Served) -> None:
    asked = {"model": "lenet:weights=digits", "image": "digits-1"}
    deadline = time.monotonic() + 60
    while (told := served.post("/detect", **asked).json())["calibration"] == "calibrating":
        assert told["threshold"] is None
        assert told["detected"] is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert told["calibration"] == "calibrated", told
    assert told["detected"] == (told["score"] > told["threshold"])
    seen = served.post("/predict", **asked).json()["shown"]
    detector = FeatureSqueezing.usual((1, 28, 28))
    score = float(detector.score(Engine(load_model(asked["model"])), tensor(served, seen)))
    assert told["score"] == pytest.approx(score, abs=1e-5)
    assert list((served.home / "web" / "detectors").glob("*.json")), "kept for the next start"


@pytest.mark.parametrize(
    ("path", "body", "status", "kind", "line"),
    [
        ("predict", {"model": "py:os:system"}, 404, "not-found", "this server offers no model 'py:os:system'."),
        ("predict", {"model": "file:/etc/passwd"}, 404, "not-found", "offers no model 'file:/etc/passwd'."),
        ("predict", {"model": "onnx:http://evil/x.onnx"}, 404, "not-found", "'foolscope serve --allow-models "),
        ("predict", {"model": "lenet:weights=/etc/passwd"}, 404, "not-found", "offers no model"),
        ("predict", {"model": "lenet:weights=../../x"}, 404, "not-found", "offers no model"),
        ("predict", {"model": "hf-hub:a/b"}, 404, "not-found", "offers no model"),
        ("predict", {"model": "((("}, 422, "spec", "((("),
        ("predict", {"model": ""}, 422, "invalid", "model: "),
        ("predict", {"model": 5}, 422, "invalid", "model: "),
        ("predict", {"image": "../../etc/passwd"}, 404, "not-found", "there is no image '../../etc/passwd'"),
        ("predict", {"image": "0" * 32}, 404, "not-found", "upload it (again)"),
        ("predict", {"image": "photos-999999"}, 404, "not-found", "photographs has the images photos-0 to photos-"),
        ("predict", {"image": "nothing-0"}, 404, "not-found", "the gallery has no set 'nothing'"),
        ("predict", {"image": "folder:/etc-0"}, 404, "not-found", "there is no image"),
        ("predict", {"top": 0}, 422, "invalid", "top: "),
        ("predict", {"unknown": 1}, 422, "invalid", "unknown: "),
        ("attack", {"attack": "pgd:eps=-1"}, 422, "parameter", "eps"),
        ("attack", {"attack": "pgd:eps=nan"}, 422, "*", "eps"),
        ("attack", {"attack": "pgdd"}, 422, "spec", "pgd"),
        ("attack", {"attack": "filter:chain=/etc/passwd"}, 422, "*", "passwd"),
        ("attack", {}, 422, "spec", "name an attack or a chain: one of the two."),
        ("attack", {"attack": "fgsm", "chain": "agv-a"}, 422, "spec", "name an attack or a chain: one of the two."),
        ("attack", {"chain": "0" * 20}, 404, "not-found", "there is no chain"),
        ("attack", {"chain": "|".join(["juno"] * 11)}, 422, "*", "10"),
        ("attack", {"attack": "fgsm", "label": 10}, 422, "input", "resnet20 has classes 0 to 9."),
        ("attack", {"attack": "fgsm", "target": 10}, 422, "input", "resnet20 has classes 0 to 9."),
        ("attack", {"attack": "fgsm", "target": 3, "label": 3}, 422, "parameter", "another class than"),
        ("attack", {"attack": "fgsm", "label": -1}, 422, "invalid", "label: "),
        ("attack", {"attack": "fgsm", "seed": 2**70}, 422, "invalid", "seed: "),
        ("attack", {"attack": "fgsm", "seed": 1.5}, 422, "invalid", "seed: "),
        ("defend", {"defense": "jpeg:quality=0"}, 422, "parameter", "quality"),
        ("defend", {"defense": "|".join(["bits"] * 9)}, 422, "parameter", "a defense has at most 8 transforms here."),
        ("defend", {"defense": "py:os"}, 422, "spec", "py"),
        ("defend", {"defense": "bits|tv:steps=201"}, 422, "parameter", "tv: steps must be at most 200 here, got 201."),
    ],
)  # fmt: skip
def test_refusals_are_one_line(
    served: Served, path: str, body: dict[str, Any], status: int, kind: str, line: str
) -> None:
    answer = served.post(f"/{path}", **{"model": "resnet20", "image": "photos-0"} | body)
    found = refused(answer, status, kind if kind != "*" else answer.json()["kind"])
    assert line in found


@pytest.mark.parametrize(
    "attack",
    ["pgd:eps=1e308,steps=3", "fgm:eps=1e308", "bim:eps=1e-300,steps=2", "pgd:eps=0,steps=1", "pgd:eps=1e400",
     "pgd:eps=1/0", "pgd:eps=0x10", "pgd:eps=9/1e-320"],
)  # fmt: skip
def test_absurd_parameters_are_answered(served: Served, attack: str) -> None:
    answer = served.post("/attack", model="resnet20", image="digits-0", attack=attack, label=0, target=1)
    assert answer.status_code in (200, 422), answer.text


@pytest.mark.parametrize("text", ["\ud800", "\x00", "a\nb", "\u202e" * 9, "ä" * 200])
def test_strange_text_is_answered(served: Served, text: str) -> None:
    body = json.dumps({"model": "resnet20", "image": text}).encode()
    headers = {"content-type": "application/json"}
    answer = served.client.post("/api/v1/predict", content=body, headers=headers)
    assert answer.status_code in (404, 422), answer.text
    assert "\n" not in answer.json()["detail"]


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff\xfe", b'{"model": NaN}', b"[" * 60_000, b"null", b'"x"'])
def test_bodies_that_are_no_request(served: Served, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = served.client.post("/api/v1/predict", content=body, headers=headers)
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["kind"] in ("malformed", "invalid")


def test_an_attack_may_take_so_long(tmp_path: Path) -> None:
    with serving(tmp_path, Settings(port=0, attack_seconds=0.2)) as strict:
        asked = {"model": "resnet20", "image": "photos-0", "attack": "pgd:eps=1/2550,steps=1000000"}
        line = refused(strict.post("/attack", **asked), 503, "timeout")
    assert line.endswith("takes longer than the 0.2 s that it may here: 'foolscope attack' has no limit.")


def test_an_attack_stops_when_its_caller_leaves(served: Served) -> None:
    asked = {"model": "resnet20", "image": "photos-0", "attack": "pgd:eps=1/2550,steps=1000000"}
    with httpx.Client(base_url=served.client.base_url, timeout=0.5) as leaving, pytest.raises(httpx.ReadTimeout):
        leaving.post("/api/v1/attack", json=asked)
    begun = time.monotonic()
    follows = served.post("/attack", **asked | {"attack": "pgd:eps=8/255,steps=10"})
    assert follows.status_code == 200
    assert time.monotonic() - begun < 30, "it waited for the attack that nobody waits for"


class Broken(nn.Module):
    """A network whose gradient is NaN everywhere, and whose logits are not."""

    input_shape, num_classes, name = (1, 4, 4), 2, "broken"

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        return torch.stack([flat.mean(1), (0 * flat).sum(1).sqrt()], 1)


@pytest.mark.filterwarnings("ignore::foolscope.errors.GradientWarning")
def test_a_broken_gradient_is_told(tmp_path: Path) -> None:
    engine = Engine(Broken())
    network = Network("broken", describe(engine.model), engine, 0, None, None)  # type: ignore[arg-type]
    attacking = Attacking(
        attack=fs.parse_attack("fgsm:eps=0.1"), network=network, picture=picture_of(np.full((4, 4, 1), 99, np.uint8)),
        notes=["as it is"], label=0, target=None, seed=0, top=2, seconds=60.0,
    )  # fmt: skip
    told = attacking.run(threading.Event(), PictureStore(tmp_path, 1 << 20))
    assert told.broken
    assert not told.success
    assert told.notes == ["as it is", BROKEN]
    assert told.adversarial.id == told.original.id
