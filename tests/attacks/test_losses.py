"""Losses by hand, and what they are for: networks so sure of themselves that the cross-entropy's gradient vanishes."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

from foolscope.attacks import BIM, FGM, FGSM, PGD, Attack, Goal, Targeted, Untargeted, parse_attack
from foolscope.attacks.goal import Loss
from foolscope.attacks.losses import LOSSES, cross_entropy, dlr, margin, targeted_dlr, tempered
from foolscope.data import load_data
from foolscope.errors import ParameterError
from foolscope.experiments.cells import PLAIN, AttackJob, Subject
from tests.attacks.cases import Fixed, each_gradient_case, same, trained

LOGITS = torch.tensor([[3.0, 1.0, 2.0, 0.0], [3.0, 1.0, 2.0, 0.0]])
CLASSES = torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (cross_entropy, [0.4401897, 2.4401897]),  # log(e^3 + e^1 + e^2 + e^0) = 3.4401897
        (margin, [-1.0, 2.0]),
        (dlr, [-0.5, 1.0]),  # over 3 - 1
        (tempered(cross_entropy, 2), [0.7873389, 1.7873389]),  # log(e^1.5 + e^0.5 + e^1 + e^0) = 2.2873389
        (tempered(margin, 4), [-0.25, 0.5]),
        (tempered(dlr, 4), [-0.5, 1.0]),
    ],
    ids=["cross-entropy", "margin", "dlr", "cross-entropy / 2", "margin / 4", "dlr / 4"],
)
def test_losses_by_hand(loss: Loss, expected: list[float]) -> None:
    torch.testing.assert_close(loss(LOGITS, CLASSES), torch.tensor(expected))


def test_targeted_dlr_by_hand() -> None:
    """3 - (1 + 0) / 2 = 2.5."""
    found = targeted_dlr(LOGITS, CLASSES, torch.tensor([2, 3]))
    torch.testing.assert_close(found, torch.tensor([-0.4, -0.4]))
    torch.testing.assert_close(targeted_dlr(1000 * LOGITS + 7, CLASSES, torch.tensor([2, 3])), found)


def test_a_dlr_without_classes_enough_is_the_margin() -> None:
    two, three = LOGITS[:, :2], LOGITS[:, :3]
    assert torch.equal(dlr(two, CLASSES), margin(two, CLASSES))
    torch.testing.assert_close(dlr(three, CLASSES), torch.tensor([-0.5, 1.0]))
    assert targeted_dlr(three, CLASSES, torch.tensor([2, 2])).tolist() == [-1, 1]
    assert targeted_dlr(two, CLASSES, torch.tensor([1, 0])).tolist() == [-2, 2]


@pytest.mark.parametrize("loss", [*LOSSES.values(), lambda z, y: targeted_dlr(z, y, 3 - y)], ids=[*LOSSES, "targeted"])
@pytest.mark.parametrize("logits", [torch.zeros(2, 4), torch.full((2, 4), 1e4), 1e6 * LOGITS])
def test_losses_and_their_gradients_are_finite(loss: Loss, logits: Tensor) -> None:
    given = logits.clone().requires_grad_()
    found = loss(given, CLASSES)
    assert found.shape == (2,)
    assert found.isfinite().all()
    (gradient,) = torch.autograd.grad(found.sum(), given)
    assert gradient.isfinite().all()


def sure() -> tuple[nn.Module, Tensor, Goal]:
    """Class 0 leads by some 1,000 where a mean change of 0.1 turns it: its softmax is 1 in float32 and in float64."""
    weight = 20_000 * torch.stack([torch.ones(16), torch.zeros(16), torch.zeros(16), torch.zeros(16)]) / 16
    images = 0.5 + 0.002 * torch.arange(4 * 16).view(4, 1, 4, 4) / 64
    return Fixed(weight, torch.tensor([-9000.0, 0.0, -20.0, -40.0])), images, Untargeted(torch.zeros(4).long())


@pytest.mark.parametrize("name", ["fgsm", "bim", "pgd"])
def test_a_saturated_network_falls_to_margin_dlr_and_temperature_alone(name: str) -> None:
    model, images, goal = sure()
    eps = {"eps": 0.1}
    attack = parse_attack(name).replace(**eps)
    assert not attack(model, images, goal).success.any()
    assert not attack(model, images, goal, precision="float64").success.any()
    for change in ({"loss": "margin"}, {"loss": "dlr"}, {"temperature": 1000.0}):
        result = attack.replace(**change)(model, images, goal)
        assert result.success.all(), change
        assert (result.distance("linf") <= 0.1 + 1e-6).all()


@pytest.mark.parametrize("loss", list(LOSSES))
def test_every_loss_fools_and_reaches_targets(loss: str) -> None:
    problem = trained()
    images, labels = problem.images[:40], problem.labels[:40]
    attack = PGD(eps=0.2, steps=20, loss=loss)
    assert attack(problem.model, images, Untargeted(labels)).success.float().mean() >= 0.9
    result = attack(problem.model, images, Targeted((labels + 1) % 10))
    assert result.success.float().mean() >= (0.1 if loss == "dlr" else 0.4)  # which grows with any lead over the third
    assert (result.trace[0].objective < 0) and (result.trace[0].objective > -100)


def test_the_defaults_are_what_they_were() -> None:
    problem = trained()
    images, goal = problem.images[:10], Untargeted(problem.labels[:10])
    for attack in (PGD(eps=0.1, steps=3), BIM(eps=0.1), FGSM(eps=0.1), FGM()):
        assert "loss" not in attack.spec()
        assert "temperature" not in attack.spec()
        same_loss = attack.replace(loss="cross-entropy", temperature=1.0)
        assert same(attack(problem.model, images, goal), same_loss(problem.model, images, goal))


def test_stored_cells_keep_their_names() -> None:
    """Cells of before these parameters were added are found again; what is not at its default names another cell."""
    block = load_data("digits", split="test", limit=2)
    subject = Subject.of(trained().model, (), "float32", None)

    def key(attack: Attack) -> dict[str, object]:
        job = AttackJob(attack=attack, source=PLAIN, victims=(PLAIN,), seed=0, precision="float32")
        named: dict[str, object] = job.spec(subject, block, keeps_samples=False)["attack"]
        return named

    assert key(FGSM(eps=0.5)) == {"name": "fgsm", "eps": 0.5}
    assert set(key(PGD())) == {"name", "eps", "norm", "steps", "step", "random_start", "restarts", "early_stop"}
    assert key(FGSM(eps=0.5, loss="dlr", temperature=2)) == {
        "name": "fgsm",
        "eps": 0.5,
        "loss": "dlr",
        "temperature": 2.0,
    }


@each_gradient_case
def test_parameters_added_later_exist(attack: Attack) -> None:
    assert all(hasattr(attack, name) for name in attack.added)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pgd:loss=hinge", "pgd: loss must be one of cross-entropy, margin, dlr, got 'hinge'."),
        ("fgsm:temperature=0", "fgsm: temperature must be at least 1e-06, got 0."),
        ("bim:temperature=nan", "bim: temperature must be at least 1e-06, got nan."),
    ],
)
def test_bad_parameters(text: str, message: str) -> None:
    with pytest.raises(ParameterError, match=f"^{re.escape(message)}$"):
        parse_attack(text)


@pytest.mark.parametrize("name", ["fgsm", "fgm", "bim", "pgd:random_start=false"])
def test_float64_sees_gradients_that_float32_rounds_away(name: str) -> None:
    """The class leads by some 120: the gradient is 0 in float32, and in float64 less than float32 can hold."""
    model, images, goal = sure()
    assert isinstance(model, Fixed)
    # Spread over all classes, because 1 minus the softmax is 0 in float64, too.
    softer = Fixed(0.12 * (model.weight - model.weight[0] / 2), 0.12 * model.bias)
    attack = parse_attack(name).replace(eps=0.1)
    if hasattr(attack, "norm"):
        attack = attack.replace(norm="linf")
    assert not attack(softer, images, goal).success.any()
    assert attack(softer, images, goal, precision="float64").success.all()
