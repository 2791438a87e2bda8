"""The shape of every attack: hyperparameters in, `AttackResult` out.

An `Attack` is a frozen, keyword-only dataclass of hyperparameters.  It holds no model, device, seed or mode, and is
called with them.  A subclass writes `_perturb`, which searches for one block of images; checks, blocks, randomness,
counting, the last look at the returned images and the result are here, once.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from foolscope.attacks.goal import Goal, Targeted, check_goal
from foolscope.attacks.losses import check_classes
from foolscope.errors import GradientWarning, InputError
from foolscope.images import check_images, quantize
from foolscope.models.counting import Queries
from foolscope.models.engine import Engine, Precision, answers_differ, chunk_size
from foolscope.norms import NORMS, l0
from foolscope.randomness import Streams, draw_seed, generator, seeded
from foolscope.spec import Parameters

LARGEST_EPS = 1e6
"""More than any image is wide in any norm; far larger numbers would overflow when they are squared."""

_CHUNKS_PER_BLOCK = 8

LOOKS = 16
"""Draws of a network that draws random numbers which all have to reach the goal before an image counts as finished."""

_NAMED = 5
"""Images that a warning names."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where an attack stands: `done` of `total` images are finished, `succeeded` of them so far fooled the model.

    `step` of `steps` is that of the block at work, of which `active` images are still under attack; `objective` is
    what the attack maximizes, the mean over them.
    """

    attack: str
    step: int
    steps: int
    active: int
    done: int
    total: int
    succeeded: int
    objective: float


Watch = Callable[[Progress], None]
"""Called after every step.  Raising `Cancelled` in it stops the attack and leaves the model as it was."""


@dataclass(frozen=True, kw_only=True)
class AttackResult:
    """What an attack did to N images.

    `images` (N, C, H, W) are returned also where the attack failed.  `predictions` (N,) are the model's on exactly
    these images, `success` (N,) whether they reach the goal.  `already` (N,) marks images that reached it untouched:
    they are returned unchanged and count as success.  `broken` (N,) marks images whose gradient was NaN or infinite on
    the way: the attack moved them no further along it.  `forwards` and `backwards` (N,) are the passes spent on each.
    """

    originals: Tensor
    images: Tensor
    success: Tensor
    predictions: Tensor
    already: Tensor
    broken: Tensor
    forwards: Tensor
    backwards: Tensor
    trace: tuple[Progress, ...] = field(repr=False)

    def distance(self, norm: str) -> Tensor:
        """Distance (N,) between image and original in `l0` (changed pixels), `l1`, `l2` or `linf`."""
        difference = self.images - self.originals
        return l0(difference) if norm == "l0" else NORMS[norm].length(difference)


@dataclass(kw_only=True)
class Block:
    """Images that are attacked together, and what `_perturb` needs for them.  `rows` number them in the whole run."""

    queries: Queries
    images: Tensor
    goal: Goal
    rows: Tensor
    streams: Streams
    quantize: bool
    already: Tensor
    report: Callable[[int, int, int, int, float], None]
    """(step, steps, active, succeeded, objective)"""

    def look(self) -> Tensor:
        """The logits (N, K) of the untouched images; those that reach the goal are marked as `already` there.

        Of a network that draws random numbers these are the images that reach it in every one of 16 draws: the others
        stand now and then, and are attacked.
        """
        logits = self.queries.logits(self.images, self.rows)
        places = self.goal.reached(logits).nonzero()[:, 0]
        self.already[places[self.again(self.images[places], places)]] = True
        return logits

    def reached(self, images: Tensor, places: Tensor) -> Tensor:
        """Which of `images`, versions of those at `places`, reach the goal (n,): of a random network, in 16 draws."""
        sure = self.goal[places].reached(self.queries.logits(images, self.rows[places]))
        left = sure.nonzero()[:, 0]
        sure[left] = self.again(images[left], places[left])
        return sure

    def confirmed(self, images: Tensor, places: Tensor) -> Tensor:
        """Which of `images` reach the goal for sure (N,): in full precision and, with `quantize`, on the 8-bit grid.

        They are versions, as they would be returned, of the block's images at `places` that a gradient pass took for
        finished.  A network that draws random numbers has to err on them in every one of 16 draws.
        """
        if self.quantize or self.queries.random or self.queries.engine.precision == "bfloat16":
            return self.reached(images, places)
        return torch.ones_like(places, dtype=torch.bool)

    def again(self, images: Tensor, places: Tensor, most: int = LOOKS - 1) -> Tensor:
        """Which of `images`, that reached the goal in one draw, do so in at least `most` of the 15 other ones (n,)."""
        sure = torch.ones_like(places, dtype=torch.bool)
        if not self.queries.random:
            return sure
        left, hits = torch.arange(len(places), device=places.device), torch.zeros_like(places)
        for draw in range(1, LOOKS):
            if len(left) == 0:
                break
            logits = self.queries.logits(images[left], self.rows[places[left]])
            hits[left] += self.goal[places[left]].reached(logits)
            sure[left] = hits[left] + (LOOKS - 1 - draw) >= most
            left = left[sure[left] & (hits[left] < most)]
        return sure


@dataclass(frozen=True, kw_only=True)
class Attack(Parameters):
    """Base of all attacks; see the module's docstring."""

    listing: ClassVar[str] = "foolscope attacks"
    summary: ClassVar[str]
    source: ClassVar[str]
    needs_gradients: ClassVar[bool] = True
    takes_targets: ClassVar[bool] = True
    added: ClassVar[tuple[str, ...]] = ()
    """Parameters that came later: at their default they are left out of what names a stored result."""
    minimum_norm: ClassVar[bool] = False
    """Whether it looks for the nearest image and has no radius, so that one run tells its success at every radius."""

    @property
    @abstractmethod
    def passes(self) -> int:
        """Forward-and-backward passes that an image takes at most: what a run is expected to cost."""

    def __call__(
        self,
        model: nn.Module | Engine | Callable[[Tensor], Any],
        images: Tensor,
        goal: Goal,
        *,
        rng: torch.Generator | None = None,
        watch: Watch | None = None,
        quantize: bool = False,
        precision: Precision = "float32",
    ) -> AttackResult:
        """Attack `images` (N, C, H, W) and return an `AttackResult`.

        A function from images to logits in the place of a network is a black box.

        `rng` decides every random choice (default: a generator with seed 0).  With `quantize` the returned images are
        multiples of 1/255 and success counts on them; if the originals are such multiples, they stay in the ball.
        Images that reach the goal untouched are returned as they are.  `precision` is that of gradient passes; success
        is checked in float32, with float64 in that.  An `Engine` instead of a model is used as it is, whatever the
        precision.
        Raises `InputError` for images, labels or logits that break the contract, and warns with `GradientWarning` of
        images whose gradient is NaN or infinite.
        """
        check_images(images)
        engine = model if isinstance(model, Engine) else Engine(model, precision=precision)
        if self.needs_gradients and not engine.info.differentiable:
            raise InputError(f"{self.name} needs gradients and {engine.info.name} gives none: use a black-box attack.")
        if isinstance(goal, Targeted) and not self.takes_targets:
            raise InputError(f"{self.name} is untargeted: use cw, ddn, fmn or pgd for a target.")
        seed = draw_seed(rng or generator(0))
        with seeded(seed, engine.device):
            return _Run(self, engine, images, goal, seed, watch, quantize).result()

    @property
    def budget(self) -> int | None:
        """Forward passes that an image can have at most, to which the run is held; None where nothing bounds them.

        A network that draws random numbers may be shown the untouched image 15 times more.
        """
        return None

    @abstractmethod
    def _perturb(self, block: Block) -> Tensor:
        """The perturbed images of a block, in [0, 1]; marks in `block.already` those that reach the goal untouched."""


