"""One attack on one picture, within its time."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from foolscope.attacks import Attack, AttackResult, Goal, Progress, Targeted, Untargeted
from foolscope.errors import Cancelled, FoolscopeError, ParameterError
from foolscope.models.engine import Engine
from foolscope.randomness import generator
from foolscope.report.samples import magnified
from foolscope.web import schemas
from foolscope.web.answers import attack_message, class_entry, class_name, distances, picture_entry, top_classes
from foolscope.web.logs import LOGGER
from foolscope.web.networks import Network
from foolscope.web.pictures import Picture, PictureStore, pictures_of
from foolscope.web.problems import GoneError, TookTooLongError
from foolscope.web.reproduce import repeat_attack

BROKEN = (
    "the network's gradient was NaN or infinite for this image on the way, and the attack moved it no further along "
    "it: that it holds out says little about the network"
)
"""The note on an attack whose gradient broke."""


class _OutOfTime(Cancelled):
    """Raised in an attack that has used up its time."""


@dataclass(frozen=True, kw_only=True)
class Attacking:
    """An attack that waits to be run on a picture as the network sees it, for at most so many seconds.

    `label` is the ground truth; None stands for what the network sees.
    """

    attack: Attack
    network: Network
    picture: Picture
    notes: list[str]
    label: int | None
    target: int | None
    seed: int
    top: int
    seconds: float

    def run(self, stop: threading.Event, pictures: PictureStore) -> schemas.Attacked:
        """Attack, and keep what comes out.

        Raises `TookTooLongError`, `GoneError` once `stop` is set, and what the attack does.
        """
        begun = time.perf_counter()
        images, info = self.picture.images, self.network.info
        with self.network.used() as engine:
            before = engine.logits(images)[0]
            truth = class_entry(info, int(before.argmax()) if self.label is None else self.label, len(before))
            target = None if self.target is None else class_entry(info, self.target, len(before))
            result = self._attacked(engine, images, _goal(truth, target), stop)
            after = engine.logits(result.images)[0]
        seconds = time.perf_counter() - begun
        adversarial = pictures.keep(pictures_of(result.images)[0])
        noise, factor = magnified(images[0].numpy(), result.images[0].numpy())
        success, already, broken = bool(result.success[0]), bool(result.already[0]), bool(result.broken[0])
        return schemas.Attacked(
            model=self.network.model,
            attack=self.attack.spec(),
            seed=self.seed,
            truth=truth,
            target=target,
            original=picture_entry(self.picture),
            adversarial=picture_entry(adversarial),
            noise=picture_entry(pictures.keep(pictures_of(torch.from_numpy(noise)[None])[0])),
            noise_factor=float(factor.split()[-1]) if factor else None,
            top_before=top_classes(info, before, self.top),
            top=top_classes(info, after, self.top),
            success=success,
            already=already,
            broken=broken,
            message=attack_message(
                self.network.model,
                class_name(info, int(after.argmax())),
                truth.name,
                target.name if target else None,
                success=success,
                already=already,
            ),
            distances=distances(images, result.images),
            forwards=int(result.forwards[0]),
            backwards=int(result.backwards[0]),
            seconds=round(seconds, 4),
            reproduce=self._repeated(truth.index),
            notes=[*self.notes, BROKEN] if broken else self.notes,
        )

    def _attacked(self, engine: Engine, images: Tensor, goal: Goal, stop: threading.Event) -> AttackResult:
        deadline = time.perf_counter() + self.seconds

        def watch(progress: Progress) -> None:
            if stop.is_set():
                raise Cancelled
            if time.perf_counter() > deadline:
                raise _OutOfTime

        spec = self.attack.spec()
        try:
            return self.attack(engine, images, goal, rng=generator(self.seed), quantize=True, watch=watch)
        except _OutOfTime:
            line = f"{spec} takes longer than the {self.seconds:g} s that it may here: 'foolscope attack' has no limit."
            raise TookTooLongError(line) from None
        except Cancelled:
            raise GoneError("the caller left.") from None
        except FoolscopeError:
            raise
        except (ArithmeticError, RuntimeError, MemoryError) as error:  # of parameters that are allowed and absurd
            LOGGER.warning("attack failed", exc_info=error, extra={"fields": {"attack": spec}})
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise ParameterError(f"{spec} fails with these parameters: {reason}.") from None

    def _repeated(self, truth: int) -> schemas.Reproduction:
        return schemas.Reproduction(
            **repeat_attack(
                attack=self.attack.spec(),
                model=self.network.model,
                picture=self.picture.id,
                label=truth,
                target=self.target,
                seed=self.seed,
                channels=self.picture.pixels.shape[2],
            )
        )


def _goal(truth: schemas.ClassEntry, target: schemas.ClassEntry | None) -> Goal:
    if target is None:
        return Untargeted(torch.tensor([truth.index]))
    if target.index == truth.index:
        raise ParameterError(f"the target must be another class than the ground truth, '{truth.name}'.")
    return Targeted(torch.tensor([target.index]))
