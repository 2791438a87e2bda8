"""FGM, FGSM, BIM and PGD on the 8-bit grid and in bfloat16: a success counts on what is returned, in float32."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from foolscope.attacks import BIM, FGM, FGSM, PGD, Attack, Untargeted
from foolscope.images import quantize
from foolscope.randomness import generator
from tests.attacks.cases import Fixed, trained
from tests.attacks.ramp import costs, predicted, ramp


@pytest.mark.parametrize("attack", [FGSM(eps=0.4 / 255), BIM(eps=0.4 / 255), PGD(eps=0.4 / 255, steps=5)], ids=str)
def test_a_success_that_8_bits_do_not_keep_is_none(attack: Attack) -> None:
    model, images, goal = ramp(margin=0.01)  # 16 * 0.4 / 255 = 0.025 is enough, but no 8-bit image is that near
    images = quantize(torch.full_like(images, 128 / 255))
    model = Fixed(torch.stack([torch.ones(16), torch.zeros(16)]), torch.tensor([0.01 - float(images[0].sum()), 0.0]))
    assert attack(model, images, goal).success.all()
    saved = attack(model, images, goal, quantize=True)
    assert not saved.success.any()
    assert torch.equal(saved.images, images)


def test_quantized_success_counts_on_what_is_returned() -> None:
    problem = trained()
    for attack in (PGD(eps=0.1, steps=10), PGD(eps=1.0, norm="l2", steps=10), FGM(eps=12.0, norm="l1")):
        result = attack(problem.model, problem.images, Untargeted(problem.labels), quantize=True)
        assert torch.equal(result.images, quantize(result.images))
        assert torch.equal(result.predictions, predicted(problem.model, result.images))
        assert torch.equal(result.success, result.predictions != problem.labels)
        free = attack(problem.model, problem.images, Untargeted(problem.labels))
        assert result.success.float().mean() >= free.success.float().mean() - 0.05
        assert (result.distance(str(getattr(attack, "norm", "linf"))) <= attack.eps * (1 + 1e-5)).all()


def test_rounding_shortens_the_noise_no_more_than_it_must() -> None:
    """Without shortening, rounding leads out of a round ball; with it the noise stays nearly as long."""
    problem = trained()
    images = 0.25 + 0.5 * problem.images  # away from the box
    images, goal = quantize(images), Untargeted(predicted(problem.model, 0.25 + 0.5 * problem.images))
    attack = FGM(eps=0.3)
    free = attack(problem.model, images, goal).images
    assert ((quantize(free) - images).flatten(1).norm(dim=1) > 0.3 * (1 + 1e-6)).any()
    result = attack(problem.model, images, goal, quantize=True)
    lengths = result.distance("l2")[~result.already]
    assert (lengths <= 0.3 * (1 + 1e-5)).all()
    assert lengths.median() > 0.27


def test_images_that_are_not_8_bit_are_rounded_to_the_nearest() -> None:
    model, images, goal = ramp()
    images = images + 0.3 / 255  # no multiple of 1/255 is within eps
    result = FGSM(eps=0.1 / 255)(model, images, goal, quantize=True)
    assert torch.equal(result.images, quantize(images))


class Rounded(nn.Module):
    """Two logits that bfloat16 cannot tell apart: 1 and 1 + 2^-10; by `weight` they depend on the image a little."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1e-6))

    def forward(self, images: Tensor) -> Tensor:
        small = images.mean((1, 2, 3)) * self.weight
        return torch.stack([torch.ones_like(small) + small, torch.ones_like(small) + 2**-10], 1)


@pytest.mark.parametrize(
    "attack", [FGSM(eps=0.1), BIM(eps=0.1, steps=5), PGD(eps=0.1, steps=5, random_start=False)], ids=str
)
def test_bfloat16_decides_no_success(attack: Attack) -> None:
    """There both logits are 1 and class 0 seems to be predicted; in float32 it is class 1."""
    images = torch.rand(4, 1, 3, 3, generator=generator(3))
    ones = torch.ones(4, dtype=torch.int64)
    result = attack(Rounded(), images, Untargeted(ones), precision="bfloat16")
    assert not result.success.any()
    assert result.predictions.tolist() == [1] * 4
    assert result.backwards.tolist() == [attack.passes] * 4
    assert (result.images != images).any()
    seen = attack(Rounded(), images, Untargeted(1 - ones), precision="bfloat16")
    assert seen.already.all()
    assert torch.equal(seen.images, images)
    assert (seen.forwards.tolist(), seen.backwards.tolist()) == ([2] * 4, [0] * 4)


def test_bfloat16_costs_one_look_more_and_one_for_each_seeming_success() -> None:
    model, images, goal = ramp()
    assert costs(FGSM(eps=0.01)(model, images, goal, precision="bfloat16")) == ({3}, {1})
    result = BIM(eps=0.5, steps=7, step=0.02)(model, images, goal, precision="bfloat16")
    assert result.success.all()
    assert costs(result) == ({1 + 5 + 1 + 1}, {5})  # first look, five passes, confirmation, last look


def test_bfloat16_fools_as_many() -> None:
    problem = trained()
    attack, goal = PGD(eps=0.05, steps=20), Untargeted(problem.labels)
    plain = attack(problem.model, problem.images, goal)
    fast = attack(problem.model, problem.images, goal, precision="bfloat16")
    assert 0 < plain.success.float().mean() < 1
    assert abs(float(plain.success.float().mean()) - float(fast.success.float().mean())) < 0.05
    assert torch.equal(fast.predictions, predicted(problem.model, fast.images))
