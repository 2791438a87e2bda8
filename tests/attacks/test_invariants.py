"""What must hold for every attack in the table, on random networks and images."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from foolscope.attacks import ATTACKS, Attack, AttackResult, Goal, Progress, Targeted, Untargeted
from foolscope.images import quantize
from foolscope.models.engine import Engine
from foolscope.norms import NORMS
from foolscope.randomness import generator
from tests.attacks.cases import (
    CASES,
    Noisy,
    Problem,
    each_bounded_case,
    each_case,
    is_random,
    network,
    norm_of,
    problems,
    same,
    scaled,
    slack,
    starts_at_random,
    trained,
)

few = settings(max_examples=12, deadline=None)


def reached(goal: Goal, predictions: Tensor) -> Tensor:
    return predictions == goal.classes if isinstance(goal, Targeted) else predictions != goal.classes


def check(attack: Attack, problem: Problem, goal: Goal, result: AttackResult, eps: float) -> None:
    """What every result must be, whatever the attack found."""
    images = problem.images
    assert result.images.shape == images.shape
    assert result.images.dtype == torch.float32
    assert torch.equal(result.originals, images)
    assert ((result.images >= 0) & (result.images <= 1)).all()
    distance = NORMS[norm_of(attack)].length(result.images.double() - images.double())
    assert (distance <= eps + slack(attack, eps, images)).all()
    with torch.no_grad():
        logits, before = problem.model(result.images), problem.model(images)
    # Two implementations of one network agree to rounding: the prediction may only differ where logits tie.
    best = logits.gather(1, result.predictions[:, None])[:, 0]
    assert (best >= logits.amax(1) - 1e-5).all()
    assert torch.equal(result.success, reached(goal, result.predictions))
    assert torch.equal(result.already, reached(goal, before.argmax(1)))
    assert torch.equal(result.images[result.already], images[result.already])
    assert result.success[result.already].all()
    for passes in (result.forwards, result.backwards):
        assert passes.shape == (len(images),)
        assert passes.dtype == torch.int64
    assert (result.forwards >= 1).all()
    assert (result.backwards <= attack.passes).all()


def test_every_registered_attack_and_norm_is_in_the_table() -> None:
    assert {attack.name for attack in CASES} == set(ATTACKS)
    for name in ("fgm", "bim", "pgd"):
        assert {norm_of(attack) for attack in CASES if attack.name == name} == set(NORMS)


@each_case
@few
@given(problems(), st.floats(0.01, 3), st.booleans())
def test_results_keep_the_contract(attack: Attack, problem: Problem, factor: float, targeted: bool) -> None:
    chosen, eps = scaled(attack, factor)
    reach = targeted and attack.takes_targets
    goal: Goal = Targeted((problem.labels + 1) % 4) if reach else Untargeted(problem.labels)
    inputs = problem.images.clone(), goal.classes.clone()
    result = chosen(problem.model, problem.images, goal, rng=generator(problem.seed))
    check(attack, problem, goal, result, eps)
    assert torch.equal(problem.images, inputs[0])
    assert torch.equal(goal.classes, inputs[1])


@each_case
@few
@given(problems(eight_bit=True), st.floats(0.01, 3))
def test_quantized_results_are_8_bit_images_in_the_ball(attack: Attack, problem: Problem, factor: float) -> None:
    chosen, eps = scaled(attack, factor)
    goal = Untargeted(problem.labels)
    result = chosen(problem.model, problem.images, goal, rng=generator(problem.seed), quantize=True)
    # A ball of 7.9999 levels counts as one of 8: float32 cannot tell them apart for every pixel.
    check(attack, problem, goal, result, eps + (1e-4 / 255 if norm_of(attack) == "linf" else 0))
    assert torch.equal(result.images, quantize(result.images))


@each_bounded_case
@few
@given(problems(), st.booleans())
def test_eps_0_is_the_identity(attack: Attack, problem: Problem, quantized: bool) -> None:
    images = quantize(problem.images) if quantized else problem.images
    result = attack.replace(eps=0.0)(problem.model, images, Untargeted(problem.labels), quantize=quantized)
    assert torch.equal(result.images, images)
    assert torch.equal(result.success, result.already)


@each_case
@few
@given(problems(least=2))
def test_a_batch_gives_what_its_samples_give_alone(attack: Attack, problem: Problem) -> None:
    """In float64, because float32 rounding, which varies with the batch, can turn the sign of a tiny gradient."""
    goal = Untargeted(problem.labels)
    engine = Engine(problem.model, precision="float64")
    batch = attack(engine, problem.images, goal, rng=generator(problem.seed))
    for i in range(len(problem.images)):
        one = slice(i, i + 1)
        single = attack(engine, problem.images[one], goal[one], rng=generator(problem.seed))
        torch.testing.assert_close(single.images, batch.images[one], atol=1e-6, rtol=0)
        for name in ("predictions", "success", "already", "forwards", "backwards"):
            assert torch.equal(getattr(single, name), getattr(batch, name)[one])


@each_case
def test_the_chunk_changes_no_prediction(attack: Attack) -> None:
    problem = trained()
    images, goal = problem.images[:40], Untargeted(problem.labels[:40])
    results = [attack(Engine(problem.model, chunk=chunk), images, goal, rng=generator(3)) for chunk in (None, 3, 64)]
    alone = [attack(problem.model, images[i : i + 1], goal[i : i + 1], rng=generator(3)) for i in range(10)]
    for other in results[1:]:
        assert torch.equal(other.predictions, results[0].predictions)
        assert torch.equal(other.success, results[0].success)
    assert torch.equal(torch.cat([one.predictions for one in alone]), results[0].predictions[:10])


@each_case
@few
@given(problems())
def test_the_seed_decides_every_bit(attack: Attack, problem: Problem) -> None:
    def run(seed: int) -> AttackResult:
        return attack(problem.model, problem.images, Untargeted(problem.labels), rng=generator(seed))

    first, again, other = run(5), run(5), run(6)
    assert same(first, again)
    default = attack(problem.model, problem.images, Untargeted(problem.labels))
    assert same(default, run(0))
    if not is_random(attack):
        assert same(first, other)


@pytest.mark.parametrize(
    "attack", [attack for attack in CASES if starts_at_random(attack)], ids=lambda attack: attack.spec()
)
def test_another_seed_starts_elsewhere(attack: Attack) -> None:
    problem = trained()
    images, goal = problem.images[:8], Untargeted(problem.labels[:8])
    resting = attack.replace(steps=1, step=0.0, restarts=1)  # stays where it starts
    first, other = (resting(problem.model, images, goal, rng=generator(seed)) for seed in (5, 6))
    attacked = ~first.already
    assert attacked.sum() >= 6
    assert (first.images != images).flatten(1).any(1)[attacked].all()
    assert (first.images != other.images).flatten(1).any(1)[attacked].all()
    in_blocks = resting(
        Engine(problem.model, chunk=1), problem.images[:20], Untargeted(problem.labels[:20]), rng=generator(5)
    )
    whole = resting(problem.model, problem.images[:20], Untargeted(problem.labels[:20]), rng=generator(5))
    assert torch.equal(in_blocks.images, whole.images), "an image's numbers do not depend on its block"


@each_case
def test_a_random_network_draws_the_same_numbers_for_the_same_seed(attack: Attack) -> None:
    torch.manual_seed(0)
    model, images = Noisy(3 * 25), torch.rand(8, 3, 5, 5, generator=generator(1))
    goal = Untargeted(torch.zeros(8, dtype=torch.int64))
    torch.manual_seed(1)
    first = attack(model, images, goal)
    torch.manual_seed(2)
    assert same(first, attack(model, images, goal))


@each_case
@pytest.mark.parametrize("shape", [(1, 5, 4), (3, 4, 5)])
def test_no_images_give_an_empty_result(attack: Attack, shape: tuple[int, int, int]) -> None:
    seen: list[object] = []
    images = torch.zeros(0, *shape)
    goal = Untargeted(torch.zeros(0, dtype=torch.int64))
    result = attack(network("batchnorm", shape, seed=0), images, goal, watch=seen.append)
    assert result.images.shape == (0, *shape)
    for name in ("success", "predictions", "already", "forwards", "backwards"):
        assert getattr(result, name).shape == (0,)
    assert result.success.dtype == result.already.dtype == torch.bool
    assert result.predictions.dtype == torch.int64
    assert not seen
    assert result.trace == ()


@each_case
def test_progress_is_sane(attack: Attack) -> None:
    problem = trained()
    seen: list[Progress] = []
    images, labels = problem.images[:40], problem.labels[:40]
    engine = Engine(problem.model, chunk=2)  # 16 images a block: three blocks
    result = attack(engine, images, Untargeted(labels), watch=seen.append)
    assert tuple(seen) == result.trace
    assert len(seen) >= 3
    ends = (16, 32, 40)
    for progress in seen:
        assert progress.attack == attack.spec()
        assert progress.total == 40
        assert 1 <= progress.step <= progress.steps == attack.passes
        assert progress.done + progress.active in ends
        assert 0 <= progress.succeeded <= progress.done
        assert progress.objective >= 0  # a mean cross-entropy
    for before, after in itertools.pairwise(seen):
        assert after.done >= before.done
        assert after.succeeded >= before.succeeded
        assert after.step > before.step or after.done + after.active > before.done + before.active
    assert seen[-1].succeeded <= int(result.success.sum())


@each_case
def test_images_that_require_gradients_and_other_layouts_are_taken(attack: Attack) -> None:
    problem = trained()
    images, goal = problem.images[:6], Untargeted(problem.labels[:6])
    plain = attack(problem.model, images, goal)
    strided = images.clone().contiguous(memory_format=torch.channels_last).requires_grad_()
    result = attack(problem.model, strided, goal)
    assert not result.images.requires_grad
    assert not result.originals.requires_grad
    assert strided.grad is None
    assert same(result, plain)
