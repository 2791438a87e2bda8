from __future__ import annotations

import copy
import dataclasses
import json
import logging
import re
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any, cast
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from foolscope.errors import CorruptError, FoolscopeError, InputError, MissingError, ParameterError, SpecError
from foolscope.models import MODELS, Classifier, Task, cards, describe, load_model, shipped, status
from foolscope.models import torchvision as zoo_torchvision
from foolscope.models.cards import Card, load_card, save_card
from foolscope.models.lenet import LeNet
from foolscope.models.resnet import ResNet20
from foolscope.models.weight_files import last_layer, save_weights
from foolscope.spec import describe_parameters
from tests.support import needs_data

MNIST = Task(name="mnist", input_shape=(1, 28, 28), num_classes=10, class_names=tuple("0123456789"))
COLOR = Task(name="flowers", input_shape=(3, 64, 64), num_classes=5, class_names=tuple("abcde"))


def _load(spec: str, task: Task | None = None, offline: bool = True) -> Classifier:
    model = load_model(spec, task, offline=offline)
    assert isinstance(model, Classifier)
    assert not any(module.training for module in model.modules())
    return model


def _card(architecture: str, name: str, data: str, **changes: Any) -> Card:
    values: dict[str, Any] = {
        "architecture": architecture,
        "name": name,
        "data": data,
        "seed": 0,
        "command": f"foolscope train {architecture} --data {data}",
        "epochs": 3,
        "recipe": {"lr": 0.1},
        "accuracy": 0.99,
        "images": 100,
        "license": "MIT",
        "sha256": "0" * 64,
        "parameters": 61_706,
    }
    return Card(**values | changes)


