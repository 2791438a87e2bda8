"""Train a network on two CPU cores and lose nothing when it is killed.

SGD with Nesterov momentum and a one-cycle learning rate (Smith 2018, arXiv 1803.09820), channels_last, bfloat16
forwards where asked, augmentation on tensors.  Every random number is a function of (seed, step), so a training that
is killed and repeated ends with the same bits as one that was not.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from foolscope.errors import InputError, StorageError
from foolscope.files import canonical_json, digest, replacing
from foolscope.randomness import check_seed, step_seed
from foolscope.spec import Parameters, parameter

Perturb = Callable[[nn.Module, Tensor, Tensor, int], Tensor]
"""(model, images, labels, step) to the images that are trained on: adversarial training's inner attack."""

Loss = Callable[[Callable[[Tensor], Tensor], Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(network, images, perturbed, labels) to a step's mean loss and the logits (n, K) that its accuracy is that of.

`network` gives float32 logits in training mode; `perturbed` are the images that `Perturb` made of `images`.
"""


@dataclass(frozen=True, kw_only=True)
class Guard:
    """Keep the weights of the epoch that scores best, not of the last: robust overfitting.

    Rice, Wong and Kolter 2020 (arXiv 2002.11569): in adversarial training robust accuracy on other images falls again
    while that on the training images rises.  `score` rates the model, in evaluation mode, after each epoch, on images
    that are neither trained on nor tested; of equals the first is kept.  Where the score falls by more than `fall` from
    one epoch to the next, training ends: catastrophic overfitting (Wong, Rice and Kolter 2020, arXiv 2001.03994).
    """

    score: Callable[[nn.Module], float]
    fall: float | None = None

    def ends(self, scores: list[float]) -> bool:
        """Whether training ends after the epochs with these scores."""
        return self.fall is not None and len(scores) > 1 and scores[-2] - scores[-1] > self.fall


@dataclass(frozen=True, kw_only=True)
class Recipe(Parameters):
    """How to train: all that decides the result, besides network, data and seed."""

    name: ClassVar[str] = "recipe"
    listing: ClassVar[str] = "foolscope train --help"
    manual: ClassVar[str | None] = "foolscope train --help"

    epochs: int = parameter(10, "passes over the training images", low=1)
    batch: int = parameter(128, "images in a step", low=1)
    lr: float = parameter(0.1, "peak learning rate of the one-cycle schedule", low=0)
    momentum: float = parameter(0.9, "Nesterov momentum", low=0, high=1)
    decay: float = parameter(5e-4, "weight decay on weights of two and more dimensions", low=0)
    warmup: float = parameter(0.25, "share of the steps in which the learning rate rises", low=0, high=1)
    shift: int = parameter(0, "random shift in pixels, both directions", low=0)
    flip: bool = parameter(False, "random horizontal flip")
    precision: str = parameter("bfloat16", "of the forward pass", choices=("float32", "bfloat16"))
    clip: float = parameter(0.0, "largest gradient norm of a step; 0: none", low=0)

    def steps(self, images: int) -> int:
        """Steps of a training on that many images."""
        return self.epochs * -(-images // self.batch)


@dataclass(frozen=True, kw_only=True)
class TrainingProgress:
    """Where a training stands; `loss` and `accuracy` are of the last step's batch."""

    step: int
    steps: int
    epoch: int
    epochs: int
    loss: float
    accuracy: float
    seconds: float


@dataclass
class Curves:
    """One number an epoch: mean training loss and accuracy, accuracy on the validation images, seconds.

    `robust` is what a `Guard` scored, empty without one.
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    robust: list[float] = field(default_factory=list)

    @property
    def kept(self) -> int | None:
        """The epoch, from 1, whose weights a guard kept: the first with the highest score.  None without one."""
        return 1 + self.robust.index(max(self.robust)) if self.robust else None


def one_cycle(step: int, steps: int, warmup: float) -> float:
    """Learning rate at `step`, as a share of the peak: a line up, then half a cosine down to 0."""
    turn = max(1, round(warmup * steps))
    if step < turn:
        return (step + 1) / turn
    return 0.5 * (1 + float(np.cos(np.pi * (step - turn) / max(1, steps - turn))))


def augment(images: Tensor, recipe: Recipe, rng: torch.Generator) -> Tensor:
    """Shift by up to `recipe.shift` pixels (edges filled with 0) and flip, each image by its own draw."""
    count, _, height, width = images.shape
    if recipe.shift:
        s = recipe.shift
        padded = F.pad(images, (s, s, s, s)).permute(0, 2, 3, 1)
        dy, dx = torch.randint(0, 2 * s + 1, (2, count, 1), generator=rng)
        rows, columns = dy + torch.arange(height), dx + torch.arange(width)
        sample = torch.arange(count)[:, None, None]
        images = padded[sample, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    if recipe.flip:
        flipped = torch.rand(count, generator=rng) < 0.5
        images = torch.where(flipped[:, None, None, None], images.flip(3), images)
    return images


def train(
    model: nn.Module,
    pixels: NDArray[np.uint8],
    labels: Tensor,
    recipe: Recipe,
    *,
    seed: int = 0,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 60.0,
    perturb: Perturb | None = None,
    loss: Loss | None = None,
    guard: Guard | None = None,
    validate: Callable[[nn.Module], float] | None = None,
    watch: Callable[[TrainingProgress], None] | None = None,
) -> Curves:
    """Train `model` in place and leave it in evaluation mode.

    `pixels` is uint8 (N, H, W, C), `labels` int64 (N,).  With `checkpoint` the state is kept there every
    `checkpoint_seconds` and at every epoch's end, and the same call goes on from it; a checkpoint of another recipe,
    seed, network or data is refused with `StorageError`.  `loss` is the cross-entropy on the perturbed images unless
    another is given; `guard` decides which epoch's weights are kept.  `validate` is called once an epoch with the model
    in evaluation mode.  Raises `InputError` where the loss stops being finite, `ParameterError` for a seed out of
    range.
    """
    check_seed(seed)
    if len(pixels) == 0:
        raise InputError("cannot train on 0 images.")
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0)
    model.to(memory_format=torch.channels_last)
    state = _State(model, optimizer, checkpoint, _identity(recipe, seed, labels), _content(pixels, labels))
    steps, saved = recipe.steps(len(labels)), time.monotonic()
    per_epoch = steps // recipe.epochs
    with torch.random.fork_rng(devices=[]):
        while state.step < steps and not (guard and guard.ends(state.curves.robust)):
            epoch, index = divmod(state.step, per_epoch)
            order = torch.randperm(
                len(labels), generator=torch.Generator().manual_seed(step_seed(seed, 100_003, epoch))
            )
            begun = time.monotonic()
            rows = order[index * recipe.batch : (index + 1) * recipe.batch]
            torch.manual_seed(step_seed(seed, 1_000_003, state.step))
            for group in optimizer.param_groups:
                group["lr"] = recipe.lr * one_cycle(state.step, steps, recipe.warmup)
            total, correct = _step(
                model, optimizer, pixels, labels, rows, recipe, perturb, loss or _cross_entropy, state.step
            )
            state.add(total, correct, len(rows), time.monotonic() - begun)
            if index == per_epoch - 1:
                state.end_epoch(validate(model.eval()) if validate else float("nan"))
                if guard:
                    state.rate(guard.score(model.eval()))
            if checkpoint and (index == per_epoch - 1 or time.monotonic() - saved > checkpoint_seconds):
                state.save()
                saved = time.monotonic()
            if watch:
                seconds = time.monotonic() - begun
                shown = (total / len(rows), correct / len(rows), seconds)
                watch(_progress(state.step, steps, epoch, recipe.epochs, *shown))
    if guard:
        state.keep_best()
    model.eval()
    return state.curves


def _progress(
    step: int, steps: int, epoch: int, epochs: int, loss: float, accuracy: float, seconds: float
) -> TrainingProgress:
    return TrainingProgress(
        step=step, steps=steps, epoch=epoch, epochs=epochs, loss=loss, accuracy=accuracy, seconds=seconds
    )


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    pixels: NDArray[np.uint8],
    labels: Tensor,
    rows: Tensor,
    recipe: Recipe,
    perturb: Perturb | None,
    loss: Loss,
    step: int,
) -> tuple[float, int]:
    """One step of gradient descent: the summed loss and the number of correct predictions."""
    batch = torch.from_numpy(pixels[rows.numpy()]).permute(0, 3, 1, 2).float().div_(255)
    images = augment(batch, recipe, torch.default_generator).contiguous(memory_format=torch.channels_last)
    truth = labels[rows]
    perturbed = images if perturb is None else perturb(model, images, truth, step)
    model.train()

    def network(given: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            logits: Tensor = model(given)
        return logits.float()

    mean, logits = loss(network, images, perturbed, truth)
    if not mean.isfinite():
        raise InputError(f"the training loss is {mean.item()} at step {step}; a smaller lr or clip=1 may help.")
    optimizer.zero_grad(set_to_none=True)
    mean.backward()  # type: ignore[no-untyped-call]
    if recipe.clip:
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return mean.item() * len(rows), int((logits.argmax(1) == truth).sum())


def _cross_entropy(
    network: Callable[[Tensor], Tensor], images: Tensor, perturbed: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    logits = network(perturbed)
    return F.cross_entropy(logits, labels), logits


def _identity(recipe: Recipe, seed: int, labels: Tensor) -> str:
    return canonical_json({"recipe": asdict(recipe), "seed": seed, "images": len(labels)})


def _content(pixels: NDArray[np.uint8], labels: Tensor) -> str:
    return digest(hashlib.sha256(np.ascontiguousarray(pixels).data).digest(), labels.numpy().tobytes())


class _State:
    """What a checkpoint holds: parameters, momentum, the step, the running epoch's sums, the curves, the best epoch."""

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, path: Path | None, identity: str, data: str
    ) -> None:
        self.model, self.optimizer, self.path, self.identity, self.data = model, optimizer, path, identity, data
        self.step = 0
        self.sums = [0.0, 0.0, 0.0, 0.0]  # loss, correct, images, seconds
        self.curves = Curves()
        self.best: dict[str, Tensor] = {}
        if path is not None and path.exists():
            self._load(path)

    def add(self, loss: float, correct: int, images: int, seconds: float) -> None:
        self.step += 1
        self.sums = [a + b for a, b in zip(self.sums, (loss, correct, images, seconds), strict=True)]

    def end_epoch(self, validation: float) -> None:
        loss, correct, images, seconds = self.sums
        self.curves.loss.append(loss / images)
        self.curves.accuracy.append(correct / images)
        self.curves.validation.append(validation)
        self.curves.seconds.append(seconds)
        self.sums = [0.0, 0.0, 0.0, 0.0]

    def rate(self, score: float) -> None:
        """Note the finished epoch's score, and its weights where no epoch was better."""
        self.curves.robust.append(score)
        if self.curves.kept == len(self.curves.robust):
            self.best = {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def keep_best(self) -> None:
        self.model.load_state_dict(self.best)

    def save(self) -> None:
        content = {
            "identity": self.identity,
            "data": self.data,
            "step": self.step,
            "sums": self.sums,
            "curves": asdict(self.curves),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            **({"best": self.best} if self.best else {}),
        }
        with replacing(cast(Path, self.path)) as temporary:
            torch.save(content, temporary)

    def _load(self, path: Path) -> None:
        try:
            content: Any = torch.load(path, weights_only=True)
            held = {name: tensor.shape for name, tensor in content["model"].items()}
            identity, data = content["identity"], content.get("data", self.data)
        except Exception as error:  # what is no checkpoint fails anywhere in the unpickler, with any error
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise StorageError(f"{path}: damaged checkpoint ({reason}); remove it to start again.") from None
        if (identity, data) != (self.identity, self.data):
            raise StorageError(f"{path} belongs to another recipe, seed or data set; remove it or name another file.")
        if held != {name: tensor.shape for name, tensor in self.model.state_dict().items()}:
            raise StorageError(f"{path} belongs to another network; remove it or name another file.")
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.step, self.sums = content["step"], content["sums"]
        self.curves, self.best = Curves(**content["curves"]), content.get("best", {})
