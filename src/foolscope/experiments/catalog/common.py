"""Cells that several experiments share, and the parts of figures that they have in common."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foolscope.attacks import Attack, Untargeted, parse_attack
from foolscope.defenses import parse_defense
from foolscope.errors import ParameterError
from foolscope.experiments.cells import PLAIN, to_the_end
from foolscope.experiments.experiment import Arrays, Found, Images, Kind, Sample, Scene, Work, numbers
from foolscope.experiments.findings import Chart, Compared, Line
from foolscope.experiments.grid import default_eps, norm_of
from foolscope.files import canonical_json
from foolscope.measure import Mean, Proportion, accuracy, mean_interval
from foolscope.models import shipped
from foolscope.randomness import generator

T = TypeVar("T")


def clean(scene: Scene) -> dict[str, Tensor]:
    """Kind `predict`: predictions (N,) of the network behind each of `victims` on untouched images."""
    images = scene.data.images
    found = {"label": scene.data.labels}
    for place, victim in enumerate(scene.options["victims"]):
        found[f"prediction_{place}"] = scene.engine(victim).predict(images)
    return found


def attacked(scene: Scene) -> dict[str, Tensor]:
    """Kind `under-attack`: images attacked through `source`, as each of `victims` sees them.

    Where others than the source look at them, no image leaves early: what has only just crossed the source's boundary
    would flatter every defense.  `keep` adversarial images are kept.
    """
    images, labels = scene.data.images, scene.data.labels
    source, victims = scene.options["source"], scene.options["victims"]
    attack = parse_attack(scene.options["attack"])
    if victims != [source]:
        attack = to_the_end(attack)
    result = attack(scene.engine(source), images, Untargeted(labels), rng=generator(scene.options["seed"]))
    found = {
        "label": labels,
        "success": result.success,
        "already": result.already,
        "l2": result.distance("l2"),
        "linf": result.distance("linf"),
        "forwards": result.forwards,
        "backwards": result.backwards,
        "adversarial": result.images[: scene.options["keep"]],
    }
    for place, victim in enumerate(victims):
        same = victim == source
        found[f"prediction_{place}"] = result.predictions if same else scene.engine(victim).predict(result.images)
    return found


KINDS = {"predict": Kind(clean), "under-attack": Kind(attacked)}


def predictions(sample: Sample, model: str, victims: Sequence[str], needs: tuple[Work, ...] = ()) -> list[Work]:
    """Work: what a network, plain or behind defenses, makes of the untouched images."""
    return [
        Work(
            kind="predict", images=block, model=model, options={"victims": list(victims)}, needs=needs,
            cost=len(victims) * _count(block),
        )
        for block in sample.blocks()
    ]  # fmt: skip


def attacks(
    sample: Sample,
    model: str,
    attack: str,
    *,
    source: str = PLAIN,
    victims: Sequence[str] = (PLAIN,),
    keep: int = 0,
    needs: tuple[Work, ...] = (),
) -> list[Work]:
    """Work: the images attacked through `source` and shown to `victims`; the first `keep` of a block are kept."""
    passes = parse_attack(attack).passes
    seed = sample.images.seed
    options = {"attack": attack, "source": source, "victims": list(victims), "seed": seed, "keep": keep}
    return [
        Work(
            kind="under-attack", images=block, model=model, options=options, needs=needs,
            cost=(2.0 * passes + len(victims)) * _count(block),
        )
        for block in sample.blocks()
    ]  # fmt: skip


def correct(arrays: Arrays, place: int = 0) -> Proportion:
    """The share of the images that the victim at `place` classifies right."""
    return accuracy(torch.from_numpy(arrays[f"prediction_{place}"] == arrays["label"]))


def correct_within(arrays: Arrays, eps: float) -> NDArray[np.bool_]:
    """Which images (N,) a minimum-norm attack in linf, which has no radius, leaves right at this one."""
    fooled = arrays["success"] & (arrays["linf"] <= eps)
    standing: NDArray[np.bool_] = ~(arrays["already"] | fooled)
    return standing


def accuracy_line(name: str, points: Iterable[tuple[float, Proportion]]) -> Line:
    """Accuracy in percent with its interval."""
    return Line.of(name, list(points), percent=True)


def quality_line(name: str, victims: Sequence[str], shares: Sequence[Proportion]) -> Line:
    """Accuracy against JPEG quality; the first of `victims` is the plain network, which has none."""
    qualities = [float(victim.rpartition("=")[2]) for victim in victims[1:]]
    return accuracy_line(name, sorted(zip(qualities, shares[1:], strict=True), key=lambda pair: pair[0]))


def clean_accuracy(sample: Sample, found: Found, model: str, victims: Sequence[str]) -> list[Proportion]:
    """Accuracy of each victim on the untouched images."""
    arrays = found.joined(predictions(sample, model, victims))
    return [correct(arrays, place) for place in range(len(victims))]


def victims(qualities: str) -> list[str]:
    """The plain network, then one behind JPEG of each quality, the best first.  Raises as `jpeg_qualities`."""
    return [PLAIN, *(f"jpeg:quality={quality}" for quality in reversed(jpeg_qualities(qualities)))]


def jpeg_qualities(text: str) -> tuple[int, ...]:
    """The qualities that a setting names, ascending.  Raises `SpecError`, and `ParameterError` out of range."""
    qualities: tuple[int, ...] = numbers(text, "qualities", int)
    for quality in qualities:
        parse_defense(f"jpeg:quality={quality}")
    return qualities


def victim_name(victim: str) -> str:
    """'no JPEG', 'quality 50'."""
    return f"quality {victim.rpartition('=')[2]}" if victim else "no JPEG"


def radii(text: str, sample: Sample) -> tuple[float, ...]:
    """The radii above 0 that a setting names; 'auto' are those usual for the images.

    Raises `SpecError`, and `ParameterError` where there is none.
    """
    if text == "auto" and sample.name in _RADII:
        return _RADII[sample.name]
    if text == "auto":
        _, height, width, channels = sample.data.pixels.shape
        return default_eps("linf", (channels, height, width))
    above = tuple(value for value in numbers(text, "eps") if value > 0)
    if not above:
        raise ParameterError(f"eps must hold a radius above 0, got {text}.")
    return above


def by_images(sample: Sample, *, digits: T, gray: T, color: T) -> T:
    """What suits the images: digits are fooled at smaller radii than other gray ones."""
    if sample.name in _RADII:
        return digits
    return gray if sample.data.pixels.shape[3] == 1 else color


USUAL_RADII = "radii in linf; auto: to 0.3 for gray images (digits: to 0.1), to 16/255 for color"

_RADII = {"digits": (0.01, 0.02, 0.03, 0.05, 0.1)}
"""Where the usual radii for such images leave next to nothing: digits are 8 x 8 pixels enlarged, and so are smooth."""


def accuracy_chart(title: str, lines: tuple[Line, ...], x: str = "radius ε in linf (images in [0, 1])") -> Chart:
    """Accuracy in percent from 0 to 100."""
    return Chart(title=title, lines=lines, x=x, y="accuracy (%)", y_range=(0.0, 100.0))


def with_eps(attack: str, eps: float) -> str:
    """An attack's spec at a radius in linf.  Raises `ParameterError` of an attack that is bounded in another norm."""
    found = parse_attack(attack).replace(eps=eps)
    check_linf(found)
    return found.spec()


