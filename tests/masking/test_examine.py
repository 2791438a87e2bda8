"""The examination: planted cases, none of which it may get wrong, and its contract."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import foolscope as fs
from foolscope.attacks import Progress
from foolscope.data import ImageSet, load_data
from foolscope.errors import Cancelled, InputError, ParameterError
from foolscope.masking import QUESTIONS, Evidence, Examination
from foolscope.models import load_model
from foolscope.models.expectation import Expectation
from tests.experiments.networks import SINGULAR, Linear, Noisy, Quantized, Rooted
from tests.support import needs_data


class Scaled(nn.Module):
    """Logits times a factor: the same predictions, and a softmax that saturates."""

    def __init__(self, inner: nn.Module, factor: float) -> None:
        super().__init__()
        self.inner, self.factor = inner, factor

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.factor * self.inner(x)
        return logits


class BlackBox(nn.Module):
    differentiable = False

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            logits: Tensor = self.inner(x)
        return logits


def digits(count: int = 128) -> ImageSet:
    return load_data("digits", limit=count)


def lenet() -> nn.Module:
    return load_model("lenet", load_data("digits").task)


def examine(model: nn.Module, data: ImageSet | None = None, eps: float = 0.1, norm: str = "linf") -> Examination:
    return fs.masking.examine(model, data or digits(), eps, norm, steps=10, queries=200)


def outcomes(found: Examination) -> dict[str, str]:
    return {piece.code: piece.outcome for piece in found.evidence}


def piece(found: Examination, code: str) -> Evidence:
    return next(piece for piece in found.evidence if piece.code == code)


def test_a_plain_network_is_believable() -> None:
    found = examine(lenet())
    assert found.verdict == "believable"
    assert set(outcomes(found).values()) <= {"passed", "not applicable"}
    assert found.lowest.value <= found.accuracy.value < 0.05 < found.clean.value
    assert found.attack == "pgd:eps=0.1,steps=10"


def test_a_plain_network_of_which_much_stands_is_believable() -> None:
    found = examine(lenet(), eps=0.05)
    assert found.accuracy.value > 0.1
    assert found.verdict == "believable"


def test_a_saturated_network_is_masked() -> None:
    found = examine(Scaled(lenet(), 1000))
    assert found.verdict == "masked"
    failed = {code for code, outcome in outcomes(found).items() if outcome == "failed"}
    assert {"gradient", "saturation", "loss", "temperature", "black-box"} <= failed
    assert found.accuracy.value > 0.9
    assert found.lowest.value < 0.05


def test_logits_of_a_network_trained_for_far_too_long_are_found_out_by_precision() -> None:
    """200 epochs without decay make leads of 20 to 30 where this one's are 10 to 16: twice to three times as much.

    No gradient vanishes there, but its part from the true class is rounded away.
    """
    found = examine(Scaled(lenet(), 3))
    assert outcomes(found)["gradient"] == "passed"
    assert {outcomes(found)[code] for code in ("saturation", "temperature", "float64")} == {"failed"}


def test_a_quantizing_network_is_masked() -> None:
    found = examine(Quantized(lenet()))
    assert found.verdict == "masked"
    assert (piece(found, "gradient").value, piece(found, "black-box").outcome) == (1.0, "failed")
    assert piece(found, "transfer").outcome == piece(found, "unbounded").outcome == "failed"


def test_quantizing_with_a_straight_through_gradient_is_believable() -> None:
    assert examine(fs.defended(lenet(), "bits:depth=3")).verdict == "believable"


def test_a_defense_that_lets_no_gradient_pass_is_masked() -> None:
    found = examine(fs.defended(lenet(), "bits:depth=3,gradient=none"))
    assert found.verdict == "masked"
    assert piece(found, "gradient").sentence == (
        "lenet has a gradient, and its defense lets none pass: what cannot be attacked is not robust."
    )
    assert found.attack.startswith("square:")


def test_a_black_box_is_inconclusive() -> None:
    found = examine(BlackBox(lenet()))
    assert found.verdict == "inconclusive"
    assert found.reason == "BlackBox gives no gradients: the number rests on a search without them."
    assert set(outcomes(found)) == {"images", "deterministic", "gradient", "transfer", "random-search"}


def test_a_random_network_needs_expectation() -> None:
    model = Noisy(lenet())
    found = fs.masking.examine(model, digits(80), 0.1, steps=5, queries=20, draws=2)
    assert found.verdict != "believable"
    assert piece(found, "deterministic").outcome == "unclear"
    assert "expectation over transformation (EOT)" in found.reason
    averaged = fs.masking.examine(Expectation(model, draws=4), digits(80), 0.1, steps=5, queries=20)
    assert piece(averaged, "deterministic").outcome == "passed"
    assert "expectation" not in outcomes(averaged)
    assert averaged.verdict == "believable"


def test_expectation_is_asked_for_where_it_finds_more() -> None:
    """The network adds noise that is far larger than any gradient of one draw can see through."""

    class Blurred(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            sign = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, -1.0, 1.0)
            hidden = x.detach() + (3 * sign + 1) * (x - x.detach())  # slopes of 4 and -2: the mean is 1
            logits: Tensor = self.inner(hidden) + 1e-3 * torch.randn(len(x), 1)
            return logits

    found = fs.masking.examine(Blurred(lenet()), digits(100), 0.05, steps=5, queries=20, draws=32)
    assert piece(found, "expectation").outcome == "failed"
    assert found.verdict == "masked"


def test_broken_gradients_count_as_none() -> None:
    data = digits()
    pixels = np.array(data.pixels)
    pixels[:, 0, 0] = SINGULAR
    found = examine(Rooted(lenet()), replace(data, pixels=pixels))
    assert piece(found, "gradient").value == 1.0


def test_few_images_are_not_enough() -> None:
    found = examine(lenet(), digits(20))
    assert found.verdict == "inconclusive"
    right = found.clean.successes
    assert found.reason == f"Only {right} of 20 images are classified right: at least 50 are needed to tell."


def test_a_network_that_gets_everything_wrong_is_inconclusive() -> None:
    data = digits(64)
    found = examine(lenet(), replace(data, labels=(data.labels + 1) % 10))
    assert outcomes(found) == {"images": "unclear", "deterministic": "passed"}
    assert found.accuracy.value == found.lowest.value == 0.0


class Halves(nn.Module):
    """Two classes, by whether the image's mean is above one half: how far each image is from the boundary is known."""

    def forward(self, x: Tensor) -> Tensor:
        lead = 20 * (x.flatten(1).mean(1) - 0.5)
        return torch.stack([-lead, lead], 1)


