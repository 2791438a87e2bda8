"""Training: exact resumption, refusals, schedule, augmentation, and what is left as it was found."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from foolscope.errors import Cancelled, InputError, ParameterError, StorageError
from foolscope.models.lenet import LeNet
from foolscope.models.training import Curves, Guard, Recipe, TrainingProgress, augment, one_cycle, train
from foolscope.models.weight_files import save_weights
from foolscope.randomness import generator

RECIPE = Recipe(epochs=3, batch=32, lr=0.05, shift=2, flip=True)
STEPS = 12  # 100 images: 4 steps an epoch, the last of 4 images


def images(count: int = 100, seed: int = 0) -> tuple[NDArray[np.uint8], Tensor]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 28, 28, 1), dtype=np.uint8), torch.arange(count) % 10


def network(seed: int = 0) -> LeNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LeNet()


def trained(checkpoint: Path | None = None, recipe: Recipe = RECIPE, stop: int | None = None) -> LeNet:
    """A training, stopped by its watcher after step `stop`."""

    def watch(progress: TrainingProgress) -> None:
        if progress.step == stop:
            raise Cancelled

    model = network()
    train(model, *images(), recipe, seed=3, checkpoint=checkpoint, checkpoint_seconds=0, watch=watch)
    return model


def same(a: nn.Module, b: nn.Module) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


CHILD = """
import os, signal, sys
from pathlib import Path
import torch
from foolscope.models import training
from tests.models.test_training import RECIPE, images, network, save_weights

folder, moment, at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
save, saves = torch.save, 0