def _ship(folder: Path, card: Card, network: nn.Module) -> Path:
    path = folder / card.file_name
    save_card(dataclasses.replace(card, sha256=save_weights(network, path)), path.with_suffix(".json"))
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shipped weights: two LeNets and two ResNets, one of them adversarially trained."""
    torch.manual_seed(1)
    monkeypatch.setattr(cards, "FOLDER", tmp_path)
    names = tuple(f"digit {i}" for i in range(10))
    _ship(tmp_path, _card("lenet", "digits", "digits", class_names=names), LeNet())
    _ship(tmp_path, _card("lenet", "mnist", "mnist"), LeNet())
    _ship(tmp_path, _card("resnet20", "a-linf", "cifar10", adversarial="pgd:eps=8/255"), ResNet20())
    _ship(tmp_path, _card("resnet20", "cifar10", "cifar10"), ResNet20())
    _ship(tmp_path, _card("resnet20", "mnist", "mnist"), ResNet20(channels=1))
    return tmp_path


# --- which weights ---------------------------------------------------------------------------------------------------


def test_the_task_chooses_the_weights(folder: Path) -> None:
    model = _load("lenet", MNIST)
    assert (model.weights, model.trained_on, model.class_names) == ("lenet-mnist", "mnist", MNIST.class_names)
    kept = load_file(folder / "lenet-mnist.safetensors")
    assert all(torch.equal(value, kept[key]) for key, value in model.network.state_dict().items())


def test_without_a_task_the_architecture_s_own_data_set_decides(folder: Path) -> None:
    model = _load("lenet")
    assert (model.weights, model.trained_on) == ("lenet-mnist", "mnist")
    named = _load("lenet:weights=digits").class_names
    assert named is not None and named[3] == "digit 3"


def test_ordinary_training_goes_before_adversarial_and_both_can_be_named(folder: Path) -> None:
    assert _load("resnet20").weights == "resnet20-cifar10"
    assert _load("resnet20:weights=a-linf").weights == "resnet20-a-linf"
    (folder / "resnet20-cifar10.json").unlink()
    assert _load("resnet20").weights == "resnet20-a-linf"


def test_channels_and_size_follow_the_weights(folder: Path) -> None:
    assert _load("resnet20:weights=mnist").input_shape == (1, 28, 28)
    assert _load("resnet20").input_shape == (3, 32, 32)


@pytest.mark.parametrize(
    ("spec", "task", "message"),
    [
        (
            "lenet",
            dataclasses.replace(COLOR, input_shape=(1, 28, 28)),
            "no weights of lenet for 'flowers' are shipped. Shipped: weights=digits, weights=mnist. 'weights=none' "
            "takes random ones, 'foolscope train lenet --data flowers' trains some on its split 'train'.",
        ),
        (
            "lenet:extra=4",
            None,
            "no weights of lenet:extra=4 for 'mnist' are shipped. None are shipped. 'weights=none' takes random ones, "
            "'foolscope train lenet:extra=4 --data mnist' trains some on its split 'train'.",
        ),
        (
            "lenet:weights=mnits",
            None,
            "lenet has no weights 'mnits'. Did you mean mnist, digits? Shipped: weights=digits, weights=mnist. "
            "A file's name ends in .safetensors.",
        ),
        ("lenett", None, "unknown model 'lenett'. Did you mean lenet, resnet20? 'foolscope models' lists all."),
        ("lenet:depth=3", None, "lenet has no parameter 'depth'. 'foolscope models lenet' lists all."),
        (
            "torchvision",
            None,
            "malformed spec 'torchvision': expected torchvision:NETWORK, as in 'torchvision:resnet50'.",
        ),
    ],
)
def test_a_spec_that_fits_nothing_says_what_there_is(folder: Path, spec: str, task: Task | None, message: str) -> None:
    with pytest.raises(SpecError) as error:
        load_model(spec, task)
    assert str(error.value) == message


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ParameterError, match=re.escape("lenet: extra must be between 0 and 100, got -1.")):
        load_model("lenet:extra=-1")


# --- random weights --------------------------------------------------------------------------------------------------


def test_random_weights_come_from_their_seed_and_leave_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, same, other = (_load(f"lenet:weights=none,seed={seed}") for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    states = [model.network.state_dict()["features.0.weight"] for model in (one, same, other)]
    assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])
    assert (one.name, one.weights, one.trained_on) == ("lenet", "random, seed 3", None)


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        ("lenet", (1, 28, 28)),
        ("lenet:extra=2", (1, 28, 28)),
        ("mnist-cnn", (1, 28, 28)),
        ("cifar-cnn", (3, 32, 32)),
        ("resnet20", (3, 32, 32)),
    ],
)
def test_untrained_networks_have_the_architecture_s_own_sizes(spec: str, shape: tuple[int, int, int]) -> None:
    model = _load(spec + ("," if ":" in spec else ":") + "weights=none")
    assert (model.name, model.input_shape, model.num_classes) == (spec, shape, 10)
    assert model(torch.rand(2, *shape)).shape == (2, 10)


def test_untrained_networks_take_their_sizes_from_the_task() -> None:
    model = _load("resnet20:weights=none", COLOR)
    assert (model.input_shape, model.num_classes, model.class_names) == ((3, 64, 64), 5, COLOR.class_names)
    assert model(torch.rand(1, 3, 64, 64)).shape == (1, 5)


@pytest.mark.parametrize(
    ("spec", "task", "message"),
    [
        ("lenet", COLOR, "lenet takes images of 1 x 28 x 28 (channels x height x width), flowers has 3 x 64 x 64."),
        (
            "cifar-cnn",
            MNIST,
            "cifar-cnn takes images of 3 x 32 x 32 (channels x height x width), mnist has 1 x 28 x 28.",
        ),
        (
            "resnet20",
            Task(name="folder", input_shape=(3, None, None), num_classes=2),
            "resnet20 takes images of 3 x 32 x 32 (channels x height x width), folder has 3 x any x any.",
        ),
    ],
)
def test_a_task_that_does_not_fit_the_network_is_refused(spec: str, task: Task, message: str) -> None:
    with pytest.raises(InputError) as error:
        load_model(f"{spec}:weights=none", task)
    assert str(error.value) == message


def test_the_first_layer_normalizes_by_the_number_of_channels() -> None:
    gray, color = _load("lenet:weights=none"), _load("cifar-cnn:weights=none")
    assert torch.allclose(gray.preprocess(torch.full((1, 1, 28, 28), 0.1307)), torch.zeros(1, 1, 28, 28), atol=1e-6)
    white = color.preprocess(torch.ones(1, 3, 32, 32))[0, :, 0, 0]
    expected = [(1 - m) / s for m, s in zip((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), strict=True)]
    assert torch.allclose(white, torch.tensor(expected))


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_file_s_classes_and_channels_are_read_off_it(tmp_path: Path) -> None:
    network = ResNet20(7, channels=1)
    save_weights(network, tmp_path / "net.safetensors")
    model = _load(f"file:{tmp_path}/net.safetensors?arch=resnet20")
    assert (model.name, model.num_classes, model.input_shape) == ("resnet20", 7, (1, 28, 28))
    assert (model.weights, model.trained_on) == (f"{tmp_path}/net.safetensors", None)
    images = torch.rand(3, 1, 28, 28)
    assert torch.equal(model(images), network.eval()((images - 0.1307) / 0.3081))


def test_a_file_for_a_network_with_options(tmp_path: Path) -> None:
    save_weights(LeNet(10, extra=2), tmp_path / "net.safetensors")
    assert _load(f"file:{tmp_path}/net.safetensors?arch=(lenet:extra=2)").name == "lenet:extra=2"


def test_a_file_s_card_tells_its_network_and_shape(tmp_path: Path) -> None:
    digest = save_weights(ResNet20(3), tmp_path / "net.safetensors")
    card = _card("resnet20", "net", "flowers", sha256=digest, input_shape=(3, 64, 64), class_names=("a", "b", "c"))
    save_card(card, tmp_path / "net.json")
    model = _load(f"file:{tmp_path}/net.safetensors")
    assert (model.input_shape, model.class_names, model.trained_on) == ((3, 64, 64), ("a", "b", "c"), "flowers")


def test_half_precision_files_become_float32(tmp_path: Path) -> None:
    save_weights(LeNet().half(), tmp_path / "net.safetensors")
    assert _load(f"lenet:weights={tmp_path}/net.safetensors")(torch.rand(1, 1, 28, 28)).dtype == torch.float32


def test_files_that_cannot_be_loaded(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    good = {key: value.contiguous() for key, value in LeNet().state_dict().items()}

    def message(kind: type[FoolscopeError], spec: str = f"file:{path}?arch=lenet") -> str:
        with pytest.raises(kind) as error:
            load_model(spec)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert message(MissingError) == f"{path}: no such file."
    save_file(good, path)
    assert message(SpecError, f"file:{path}") == (
        f"which network is '{path}'? Add ?arch=NAME: lenet, mnist-cnn, cifar-cnn, resnet20 or torchvision:NAME."
    )
    assert message(SpecError, f"file:{path}?arch=(onnx:a.onnx)") == (
        "arch=onnx:a.onnx is not one of lenet, mnist-cnn, cifar-cnn, resnet20 or torchvision:NAME."
    )
    assert message(CorruptError, f"file:{path}?arch=(lenet:extra=1)") == (
        f"{path}: 'classifier.6.weight' is missing; these are another network's weights."
    )
    save_file({key: value for key, value in good.items() if key != "features.3.bias"}, path)
    assert message(CorruptError) == f"{path}: 'features.3.bias' is missing; these are another network's weights."
    save_file(good | {"more": torch.zeros(1)}, path)
    assert message(CorruptError) == f"{path}: 'more' is unexpected; these are another network's weights."
    save_file(good | {"classifier.2.weight": torch.zeros(84, 7)}, path)
    assert message(CorruptError) == f"{path}: 'classifier.2.weight' has shape (84, 7), this network needs (84, 120)."
    save_file(good, path)
    path.write_bytes(path.read_bytes()[:-100])
    assert message(CorruptError).startswith(f"{path}: damaged safetensors file (")
    path.write_bytes(b"")
    assert message(CorruptError).startswith(f"{path}: damaged safetensors file (")
    (tmp_path / "net.pth").write_bytes(b"x")
    assert message(SpecError, f"file:{tmp_path}/net.pth?arch=lenet") == (
        f"'{tmp_path}/net.pth' is not a .safetensors file; safetensors.torch.save_file writes one."
    )


def test_shipped_weights_that_differ_from_their_card_are_refused(folder: Path) -> None:
    path = folder / "lenet-digits.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        CorruptError, match=rf"^{re.escape(str(path))}: its SHA-256 begins \w{{8}}, its card says \w{{8}}\.$"
    ):
        load_model("lenet:weights=digits")


# --- cards -----------------------------------------------------------------------------------------------------------


def test_cards_round_trip(tmp_path: Path) -> None:
    card = _card(
        "lenet",
        "x",
        "mnist",
        created_with={"torch": "2"},
        robust_accuracy="9 %",
        input_shape=(1, 28, 28),
        class_names=("a",),
    )
    save_card(card, tmp_path / "x.json")
    assert load_card(tmp_path / "x.json") == card


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accuracy": 99.0}, "card: accuracy must be between 0 and 1, got 99.0."),
        ({"sha256": "abc"}, "card: sha256 must be 64 hexadecimal digits, got 'abc'."),
        ({"images": 0}, "card: images must be at least 1, got 0."),
        ({"seed": "0"}, "'seed' must be a whole number, found '0'."),
        ({"seed": True}, "'seed' must be a whole number, found True."),
        ({"recipe": []}, "'recipe' must be an object, found []."),
        ({"input_shape": [1, 2]}, "'input_shape' must be three whole numbers, found [1, 2]."),
        ({"class_names": [1]}, "'class_names' must be a list of text, found [1]."),
        ({"color": "red"}, "unknown key 'color'."),
    ],
)
def test_cards_that_break_the_schema(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(dataclasses.asdict(_card("lenet", "x", "mnist")) | change))
    with pytest.raises(CorruptError) as error:
        load_card(path)
    assert str(error.value) == f"{path}: {message}"


def test_cards_that_are_no_cards(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    with pytest.raises(MissingError, match="no such file"):
        load_card(path)
    path.write_text("{")
    with pytest.raises(CorruptError, match="not readable as JSON"):
        load_card(path)
    path.write_text("[]")
    with pytest.raises(CorruptError, match="a card is a JSON object"):
        load_card(path)
    path.write_text("{}")
    with pytest.raises(CorruptError, match="'architecture' is missing"):
        load_card(path)


def test_what_is_shipped_loads_as_its_cards_say() -> None:
    for card in shipped():
        model = _load(f"{card.architecture}:weights={card.name}")
        assert model.trained_on == card.data
        assert sum(parameter.numel() for parameter in model.parameters()) == card.parameters
        assert model(torch.rand(2, *cast(tuple[int, int, int], model.input_shape))).isfinite().all()


# --- torchvision -----------------------------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """FOOLSCOPE_DATA's folder for torchvision weights; FOOLSCOPE_HOME is empty, too."""
    monkeypatch.setenv("FOOLSCOPE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("FOOLSCOPE_HOME", str(tmp_path / "home"))
    path = tmp_path / "data" / "weights" / "torchvision"
    path.mkdir(parents=True)
    return path


def _reference(name: str, **options: Any) -> nn.Module:
    from torchvision import models

    torch.manual_seed(0)
    network: nn.Module = models.get_model(name, weights=None, **options)
    return network.eval()


def _contiguous(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.contiguous() for key, value in state.items()}


_TRANSFORMED = {"aux_logits": True, "init_weights": False, "transform_input": True}


@pytest.mark.parametrize(
    ("name", "file", "options", "side"),
    [
        ("resnet50", "resnet50-11ad3fa6.pth", {}, 224),
        ("densenet201", "densenet201-c1103571.pth", {}, 224),
        ("inception_v3", "inception_v3_google-0cc3c7bd.pth", _TRANSFORMED, 299),
        ("googlenet", "googlenet-1378be20.pth", _TRANSFORMED, 224),
        ("mnasnet0_5", "mnasnet0.5_top1_67.823-3ffadce67e.pth", {}, 224),
        ("regnet_y_400mf", "regnet_y_400mf-e6988f5f.pth", {}, 224),
    ],
)
def test_official_files_and_safetensors_give_torchvision_s_own_logits(
    hub: Path, monkeypatch: pytest.MonkeyPatch, name: str, file: str, options: dict[str, Any], side: int
) -> None:
    reference = _reference(name, **options)
    state = OrderedDict(reference.state_dict())
    images = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.inference_mode():
        expected = reference((images - mean[:, None, None]) / std[:, None, None])
    old = re.compile(r"(denselayer\d+\.(?:norm|conv))([12])")
    torch.save(OrderedDict((old.sub(r"\1.\2", key), value) for key, value in state.items()), hub / file)
    monkeypatch.setattr(zoo_torchvision, "_check_hash", lambda path: None)
    for kind in ("official", "safetensors"):
        if kind == "safetensors":
            save_file(_contiguous(state), hub / f"{name}.safetensors")
        generator = torch.random.get_rng_state()
        model = _load(f"torchvision:{name}")
        assert torch.equal(torch.random.get_rng_state(), generator)
        with torch.inference_mode():
            logits = model(images)
        assert torch.allclose(logits, expected, atol=1e-4, rtol=1e-3)
        assert model.weights == (file if kind == "official" else f"{name}.safetensors")
        assert (model.trained_on, model.num_classes, model.input_shape) == ("imagenet", 1000, (3, None, None))
        assert model.class_names is not None and model.class_names[0] == "tench"
        assert not any(value.is_meta for value in model.state_dict().values())
    for path in hub.iterdir():
        path.unlink()


def test_images_of_any_size_are_resized_first(hub: Path) -> None:
    save_file(_contiguous(_reference("squeezenet1_1").state_dict()), hub / "squeezenet1_1.safetensors")
    model = _load("torchvision:squeezenet1_1")
    assert model.preprocess(torch.rand(2, 3, 100, 80)).shape == (2, 3, 224, 224)
    assert model(torch.rand(1, 3, 50, 60)).shape == (1, 1000)


def test_a_card_s_preprocessing_goes_before_torchvision_s(hub: Path) -> None:
    save_file(_contiguous(_reference("squeezenet1_1", num_classes=5).state_dict()), hub / "squeezenet1_1.safetensors")
    card = {"input_size": [3, 64, 64], "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.5, 0.5], "classes": 5}
    (hub / "squeezenet1_1.json").write_text(json.dumps(card))
    model = _load("torchvision:squeezenet1_1")
    assert (model.num_classes, model.class_names) == (5, None)
    prepared = model.preprocess(torch.ones(1, 3, 224, 224))
    assert prepared.shape == (1, 3, 64, 64)
    assert torch.allclose(prepared[0, :, 0, 0], torch.tensor([2.0, 1.0, 1.0]))
    (hub / "squeezenet1_1.json").write_text(json.dumps(card | {"classes": 6}))
    with pytest.raises(CorruptError, match=r"squeezenet1_1\.safetensors: it has 5 classes, its card says 6\.$"):
        load_model("torchvision:squeezenet1_1")
    (hub / "squeezenet1_1.json").write_text(json.dumps(card | {"std": [0, 1, 1]}))
    with pytest.raises(CorruptError, match="std above 0"):
        load_model("torchvision:squeezenet1_1")
    (hub / "squeezenet1_1.json").write_text("{}")
    with pytest.raises(CorruptError, match="a card needs input_size, mean, std and classes"):
        load_model("torchvision:squeezenet1_1")


def test_a_file_of_a_torchvision_network(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_file(_contiguous(_reference("shufflenet_v2_x0_5", num_classes=4).state_dict()), path)
    model = _load(f"file:{path}?arch=(torchvision:shufflenet_v2_x0_5)")
    assert (model.num_classes, model.class_names, model.trained_on, model.weights) == (4, None, None, str(path))
    save_file({"fc.bias": torch.zeros(3)}, path)
    with pytest.raises(CorruptError, match=r"'fc\.weight' is missing; these are another network's weights"):
        load_model(f"file:{path}?arch=(torchvision:shufflenet_v2_x0_5)")


@pytest.mark.parametrize(
    "name", ["vit_b_32", "swin_t", "maxvit_t", "convnext_tiny", "efficientnet_b0", "regnet_x_400mf"]
)
def test_the_last_layer_is_found_in_every_family(name: str) -> None:
    official = zoo_torchvision.TorchvisionModel(network=name)._official()
    network = zoo_torchvision._empty(name, 7, official, auxiliary=False)
    assert len(network.state_dict()[last_layer(network)]) == 7


def test_a_checkpoint_that_is_not_what_its_name_says_is_refused(hub: Path) -> None:
    path = hub / "squeezenet1_1-b8a52dc0.pth"
    torch.save(_reference("squeezenet1_1").state_dict(), path)
    with pytest.raises(CorruptError, match=r"its SHA-256 begins \w{8}, its name says b8a52dc0; remove it\.$"):
        load_model("torchvision:squeezenet1_1")


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("this code must not run",))


@pytest.mark.parametrize("content", [_Evil(), b"junk", [1, 2]], ids=["code", "junk", "list"])
def test_checkpoints_are_read_without_running_code(
    hub: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: Any
) -> None:
    monkeypatch.setattr(zoo_torchvision, "_check_hash", lambda path: None)
    path = hub / "squeezenet1_1-b8a52dc0.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(CorruptError) as error:
        load_model("torchvision:squeezenet1_1")
    assert re.match(rf"{re.escape(str(path))}: (damaged checkpoint \(|not a state_dict of tensors)", str(error.value))
    assert "\n" not in str(error.value) and capsys.readouterr().out == ""


def test_offline_says_what_to_put_where(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = (
        "offline, and resnet50-11ad3fa6.pth is not there (97.8 MiB): copy "
        "https://download.pytorch.org/models/resnet50-11ad3fa6.pth to "
        "$FOOLSCOPE_DATA/weights/torchvision/resnet50-11ad3fa6.pth or to "
        f"{tmp_path}/home/weights/torchvision/resnet50-11ad3fa6.pth."
    )
    with pytest.raises(MissingError) as error:
        load_model("torchvision:resnet50", offline=True)
    assert str(error.value) == expected
    monkeypatch.setenv("FOOLSCOPE_OFFLINE", "1")
    with pytest.raises(MissingError) as error:
        load_model("torchvision:resnet50")
    assert str(error.value) == expected
    assert str(status("torchvision:resnet50")) == "not available offline (97.8 MiB)"
    monkeypatch.setenv("FOOLSCOPE_OFFLINE", "0")
    assert str(status("torchvision:resnet50")) == "needs a download of 97.8 MiB"
    assert status("torchvision:resnet50,weights=none").state == "ready"


def test_downloads_are_announced_checked_and_kept(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    def fetch(url: str, target: str, prefix: str, progress: bool) -> None:
        calls.append((url, prefix, caplog.text))
        torch.save(_reference("squeezenet1_1").state_dict(), target)

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    monkeypatch.setattr(zoo_torchvision, "_check_hash", lambda path: None)
    caplog.set_level(logging.WARNING, "foolscope")
    assert _load("torchvision:squeezenet1_1", offline=False).weights == "squeezenet1_1-b8a52dc0.pth"
    assert _load("torchvision:squeezenet1_1", offline=False).num_classes == 1000
    assert [(url, prefix) for url, prefix, _ in calls] == [
        ("https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth", "b8a52dc0")
    ]
    assert "downloading https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth (4.7 MiB)" in calls[0][2]
    assert [p.name for p in (tmp_path / "home/weights/torchvision").iterdir()] == ["squeezenet1_1-b8a52dc0.pth"]


@pytest.mark.parametrize(
    ("failure", "kind", "message"),
    [
        (URLError("no route"), MissingError, r"^cannot download https://\S+ \(4\.7 MiB\): no route; copy it to \$FOOL"),
        (TimeoutError("timed out"), MissingError, r"^cannot download https://\S+ \(4\.7 MiB\): timed out; copy it to"),
        (RuntimeError("invalid hash"), CorruptError, r"^https://\S+: what arrived is damaged \(invalid hash\)\.$"),
        (
            OSError(28, "No space left on device"),
            FoolscopeError,
            r"^no space left to write .*; nothing was changed there\.$",
        ),
    ],
)
def test_downloads_that_fail_leave_nothing(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception, kind: type[Exception], message: str
) -> None:
    def fetch(url: str, target: str, prefix: str, progress: bool) -> None:
        Path(target).write_bytes(b"half")
        raise failure

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    with pytest.raises(kind, match=message):
        load_model("torchvision:squeezenet1_1")
    assert list((tmp_path / "home/weights/torchvision").iterdir()) == []


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "torchvision:resnet5",
            "unknown torchvision network 'resnet5'. Did you mean resnet50, resnet152, resnet34? "
            "'foolscope models torchvision' lists all.",
        ),
        (
            "torchvision:resnet50,weights=V3",
            "torchvision:resnet50 has no weights 'V3'; it has IMAGENET1K_V1, IMAGENET1K_V2, none, or a file ending in "
            ".safetensors.",
        ),
    ],
)
def test_unknown_torchvision_names(spec: str, message: str) -> None:
    for ask in (load_model, status):
        with pytest.raises(SpecError) as error:
            ask(spec)
        assert str(error.value) == message


def test_weights_can_be_named_as_torchvision_names_them(hub: Path) -> None:
    with pytest.raises(MissingError, match=r"resnet50-0676ba61\.pth"):
        load_model("torchvision:resnet50,weights=IMAGENET1K_V1", offline=True)


def test_the_thesis_networks_are_there() -> None:
    assert {"vgg19", "inception_v3", "resnet50", "mobilenet_v2", "densenet201"} <= set(zoo_torchvision.names())
    assert len(zoo_torchvision.names()) >= 80


def test_untrained_torchvision_networks_take_the_task_s_classes() -> None:
    model = _load("torchvision:squeezenet1_1,weights=none,seed=2", COLOR)
    assert (model.num_classes, model.class_names, model.weights) == (5, COLOR.class_names, "random, seed 2")


@needs_data
def test_real_weights_recognize_photographs() -> None:
    import csv
    import os

    from foolscope.images import decode_image, from_uint8

    root = Path(os.environ["FOOLSCOPE_DATA"]) / "photos-imagenet"
    with (root / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[:20]
    model, right = _load("torchvision:squeezenet1_1"), 0
    with torch.inference_mode():
        for row in rows:
            image = from_uint8(decode_image(root / row["file"], 3)[None])
            right += int(model(image).argmax(1).item() == int(row["label"]))
    assert right >= 10  # the card's 94 of 150; by chance 0


# --- timm and the hub ------------------------------------------------------------------------------------------------


def test_timm_networks_from_a_folder_in_the_hub_s_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    monkeypatch.setenv("FOOLSCOPE_DATA", str(tmp_path))
    monkeypatch.setenv("FOOLSCOPE_HOME", str(tmp_path / "home"))
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=1000).eval()
    folder = tmp_path / "timm" / "test_resnet.r160_in1k"
    folder.mkdir(parents=True)
    assert str(status("timm:test_resnet", offline=True)) == "not available offline"
    with pytest.raises(
        MissingError, match=r"^offline, and timm/test_resnet\.r160_in1k is not there: copy https://\S+ to"
    ):
        load_model("timm:test_resnet", offline=True)
    save_file(_contiguous(network.state_dict()), folder / "model.safetensors")
    settings = timm.data.resolve_model_data_config(network)
    images = torch.rand(2, *settings["input_size"])
    mean, std = (torch.tensor(settings[key])[:, None, None] for key in ("mean", "std"))
    model = _load("timm:test_resnet")
    assert torch.allclose(model(images), network((images - mean) / std), atol=1e-5)
    assert (model.num_classes, model.input_shape) == (1000, (3, None, None))
    assert model.class_names is not None and model.class_names[0] == "tench"
    config = {
        "architecture": "test_resnet",
        "num_classes": 1000,
        "pretrained_cfg": {"input_size": [3, 160, 160], "mean": [0.5] * 3, "std": [0.5] * 3, "tag": "r160_in1k"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    hub_model = _load("hf-hub:timm/test_resnet.r160_in1k")
    assert torch.allclose(hub_model(images), network((images - 0.5) / 0.5), atol=1e-5)
    assert status("hf-hub:timm/test_resnet.r160_in1k").state == "ready"
    (folder / "model.safetensors").write_bytes(b"junk")
    with pytest.raises(CorruptError, match=r"^timm cannot build test_resnet: "):
        load_model("timm:test_resnet", offline=True)


def test_timm_names_that_do_not_exist() -> None:
    pytest.importorskip("timm", reason="timm is not installed")
    with pytest.raises(SpecError, match=r"^timm has no network 'resnet5'\. Did you mean resnet50.*lists all\.$"):
        load_model("timm:resnet5")
    with pytest.raises(SpecError, match=r"^timm has no weights 'resnet18\.foo'; it has resnet18\."):
        load_model("timm:resnet18.foo")


def test_untrained_timm_networks_take_the_task_s_classes() -> None:
    pytest.importorskip("timm", reason="timm is not installed")
    model = _load("timm:test_resnet,weights=none", COLOR)
    assert (model.num_classes, model.class_names) == (5, COLOR.class_names)


@pytest.mark.parametrize("name", ["alone", "../x", "a/b/c"])
def test_hub_names_are_owner_and_name(name: str) -> None:
    with pytest.raises(SpecError, match=r"is not OWNER/NAME, as in 'hf-hub:timm/resnet18\.a1_in1k'"):
        status(f"hf-hub:{name}")


@pytest.mark.parametrize(
    ("spec", "extra"), [("timm:resnet18", "timm"), ("hf-hub:a/b", "timm"), ("onnx:a.onnx", "onnx")]
)
def test_missing_packages_say_how_to_install_them(spec: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("timm", "onnxruntime"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingError, match=rf" is not installed: pip install 'foolscope\[{extra}\]'\.$"):
        load_model(spec)


# --- ONNX ------------------------------------------------------------------------------------------------------------


def _graph(
    path: Path,
    batch: int | str = "N",
    classes: int | str = 3,
    scale: float = 1.0,
    shape: tuple[int | str, ...] = (1, 4, 4),
    linear: bool = True,
) -> Tensor:
    """Write a linear network of 4 x 4 images, or the images as their own logits, as ONNX; return its weight (16, 3)."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    weight = torch.rand(16, 3, generator=torch.Generator().manual_seed(0)) * scale
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("Flatten", ["images"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "weight"], ["logits"]),
    ]
    if not linear:
        nodes = [helper.make_node("Flatten", ["images"], ["logits"], axis=1)]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("images", kind, [batch, *shape])],
        [helper.make_tensor_value_info("logits", kind, [batch, classes])],
        [helper.make_tensor("weight", kind, [16, 3], weight.flatten().tolist())],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return weight


@pytest.mark.parametrize("batch", ["N", 1, 4])
@pytest.mark.parametrize("classes", [3, "K"])
def test_onnx_graphs_answer_logits_without_gradients(tmp_path: Path, batch: int | str, classes: int | str) -> None:
    weight = _graph(tmp_path / "net.onnx", batch, classes)
    model = _load(f"onnx:{tmp_path}/net.onnx")
    images = torch.rand(6, 1, 4, 4, requires_grad=True)
    logits = model(images)
    assert torch.allclose(logits, images.detach().flatten(1) @ weight, atol=1e-5)
    assert not logits.requires_grad and not describe(model).differentiable
    assert (model.input_shape, model.num_classes) == ((1, 4, 4), 3)
    assert torch.equal(copy.deepcopy(model)(images), logits)


def test_onnx_classes_are_named_by_a_task_with_as_many(tmp_path: Path) -> None:
    _graph(tmp_path / "net.onnx")
    task = Task(name="t", input_shape=(1, 4, 4), num_classes=3, class_names=("a", "b", "c"))
    assert _load(f"onnx:{tmp_path}/net.onnx", task).class_names == ("a", "b", "c")
    assert _load(f"onnx:{tmp_path}/net.onnx", MNIST).class_names is None


def test_onnx_graphs_that_are_no_classifiers(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    with pytest.raises(MissingError, match=r"net\.onnx: no such file\.$"):
        load_model(f"onnx:{path}")
    path.write_bytes(b"junk")
    with pytest.raises(CorruptError, match=r"net\.onnx: not an ONNX graph that onnxruntime can read"):
        load_model(f"onnx:{path}")
    _graph(path, scale=float("nan"))
    with pytest.raises(InputError, match=r"net\.onnx: the graph answers with NaN or infinite logits\.$"):
        load_model(f"onnx:{path}")(torch.rand(1, 1, 4, 4))
    _graph(path, shape=(4, 2, 2))
    with pytest.raises(
        InputError, match=r"one float input \(N, C, H, W\) with C 1 or 3 is needed, the graph has images"
    ):
        load_model(f"onnx:{path}")
    _graph(path, classes="K", shape=(1, "H", "W"), linear=False)
    with pytest.raises(InputError, match=r"the output must have shape \(N, classes\), the graph has \['N', 'K'\]"):
        load_model(f"onnx:{path}")


# --- the user's own code ---------------------------------------------------------------------------------------------

_CODE = """
import torch
class Net(torch.nn.Module):
    name = "mine"
    def forward(self, x):
        return x.flatten(1)[:, :2]
def build(): return Net()
def number(): return 3
def fails(): raise KeyError("weights")
net = Net()
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "mynet_for_test", raising=False)
    (tmp_path / "mynet_for_test.py").write_text(_CODE)
    (tmp_path / "broken_for_test.py").write_text("import no_such_package_for_test")
    return tmp_path


def test_a_module_of_the_user_s_own_comes_back_as_it_is(here: Path) -> None:
    path = list(sys.path)
    assert status("py:mynet_for_test:build").state == "ready" and "mynet_for_test" not in sys.modules
    model = load_model("py:mynet_for_test:build")
    assert type(model).__name__ == "Net" and describe(model).name == "mine" and sys.path == path


@pytest.mark.parametrize(
    ("spec", "kind", "message"),
    [
        ("py:mynet_for_test", SpecError, r"^'mynet_for_test' is not MODULE:FACTORY, as in 'py:mynet:build'\.$"),
        ("py:nothing_for_test:build", MissingError, r"^no Python module 'nothing_for_test' in .* or on the path\.$"),
        ("py:broken_for_test:build", SpecError, r"^importing broken_for_test fails: No module named 'no_such_package"),
        ("py:mynet_for_test:missing", SpecError, r"'missing' of .*mynet_for_test\.py is not a function that returns a"),
        (
            "py:mynet_for_test:net",
            SpecError,
            r"'net' of .*mynet_for_test\.py is not a function that returns a module\.$",
        ),
        (
            "py:mynet_for_test:number",
            SpecError,
            r"^py:mynet_for_test:number must return a torch\.nn\.Module, got int\.$",
        ),
        ("py:mynet_for_test:fails", SpecError, r"^py:mynet_for_test:fails fails: KeyError: 'weights'\.$"),
    ],
)
def test_code_that_gives_no_module(here: Path, spec: str, kind: type[FoolscopeError], message: str) -> None:
    with pytest.raises(kind, match=message):
        load_model(spec)


# --- the registry ----------------------------------------------------------------------------------------------------


def test_every_kind_is_documented_and_its_example_parses_and_prints_again() -> None:
    for name, kind in MODELS.items():
        assert kind.name == name and kind.summary and kind.source and kind.__doc__
        assert all(record["help"] for record in describe_parameters(kind))
        model = kind.from_spec(kind.example)
        assert kind.from_spec(model.spec()) == model


def test_status_of_our_own_networks(folder: Path, tmp_path: Path) -> None:
    assert str(status("lenet")) == "ready"
    assert status("lenet:weights=none").state == "ready"
    assert status("mnist-cnn").state == "unavailable"
    assert str(status("file:nothing.safetensors?arch=lenet")) == "nothing.safetensors: no such file."
    assert str(status("lenet:weights=nothing.safetensors")) == "nothing.safetensors: no such file."


def test_importing_models_loads_no_other_zoo() -> None:
    code = (
        "import sys, foolscope.models; print(*sorted({'torchvision', 'timm', 'onnx', 'onnxruntime', 'safetensors', "
        "'huggingface_hub'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_images_that_do_not_fit_are_told_before_weights_that_are_not_there() -> None:
    message = "lenet takes images of 1 x 28 x 28 (channels x height x width), flowers has 3 x 64 x 64."
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        load_model("lenet", COLOR)