def gray_images(means: Tensor) -> ImageSet:
    levels = (255 * means).round().to(torch.uint8)
    pixels = levels.view(-1, 1, 1, 1).expand(-1, 6, 6, 1).numpy()
    labels = (levels > 127).long()
    return ImageSet(
        name="gray", split="test", pixels=pixels, labels=labels, num_classes=2, digest="gray", total=len(pixels)
    )


def test_the_number_is_exact_where_the_distance_to_the_boundary_is_known() -> None:
    data = gray_images(torch.linspace(0.1, 0.9, 81))
    distance = (data.images.flatten(1).mean(1) - 0.5).abs()
    found = fs.masking.examine(Halves(), data, 0.2, steps=10, queries=50)
    stands = int((distance > 0.2).sum())
    assert (found.accuracy.successes, found.accuracy.trials) == (stands, 81)
    assert found.lowest == found.accuracy
    assert found.verdict == "believable"


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_other_norms(norm: str) -> None:
    found = examine(lenet(), digits(80), {"l1": 20.0, "l2": 1.0}[norm], norm)
    assert found.verdict == "believable"
    assert outcomes(found)["black-box"] == ("not applicable" if norm == "l1" else "passed")


def test_a_given_surrogate_is_used() -> None:
    found = fs.masking.examine(Quantized(lenet()), digits(64), 0.1, steps=5, queries=5, surrogate=Linear())
    assert "PGD on Linear" in piece(found, "transfer").sentence
    found = fs.masking.examine(Quantized(lenet()), digits(64), 0.1, steps=5, queries=5, surrogate=BlackBox(lenet()))
    assert piece(found, "transfer").sentence == "The other network, BlackBox, gives no gradients."