def half(content, path):
    global saves
    saves += 1
    save(content, path)
    if saves == at:
        size = path.stat().st_size
        os.truncate(path, size // 2)
        os.kill(os.getpid(), signal.SIGKILL)

def watch(progress):
    if moment == "step" and progress.step == at:
        os.kill(os.getpid(), signal.SIGKILL)

if moment == "writing":
    torch.save = half
model = network()
training.train(model, *images(), RECIPE, seed=3, checkpoint=folder / "state.pt", checkpoint_seconds=0, watch=watch)
save_weights(model, folder / "net.safetensors")
"""


def child(folder: Path, moment: str, at: int) -> int:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", CHILD, str(folder), moment, str(at)]
    return subprocess.run(command, cwd=root, timeout=120).returncode


def test_a_training_that_is_killed_again_and_again_ends_with_the_same_bits(tmp_path: Path) -> None:
    for moment, at in (("step", 2), ("writing", 3), ("step", 8)):
        assert child(tmp_path, moment, at) == -signal.SIGKILL
        assert not (tmp_path / "net.safetensors").exists()
    assert child(tmp_path, "never", 0) == 0
    undisturbed = save_weights(trained(), tmp_path / "whole.safetensors")
    assert (tmp_path / "whole.safetensors").read_bytes() == (tmp_path / "net.safetensors").read_bytes()
    assert undisturbed != save_weights(network(), tmp_path / "untrained.safetensors")


def test_stopping_at_any_step_changes_nothing(tmp_path: Path) -> None:
    whole = trained()
    for stop in (1, 4, 5, STEPS - 1):
        checkpoint = tmp_path / f"{stop}.pt"
        with pytest.raises(Cancelled):
            trained(checkpoint, stop=stop)
        assert same(trained(checkpoint), whole)


def test_a_finished_checkpoint_is_not_trained_again(tmp_path: Path) -> None:
    whole = trained(tmp_path / "state.pt")
    seen: list[int] = []
    model = network()
    curves = train(model, *images(), RECIPE, seed=3, checkpoint=tmp_path / "state.pt", watch=lambda p: seen.append(1))
    assert not seen
    assert same(model, whole)
    assert len(curves.loss) == RECIPE.epochs


def test_seed_and_data_decide_the_result() -> None:
    pixels, labels = images()
    results = []
    for seed, recipe in ((3, RECIPE), (3, RECIPE), (4, RECIPE), (3, RECIPE.replace(lr=0.04))):
        model = network()
        train(model, pixels, labels, recipe, seed=seed)
        results.append(model)
    assert same(results[0], results[1])
    assert not same(results[0], results[2])
    assert not same(results[0], results[3])


@pytest.mark.parametrize("change", ["recipe", "seed", "count", "pixels", "labels"])
def test_refuses_a_checkpoint_of_other_settings(tmp_path: Path, change: str) -> None:
    path = tmp_path / "state.pt"
    trained(path)
    pixels, labels = images(99 if change == "count" else 100, seed=1 if change == "pixels" else 0)
    labels = labels.flip(0) if change == "labels" else labels
    recipe, seed = RECIPE.replace(epochs=4 if change == "recipe" else 3), 4 if change == "seed" else 3
    expected = f"{path} belongs to another recipe, seed or data set; remove it or name another file."
    with pytest.raises(StorageError, match=f"^{re.escape(expected)}$"):
        train(network(), pixels, labels, recipe, seed=seed, checkpoint=path)


def test_refuses_a_checkpoint_of_another_network(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    trained(path)
    expected = f"{path} belongs to another network; remove it or name another file."
    with pytest.raises(StorageError, match=f"^{re.escape(expected)}$"):
        train(LeNet(extra=1), *images(), RECIPE, seed=3, checkpoint=path)


@pytest.mark.parametrize("damage", ["empty", "half", "text", "other"])
def test_a_damaged_checkpoint_is_one_line(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "state.pt"
    trained(path)
    content = path.read_bytes()
    if damage == "other":
        torch.save([1, 2], path)
    else:
        path.write_bytes({"empty": b"", "half": content[: len(content) // 2], "text": b"hello " * 100}[damage])
    with pytest.raises(StorageError) as caught:
        trained(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: damaged checkpoint (")
    assert message.endswith("); remove it to start again.")


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.pt"
    with pytest.raises(Cancelled):
        trained(path, stop=5)
    before = path.read_bytes()

    def full(content: object, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(StorageError, match=f"^no space left to write {re.escape(str(path))}; nothing was changed"):
        trained(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["state.pt"]


def test_a_loss_that_is_not_finite_ends_the_training() -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(784, 10)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.layer(x.flatten(1)) * float("nan")
            return logits

    with pytest.raises(InputError, match=r"^the training loss is nan at step 0; a smaller lr or clip=1 may help\.$"):
        train(Broken(), *images(), RECIPE)


def test_refuses_no_images_and_bad_recipes() -> None:
    pixels, labels = images(0)
    with pytest.raises(InputError, match=r"^cannot train on 0 images\.$"):
        train(network(), pixels, labels, RECIPE)
    with pytest.raises(ParameterError, match=r"^recipe: epochs must be at least 1, got 0\.$"):
        Recipe(epochs=0)


@pytest.mark.parametrize("fails", [False, True])
def test_random_numbers_are_left_as_found(fails: bool) -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    model = network()
    stop = 2 if fails else None

    def watch(progress: TrainingProgress) -> None:
        if progress.step == stop:
            raise Cancelled

    if fails:
        with pytest.raises(Cancelled):
            train(model, *images(), RECIPE, watch=watch)
    else:
        train(model, *images(), RECIPE, watch=watch)
        assert not model.training
    assert torch.equal(torch.get_rng_state(), before)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_progress_and_curves_tell_every_step_and_epoch() -> None:
    seen: list[TrainingProgress] = []
    flags: list[bool] = []

    def validate(model: nn.Module) -> float:
        flags.append(model.training)
        return 0.25

    curves = train(network(), *images(), RECIPE, validate=validate, watch=seen.append)
    assert [p.step for p in seen] == list(range(1, STEPS + 1))
    assert [p.epoch for p in seen] == [0] * 4 + [1] * 4 + [2] * 4
    assert {(p.steps, p.epochs) for p in seen} == {(STEPS, 3)}
    assert flags == [False] * 3
    assert curves.validation == [0.25] * 3
    sizes = [32, 32, 32, 4]
    for epoch in range(3):
        steps = seen[4 * epoch : 4 * epoch + 4]
        loss = sum(p.loss * size for p, size in zip(steps, sizes, strict=True)) / 100
        assert curves.loss[epoch] == pytest.approx(loss)
        correct = sum(p.accuracy * size for p, size in zip(steps, sizes, strict=True)) / 100
        assert curves.accuracy[epoch] == pytest.approx(correct)
        assert curves.seconds[epoch] > 0


def test_it_learns() -> None:
    pixels, labels = np.zeros((64, 28, 28, 1), np.uint8), torch.arange(64) % 4
    for row, label in enumerate(labels.tolist()):
        pixels[row, 6 * label : 6 * label + 6] = 255
    model = network()
    curves = train(model, pixels, labels, Recipe(epochs=20, batch=16, lr=0.02))
    assert curves.accuracy[-1] > 0.95
    assert curves.loss[-1] < 0.5 * curves.loss[0]


def test_only_weights_of_several_dimensions_decay() -> None:
    recipe = Recipe(epochs=1, batch=100, lr=0.1, momentum=0, decay=0.5, warmup=0, precision="float32")

    class Still(nn.Module):
        """Its gradients are zero: what changes is decay."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(784, 10)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.layer(x.flatten(1)) * 0
            return logits

    model = Still()
    weight, bias = model.layer.weight.detach().clone(), model.layer.bias.detach().clone()
    train(model, *images(), recipe)
    assert torch.allclose(model.layer.weight, weight * (1 - 0.1 * 0.5))
    assert torch.equal(model.layer.bias, bias)


def test_one_cycle_by_hand() -> None:
    rates = [one_cycle(step, 8, 0.5) for step in range(8)]
    down = [0.5 * (1 + np.cos(np.pi * share)) for share in (0, 0.25, 0.5, 0.75)]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1.0, *down])
    assert one_cycle(0, 1, 0.25) == 1


