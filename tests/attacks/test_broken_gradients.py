"""An image whose gradient is NaN or infinite stops and is marked; the others go on as if it were not there."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from foolscope.attacks import DDN, PGD, Attack, Untargeted
from foolscope.errors import GradientWarning
from foolscope.models.engine import Engine
from tests.attacks.cases import each_gradient_case, network
from tests.attacks.test_result import Answers, good

pytestmark = pytest.mark.filterwarnings("ignore::foolscope.errors.GradientWarning")

BAD = 1
"""The image whose gradients break."""


class _Breaks(torch.autograd.Function):
    """The identity; backwards infinity in the first pixel of the rows that are marked."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, marked: Tensor) -> Tensor:
        ctx.save_for_backward(marked)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (marked,) = ctx.saved_tensors
        broken = gradients[0].clone()
        broken[marked, 0, 0, 0] = torch.inf
        return broken, None


class Breaking(nn.Module):
    """A network whose gradients break on what comes of one image: from the start, or once it has been moved."""

    def __init__(self, inner: nn.Module, images: Tensor, *, moved: bool) -> None:
        super().__init__()
        self.inner, self.moved = inner, moved
        self.register_buffer("images", images)

    def forward(self, x: Tensor) -> Tensor:
        distances = torch.cdist(x.flatten(1), torch.as_tensor(self.images).flatten(1).to(x))
        marked = distances.argmin(1) == BAD
        if self.moved:
            marked &= distances[:, BAD] > 0
        logits: Tensor = self.inner(_Breaks.apply(x, marked))
        return logits


@each_gradient_case
@pytest.mark.parametrize("moved", [False, True], ids=["from the start", "on the way"])
def test_the_others_go_on(attack: Attack, moved: bool) -> None:
    model, images = network("linear", (1, 4, 4), seed=0), good(5)
    with torch.no_grad():
        labels = model(images).argmax(1)
    labels[3] = (labels[3] + 1) % 4  # misclassified already
    rest = torch.arange(5) != BAD
    breaking = Breaking(model, images, moved=moved)
    healthy, result = (attack(net, images, Untargeted(labels)) for net in (model, breaking))
    assert not healthy.broken.any()
    assert not result.broken[rest].any()
    assert result.broken[BAD] or moved
    assert result.images.isfinite().all()
    assert ((result.images >= 0) & (result.images <= 1)).all()
    torch.testing.assert_close(result.images[rest], healthy.images[rest], atol=1e-6, rtol=0)
    for name in ("success", "predictions", "already", "forwards", "backwards"):
        assert torch.equal(getattr(result, name)[rest], getattr(healthy, name)[rest]), name
    with torch.no_grad():
        assert torch.equal(result.predictions, model(result.images).argmax(1))


def test_one_that_stops_stays_where_it_is() -> None:
    model, images = network("linear", (1, 4, 4), seed=0), good(5)
    with torch.no_grad():
        labels = model(images).argmax(1)
    goal = Untargeted(labels)
    plain = PGD(eps=0.1, steps=4, random_start=False, early_stop=False)
    result = plain(Breaking(model, images, moved=False), images, goal)
    assert torch.equal(result.images[BAD], images[BAD])
    first = plain.replace(steps=1, step=plain.eps * 2.5 / 4)(model, images, goal)
    on_the_way = plain(Breaking(model, images, moved=True), images, goal)
    assert torch.equal(on_the_way.images[BAD], first.images[BAD])
    assert on_the_way.broken.tolist() == result.broken.tolist() == [False, True, False, False, False]
    near = DDN(steps=6)(Breaking(model, images, moved=False), images, goal)
    assert torch.equal(near.images[BAD], images[BAD])
    assert not near.success[BAD]


@each_gradient_case
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float64"])
def test_networks_with_nothing_but_infinite_gradients(attack: Attack, precision: Any) -> None:
    model, images = Answers("steep"), good()
    with torch.no_grad():
        labels = model(images).argmax(1)
    result = attack(Engine(model, precision=precision), images, Untargeted(labels))
    assert result.broken.all()
    assert not result.success.any()
    assert result.images.isfinite().all()


@pytest.mark.parametrize(("count", "named"), [(1, "0"), (5, "0, 1, 2, 3, 4"), (7, "0, 1, 2, 3, 4, ...")])
def test_a_warning_names_them(count: int, named: str) -> None:
    model, images = Answers("steep"), good(count)
    with torch.no_grad():
        labels = model(images).argmax(1)
    told = f"Answers gives NaN or infinite gradients for {count} of {count} images, pgd moved these no further: {named}"
    with pytest.warns(GradientWarning, match=f"^{re.escape(told)}[.]$") as caught:
        PGD(steps=2)(model, images, Untargeted(labels))
    assert [warning.filename for warning in caught] == [__file__]