def test_the_shipped_network_itself_is_no_surrogate() -> None:
    assert outcomes(examine(lenet()))["transfer"] == "not applicable"


def test_the_same_seed_gives_the_same_examination_and_leaves_everything_as_it_was() -> None:
    model = Noisy(lenet()).train()
    before = torch.get_rng_state()
    first, second = (fs.masking.examine(model, digits(24), 0.1, steps=2, queries=5, draws=2, seed=3) for _ in range(2))
    assert first == second
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), before)


def test_questions_are_told_in_their_order_and_of_so_many_images() -> None:
    found = fs.masking.examine(lenet(), load_data("digits"), 0.05, limit=60, steps=3, queries=5)
    codes = [piece.code for piece in found.evidence]
    assert codes == [code for code in QUESTIONS if code in codes]
    assert found.clean.trials == 60


def test_costly_questions_are_about_the_first_hundred() -> None:
    found = fs.masking.examine(lenet(), digits(140), 0.05, steps=3, queries=5)
    assert "Of 100 images" in piece(found, "black-box").sentence
    assert f"Of {found.clean.successes} images" in piece(found, "loss").sentence


def test_it_can_be_watched_and_stopped() -> None:
    seen: list[str] = []

    def watch(progress: Progress) -> None:
        seen.append(progress.attack)
        if len(seen) == 5:
            raise Cancelled

    with pytest.raises(Cancelled):
        fs.masking.examine(lenet(), digits(64), 0.1, watch=watch)
    assert len(seen) == 5


@pytest.mark.parametrize(
    ("eps", "norm", "message"),
    [
        (0.0, "linf", "eps must be above 0, got 0: at 0 there is nothing to examine."),
        (float("nan"), "linf", "eps must be above 0, got nan: at 0 there is nothing to examine."),
        (0.1, "l0", "norm must be one of l1, l2, linf, got 'l0'."),
    ],
)
def test_bad_radii_and_norms_are_refused(eps: float, norm: str, message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        fs.masking.examine(lenet(), digits(8), eps, norm)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 2.5}, "limit must be a whole number of at least 1, got 2.5."),
        ({"draws": 0}, "draws must be a whole number of at least 1, got 0."),
        ({"eps": "8/255"}, "eps must be a number, got '8/255'."),
    ],
)
def test_numbers_that_are_none_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=f"^{re.escape(message)}$"):
        fs.masking.examine(lenet(), digits(8), **({"eps": 0.1} | options))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"lenet takes images of 1 x 28 x 28"):
        fs.masking.examine(lenet(), gray_images(torch.linspace(0, 1, 8)), 0.1)
    with pytest.raises(InputError, match="gives no gradients, and Square knows no l1: examine it in linf or l2"):
        fs.masking.examine(BlackBox(lenet()), digits(8), 0.1, "l1")
    with pytest.raises(InputError, match="has no images to examine"):
        fs.masking.examine(lenet(), digits(8).rows(slice(0, 0)), 0.1)
    with pytest.raises(InputError, match=r"masking.examine needs at least 2 classes, Linear has 1"):
        data = digits(8)
        one = replace(data, labels=torch.zeros(8, dtype=torch.int64), num_classes=1, class_names=None)
        fs.masking.examine(Linear(classes=1), one, 0.1)


@needs_data
@pytest.mark.parametrize(
    ("spec", "name", "factor", "eps", "verdict"),
    [
        ("cifar-cnn", "cifar10", 1, 8 / 255, "believable"),
        ("cifar-cnn", "cifar10", 1000, 8 / 255, "masked"),
        ("cifar-cnn:weights=cifar10-linf", "cifar10", 1, 8 / 255, "believable"),
        ("mnist-cnn:weights=mnist-linf", "mnist", 1, 0.3, "believable"),
    ],
)
def test_shipped_networks(spec: str, name: str, factor: float, eps: float, verdict: str) -> None:
    data = load_data(name, limit=80)
    model = load_model(spec, data.task)
    found = fs.masking.examine(model if factor == 1 else Scaled(model, factor), data, eps, steps=8, queries=50)
    assert found.verdict == verdict, found.reason