@given(steps=st.integers(1, 200), warmup=st.floats(0, 1))
def test_one_cycle_rises_then_falls(steps: int, warmup: float) -> None:
    rates = [one_cycle(step, steps, warmup) for step in range(steps)]
    peak = int(np.argmax(rates))
    assert all(0 <= rate <= 1 for rate in rates)
    assert max(rates) == 1
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_shift_moves_each_image_whole_and_fills_with_black() -> None:
    image = torch.arange(1, 26).float().view(1, 1, 5, 5) / 25
    out = augment(image.expand(64, 1, 5, 5), Recipe(shift=1), generator(0))
    allowed = {}
    padded = nn.functional.pad(image, (1, 1, 1, 1))
    for dy in range(3):
        for dx in range(3):
            allowed[(dy, dx)] = padded[0, :, dy : dy + 5, dx : dx + 5]
    found = [[place for place, want in allowed.items() if torch.equal(want, one)] for one in out]
    assert all(len(places) == 1 for places in found)
    assert {places[0] for places in found} == set(allowed)


def test_flip_mirrors_about_half_of_the_images() -> None:
    image = torch.arange(12).float().view(1, 1, 3, 4) / 12
    out = augment(image.expand(400, 1, 3, 4), Recipe(flip=True), generator(0))
    mirrored = torch.tensor([torch.equal(one, image[0].flip(2)) for one in out])
    untouched = torch.tensor([torch.equal(one, image[0]) for one in out])
    assert (mirrored | untouched).all()
    assert 150 < int(mirrored.sum()) < 250


def test_no_augmentation_is_the_identity() -> None:
    batch = torch.rand(4, 3, 6, 6, generator=generator(0))
    assert torch.equal(augment(batch, Recipe(), generator(0)), batch)


def test_the_adversary_sees_the_step_and_its_images_are_trained_on() -> None:
    steps: list[int] = []

    def black(model: nn.Module, batch: Tensor, labels: Tensor, step: int) -> Tensor:
        assert len(batch) == len(labels)
        steps.append(step)
        return torch.zeros_like(batch)

    pixels, labels = images()
    model, other = network(), network()
    train(model, pixels, labels, RECIPE, perturb=black)
    train(other, np.zeros_like(pixels), labels, RECIPE)
    assert steps == list(range(STEPS))
    assert same(model, other)