def _is_random(engine: Engine, images: Tensor) -> bool:
    """Whether the network draws random numbers; an `Expectation` of one that does not say so is asked twice."""
    if engine.random or engine.draws == 1 or not len(images):
        return engine.random
    return answers_differ(engine.logits(images[:1]), engine.logits(images[:1]))


class _Run:
    """One call of an attack: walks through the blocks and gathers the result."""

    def __init__(
        self,
        attack: Attack,
        engine: Engine,
        images: Tensor,
        goal: Goal,
        seed: int,
        watch: Watch | None,
        quantized: bool,
    ) -> None:
        self.attack, self.engine, self.seed, self.watch, self.quantized = attack, engine, seed, watch, quantized
        self.images = images.detach()
        classes = engine.num_classes(images) if len(images) else 2
        check_classes(classes, attack.name, engine.info.name)
        self.goal = check_goal(goal).checked(len(images), classes).to(images)
        is_random = _is_random(engine, images)
        budget = attack.budget if attack.budget is None or not is_random else attack.budget + LOOKS - 1
        self.queries = Queries(engine, len(images), budget, random=is_random)
        self.trace: list[Progress] = []
        self.done = self.succeeded = 0

    def result(self) -> AttackResult:
        empty = torch.zeros(0, dtype=torch.bool, device=self.images.device)
        perturbed, predictions = [self.images[:0]], [empty.long()]
        success, already = [empty], [empty]
        size = (self.engine.chunk or chunk_size(self.images)) * _CHUNKS_PER_BLOCK
        for begin in range(0, len(self.images), size):
            rows = torch.arange(begin, min(begin + size, len(self.images)), device=self.images.device)
            block = self._block(rows)
            found = self.attack._perturb(block)
            if self.quantized:
                found = torch.where(block.already.view(-1, 1, 1, 1), found, quantize(found))
            logits = self.queries.logits(found, rows)
            reached = block.goal.reached(logits)
            self.done, self.succeeded = self.done + len(rows), self.succeeded + int(reached.sum())
            perturbed.append(found)
            success.append(reached)
            predictions.append(logits.argmax(1))
            already.append(block.already)
        self._warn()
        return AttackResult(
            originals=self.images,
            images=torch.cat(perturbed),
            success=torch.cat(success),
            predictions=torch.cat(predictions),
            already=torch.cat(already),
            broken=self.queries.broken.to(self.images.device),
            forwards=self.queries.forwards,
            backwards=self.queries.backwards,
            trace=tuple(self.trace),
        )

    def _warn(self) -> None:
        """Name the images whose gradient was not finite."""
        broken = self.queries.broken.nonzero()[:, 0].tolist()
        if broken:
            named = ", ".join(map(str, broken[:_NAMED])) + (", ..." if len(broken) > _NAMED else "")
            model, count = self.engine.info.name, len(self.images)
            warnings.warn(
                f"{model} gives NaN or infinite gradients for {len(broken)} of {count} images, "
                f"{self.attack.name} moved these no further: {named}.",
                GradientWarning,
                stacklevel=4,
            )

    def _block(self, rows: Tensor) -> Block:
        images = self.images[rows]

        def report(step: int, steps: int, active: int, succeeded: int, objective: float) -> None:
            progress = Progress(
                attack=self.attack.spec(),
                step=step,
                steps=steps,
                active=active,
                done=self.done + len(rows) - active,
                total=len(self.images),
                succeeded=self.succeeded + succeeded,
                objective=objective,
            )
            self.trace.append(progress)
            if self.watch:
                self.watch(progress)

        return Block(
            queries=self.queries,
            images=images,
            goal=self.goal[rows],
            rows=rows,
            streams=Streams(self.seed, images),
            quantize=self.quantized,
            already=torch.zeros(len(rows), dtype=torch.bool, device=images.device),
            report=report,
        )
