"""What the strongest attack of an audit does to where its network looks, and which frequencies it writes in.

Explained are the images that the attack's own cell keeps, so that nothing is attacked again: the maps of a method are a
cell, and what is read out of them (spectra, where the noise falls) is not stored.  The network is the plain one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from foolscope.errors import SpecError, nearest
from foolscope.experiments.cells import PLAIN, SAMPLES, AttackJob, Subject
from foolscope.experiments.examined import reference_radius
from foolscope.experiments.grid import norm_of
from foolscope.experiments.store import Store
from foolscope.explain import (
    EXPLAINERS,
    Agreement,
    NoiseSpectrum,
    SalientEnergy,
    agreement,
    energy_on_salient,
    equally_noisy,
    grad_cam_layer,
    noise_spectrum,
)
from foolscope.randomness import generator

if TYPE_CHECKING:
    from foolscope.data import ImageSet
    from foolscope.experiments.results import Record

PASSES = 50 * SAMPLES
"""What a method is expected to cost, in forward and backward passes: three maps of up to 32 passes an image."""

Done = Callable[[str, bool], None]
"""Told of every method, and whether its cell was there."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ExplainedMaps:
    """Maps of one method, for the true class: float (M, H, W), at least 0, of the originals and the adversarial images.

    `agreement` compares the two, `null` the originals' with those of images under random noise of the same l2 norm, and
    `energy` says where the attack's noise falls.  `layer` is Grad-CAM's, '' of other methods.
    """

    method: str
    layer: str
    original: Tensor
    adversarial: Tensor
    agreement: Agreement
    null: Agreement
    energy: SalientEnergy


@dataclass(frozen=True, kw_only=True, eq=False)
class Explained:
    """What an attack did to M images of an audit: `index` (M,) are their places in it, those of `looked_at` it changed.

    `images` and `adversarial` are (M, C, H, W), `labels`, `predictions` (of the originals) and `answers` (of the
    adversarial images) (M,).  Where it changed none, `maps` is empty and `spectrum` None.
    """

    attack: str
    looked_at: int
    index: Tensor
    images: Tensor
    adversarial: Tensor
    labels: Tensor
    predictions: Tensor
    answers: Tensor
    maps: tuple[ExplainedMaps, ...]
    spectrum: NoiseSpectrum | None


def check_methods(names: Sequence[str], subject: Subject, data: ImageSet) -> tuple[str, ...]:
    """The names of methods that give maps, each once; they are tried on one image, so that an audit fails at its start.

    Raises `SpecError` for other names, `InputError` where the network cannot be explained by one.
    """
    found = tuple(dict.fromkeys(names))
    for name in found:
        if name not in EXPLAINERS:
            known = ", ".join(EXPLAINERS)
            raise SpecError(f"an audit is explained by {known}, not by '{name}'.{nearest(name, EXPLAINERS)}")
    first = data.rows(slice(0, 1))
    for explain in [EXPLAINERS[name] for name in found]:
        explain(subject.engines[PLAIN], first.images, first.labels)
    return found


def strongest(records: Iterable[Record]) -> Record:
    """The attack that leaves least of the plain network, at the reference radius of the first norm that has radii.

    Of audits without any radius, of all.  Of attacks that leave the same, the one that moves the images least in l2.
    """
    plain = [record for record in records if record.victim == PLAIN]
    norm = next((norm_of(record.attack) for record in plain if record.eps is not None), None)
    if norm is not None:
        plain = [record for record in plain if norm_of(record.attack) == norm]
        eps = reference_radius(norm, sorted({record.eps for record in plain if record.eps is not None}))
        plain = [record for record in plain if record.eps == eps]
    return min(plain, key=_what_it_leaves)


def _what_it_leaves(record: Record) -> tuple[float, float]:
    arrays = record.arrays
    return float((arrays["prediction"] == arrays["label"]).mean()), float(arrays["l2"].mean())


def explained(
    methods: Sequence[str],
    record: Record,
    job: AttackJob,
    predictions: Tensor,
    subject: Subject,
    block: ImageSet,
    store: Store,
    done: Done,
) -> Explained:
    """Explain what `record`, the run of `job` on the first `block`, did to the images that its cell keeps.

    `predictions` are those on the untouched images of the block.
    """
    attacked = job.spec(subject, block, keeps_samples=True)
    cell = store.load(attacked)
    assert cell is not None, "the audit has just been through it"
    images, adversarial = (torch.from_numpy(cell.arrays[f"sample_{name}"]) for name in ("images", "adversarial"))
    moved = (torch.from_numpy(record.arrays["l2"])[: len(images)] > 0).nonzero()[:, 0]
    images, adversarial, labels = images[moved], adversarial[moved], block.labels[moved]
    maps = []
    for method in methods:
        spec = {"kind": "explanation", "method": method, "attack": attacked, "rows": moved.tolist()}
        there = (found := store.load(spec)) is not None
        if len(moved):
            arrays, layer = (
                ({name: torch.from_numpy(value) for name, value in found.arrays.items()}, found.info["layer"])
                if found
                else _save(store, spec, *_computed(method, subject, images, adversarial, labels, job.seed))
            )
            maps.append(_read(method, layer, arrays, adversarial - images))
        done(method, there)
    return Explained(
        attack=record.attack.spec(),
        looked_at=len(cell.arrays["sample_images"]),
        index=moved,
        images=images,
        adversarial=adversarial,
        labels=labels,
        predictions=predictions[moved],
        answers=torch.from_numpy(record.arrays["prediction"])[moved],
        maps=tuple(maps),
        spectrum=noise_spectrum(adversarial - images, images, rng=generator(job.seed)) if len(moved) else None,
    )


def _computed(
    method: str, subject: Subject, images: Tensor, adversarial: Tensor, labels: Tensor, seed: int
) -> tuple[dict[str, Tensor], str]:
    """The maps (M, H, W) of originals, adversarial and equally noisy images, and the layer that Grad-CAM looks at."""
    engine = subject.engines[PLAIN]
    noisy = equally_noisy(images, adversarial, generator(seed))
    shown = {"original": images, "adversarial": adversarial, "noisy": noisy}
    maps = {name: EXPLAINERS[method](engine, x, labels).cpu() for name, x in shown.items()}
    return maps, grad_cam_layer(engine, images[:1]) if method == "grad-cam" else ""


def _save(store: Store, spec: dict[str, Any], maps: dict[str, Tensor], layer: str) -> tuple[dict[str, Tensor], str]:
    store.save(spec, {name: value.numpy() for name, value in maps.items()}, {"layer": layer})
    return maps, layer


def _read(method: str, layer: str, maps: dict[str, Tensor], noise: Tensor) -> ExplainedMaps:
    return ExplainedMaps(
        method=method,
        layer=layer,
        original=maps["original"],
        adversarial=maps["adversarial"],
        agreement=agreement(maps["original"], maps["adversarial"]),
        null=agreement(maps["original"], maps["noisy"]),
        energy=energy_on_salient(noise, maps["original"]),
    )