def rated(scores: list[float], epochs: int, fall: float | None = None) -> tuple[LeNet, Curves, list[dict[str, Tensor]]]:
    """A training whose epochs have planted scores, and the weights that each was rated with."""
    seen: list[dict[str, Tensor]] = []

    def score(model: nn.Module) -> float:
        assert not model.training
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        return scores[len(seen) - 1]

    model = network()
    curves = train(model, *images(), RECIPE.replace(epochs=epochs), guard=Guard(score=score, fall=fall))
    return model, curves, seen


@pytest.mark.parametrize(
    ("scores", "kept"), [([0.2, 0.6, 0.4], 2), ([0.5, 0.5, 0.1], 1), ([0.1, 0.2, 0.3], 3), ([0.0, 0.0, 0.0], 1)]
)
def test_a_guard_keeps_the_best_epoch(scores: list[float], kept: int) -> None:
    model, curves, seen = rated(scores, epochs=3)
    assert (curves.robust, curves.kept) == (scores, kept)
    assert all(torch.equal(value, seen[kept - 1][name]) for name, value in model.state_dict().items())
    assert not model.training
    assert not any(torch.equal(a, b) for a, b in zip(seen[0].values(), seen[1].values(), strict=True))


@pytest.mark.parametrize(
    ("fall", "epochs"),
    [(0.25, 3), (0.5, 5), (None, 5)],
    ids=["falls by more", "falls by just that", "never ends"],
)
def test_a_fall_of_robustness_ends_the_training(fall: float | None, epochs: int) -> None:
    _, curves, _ = rated([0.5, 0.75, 0.25, 0.5, 0.25], epochs=5, fall=fall)
    assert len(curves.loss) == len(curves.robust) == epochs
    assert curves.kept == 2


def test_without_a_guard_the_last_epoch_is_kept() -> None:
    curves = train(network(), *images(), RECIPE)
    assert (curves.robust, curves.kept) == ([], None)


@pytest.mark.parametrize("stop", [3, 4, 5, 8, 9, 11])
def test_a_guarded_training_that_is_stopped_ends_with_the_same_bits(tmp_path: Path, stop: int) -> None:
    def guarded(checkpoint: Path | None, until: int | None = None) -> tuple[LeNet, Curves]:
        def watch(progress: TrainingProgress) -> None:
            if progress.step == until:
                raise Cancelled

        model = network()
        guard = Guard(score=lambda rated: float(next(rated.parameters()).detach().sum().mul(1000).sin()), fall=1.9)
        curves = train(
            model, *images(), RECIPE, seed=3, checkpoint=checkpoint, checkpoint_seconds=0, guard=guard, watch=watch
        )
        return model, curves

    whole, curves = guarded(None)
    with pytest.raises(Cancelled):
        guarded(tmp_path / "state.pt", stop)
    model, resumed = guarded(tmp_path / "state.pt")
    assert same(model, whole)
    assert (resumed.robust, resumed.kept) == (curves.robust, curves.kept)


def test_an_ended_training_is_not_gone_on_with(tmp_path: Path) -> None:
    scores = iter([0.9, 0.1])
    for _ in range(2):
        guard = Guard(score=lambda model: next(scores), fall=0.5)
        curves = train(network(), *images(), RECIPE, checkpoint=tmp_path / "state.pt", guard=guard)
        assert curves.robust == [0.9, 0.1]


def test_a_loss_sees_the_images_and_what_became_of_them() -> None:
    def clean(
        net: Callable[[Tensor], Tensor], batch: Tensor, perturbed: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        assert not torch.equal(batch, perturbed)
        logits = net(batch)
        assert logits.dtype == torch.float32
        return torch.nn.functional.cross_entropy(logits, labels), logits

    model, other = network(), network()
    train(model, *images(), RECIPE, perturb=lambda net, batch, labels, step: torch.zeros_like(batch), loss=clean)
    train(other, *images(), RECIPE)
    assert same(model, other)
