"""What a search attacks: models, images with labels, detectors; and what a filtered image does to them.

A black box: models are asked for probabilities, detectors for flags, and every question is counted.  `queries` (M, N)
counts the filtered versions of image n that model m was shown, `detections` those that its detector was.  What is known
of untouched images is asked once and not counted: it does not depend on the search.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol, Self

import torch
from torch import Tensor, nn

from foolscope.attacks.agv.candidate import Candidate
from foolscope.attacks.agv.distances import DISTANCES, Distance
from foolscope.attacks.agv.settings import OBJECTIVES
from foolscope.errors import InputError
from foolscope.files import digest
from foolscope.filters.chain import Chain
from foolscope.images import check_images, check_labels
from foolscope.models.engine import Engine, Gradients, Objective


class Detector(Protocol):
    """Tells adversarial images from clean ones, by what it knows of one model."""

    def detects(self, model: nn.Module | Engine, images: Tensor, probabilities: Tensor | None = None) -> Tensor:
        """Which images are flagged: bool (N,).  `probabilities` (N, K) are the model's, where they are known."""
        ...


class Evaluator:
    """Models under attack, the images to filter, and detectors.

    `detectors` are as many as the models, each calibrated for its model, or none.  `distances` adds functions to those
    of `distances.DISTANCES`, such as `ssim` (give 1 - SSIM) and `fid`.
    Raises `InputError` for images or labels that break the contract, another number of detectors, a detector that was
    calibrated for another model, and a model that misclassifies every image; `ParameterError` for a detector that has
    no threshold yet.
    """

    def __init__(
        self,
        models: nn.Module | Engine | Sequence[nn.Module | Engine],
        images: Tensor,
        labels: Tensor,
        *,
        detectors: Detector | Sequence[Detector] | None = None,
        distances: Mapping[str, Distance] | None = None,
    ) -> None:
        listed = [models] if isinstance(models, nn.Module | Engine) else list(models)
        self.engines = [model if isinstance(model, Engine) else Engine(model) for model in listed]
        if not self.engines or not len(check_images(images)):
            raise InputError("a search needs at least one model and one image.")
        self.images = images.detach()
        self.classes = [engine.num_classes(images) for engine in self.engines]
        self.labels = check_labels(labels, len(images), min(self.classes)).to(images.device)
        self.detectors = _listed(detectors)
        if self.detectors and len(self.detectors) != len(self.engines):
            raise InputError(
                f"a search needs one detector for each model, got {len(self.detectors)} for {len(listed)}."
            )
        for detector, engine in zip(self.detectors, self.engines, strict=False):  # as many, or none
            _check(detector, engine, self.images)
        self.distances = {**DISTANCES, **(distances or {})}
        self.clean = torch.stack([engine.predict(self.images) for engine in self.engines])
        self.right = self.clean == self.labels
        for name, right in zip(self.names, self.right, strict=True):
            if not right.any():
                raise InputError(
                    f"{name} misclassifies all {len(images)} images untouched: there is nothing to attack."
                )
        self.queries = torch.zeros(len(self.engines), len(images), dtype=torch.int64)
        self.detections = torch.zeros_like(self.queries)

    def fresh(self) -> Self:
        """The same with counts of its own, all 0."""
        other = copy.copy(self)
        other.queries, other.detections = torch.zeros_like(self.queries), torch.zeros_like(self.detections)
        return other

    @property
    def names(self) -> tuple[str, ...]:
        """The models' names."""
        return tuple(engine.info.name for engine in self.engines)

    def identity(self) -> dict[str, str]:
        """What decides a search's results: count and digest of images, models, their clean predictions, detectors."""
        images, labels, clean = (part.cpu().numpy().tobytes() for part in (self.images, self.labels, self.clean))
        return {
            "count": str(len(self.images)),
            "images": digest(images, labels),
            "models": ", ".join(self.names),
            "predictions": digest(clean),
            "detectors": ", ".join(map(_described, self.detectors)) or "none",
        }

    def probabilities(self, filtered: Tensor, rows: Tensor) -> list[Tensor]:
        """Each model's softmax (n, K) on filtered versions of the images numbered `rows` (n,), which may repeat."""
        if not len(rows):  # a model that does not declare its classes cannot say how wide no answer is
            return [filtered.new_empty(0, classes) for classes in self.classes]
        self._count(self.queries, rows)
        return [engine.logits(filtered).softmax(1) for engine in self.engines]

    def gradients(self, filtered: Tensor, rows: Tensor, objectives: Sequence[Objective]) -> list[Gradients]:
        """A forward and backward pass of each model: the white box."""
        self._count(self.queries, rows)
        return [
            engine.gradients(filtered, objective) for engine, objective in zip(self.engines, objectives, strict=True)
        ]

    def detected(self, filtered: Tensor, rows: Tensor, probabilities: Sequence[Tensor]) -> Tensor:
        """Which filtered images each model's detector flags: bool (M, n)."""
        self._count(self.detections, rows)
        threes = zip(self.detectors, self.engines, probabilities, strict=True)
        return torch.stack([detector.detects(engine, filtered, known) for detector, engine, known in threes])

    def judge(self, chain: Chain, *, distances: Sequence[str] = (), several: str = "worst") -> Candidate:
        """What a chain does to all images: how a chain is judged on images that no search has seen.

        Distances are `linf`, `l2` and those named.
        """
        rows = torch.arange(len(self.images), device=self.images.device)
        filtered = chain(self.images)
        known = self.probabilities(filtered, rows)
        predictions = torch.stack([probabilities.argmax(1) for probabilities in known])
        return self.described(
            chain,
            rows,
            predictions,
            detected=self.detected(filtered, rows, known) if self.detectors else None,
            distances={name: self.distance(name, filtered, rows) for name in ("linf", "l2", *distances)},
            several=several,
        )

    def described(
        self,
        chain: Chain,
        rows: Tensor,
        predictions: Tensor,
        *,
        detected: Tensor | None,
        distances: Mapping[str, float],
        several: str,
        step: int = 0,
    ) -> Candidate:
        """The candidate that predictions and flags (M, n) on the images numbered `rows` (n,) make of a chain."""
        right = self.right[:, rows]
        return Candidate(
            chain=chain,
            models=self.names,
            several=several,
            right=right,
            fooled=right & (predictions != self.labels[rows]),
            changed=predictions != self.clean[:, rows],
            detected=detected,
            distances=distances,
            step=step,
            queries=int(self.queries.sum()),
        )

    def distance(self, name: str, filtered: Tensor, rows: Tensor) -> float:
        """Distance of filtered images from the originals numbered `rows`; the mean over the images."""
        return float(self.distances[name](self.images[rows], filtered).double().mean())

    def scale(self, name: str) -> float:
        """The value of an objective that counts as 1."""
        return self.images[0].numel() ** 0.5 if name == "l2" else OBJECTIVES[name]

    def _count(self, counts: Tensor, rows: Tensor) -> None:
        counts += torch.bincount(rows.cpu(), minlength=len(self.images))


def _listed(detectors: Detector | Sequence[Detector] | None) -> list[Detector]:
    if detectors is None:
        return []
    return list(detectors) if isinstance(detectors, Sequence) else [detectors]


def _check(detector: Detector, engine: Engine, images: Tensor) -> None:
    """Raise what `detects` would raise much later, where a detector knows that it does not fit a model."""
    if callable(check := getattr(detector, "check", None)):
        check(engine)
    elif getattr(detector, "threshold", 0) is None:
        detector.detects(engine, images[:1])


def _described(detector: Detector) -> str:
    """A detector's parameters where it tells them, else its kind: other objects' repr is of this process alone."""
    return repr(detector) if dataclasses.is_dataclass(detector) else type(detector).__qualname__
