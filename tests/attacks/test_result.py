"""What an attack is called with, and what it answers."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from foolscope.attacks import BIM, FGSM, PGD, Attack, AttackResult, Progress, Square, Untargeted, parse_attack
from foolscope.errors import BudgetError, FoolscopeError, InputError, ParameterError, SpecError
from foolscope.models.classifier import Classifier
from foolscope.randomness import generator
from tests.attacks.cases import each_case, each_gradient_case, network, trained


def result_of(images: Tensor, originals: Tensor) -> AttackResult:
    flags, counts = torch.zeros(len(images), dtype=torch.bool), torch.zeros(len(images), dtype=torch.int64)
    return AttackResult(
        originals=originals,
        images=images,
        success=flags,
        predictions=counts,
        already=flags,
        broken=flags,
        forwards=counts,
        backwards=counts,
        trace=(),
    )


def test_distances_by_hand() -> None:
    originals = torch.zeros(2, 3, 2, 2)
    images = originals.clone()
    images[0, 0, 0, 0], images[0, 1, 0, 0], images[0, 2, 1, 1] = 0.3, 0.4, 0.5  # two pixels, three values
    result = result_of(images, originals)
    assert result.distance("l0").tolist() == [2, 0]
    torch.testing.assert_close(result.distance("l1"), torch.tensor([1.2, 0.0]))
    torch.testing.assert_close(result.distance("l2"), torch.tensor([0.5**0.5, 0.0]))
    torch.testing.assert_close(result.distance("linf"), torch.tensor([0.5, 0.0]))
    with pytest.raises(SpecError, match=r"^unknown norm 'l3'\. Did you mean l2, l1\? 'foolscope attacks' lists all\.$"):
        result.distance("l3")


def test_results_are_records() -> None:
    problem = trained()
    images, labels = problem.images[:5], problem.labels[:5]
    result = BIM(eps=0.1, steps=3)(problem.model, images, Untargeted(labels))
    assert {field.name for field in dataclasses.fields(result)} == {
        "originals", "images", "success", "predictions", "already", "broken", "forwards", "backwards", "trace",
    }  # fmt: skip
    assert "trace" not in repr(result)
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.images = images  # type: ignore[misc]
    first = result.trace[0]
    assert first == Progress(
        attack="bim:eps=0.1,steps=3",
        step=1,
        steps=3,
        active=first.active,
        done=5 - first.active,
        total=5,
        succeeded=5 - first.active,
        objective=first.objective,
    )


def test_attacks_are_values() -> None:
    attack = PGD(eps=0.3, steps=7)
    assert attack == PGD(steps=7, eps=0.3)
    assert hash(attack) == hash(PGD(eps=0.3, steps=7))
    assert attack.replace(steps=8) == PGD(eps=0.3, steps=8)
    assert repr(FGSM(eps=0.5)) == "FGSM(eps=0.5, loss='cross-entropy', temperature=1.0)"
    with pytest.raises(dataclasses.FrozenInstanceError):
        attack.eps = 0.1  # type: ignore[misc]
    with pytest.raises(TypeError, match="positional"):
        PGD(0.3)  # type: ignore[call-arg]


def good(count: int = 3) -> Tensor:
    return torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def broken(index: int, value: float) -> Tensor:
    images = good()
    images[index, 0, 1, 2] = value
    return images


@each_case
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (broken(1, float("nan")), "images must be finite: image 1 has NaN or infinite pixels."),
        (broken(2, float("inf")), "images must be finite: image 2 has NaN or infinite pixels."),
        (broken(0, 1.01), "images must be in [0, 1], found values from "),
        (good() * 255, "Divide 8-bit images by 255."),
        (good().double(), "images must be float32 in [0, 1], got torch.float64."),
        (good()[0], "images must have shape (N, C, H, W) with C 1 or 3, got (1, 4, 4)."),
        (good().expand(3, 2, 4, 4), "images must have shape (N, C, H, W) with C 1 or 3, got (3, 2, 4, 4)."),
        (good().numpy(), "images must be a torch tensor, got ndarray."),
    ],
    ids=["nan", "inf", "range", "bytes", "float64", "single", "channels", "numpy"],
)
def test_bad_images(attack: Attack, images: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        attack(network("linear", (1, 4, 4), seed=0), images, Untargeted(torch.zeros(3, dtype=torch.int64)))


class Answers(nn.Module):
    """Answers with what `answer` makes of the images' mean."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, images: Tensor) -> object:
        mean = images.mean((1, 2, 3))
        logits = torch.stack([mean, -mean], 1)
        return {
            "nan": torch.where(torch.arange(len(images))[:, None] == 2, torch.full_like(logits, torch.nan), logits),
            "vector": mean,
            "tuple": (logits, logits),
            "fewer": logits[:1],
            "single": mean[:, None],
            "constant": torch.ones(len(images), 2),
            "steep": logits + torch.sqrt(images - images).sum((1, 2, 3))[:, None],
        }[self.kind]


