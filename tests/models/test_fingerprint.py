"""A model's digest tells apart whatever answers otherwise, or a store would give one model another's numbers."""

from __future__ import annotations

import functools
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

from foolscope.models import load_model
from foolscope.models.classifier import Classifier, Normalize, Resize
from foolscope.models.fingerprint import model_digest
from tests.experiments.networks import Linear
from tests.support import ROOT


def classifier(*preprocess: nn.Module) -> Classifier:
    return Classifier(Linear(), name="n", input_shape=(1, 28, 28), num_classes=10, preprocess=preprocess)


def holding(value: Any, name: str = "held") -> nn.Module:
    """A network with something as an attribute."""
    model = Linear()
    setattr(model, name, value)
    return model


def hooked(factor: float) -> nn.Module:
    model = Linear()
    model.register_forward_hook(lambda _module, _inputs, output: output * factor)
    return model


def patched(factor: float) -> nn.Module:
    model = Linear()
    forward = model.forward
    model.forward = lambda x: forward(x) * factor  # type: ignore[method-assign]
    return model


def scripted(factor: float) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return torch.jit.trace(nn.LeakyReLU(factor), torch.zeros(1, 3))  # type: ignore[no-any-return, no-untyped-call]


class Settings:
    def __init__(self, value: float) -> None:
        self.value = value

    def scale(self, x: Tensor) -> Tensor:
        return x * self.value


def test_equal_models_have_equal_digests_whatever_they_are_called() -> None:
    assert model_digest(Linear()) == model_digest(Linear())
    named = classifier()
    digest = model_digest(named)
    named.name, named.weights = "another", "elsewhere"
    named.train()
    assert model_digest(named) == digest
    tensor = torch.arange(3.0)
    assert model_digest(holding({"a": [tensor, tensor.clone()]})) == model_digest(holding({"a": [tensor, tensor]}))


def test_structure_weights_and_settings_are_in_the_digest() -> None:
    class Scaled(Linear):
        factor = 1.0

    weight, scaled = Linear(), Scaled()
    with torch.no_grad():
        weight.layer.weight[0, 0] += 1e-3
    scaled.factor = 2.0
    models = [
        Linear(),
        weight,
        Scaled(),
        scaled,
        nn.Sequential(Linear()),
        classifier(),
        classifier(Normalize([0.1], [0.3])),  # buffers that no state_dict holds
        classifier(Normalize([0.2], [0.3])),
        classifier(Resize(28, 28)),  # a layer's plain attribute
        classifier(Resize(28, 27)),
        nn.Sequential(nn.Flatten(), nn.Dropout(0.1)),
        nn.Sequential(nn.Flatten(), nn.Dropout(0.2)),
    ]
    assert len({model_digest(model) for model in models}) == len(models)


def scaling(factor: float) -> Callable[[Tensor], Tensor]:
    return lambda x: x * factor


@pytest.mark.parametrize(
    "made",
    [
        lambda k: holding(torch.tensor(k)),
        lambda k: holding(np.array([k])),
        lambda k: holding({"k": k}),
        lambda k: holding([[k], (0, {k})]),
        lambda k: holding((k, 0.7), "weights"),
        lambda k: holding(str(k), "name"),
        lambda k: holding(k, "_private"),
        lambda k: holding(Settings(k)),
        lambda k: holding(Settings(k).scale),
        lambda k: holding(scaling(k)),
        lambda k: holding(functools.partial(torch.mul, other=k)),
        lambda k: holding([holding(k)]),  # a layer that torch does not know of
        hooked,
        patched,
        lambda k: fx.symbolic_trace(nn.Sequential(nn.Flatten(), nn.LeakyReLU(k))),
        scripted,
    ],
)
def test_whatever_a_module_holds_is_in_the_digest(made: Callable[[float], nn.Module]) -> None:
    assert model_digest(made(0.25)) == model_digest(made(0.25))
    assert model_digest(made(0.25)) != model_digest(made(0.5))


def test_what_cannot_be_compared_is_another_every_time_and_told(caplog: pytest.LogCaptureFixture) -> None:
    model = holding(number for number in range(3))
    assert model_digest(model) != model_digest(model)
    assert caplog.messages[0] == (
        "Linear cannot be told from others: it holds a builtins.generator; nothing computed of it is reused"
    )


def test_a_network_that_holds_itself_has_a_digest() -> None:
    model = holding([])
    model.held.append(model)  # type: ignore[union-attr, operator]
    assert len(model_digest(model)) == 64


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


NET = "from torch import nn\n{imports}\nclass Net(nn.Module):\n    def forward(self, x):\n        return {body}\n"


@pytest.mark.parametrize("edited", ["net", "helper", "package__deep", "late"])
def test_editing_code_that_a_model_uses_changes_its_digest(tmp_path: Path, edited: str) -> None:
    def digest(folder: Path) -> str:
        code = "import sys; sys.path.insert(0, sys.argv[1]); from net import Net\n"
        code += "from foolscope.models.fingerprint import model_digest; print(model_digest(Net()))"
        arguments = [sys.executable, "-c", code, str(folder)]
        return subprocess.run(arguments, cwd=ROOT, check=True, capture_output=True, text=True).stdout

    imports = "import helper\nfrom package.deep import FACTOR\n"
    files = {
        "net": NET.format(imports=imports, body="helper.scale(x) * FACTOR"),
        "helper": "def scale(x):\n    from late import K\n    return x * K\n",
        "package____init__": "",
        "package__deep": "FACTOR = 3\n",
        "late": "K = 2\n",
        "unused": "A = 1\n",
    }
    write(tmp_path / "a", **files)
    write(tmp_path / "b", **{**files, "unused": "A = 2\n"})
    write(tmp_path / "c", **{**files, edited: files[edited] + "# edited\n"})
    first, same, other = (digest(tmp_path / name) for name in "abc")
    assert first == same != other


def test_black_boxes_are_told_apart_by_their_file(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    digests = []
    for scale in (1.0, 2.0, 1.0):
        weights = onnx.numpy_helper.from_array(np.full((784, 10), scale, np.float32), "w")
        helper, kind = onnx.helper, onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["y"])],
            "net",
            [helper.make_tensor_value_info("x", kind, ["n", 1, 28, 28])],
            [helper.make_tensor_value_info("y", kind, ["n", 10])],
            [weights],
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.save(made, tmp_path / "net.onnx")
        digests.append(model_digest(load_model(f"onnx:{tmp_path / 'net.onnx'}")))
    assert digests[0] == digests[2] != digests[1]
