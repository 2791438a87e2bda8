"""Explanations over HTTP: what the server tells is what the library says of the pixels that it shows."""

from __future__ import annotations

import io
import json
import shlex
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import foolscope as fs
from foolscope.cli import main
from foolscope.explain import EXPLAINERS
from foolscope.images import from_uint8
from foolscope.models.engine import Engine
from foolscope.web import explain_work, explaining
from foolscope.web.problems import GoneError
from foolscope.web.settings import Settings
from tests.web.serving import Served, refused, serving

NETWORK, IMAGE = "lenet:weights=digits", "digits-3"


def pixels(served: Served, picture: Mapping[str, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    answer = served.client.get(picture["url"])
    assert answer.status_code == 200
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def tensor(served: Served, picture: Mapping[str, Any]) -> Tensor:
    shown = pixels(served, picture)
    return from_uint8((shown if shown.ndim == 3 else shown[..., None])[None])


@pytest.fixture(scope="module")
def attacked(served: Served) -> dict[str, Any]:
    answer = served.post("/attack", model=NETWORK, image=IMAGE, attack="pgd:eps=0.3,steps=5")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert found["success"]
    return found


def asked(attacked: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": NETWORK, "image": attacked["original"]["id"], "adversarial": attacked["adversarial"]["id"], **more}


def test_what_can_be_explained_is_listed_with_reasons(served: Served) -> None:
    found = served.get("/explain", params={"model": NETWORK, "image": IMAGE}).json()
    assert [one["method"] for one in found["methods"]] == list(EXPLAINERS)
    assert not any(one["why"] for one in found["methods"])
    kinds = {one["name"]: one["kind"] for one in found["layers"]}
    assert [kinds[name] for name in found["usual"][:2]] == ["Conv2d", "Conv2d"]
    assert found["usual"][2:] == ["logits"]
    assert (found["shown"]["width"], found["shown"]["channels"]) == (28, 1)


class Dense(nn.Module):
    """A network without convolutions, with gradients or without."""

    input_shape, num_classes, name = (1, 4, 4), 3, "dense"

    def __init__(self, *, differentiable: bool) -> None:
        super().__init__()
        self.differentiable = differentiable
        self.dense = nn.Linear(16, 3)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.dense(images.flatten(1))
        return logits


@pytest.mark.parametrize(
    ("differentiable", "method", "reason"),
    [
        (True, "saliency", ""),
        (True, "grad-cam", "dense has no convolution with more than one position"),
        (False, "saliency", "Saliency needs gradients and dense gives none"),
        (False, "grad-cam", "Grad-CAM needs gradients and dense gives none"),
    ],
)
def test_a_method_that_cannot_be_used_says_why(differentiable: bool, method: str, reason: str) -> None:
    engine, images = Engine(Dense(differentiable=differentiable)), torch.rand(1, 1, 4, 4)
    told = explain_work.why_not(method, engine, images)
    assert told.startswith(reason)
    assert bool(told) == bool(reason)
    assert explain_work.usual_layers(engine, images) == ["logits"]


@pytest.mark.parametrize("method", ["saliency", "grad-cam"])
def test_maps_agree_as_the_library_says(served: Served, attacked: dict[str, Any], method: str) -> None:
    answer = served.post("/explain/maps", **asked(attacked, method=method, label=attacked["truth"]["index"]))
    assert answer.status_code == 200, answer.text
    told = answer.json()
    images, moved = (tensor(served, attacked[name]) for name in ("original", "adversarial"))
    labels = torch.tensor([attacked["truth"]["index"]])
    model, explain = fs.load_model(NETWORK), EXPLAINERS[method]
    found = fs.explain.explanation_stability(model, images, moved, labels, explain=explain).true_class
    for name in ("rank_correlation", "intersection", "ssim", "center_shift"):
        pair = [float(getattr(one, name)) for one in (found.agreement, found.null)]
        assert [told["agreement"][name]["value"], told["agreement"][name]["null"]] == pytest.approx(pair, abs=1e-4)
    energy = fs.explain.energy_on_salient(moved - images, explain(model, images, labels))
    assert [one["energy"] for one in told["energy"]] == pytest.approx(energy.energy[0].tolist(), abs=1e-4)
    assert [one["pixels"] for one in told["energy"]] == pytest.approx(energy.pixels.tolist(), abs=1e-4)
    assert (told["layer"] is not None) == (told["original"]["signed"] is None) == (method == "grad-cam")
    for pictures in (told["original"], told["adversarial"]):
        assert pixels(served, pictures["strength"]).shape == (28, 28, 3)
        assert pixels(served, pictures["overlay"]).shape == (28, 28, 3)


def test_the_command_repeats_the_numbers(
    served: Served, attacked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = served.post("/explain/maps", **asked(attacked, method="saliency", label=attacked["truth"]["index"])).json()
    for name in ("original", "adversarial"):
        picture = attacked[name]
        (tmp_path / f"{picture['id']}.png").write_bytes(served.client.get(picture["url"]).content)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="0"):
        main(shlex.split(told["reproduce"]["command"])[1:])
    stability = json.loads(Path("foolscope-explained/explain.json").read_text())["methods"]["stability"]
    measures = {one["what"]: (one["value"], one["null"]) for one in stability["measures"]}
    for name, what in {"rank_correlation": "rank correlation", "ssim": "structural similarity"}.items():
        pair = told["agreement"][name]["value"], told["agreement"][name]["null"]
        assert measures[f"{what}, true class"] == pytest.approx(pair, abs=1e-4)


def test_the_command_of_a_spectrum_names_both_pictures(served: Served, attacked: dict[str, Any]) -> None:
    told = served.post("/explain/spectrum", **asked(attacked)).json()
    first, second = (f"{attacked[name]['id']}.png" for name in ("original", "adversarial"))
    assert told["reproduce"]["command"] == (
        f"foolscope explain {first} --model {NETWORK} --against {second} --method spectrum"
    )


@pytest.mark.parametrize("method", ["integrated-gradients", "grad-cam"])
def test_the_python_repeats_the_numbers(
    served: Served, attacked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    told = served.post("/explain/maps", **asked(attacked, method=method, label=attacked["truth"]["index"])).json()
    for name in ("original", "adversarial"):
        picture = attacked[name]
        (tmp_path / f"{picture['id']}.png").write_bytes(served.client.get(picture["url"]).content)
    monkeypatch.chdir(tmp_path)
    heard: list[tuple[Any, ...]] = []
    exec(told["reproduce"]["python"], {"print": lambda *values: heard.append(values)})
    (agreement, null), (energy,) = heard
    for name in ("rank_correlation", "intersection", "ssim", "center_shift"):
        pair = [float(getattr(one, name)) for one in (agreement, null)]
        assert [told["agreement"][name]["value"], told["agreement"][name]["null"]] == pytest.approx(pair, abs=1e-4)
    assert [one["energy"] for one in told["energy"]] == pytest.approx(energy.energy[0].tolist(), abs=1e-4)


def test_without_an_attack_there_is_one_map_and_a_command(served: Served) -> None:
    told = served.post("/explain/maps", model=NETWORK, image=IMAGE, method="saliency").json()
    assert told["adversarial"] is told["agreement"] is told["energy"] is None
    assert told["label"]["name"] == served.post("/predict", model=NETWORK, image=IMAGE).json()["top"][0]["name"]
    assert told["reproduce"]["command"].startswith(f"foolscope explain {told['reproduce']['file']} --model {NETWORK}")


def test_the_noise_has_the_spectrum_that_the_library_gives(served: Served, attacked: dict[str, Any]) -> None:
    told = served.post("/explain/spectrum", **asked(attacked, attack="pgd:eps=0.3,steps=5")).json()
    images, moved = (tensor(served, attacked[name]) for name in ("original", "adversarial"))
    energy = float((moved - images).square().sum())
    measures = {one["what"]: one["value"] for one in told["measures"]}
    assert measures["noise: energy (squared ℓ2 norm)"] == pytest.approx(energy, rel=1e-4), "Parseval"
    assert measures["white noise: energy (squared ℓ2 norm)"] == pytest.approx(energy, rel=1e-4)
    assert "pgd:eps=0.3,steps=5" in told["told"][0]
    assert [chart["name"] for chart in told["charts"]] == ["spectrum", "spectrum-profiles"]
    for chart in told["charts"]:
        assert chart["html"].count("<svg") == 2, "for wide and for narrow windows"
        assert "style=" not in chart["html"], "which the page's policy refuses"
        assert "<script" not in chart["html"]


def test_layers_answer_as_the_library_says(served: Served) -> None:
    told = served.post("/explain/frequencies", model=NETWORK, image=IMAGE, layers=["logits"]).json()
    found = fs.explain.transfer_function(fs.load_model(NETWORK), None, (28, 28))
    strongest = int(found.radial.mean.argmax())
    values = [one["value"] for one in told["measures"]]
    assert values[:2] == pytest.approx(
        [float(found.radial.coordinate[strongest]), float(found.radial.mean[strongest])], rel=1e-3
    )
    assert "--layer logits" in told["reproduce"]["command"]
    twice = served.post("/explain/frequencies", model=NETWORK, image=IMAGE, layers=["logits"] * 4).json()
    assert (twice["measures"], twice["reproduce"]) == (told["measures"], told["reproduce"]), "each layer once"


def test_jpeg_is_told_for_every_quality(served: Served) -> None:
    told = served.post("/explain/jpeg", model=NETWORK, image=IMAGE, qualities=[90, 10]).json()
    assert [one["quality"] for one in told["qualities"]] == [10, 90]
    behind = fs.defended(fs.load_model(NETWORK), "jpeg:quality=10")
    found = fs.explain.transfer_function(behind, f"model.{told['layer']}", 28, resolution=16)
    codec = fs.explain.transfer_function(behind, "defense", 28, resolution=16)
    shown = told["qualities"][0]
    for plane, expected in (
        (shown["response"], found.response), (shown["gain"], codec.response), (shown["distortion"], codec.distortion),
    ):  # fmt: skip
        assert expected is not None
        np.testing.assert_allclose(np.array(plane), expected.numpy(), rtol=1e-3, atol=1e-5)
    assert (told["vertical"], told["horizontal"]) == (found.vertical.tolist(), found.horizontal.tolist())
    assert pixels(served, shown["pictures"]["gain"]).shape == (16, 16, 3)
    assert max(map(max, told["plain"])) == told["largest"]


def test_jpeg_asked_for_in_parts_is_repeated_as_a_whole(served: Served) -> None:
    told = served.post("/explain/jpeg", model=NETWORK, image=IMAGE, qualities=[10], shown=[90, 10, 50]).json()
    assert [one["quality"] for one in told["qualities"]] == [10]
    assert "--qualities 10,50,90 " in told["reproduce"]["command"]
    assert "for quality in [10, 50, 90]:" in told["reproduce"]["python"]


def test_a_wave_is_shown_before_and_after_jpeg(served: Served) -> None:
    query = {"vertical": 0, "horizontal": 0.25, "side": 16, "channels": 1}
    shown = [
        np.asarray(Image.open(io.BytesIO(served.get("/explain/wave.png", params=query | more).content)))[..., 0]
        for more in ({}, {"quality": 1}, {"quality": 100})
    ]
    assert shown[0][0, :4].tolist() == [255, 128, 0, 128], "cos of a quarter of a turn a pixel, in all of [0, 1]"
    assert shown[1].std() < shown[2].std() == pytest.approx(shown[0].std(), rel=0.1)
    assert refused(served.get("/explain/wave.png", params=query | {"vertical": 0.6}), 422, "invalid").startswith(
        "vertical: "
    )


@pytest.mark.parametrize(
    ("path", "more", "kind", "line"),
    [
        ("maps", {"method": "grad-cat"}, "spec", "unknown method 'grad-cat'. Did you mean grad-cam?"),
        ("maps", {"layer": "conv1"}, "input", "saliency looks at the whole network: a layer is for grad-cam alone."),
        ("maps", {"method": "grad-cam", "layer": "nothing"}, "spec", "has no layer 'nothing'."),
        ("maps", {"label": 10}, "input", "class 10: lenet has classes 0 to 9."),
        ("spectrum", {"adversarial": None}, "invalid", "adversarial: "),
        ("frequencies", {"layers": ["nothing"]}, "spec", "has no layer 'nothing'."),
        ("jpeg", {"qualities": [0]}, "invalid", "qualities.0: "),
        ("jpeg", {"layer": "nothing"}, "spec", "has no layer 'nothing'."),
    ],
)
def test_what_cannot_be_explained_is_refused(
    served: Served, path: str, more: dict[str, Any], kind: str, line: str
) -> None:
    body = {"model": NETWORK, "image": IMAGE} | more
    assert line in refused(served.post(f"/explain/{path}", **body), 422, kind)


@pytest.mark.parametrize("path", ["maps", "spectrum"])
def test_an_attack_that_changed_nothing_has_no_noise(served: Served, path: str) -> None:
    shown = served.get("/explain", params={"model": NETWORK, "image": IMAGE}).json()["shown"]["id"]
    line = refused(served.post(f"/explain/{path}", model=NETWORK, image=shown, adversarial=shown), 422, "input")
    assert line == "the attacked picture equals the original: there is no noise to look at."


def test_an_explanation_ends_with_its_time_or_its_caller(tmp_path: Path) -> None:
    with serving(tmp_path, Settings(port=0, attack_seconds=1e-9)) as served:
        line = refused(served.post("/explain/maps", model=NETWORK, image=IMAGE), 503, "timeout")
    assert line == "this takes longer than the 1e-09 s that it may here: 'foolscope explain' has no limit."
    gone = threading.Event()
    gone.set()
    with pytest.raises(GoneError, match="the caller left"):
        explaining._Time(gone, 60.0, float("inf")).check(1, 2)
