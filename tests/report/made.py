"""Results made by hand: what every report test reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from foolscope.attacks import FGM, FGSM, PGD, Attack
from foolscope.experiments.grid import eps_of
from foolscope.experiments.results import Record, Results, Sample, SanityWarning
from tests.experiments.unrestricted import Darken

JPEG = "jpeg:quality=50"
NAMES = ("zero", "one", "two")
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1])
ATTACKS = (FGSM(eps=0.1), FGSM(eps=0.3), PGD(eps=0.1, steps=20), PGD(eps=0.3, steps=20), FGM(eps=1.5))


@dataclass(frozen=True, kw_only=True)
class Described(Darken):
    """An attack without a radius that can be named in a report."""

    summary: ClassVar[str] = "less light"
    source: ClassVar[str] = "nobody"


DARKEN = Described(share=0.5)


def record(attack: Attack, source: str = "", victim: str = "", fooled: int = 3, seconds: float = 0.5) -> Record:
    """The first `fooled` images are fooled, all but the first of them also once saved; image 7 was wrong before."""
    count = len(LABELS)
    prediction = np.where(np.arange(count) < fooled, (LABELS + 1) % 3, LABELS)
    prediction[7] = 2
    saved = prediction.copy()
    saved[0] = LABELS[0]
    already = np.arange(count) == 7
    psnr = np.linspace(20, 30, count, dtype=np.float32)
    psnr[7] = np.inf
    arrays: dict[str, NDArray[Any]] = {
        "label": LABELS,
        "prediction": prediction,
        "prediction_saved": saved,
        "success": prediction != LABELS,
        "already": already,
        "forwards": np.full(count, 21),
        "backwards": np.full(count, 20),
        "l0": np.where(already, 0, 700),
        "l1": np.linspace(1, 2, count, dtype=np.float32),
        "l2": np.linspace(0.1, 0.2, count, dtype=np.float32),
        "linf": np.linspace(0.01, 0.1, count, dtype=np.float32),
        "ssim": np.linspace(0.8, 0.9, count, dtype=np.float32),
        "psnr": psnr,
    }
    return Record(
        attack=attack, source=source, victim=victim, mode=mode(attack, source, victim), arrays=arrays, seconds=seconds,
        eps=eps_of(attack),
    )  # fmt: skip


def mode(attack: Attack, source: str, victim: str) -> str:
    """How a network meets an attack; a defense is followed straight through."""
    if not victim or not source:
        return "oblivious" if victim else "none"
    return "straight-through" if attack.needs_gradients else "black box"


def sample(attack: Attack, source: str = "", victims: Sequence[str] = ("",), change: float = 0.1) -> Sample:
    """Image 0, gray, moved up in its left half."""
    image = np.full((1, 8, 8), 0.4, dtype=np.float32)
    adversarial = image.copy()
    adversarial[..., :4] += np.float32(change)
    return Sample(
        index=0, label=0, attack=attack.spec(), eps=eps_of(attack), source=source, image=image, adversarial=adversarial,
        clean_predictions=dict.fromkeys(victims, 0), predictions=dict.fromkeys(victims, 1),
    )  # fmt: skip


def about(**changes: Any) -> dict[str, Any]:
    """What an audit says of itself."""
    model = {
        "spec": "lenet", "name": "lenet", "weights": "lenet-digits", "trained_on": "digits", "parameters": 61706,
        "digest": "a" * 64,
    }  # fmt: skip
    data = {"spec": "digits", "split": "test", "images": 8, "of": 8, "preview": False, "digest": "b" * 64}
    versions = dict.fromkeys(("python", "foolscope", "torch", "torchvision", "numpy", "pillow"), "1.0")
    values = {
        "model": model | changes.pop("model", {}),
        "data": data | changes.pop("data", {}),
        "attacks": [
            {"name": "fgsm", "norm": "linf", "eps": [0.1, 0.3]},
            {"name": "pgd:steps=20", "norm": "linf", "eps": [0.1, 0.3]},
            {"name": "fgm", "norm": "l2", "eps": [1.5]},
        ],
        "defenses": [JPEG],
        "seed": 0,
        "precision": "float32",
        "command": "foolscope audit lenet --data digits",
        "python": "import foolscope as fs\n\nresults = fs.audit('lenet', 'digits')",
        "versions": versions | {"opencv-python-headless": None},
        "machine": {"processor": "x86_64", "system": "Linux", "threads": 2},
    }
    return values | changes


def results(
    *,
    defended: bool = True,
    warnings: Sequence[SanityWarning] = (),
    names: tuple[str, ...] | None = NAMES,
    attacks: Sequence[Attack] = ATTACKS,
    seconds: float = 0.5,
    gradients: bool = True,
    **changes: Any,
) -> Results:
    """An audit of 8 images: 7 are classified right untouched, by the network and behind the defense."""
    clean_prediction = LABELS.copy()
    clean_prediction[7] = 2
    clean = {"label": LABELS, "confidence": np.full(8, 0.9), "prediction_0": clean_prediction}
    clean |= {"prediction_1": clean_prediction} if defended else {}
    clean |= {"gradient_linf": np.ones(8)} if gradients else {}
    meetings = [("", "", 5), *([("", JPEG, 1), (JPEG, JPEG, 4)] if defended else [])]
    return Results(
        about=about(**({} if defended else {"defenses": []}), **changes),
        class_names=names,
        clean=clean,
        victims=("", JPEG) if defended else ("",),
        records=tuple(record(a, s, v, fooled, seconds) for s, v, fooled in meetings for a in attacks),
        samples=tuple(sample(a, s, (v,)) for s, v, _ in meetings for a in attacks),
        warnings=tuple(warnings),
    )
