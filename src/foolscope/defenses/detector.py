"""Detectors of adversarial images: feature squeezing, its calibration, and ROC curves.

Feature squeezing (Xu, Evans and Qi 2018, arXiv 1704.01155) compares what a classifier says of an image with what it
says of squeezed copies.  An image is detected where the answers differ by more than a threshold t:

    score(x) = max over squeezers s of | softmax(z(x)) - softmax(z(s(x))) |_1        detected: score(x) > t

The score is in [0, 2].  t is calibrated per classifier on clean images: with n scores, the smallest of them that at
most floor(rate n) exceed, so that the share of these images that is detected is at most `rate`.  This is EvadeML-Zoo's
rule.  Images that were not calibrated on tell the real rate: `halves` splits a data set.  Attacks that know of the
detector pass it (He et al. 2017, arXiv 1706.04701).
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from foolscope.defenses.defended import parse_defense
from foolscope.defenses.defense import Defense
from foolscope.errors import CorruptError, FoolscopeError, InputError, MissingError, ParameterError
from foolscope.files import digest, write_json
from foolscope.images import check_images
from foolscope.models.engine import Engine
from foolscope.randomness import generator
from foolscope.registry import Registry
from foolscope.spec import Parameters, parameter, parse_spec, split

SCHEMA = "foolscope-detector/1"

_USUAL = "usual"
_GRAY, _SMALL, _LARGE = (
    "bits:depth=1;median:size=2",
    "bits:depth=5;median:size=2;nlm:search=13,patch=3,strength=2",
    "bits:depth=5;median:size=2;nlm:search=11,patch=3,strength=4",
)
_SMALL_SIDE = 64
_MOST_SQUEEZERS = 32
_LONGEST_FILE, _LONGEST_TEXT = 65_536, 4_000


class Detector(Protocol):
    """Tells adversarial images from clean ones.

    `model` is a classifier or the engine that runs it, `images` are float32 (N, C, H, W) in [0, 1], `probabilities`
    (N, K) the model's softmax on them where the caller knows it already: a detector that has no use for it ignores it.
    """

    def score(self, model: nn.Module | Engine, images: Tensor, probabilities: Tensor | None = None) -> Tensor:
        """How suspicious each image is, (N,): higher is more."""

    def detects(self, model: nn.Module | Engine, images: Tensor, probabilities: Tensor | None = None) -> Tensor:
        """Which images are taken for adversarial, bool (N,)."""


@dataclass(frozen=True, kw_only=True)
class FeatureSqueezing(Parameters):
    """How far the softmax moves when the image is squeezed.

    `squeezers` are defenses joined by ';', each a spec or several joined by '|'.  'usual' stands for those of the paper
    by the images' shape; see `usual`.  Raises `SpecError` and `ParameterError` for squeezers that do not parse.
    """

    name: ClassVar[str] = "fs"
    listing: ClassVar[str] = "foolscope detectors"
    example: ClassVar[str] = "fs:squeezers=(bits:depth=5;median:size=2)"
    summary: ClassVar[str] = "feature squeezing: predictions that change when the image is squeezed"
    source: ClassVar[str] = "Xu, Evans, Qi 2018, arXiv 1704.01155"

    squeezers: str = parameter(_USUAL, "defenses joined by ';', or 'usual': the paper's for such images")
    threshold: float | None = parameter(None, "score above which an image is detected", low=0, high=2)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.squeezers != _USUAL:
            object.__setattr__(self, "squeezers", ";".join(squeeze.spec() for squeeze in _parsed(self.squeezers)))

    @classmethod
    def usual(cls, shape: Sequence[int | None]) -> FeatureSqueezing:
        """The paper's squeezers for images of `shape`, which ends with (C, H, W), as a `Task`'s or a tensor's does.

        Gray images: those for MNIST (1 bit, median 2).  Color, sides up to 64: CIFAR-10 (5 bits, median 2, non-local
        means 13-3-2).  Larger or any size: ImageNet (5 bits, median 2, non-local means 11-3-4).
        """
        channels, height, width = shape[-3:]
        if channels == 1:
            return cls(squeezers=_GRAY)
        small = height is not None and width is not None and max(height, width) <= _SMALL_SIDE
        return cls(squeezers=_SMALL if small else _LARGE)

    def resolved(self, shape: Sequence[int | None]) -> FeatureSqueezing:
        """This detector with 'usual' replaced by the squeezers that it stands for."""
        return self.replace(squeezers=self.usual(shape).squeezers) if self.squeezers == _USUAL else self

    def defenses(self, shape: Sequence[int | None]) -> tuple[Defense, ...]:
        """The squeezers for images of this shape; scoring takes a forward pass for each, and one for the image."""
        return _parsed(self.resolved(shape).squeezers)

    def score(self, model: nn.Module | Engine, images: Tensor, probabilities: Tensor | None = None) -> Tensor:
        """The largest l1 distance between the softmax of an image and of its squeezed versions: float32 (N,) in [0, 2].

        `probabilities` (N, K) saves the pass over the images themselves.  Raises `InputError` for images and
        probabilities that do not fit the model.
        """
        engine = _engine(model)
        images = check_images(images).detach()
        if probabilities is None:
            probabilities = engine.logits(images).softmax(1)
        elif probabilities.ndim != 2 or len(probabilities) != len(images):
            shape = tuple(probabilities.shape)
            raise InputError(f"probabilities must have shape ({len(images)}, K), one row an image, got {shape}.")
        scores = images.new_zeros(len(images))
        for squeeze in self.defenses(images.shape):
            squeezed = engine.logits(squeeze(images)).softmax(1)
            if squeezed.shape != probabilities.shape:
                raise InputError(
                    f"probabilities are of {probabilities.shape[1]} classes, {engine.info.name} has "
                    f"{squeezed.shape[1]}."
                )
            scores = torch.maximum(scores, (probabilities - squeezed).abs().sum(1))
        return scores.clamp_max_(2)  # rounding can lead a little above

    def detects(self, model: nn.Module | Engine, images: Tensor, probabilities: Tensor | None = None) -> Tensor:
        """Which images score above the threshold, bool (N,).  Raises `ParameterError` where there is none."""
        if self.threshold is None:
            raise ParameterError(
                f"{self.name} has no threshold: calibrate it on clean images ('foolscope detector MODEL --data DATA'), "
                f"or give one as in '{self.name}:threshold=1.75'."
            )
        return self.score(model, images, probabilities) > self.threshold

    def calibrate(
        self,
        model: nn.Module | Engine,
        images: Tensor,
        rate: float = 0.05,
        probabilities: Tensor | None = None,
    ) -> CalibratedDetector:
        """Take the threshold that at most a share `rate` of these clean images exceeds; see `threshold_at`.

        Raises `ParameterError` for a rate outside (0, 1), `InputError` for fewer than 1 / rate images.
        """
        engine = _engine(model)
        threshold = threshold_at(self.score(engine, images, probabilities), rate)
        return CalibratedDetector(
            detector=self.resolved(images.shape).replace(threshold=threshold),
            model=engine.info.name,
            model_digest=_model_digest(engine.model),
            data_digest=_images_digest(images),
            images=len(images),
            rate=rate,
        )


@functools.lru_cache(maxsize=64)
def _parsed(squeezers: str) -> tuple[Defense, ...]:
    """The defenses that a text joins by ';'.  Raises `SpecError` and `ParameterError`."""
    parts = split(squeezers, ";")
    if len(parts) > _MOST_SQUEEZERS:
        raise ParameterError(f"fs: there can be at most {_MOST_SQUEEZERS} squeezers, got {len(parts)}.")
    return tuple(parse_defense(part) for part in parts)


DETECTORS: Registry[type[FeatureSqueezing]] = Registry(
    "detector", "foolscope detectors", {kind.name: kind for kind in (FeatureSqueezing,)}
)
"""Every detector that a spec string can name."""


def parse_detector(text: str) -> FeatureSqueezing:
    """Build a detector from a spec: `fs`, `fs:threshold=1.75`.

    Raises `SpecError` for unknown names and options, `ParameterError` for values out of range.
    """
    spec = parse_spec(text)
    return DETECTORS[spec.name].from_spec(spec)


@dataclass(frozen=True, kw_only=True)
class CalibratedDetector:
    """A detector with the threshold that was calibrated for one model, whose `detects` refuses any other.

    `model` and `model_digest` say which; `data_digest` and `images` (their number) on what; `rate` at which share of
    false positives.
    """

    detector: FeatureSqueezing
    model: str
    model_digest: str
    data_digest: str
    images: int
    rate: float

    @property
    def threshold(self) -> float:
        """The score above which an image is detected."""
        assert self.detector.threshold is not None
        return self.detector.threshold

    def check(self, model: nn.Module | Engine) -> None:
        """Raise `InputError`, which names both, where `model` is not the one that this was calibrated for."""
        engine = _engine(model)
        found = _model_digest(engine.model)
        if found != self.model_digest:
            raise InputError(
                f"the detector was calibrated for {self.model} ({self.model_digest[:12]}), not for {engine.info.name} "
                f"({found[:12]}): calibrate it for that model."
            )

    def score(self, model: nn.Module | Engine, images: Tensor, probabilities: Tensor | None = None) -> Tensor:
        """As `FeatureSqueezing.score`, for any model."""
        return self.detector.score(model, images, probabilities)

    def detects(self, model: nn.Module | Engine, images: Tensor, probabilities: Tensor | None = None) -> Tensor:
        """Which images score above the threshold, bool (N,).  Raises `InputError` for another model: see `check`."""
        engine = _engine(model)
        self.check(engine)
        return self.detector.detects(engine, images, probabilities)

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values; `from_json` reads them back."""
        return {
            "schema": SCHEMA,
            "detector": self.detector.spec(),
            "model": {"name": self.model, "digest": self.model_digest},
            "data": {"digest": self.data_digest, "images": self.images},
            "rate": self.rate,
        }

    @classmethod
    def from_json(cls, text: str | bytes, origin: str = "detector") -> CalibratedDetector:
        """Read what `to_json` made, as text.

        Raises `CorruptError`, in which `origin` names the text, for all else: no JSON, another schema, missing or
        unknown keys, values of another type or out of range, more than 64 KiB.
        """
        if len(text) > _LONGEST_FILE:
            raise CorruptError(f"{origin}: a saved detector has at most {_LONGEST_FILE:,} bytes, this more.")
        try:
            return cls._from_values(json.loads(text))
        except FoolscopeError as error:
            raise CorruptError(f"{origin}: not a saved detector: {error}") from None
        except (ValueError, RecursionError):
            raise CorruptError(f"{origin}: not a saved detector: it is not valid JSON.") from None

    @classmethod
    def _from_values(cls, values: Any) -> CalibratedDetector:
        _keys(values, "the whole", ("schema", "detector", "model", "data", "rate"))
        _keys(values["model"], "model", ("name", "digest"))
        _keys(values["data"], "data", ("digest", "images"))
        if values["schema"] != SCHEMA:
            raise CorruptError(f"its schema is not {SCHEMA}.")
        texts = (values["detector"], values["model"]["name"])
        if not all(isinstance(text, str) and text.isprintable() and len(text) <= _LONGEST_TEXT for text in texts):
            raise CorruptError(f"detector and model name must be one line of at most {_LONGEST_TEXT:,} characters.")
        digests = (values["model"]["digest"], values["data"]["digest"])
        if not all(isinstance(text, str) and re.fullmatch("[0-9a-f]{64}", text) for text in digests):
            raise CorruptError("digests must be 64 hexadecimal digits.")
        images, rate = values["data"]["images"], values["rate"]
        if type(images) is not int or images < 1 or type(rate) is not float or not 0 < rate < 1:
            raise CorruptError("images must be a whole number from 1 on, and rate a number between 0 and 1.")
        detector = parse_detector(values["detector"])
        if detector.threshold is None or detector.squeezers == _USUAL:
            raise CorruptError("its detector must name squeezers and a threshold.")
        return cls(
            detector=detector, model=texts[1], model_digest=digests[0], data_digest=digests[1], images=images, rate=rate
        )

    def save(self, path: Path) -> None:
        """Write `to_json` as a file, whole or not at all.  Raises `StorageError` where it cannot be written."""
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: Path) -> CalibratedDetector:
        """Read what `save` wrote.  Raises `MissingError` where there is no file, `CorruptError` as `from_json`."""
        try:
            with path.open("rb") as file:
                return cls.from_json(file.read(_LONGEST_FILE + 1), str(path))
        except FileNotFoundError:
            raise MissingError(f"{path}: no such file; 'foolscope detector' makes one with --out.") from None
        except OSError as error:
            raise CorruptError(f"{path}: cannot be read ({error.strerror}).") from None


