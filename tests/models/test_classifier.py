"""The model contract: preprocessing, what a model says of itself, and flags that are put back."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

from foolscope.errors import InputError
from foolscope.models.classifier import Classifier, ModelInfo, Normalize, Resize, attacked, check_shape, describe
from foolscope.randomness import generator


def classifier(shape: tuple[int, int | None, int | None] = (3, 8, 6)) -> Classifier:
    return Classifier(
        nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 3, 5)),
        name="small",
        input_shape=shape,
        num_classes=5,
        class_names=["a", "b", "c", "d", "e"],
        preprocess=[Resize(4, 3), Normalize([0.5, 0.4, 0.3], [0.2, 0.25, 0.5])],
        weights="mine",
        trained_on="letters",
    )


def test_preprocessing_comes_first() -> None:
    model = classifier()
    images = torch.rand(2, 3, 4, 3, generator=generator(0))
    mean, std = torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1), torch.tensor([0.2, 0.25, 0.5]).view(3, 1, 1)
    torch.testing.assert_close(model(images), model.network((images - mean) / std))
    assert list(model.network.state_dict()) == ["1.weight", "1.bias"]
    assert not any("mean" in key or "std" in key for key in model.state_dict())


def test_resizing() -> None:
    images = torch.rand(2, 3, 8, 6, generator=generator(1))
    assert torch.equal(Resize(8, 6)(images), images)
    assert Resize(4, 3)(images).shape == (2, 3, 4, 3)
    flat = torch.full((1, 1, 9, 7), 0.3)
    torch.testing.assert_close(Resize(4, 3)(flat), torch.full((1, 1, 4, 3), 0.3))
    stripes = torch.tensor([0.0, 1.0] * 8).view(1, 1, 1, 16).expand(1, 1, 16, 16)
    inner = Resize(4, 4)(stripes)[..., 1:-1]
    assert ((inner - 0.5).abs() < 0.1).all(), "without antialiasing, stripes come back black or white"


def test_describe() -> None:
    assert describe(classifier()) == ModelInfo(
        name="small",
        input_shape=(3, 8, 6),
        num_classes=5,
        class_names=("a", "b", "c", "d", "e"),
        differentiable=True,
        weights="mine",
        trained_on="letters",
    )
    assert describe(nn.Flatten()) == ModelInfo(name="Flatten")


def test_describe_leaves_attributes_that_mean_something_else() -> None:
    module = nn.Identity()
    own: dict[str, object] = {"name": nn.ReLU(), "input_shape": "RGB", "class_names": nn.ModuleList([nn.ReLU()])}
    own |= {"num_classes": torch.tensor(3), "weights": nn.Parameter(torch.ones(3)), "trained_on": 7}
    for name, value in own.items():
        setattr(module, name, value)
    assert describe(module) == ModelInfo(name="Identity")


@pytest.mark.parametrize(
    ("declared", "shape", "message"),
    [
        ((3, 8, 6), (3, 8, 6), None),
        ((3, None, None), (3, 1, 99), None),
        ((3, None, 6), (3, 50, 6), None),
        ((3, 8, 6), (1, 8, 6), "small takes images of 3 x 8 x 6 (channels x height x width), got 1 x 8 x 6."),
        ((3, 8, 6), (3, 6, 8), "small takes images of 3 x 8 x 6 (channels x height x width), got 3 x 6 x 8."),
        ((1, None, 6), (1, 5, 5), "small takes images of 1 x any x 6 (channels x height x width), got 1 x 5 x 5."),
    ],
)
def test_check_shape(
    declared: tuple[int, int | None, int | None], shape: tuple[int, int, int], message: str | None
) -> None:
    model, images = classifier(declared), torch.zeros(2, *shape)
    if message is None:
        check_shape(model, images)
    else:
        with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
            check_shape(model, images)
    check_shape(nn.Flatten(), images)  # a model that declares nothing takes everything


def mixed() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Sequential(nn.Dropout(), nn.Linear(3, 3))).train()
    model[1].eval()
    model[0].bias.requires_grad_(False)
    return model


def flags(model: nn.Module) -> tuple[list[bool], list[bool]]:
    return [m.training for m in model.modules()], [p.requires_grad for p in model.parameters()]


@pytest.mark.parametrize("fails", [False, True])
def test_attacked_freezes_and_puts_back(fails: bool) -> None:
    model = mixed()
    before = flags(model)
    assert before == ([True, True, False, True, True, True], [True, False, True, True, True, True])
    if fails:
        with pytest.raises(ZeroDivisionError), attacked(model):
            raise ZeroDivisionError
    else:
        with attacked(model) as inside:
            assert inside is model
            assert flags(model) == ([False] * 6, [False] * 6)
    assert flags(model) == before


def test_attacked_puts_back_where_eval_itself_fails() -> None:
    class Stubborn(nn.Module):
        def eval(self) -> Stubborn:
            super().eval()
            raise RuntimeError("no")

    model = nn.Sequential(Stubborn(), nn.Linear(2, 2)).train()
    model[0].train()

    class Outer(nn.Sequential):
        def eval(self) -> Outer:
            model[0].eval()
            return self

    outer = Outer(model[0], model[1]).train()
    before = flags(outer)
    with pytest.raises(RuntimeError, match=r"^no$"), attacked(outer):
        pytest.fail("the body must not run")
    assert flags(outer) == before


def test_attacked_nests() -> None:
    model = mixed()
    before = flags(model)
    with attacked(model), attacked(model):
        assert flags(model) == ([False] * 6, [False] * 6)
    assert flags(model) == before


def test_classifiers_take_what_their_first_layers_take() -> None:
    images: Tensor = torch.rand(2, 3, 8, 6, generator=generator(2))
    assert classifier()(images).shape == (2, 5)