def check_linf(attack: Attack) -> None:
    """Raise `ParameterError` where an attack is not measured in linf."""
    if norm_of(attack) != "linf":
        raise ParameterError(
            f"{attack.name} is measured in {norm_of(attack) or 'no norm'} here, and linf is asked for."
        )


def percent(share: Proportion) -> str:
    """'93.1 %'; a dash of nothing."""
    return f"{100 * share.value:.1f} %" if share.trials else "none"


AGREES = "agrees"
"""Why ours is not the seed's: it is."""

NO_NUMBERS = "the report has pictures, no numbers"


def mean_percent(shares: Sequence[float]) -> Mean:
    """The mean of shares in percent; its interval ends where percents do, at 0 and 100."""
    mean = mean_interval([100 * share for share in shares])
    return replace(mean, low=max(0.0, mean.low), high=min(100.0, mean.high)) if mean.count > 1 else mean


def told(what: str, seed: str | None, ours: Any, why: str) -> Compared:
    """A row of the table 'seed, ours, why': where they differ the reason, else that they agree."""
    return Compared(what=what, seed=seed, ours=ours, why=why)


def first(sample: Sample, count: int) -> Images:
    """The first `count` images of the sample."""
    return Images(
        data=sample.images.data, split=sample.images.split, limit=sample.images.limit, seed=sample.images.seed,
        begin=0, end=min(count, len(sample.data)),
    )  # fmt: skip


IMAGENET_NETWORKS = "torchvision:mobilenet_v2|torchvision:squeezenet1_1"
"""Two networks for photographs, of which neither is large."""

LARGE = 64
"""Pixels of a side from which on images are for networks that know ImageNet."""


def is_large(sample: Sample) -> bool:
    """Whether no side of the images is shorter than `LARGE`."""
    height, width = sample.data.pixels.shape[1:3]
    return bool(min(height, width) >= LARGE)


def shipped_networks(data: str) -> list[str]:
    """The shipped networks for a data set, with their weights by name."""
    return [f"{card.architecture}:weights={card.name}" for card in shipped() if card.data == data]


def written(value: Any) -> NDArray[np.uint8]:
    """What JSON can hold as an array of bytes, which a cell can."""
    return np.frombuffer(canonical_json(value).encode(), np.uint8)


def read(array: NDArray[np.uint8]) -> Any:
    """What `written` was given."""
    return json.loads(array.tobytes())


def file_names(specs: Sequence[str]) -> dict[str, str]:
    """For each spec a name for files, another one for every other spec: 'lenet-extra-4'."""
    names: dict[str, str] = {}
    for spec in specs:
        name = re.sub(r"[^A-Za-z0-9]+", "-", spec)[-60:].strip("-")
        candidates = (name if number == 1 else f"{name}-or-{number}" for number in itertools.count(1))
        if spec not in names:
            names[spec] = next(candidate for candidate in candidates if candidate not in names.values())
    return names


def label_names(sample: Sample) -> Sequence[str]:
    """The names of the classes, or their numbers."""
    return sample.data.class_names or [str(label) for label in range(sample.data.num_classes)]


def _count(block: Images) -> int:
    return (block.end or 0) - block.begin
