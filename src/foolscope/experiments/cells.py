"""The two kinds of cell that an audit consists of, each for one block of images.

A `clean` cell looks at the untouched images: predictions, and what the sanity checks need.  An `attack` cell attacks
one network (`source`, plain or behind a defense) at one epsilon and shows the result to several (`victims`): so the
oblivious accuracy of every defense comes from the very images that fool the plain network.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foolscope.attacks import Attack, Untargeted, Watch
from foolscope.attacks.attack import LOOKS
from foolscope.attacks.losses import cross_entropy
from foolscope.data import ImageSet
from foolscope.defenses import defended
from foolscope.errors import GradientWarning, InputError
from foolscope.images import quantize
from foolscope.measure import distances
from foolscope.memory import release
from foolscope.models.engine import Engine, Precision, chunk_size
from foolscope.models.expectation import Expectation
from foolscope.models.fingerprint import model_digest
from foolscope.randomness import generator, seeded

PLAIN = ""
"""The name of the network without a defense, among `victims` and as `source`."""

SAMPLES = 8
"""Images of the first block that are kept, with their adversarial versions, for the report."""

_LARGEST_BLOCK = 512


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is audited: a model with a digest of all its weights, plain and behind each defense."""

    model: nn.Module
    digest: str
    engines: dict[str, Engine]

    @classmethod
    def of(
        cls, model: nn.Module, defenses: tuple[str, ...], precision: Precision, device: str | None, eot: int = 1
    ) -> Subject:
        """Prepare the engines; `defenses` are specs.

        Behind one that draws random numbers, gradients are means over `eot` draws (expectation over transformation).
        """
        engines = {PLAIN: Engine(model, precision=precision, device=device)}
        for spec in defenses:
            module = defended(model, spec)
            engines[spec] = (
                Expectation(module, draws=eot, precision=precision, device=device)
                if module.random and eot > 1
                else Engine(module, precision=precision, device=device)
            )
        return cls(model=model, digest=model_digest(model), engines=engines)


def block_rows(data: ImageSet) -> list[slice]:
    """The blocks that a data set is worked through in: 512 images of 32 x 32, fewer of larger ones."""
    size = min(_LARGEST_BLOCK, 4 * chunk_size(data.rows(slice(0, 1)).images))
    return [slice(begin, min(begin + size, len(data))) for begin in range(0, len(data), size)]


def clean_spec(subject: Subject, block: ImageSet, victims: tuple[str, ...]) -> dict[str, Any]:
    """What decides a clean cell."""
    return {
        "kind": "clean",
        "model": subject.digest,
        "data": block.digest,
        "victims": list(victims),
        "precision": subject.engines[PLAIN].precision,
    }


def clean_cell(subject: Subject, block: ImageSet, victims: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Predictions of every victim on the untouched images, and the sanity checks' raw material."""
    with seeded(0):
        return _clean_cell(subject, block, victims)


def _clean_cell(subject: Subject, block: ImageSet, victims: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    images, plain = block.images, subject.engines[PLAIN]
    logits = plain.logits(images)
    again = plain.logits(images)
    arrays: dict[str, Tensor] = {
        "label": block.labels,
        "confidence": logits.softmax(1).amax(1),
        "looks_like_probabilities": ((logits >= 0).all(1)) & ((logits.sum(1) - 1).abs() < 1e-4),
        "repeat_difference": (logits - again).abs().amax(1) / logits.abs().amax(1).clamp_min(1e-12),
    }
    if plain.info.differentiable:
        passed = plain.gradients(images, lambda z, rows: cross_entropy(z, block.labels[rows]))
        arrays["gradient_linf"] = passed.images.flatten(1).abs().amax(1).masked_fill(passed.broken, torch.nan)
    for number, victim in enumerate(victims):
        arrays[f"prediction_{number}"] = subject.engines[victim].predict(images)
    return {name: value.numpy() for name, value in arrays.items()}


def to_the_end(attack: Attack) -> Attack:
    """The attack without images that leave it early."""
    return attack.replace(early_stop=False) if hasattr(attack, "early_stop") else attack


def _settings(attack: Attack) -> dict[str, Any]:
    """The attack's parameters, without those at their default that stored results did not know yet."""
    usual = {field.name: field.default for field in fields(attack)}
    return {key: value for key, value in asdict(attack).items() if key not in attack.added or value != usual[key]}


@dataclass(frozen=True, kw_only=True)
class AttackJob:
    """One attack (its epsilon set) on `source`, whose images are shown to `victims`.

    Where others than the source look at them, no image leaves the batch early: what has only just crossed the source's
    boundary would flatter every defense.  Nor does it where the source draws random numbers and gradients are means
    over `eot` draws: what has only just crossed its boundary comes back in every other draw.
    """

    attack: Attack
    source: str
    victims: tuple[str, ...]
    seed: int
    precision: Precision
    eot: int = 1

    @property
    def executed(self) -> Attack:
        """The attack as it is run."""
        return to_the_end(self.attack) if self.victims != (self.source,) or self.eot > 1 else self.attack

    def spec(self, subject: Subject, block: ImageSet, keeps_samples: bool) -> dict[str, Any]:
        """What decides the cell."""
        return {
            "kind": "attack",
            "model": subject.digest,
            "data": block.digest,
            "attack": {"name": self.executed.name, **_settings(self.executed)},
            "source": self.source,
            "victims": list(self.victims),
            "seed": self.seed,
            "precision": self.precision,
            "samples": SAMPLES if keeps_samples else 0,
            **({"eot": self.eot} if self.eot > 1 else {}),
            **({"looks": LOOKS} if subject.engines[self.source].random else {}),
        }

    def run(
        self, subject: Subject, block: ImageSet, keeps_samples: bool, watch: Watch | None = None
    ) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """The cell's arrays and its cost in seconds."""
        with seeded(self.seed):  # for victims that draw random numbers
            done = self._run(subject, block, keeps_samples, watch)
        release()
        return done

    def _run(
        self, subject: Subject, block: ImageSet, keeps_samples: bool, watch: Watch | None
    ) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        begun = time.perf_counter()
        images = block.images
        goal = Untargeted(block.labels)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", GradientWarning)  # the audit has its own, for all blocks
            result = self.executed(subject.engines[self.source], images, goal, rng=generator(self.seed), watch=watch)
        seconds = time.perf_counter() - begun
        if not result.images.isfinite().all():
            raise InputError(f"{self.attack.name} gave NaN pixels on {subject.engines[self.source].info.name}.")
        arrays: dict[str, Tensor] = {
            "label": block.labels,
            "success": result.success,
            "already": result.already,
            "broken": result.broken,
            "forwards": result.forwards,
            "backwards": result.backwards,
            **vars(distances(images, result.images)),
        }
        saved = quantize(result.images)
        for number, victim in enumerate(self.victims):
            engine = subject.engines[victim]
            same = victim == self.source
            arrays[f"prediction_{number}"] = result.predictions if same else engine.predict(result.images)
            arrays[f"prediction_saved_{number}"] = engine.predict(saved)
        if keeps_samples:
            arrays["sample_images"] = images[:SAMPLES]
            arrays["sample_adversarial"] = result.images[:SAMPLES]
        return {name: np.ascontiguousarray(value.numpy()) for name, value in arrays.items()}, {"seconds": seconds}