def _keys(values: Any, what: str, names: tuple[str, ...]) -> None:
    """Raise `CorruptError` where `values` is not an object with exactly these keys."""
    if not isinstance(values, dict) or set(values) != set(names):
        raise CorruptError(f"{what} must be an object with {', '.join(names)}.")


def _engine(model: nn.Module | Engine) -> Engine:
    return model if isinstance(model, Engine) else Engine(model)


def _model_digest(model: nn.Module) -> str:
    """SHA-256 of a model's structure, its parameters and buffers, and the file's digest that a black box tells."""
    parts: list[bytes | str] = [str(model), *(str(getattr(module, "digest", "")) for module in model.modules())]
    for name, tensor in sorted([*model.named_parameters(), *model.named_buffers()]):
        content = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        parts += [name, f"{tensor.dtype} {tuple(tensor.shape)}", content]
    return digest(*parts)


def _images_digest(images: Tensor) -> str:
    """SHA-256 of the shape and the pixels of float32 images."""
    return digest(str(tuple(images.shape)), images.detach().cpu().contiguous().numpy().tobytes())


def threshold_at(clean_scores: Tensor, rate: float) -> float:
    """The smallest of the scores (N,) of clean images that at most floor(rate N) of them exceed.

    Raises `ParameterError` for a rate outside (0, 1), `InputError` for scores that are not finite and for fewer than
    1 / rate of them, of which none could be allowed to exceed it.
    """
    if not 0 < rate < 1:
        raise ParameterError(f"the rate of false positives must be between 0 and 1, got {rate:g}.")
    allowed = math.floor(rate * len(clean_scores) + 1e-9)  # 0.29 * 100 is a little less than 29
    if not allowed:
        least = math.ceil(1 / rate - 1e-9)
        raise InputError(f"a rate of {rate:g} needs at least {least} clean images, got {len(clean_scores)}.")
    return float(_checked_scores(clean_scores, "clean").sort().values[len(clean_scores) - 1 - allowed])


