"""Goals own the sign of the loss and decide when they are reached."""

from __future__ import annotations

import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from foolscope.attacks import FGSM, Goal, Targeted, Untargeted
from foolscope.attacks.goal import check_goal, every_target
from foolscope.attacks.losses import cross_entropy
from foolscope.errors import InputError
from tests.attacks.cases import network

LOGITS = torch.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, 1.0], [1.0, 2.0, 4.0]])  # classes 0, 1, 2


def test_reached() -> None:
    classes = torch.tensor([0, 2, 2])
    assert Untargeted(classes).reached(LOGITS).tolist() == [False, True, False]
    assert Targeted(classes).reached(LOGITS).tolist() == [True, False, True]


def test_objective_has_the_sign_of_the_goal() -> None:
    classes = torch.tensor([0, 2, 2])
    loss = F.cross_entropy(LOGITS, classes, reduction="none")
    torch.testing.assert_close(Untargeted(classes).objective(cross_entropy, LOGITS), loss)
    torch.testing.assert_close(Targeted(classes).objective(cross_entropy, LOGITS), -loss)


@pytest.mark.parametrize("kind", [Untargeted, Targeted])
def test_goals_can_be_selected_and_checked(kind: type[Untargeted] | type[Targeted]) -> None:
    goal: Goal = kind(torch.tensor([3, 1, 2], dtype=torch.uint8))
    assert len(goal) == 3
    assert goal[1:].classes.tolist() == [1, 2]
    assert goal[torch.tensor([True, False, True])].classes.tolist() == [3, 2]
    checked = goal.checked(3, 4)
    assert type(checked) is kind
    assert checked.classes.dtype == torch.int64
    assert goal.to(LOGITS).classes.device == LOGITS.device


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        (Untargeted(torch.tensor([0, 1, 4])), "labels must be class indices from 0 to 3, found 0 to 4."),
        (Untargeted(torch.tensor([0, -1, 2])), "labels must be class indices from 0 to 3, found -1 to 2."),
        (Targeted(torch.tensor([0, 1, 9])), "targets must be class indices from 0 to 3, found 0 to 9."),
        (Targeted(torch.tensor([0, 1])), "targets must have shape (3,), one for each image, got (2,)."),
        (Untargeted(torch.tensor([0.0, 1.0, 2.0])), "labels must be a tensor of whole numbers."),
        (Untargeted(torch.tensor([True, True, True])), "labels must be a tensor of whole numbers."),
        (Untargeted([0, 1, 2]), "labels must be a tensor of whole numbers."),  # type: ignore[arg-type]
        (
            torch.tensor([0, 1, 2]),
            "an attack needs a goal, Untargeted(labels) or Targeted(targets), got Tensor.",
        ),
    ],
)
def test_bad_goals(goal: Goal | Tensor, message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        FGSM()(network("linear", (1, 2, 2), seed=0), torch.rand(3, 1, 2, 2), goal)  # type: ignore[arg-type]


def test_every_target_by_hand() -> None:
    rows, goal = every_target(torch.tensor([1, 0]), 3)
    assert rows.tolist() == [0, 0, 1, 1]
    assert goal.targets.tolist() == [0, 2, 1, 2]


def test_check_goal_returns_the_goal() -> None:
    goal = Untargeted(torch.tensor([1]))
    assert check_goal(goal) is goal
