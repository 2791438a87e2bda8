"""The images of an evolution, each for one purpose, and the models that look at them.

The search filters the first part, the detectors' thresholds are calibrated on the second, and the front is judged on
the third, which is in no other part.  Where a data set has training images, the search uses these, and the test images
are split between calibration and judgment, as Xu et al. 2018 do.  Where it has one split, the search's images calibrate
the detectors too.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from foolscope.data import ImageSet, load_data, parse_data
from foolscope.defenses.detector import CalibratedDetector, parse_detector
from foolscope.errors import InputError, SpecError
from foolscope.experiments.held_out import Witness
from foolscope.models import load_model
from foolscope.models.engine import Engine

SEARCHED, HELD_OUT, CALIBRATION = 200, 2000, 2000
"""The usual numbers of images to search on and to judge on, and the most to calibrate on."""

FALSE_POSITIVES = 0.05
"""The share of clean images that a calibrated detector may flag."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What an evolution was asked for, beside the search's settings.

    `models` are searched against, `transfer` only judged; a module stands for itself.
    """

    models: tuple[str | nn.Module, ...]
    transfer: tuple[str | nn.Module, ...]
    data: str
    detector: str | None
    images: int
    held_out: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Images:
    """The parts of the images; see the module's docstring."""

    searched: ImageSet
    calibration: ImageSet
    held_out: ImageSet


def prepared(asked: Asked, device: str | None, offline: bool) -> tuple[Images, list[Witness]]:
    """The images in the classes of the first model, and every model with its calibrated detector."""
    parts = _parts(asked, offline)
    networks = [
        load_model(one, parts.searched.task, offline=offline) if isinstance(one, str) else one
        for one in (*asked.models, *asked.transfer)
    ]
    aligned = Images(**{name: part.aligned_to(networks[0]) for name, part in vars(parts).items()})
    if len(aligned.held_out) < 2:
        raise InputError(f"{asked.data} leaves {len(aligned.held_out)} images to judge on: at least 2 are needed.")
    witnesses = []
    for place, network in enumerate(networks):
        aligned.searched.check_against(network)
        engine = Engine(network, device=device)
        role = "searched" if place < len(asked.models) else "transfer"
        fitted = _calibrated(asked.detector, engine, aligned.calibration)
        witnesses.append(Witness.of(engine.info.name, role, engine, fitted))
    for place, one in enumerate(witnesses):
        if one.digest in [other.digest for other in witnesses[:place]]:
            raise InputError(f"{one.name} is named twice: name every model once.")
    return aligned, witnesses


def _parts(asked: Asked, offline: bool) -> Images:
    splits = parse_data(asked.data).splits
    test = load_data(asked.data, "test", offline=offline)
    if len(test) < 3:
        raise InputError(
            f"{asked.data} has {len(test)} images: a search needs some, and others to judge its chains on."
        )
    mixed = test.limit(len(test) - 1, asked.seed)
    half = len(mixed) // 2
    if splits is not None and "train" in splits:
        return Images(
            searched=load_data(asked.data, "train", asked.images, asked.seed, offline=offline),
            calibration=mixed.rows(slice(0, min(half, CALIBRATION))),
            held_out=mixed.rows(slice(half, half + asked.held_out)),
        )
    count = min(asked.images, half)
    searched = mixed.rows(slice(0, count))
    return Images(searched=searched, calibration=searched, held_out=mixed.rows(slice(count, count + asked.held_out)))


def _calibrated(detector: str | None, engine: Engine, clean: ImageSet) -> CalibratedDetector | None:
    if detector is None:
        return None
    chosen = parse_detector(detector)
    if chosen.threshold is not None:
        raise SpecError(f"calibrating finds the threshold: leave it out of --detector '{detector}'.")
    return chosen.calibrate(engine, clean.images, FALSE_POSITIVES)