def halves(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Split the rows 0 to count - 1 into two random halves, each ascending int64: to calibrate on, and to judge by.

    The first is one longer where `count` is odd.  Raises `ParameterError` where `count` is below 2.
    """
    if count < 2:
        raise ParameterError(f"two halves need at least 2 images, got {count}.")
    order = torch.randperm(count, generator=generator(seed))
    first = (count + 1) // 2
    return order[:first].sort().values, order[first:].sort().values


@dataclass(frozen=True, kw_only=True)
class ROC:
    """Receiver operating characteristic: what is detected at every threshold, all float64 (T,).

    At `thresholds[i]`, which descend from the highest score to minus infinity, `false_positive[i]` is the share of
    clean and `true_positive[i]` that of adversarial images whose score is above it: from (0, 0) to (1, 1).  `auc` is
    the area under the curve by trapezoids: the chance that an adversarial image scores higher than a clean one, ties
    counted half.
    """

    false_positive: Tensor
    true_positive: Tensor
    thresholds: Tensor
    auc: float


def roc(clean_scores: Tensor, adversarial_scores: Tensor) -> ROC:
    """The ROC of scores (N,) of clean and (M,) of adversarial images, at every score that occurs.

    Raises `InputError` for scores that are none, not finite, or of another shape.
    """
    clean, adversarial = (
        _checked_scores(scores, what) for scores, what in ((clean_scores, "clean"), (adversarial_scores, "adversarial"))
    )
    lowest = clean.new_full((1,), -torch.inf)
    thresholds = torch.cat([torch.unique(torch.cat([clean, adversarial])).flip(0), lowest])
    false_positive, true_positive = (
        1 - torch.searchsorted(scores.sort().values, thresholds, right=True).double() / len(scores)
        for scores in (clean, adversarial)
    )
    area = float(torch.trapezoid(true_positive, false_positive))
    return ROC(false_positive=false_positive, true_positive=true_positive, thresholds=thresholds, auc=area)


def _checked_scores(scores: Tensor, what: str) -> Tensor:
    if scores.ndim != 1 or not len(scores) or not scores.isfinite().all():
        raise InputError(f"{what} scores must be finite numbers of shape (N,), at least one, got {_described(scores)}.")
    return scores.detach().double().cpu()


def _described(scores: Tensor) -> str:
    return f"shape {tuple(scores.shape)}" if scores.ndim != 1 or not len(scores) else "NaN or infinity among them"