@each_case
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nan", "Answers returns NaN or infinite logits, first for image 2 of the batch."),
        ("vector", "Answers must return logits of shape (3, K), got (3,)."),
        ("tuple", "Answers must return logits of shape (3, K), got tuple."),
        ("fewer", "Answers must return logits of shape (3, K), got (1, 2)."),
        ("single", "{name} needs at least 2 classes, Answers has 1."),
    ],
)
def test_networks_that_break_the_contract(attack: Attack, kind: str, message: str) -> None:
    check_refused(attack, kind, message.format(name=attack.name))


@each_gradient_case
def test_networks_that_let_no_gradient_pass_are_attacked_in_vain(attack: Attack) -> None:
    images = good()
    with torch.no_grad():
        labels = Answers("constant")(images).argmax(1)
    result = attack(Answers("constant"), images, Untargeted(labels))
    assert not result.success.any()


def check_refused(attack: Attack, kind: str, message: str) -> None:
    images, labels = good(), torch.zeros(3, dtype=torch.int64)
    model = Answers(kind)
    with pytest.raises(InputError) as caught:
        attack(model, images, Untargeted(labels))
    # An undeclared number of classes is found by a look at the first image alone.
    assert str(caught.value) in (message, message.replace("(3, ", "(1, ").replace("(3,)", "(1,)"))


def test_an_attack_is_held_to_its_budget() -> None:
    class Bounded(PGD):
        @property
        def budget(self) -> int:
            return 2 + self.steps  # the first look and the last

    labels = torch.zeros(3, dtype=torch.int64)
    model, frugal = network("linear", (1, 4, 4), seed=0), Bounded(steps=3, eps=0.0)
    assert int(frugal(model, good(), Untargeted(labels)).forwards.max()) <= 5

    class TooBounded(Bounded):
        @property
        def budget(self) -> int:
            return self.steps

    with torch.no_grad():
        labels = model(good()).argmax(1)
    with pytest.raises(BudgetError, match=r"^image 0 has a budget of 3 forward passes, and more are asked for\.$"):
        TooBounded(steps=3, eps=0.0)(model, good(), Untargeted(labels))


def test_networks_that_declare_their_classes_are_held_to_it() -> None:
    def attack(model: Classifier) -> None:
        FGSM()(model, good(), Untargeted(torch.tensor([4, 4, 4])))

    def classifier(network: nn.Module) -> Classifier:
        return Classifier(network, name="five", input_shape=(1, 4, 4), num_classes=5)

    message = "five must return logits of shape (3, 5), got (3, 4)."
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        attack(classifier(network("linear", (1, 4, 4), seed=0)))
    with pytest.raises(InputError, match=r"^five must return logits of shape \(3, 5\), got tuple\.$"):
        attack(classifier(Answers("tuple")))
    with pytest.raises(
        InputError, match=r"^five takes images of 1 x 4 x 4 \(channels x height x width\), got 1 x 5 x 4\.$"
    ):
        FGSM()(classifier(nn.Flatten()), torch.zeros(1, 1, 5, 4), Untargeted(torch.tensor([0])))


@each_gradient_case
def test_black_boxes_have_no_gradients(attack: Attack) -> None:
    model = Classifier(nn.Flatten(), name="box", input_shape=(1, 4, 4), num_classes=16, differentiable=False)
    with pytest.raises(
        FoolscopeError, match=f"^{attack.name} needs gradients and box gives none: use a black-box attack\\.$"
    ):
        attack(model, good(), Untargeted(torch.zeros(3, dtype=torch.int64)))


def test_a_function_is_a_black_box() -> None:
    images = torch.rand(4, 1, 4, 4, generator=generator(0))
    asked: list[int] = []

    def brightness(x: Tensor) -> Any:
        asked.append(len(x))
        return np.stack([(0.5 - x.mean((1, 2, 3))).numpy(), np.zeros(len(x))], 1)

    goal = Untargeted((images.mean((1, 2, 3)) > 0.5).long())
    result = Square(eps=0.3, queries=20)(brightness, images, goal)
    assert result.success.all()
    assert sum(asked) == 1 + int(result.forwards.sum()), "the first is for the number of classes"
    with pytest.raises(InputError, match=r"^pgd needs gradients and brightness gives none: use a black-box attack\.$"):
        PGD()(brightness, images, goal)
    with pytest.raises(InputError, match=r"^a model is .* a function from images to logits, got str: fs.load_model"):
        PGD()("lenet", images, goal)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "spec", ["pgd:eps=1e7", "fgsm:eps=1e39", "cw:weight=0", "cw:rate=0", "ddn:radius=0", "fmn:step=0", "square:share=0"]
)
def test_numbers_that_overflow_or_switch_an_attack_off_are_refused(spec: str) -> None:
    with pytest.raises(ParameterError, match=r"must be (between|at least)"):
        parse_attack(spec)
