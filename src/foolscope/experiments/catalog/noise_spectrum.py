"""Figures 15 and 16 of the report: the frequencies that attacks write in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from foolscope.attacks import Untargeted, parse_attack
from foolscope.experiments.catalog.common import by_images, told
from foolscope.experiments.experiment import Arrays, Experiment, Found, Kind, Sample, Scene, Work, networks
from foolscope.experiments.findings import Chart, Figure, Findings, Line, Plane, Table, Value
from foolscope.explain import Profile, noise_spectrum
from foolscope.randomness import generator
from foolscope.spec import parameter, split

_PROFILES = ("noise", "white", "images")


def spectra(scene: Scene) -> dict[str, Tensor]:
    """Kind `noise-spectrum`: the power of an attack's noise over the frequencies, of white noise, and of the images."""
    images, labels = scene.data.images, scene.data.labels
    attack = parse_attack(scene.options["attack"])
    result = attack(scene.engine(), images, Untargeted(labels), rng=generator(scene.options["seed"]))
    moved = (result.images != images).flatten(1).any(1)
    if not moved.any():
        return {"count": torch.tensor(0)}
    chosen = noise_spectrum((result.images - images)[moved], images[moved], rng=generator(scene.options["seed"]))
    found = {"count": moved.sum(), "power": chosen.noise.power, "l2": result.distance("l2")[moved]}
    found |= {"vertical": chosen.noise.vertical, "horizontal": chosen.noise.horizontal}
    for name in _PROFILES:
        spectrum = getattr(chosen, name)
        found |= {f"{name}_{key}": value for key, value in profile_arrays(spectrum.radial).items()}
    return found


def profile_arrays(profile: Profile) -> dict[str, Tensor]:
    """A profile as arrays."""
    return {key: getattr(profile, key) for key in ("coordinate", "mean", "low", "high")}


KINDS = {"noise-spectrum": Kind(spectra)}


@dataclass(frozen=True, kw_only=True)
class NoiseSpectrum(Experiment):
    """The 2-D spectrum and the radial profile of each attack's noise, beside white noise of the same norm.

    The seed: Fig. 15 and 16 show FFTs of the noises, without numbers; the text takes high frequencies for what
    makes a network err.

    Differences: every noise is divided by what white noise of the same norm has, so that norms do not blur the
    comparison, and the profiles have intervals over the images. What FGSM adds has the same energy whatever it attacks,
    but for what the range of pixels cuts off: only the distribution tells anything.
    """

    name: ClassVar[str] = "noise-spectrum"
    figure: ClassVar[str] = "Fig. 15, 16"
    summary: ClassVar[str] = "the frequencies of each attack's noise, beside white noise of the same norm"
    on: ClassVar[tuple[str, ...]] = ("cifar10", "mnist", "digits")
    usual: ClassVar[int | None] = 200

    attacks: str = parameter("auto", "attacks, joined by ';'; auto: FGSM, FGM, PGD and Carlini and Wagner's")
    models: str = parameter("auto", "networks, joined by '|'; auto: those of the report with shipped weights")

    def cells(self, sample: Sample) -> list[Work]:
        return [
            self._work(sample, model, attack)
            for model in networks(self.models, sample.data)
            for attack in self._attacks(sample)
        ]

    def _attacks(self, sample: Sample) -> list[str]:
        if self.attacks != "auto":
            return [part.strip() for part in split(self.attacks, ";")]
        radii = by_images(sample, digits=("0.05", "1"), gray=("0.15", "2"), color=("4/255", "0.5"))
        return [
            f"fgsm:eps={radii[0]}",
            f"fgm:eps={radii[1]}",
            f"pgd:eps={radii[0]},steps=10",
            "cw:searches=4,steps=100",
        ]

    def _work(self, sample: Sample, model: str, attack: str) -> Work:
        cost = 2.0 * parse_attack(attack).passes * len(sample.data)
        options = {"attack": attack, "seed": sample.images.seed}
        return Work(kind="noise-spectrum", images=sample.images, model=model, options=options, cost=cost)

    def show(self, sample: Sample, found: Found) -> Findings:
        charts: list[Chart] = []
        planes: list[Plane] = []
        rows: list[tuple[Value, ...]] = []
        sentences, compared = [], []
        for model in networks(self.models, sample.data):
            lines, centers = [], []
            for attack in self._attacks(sample):
                arrays = found[self._work(sample, model, attack)]
                name = attack.partition(":")[0]
                if not int(arrays["count"]):
                    sentences.append(f"{model}, {attack}: no image was moved.")
                    continue
                lines.append(_relative(name, arrays))
                power = arrays["power"].mean(0)
                plane = power / power.mean()
                axes = (arrays["vertical"].tolist(), arrays["horizontal"].tolist())
                planes.append(Plane(
                    title=f"{model}, {name}", vertical=axes[0], horizontal=axes[1], values=plane,
                    unit="power, 1 is white noise", log=True,
                ))  # fmt: skip
                center, low = _center(arrays, power)
                centers.append((name, center))
                rows.append((f"{model}, {attack}", int(arrays["count"]), float(arrays["l2"].mean()), center, 100 * low))
            images = found[self._work(sample, model, self._attacks(sample)[0])]
            if int(images["count"]):
                lines.append(_relative("the images", images, "images"))
            if lines:
                charts.append(Chart(
                    title=model, lines=tuple(lines), x="cycles per pixel", y="power, 1 is white noise", log=True,
                    nyquist=True, y_range=(None, None),
                ))  # fmt: skip
                told_centers = ", ".join(f"{name} {center:.3f}" for name, center in centers)
                sentences.append(
                    f"{model}: mean frequency of the noise in cycles per pixel: {told_centers}; white noise "
                    f"{_WHITE:.3f}."
                )
                ordered = sorted(centers, key=lambda pair: pair[1])
                ours = f"{' < '.join(name for name, _ in ordered)}, to {ordered[-1][1]:.3f}"
                above = ordered[-1][1] > _WHITE
                compared.append(told(f"{model}: noises by mean frequency", "high ones make a network err", ours,
                                     "some noise lies above white noise's" if above
                                     else f"all lie below white noise's {_WHITE:.3f}"))  # fmt: skip
        figures = [
            Figure(
                name="profiles", caption="Power of each attack's noise by frequency, divided by that of white noise of "
                "the same norm: above 1 is where the attack writes. The images' own is divided alike. Bands are 95 % "
                "intervals over the images.", content=tuple(charts),
            ),
            Figure(
                name="planes", caption="The same over the plane of frequencies, mean over images and channels; 0 is in "
                "the middle, colors are logarithmic.", content=tuple(planes),
            ),
        ]  # fmt: skip
        columns = ("network, attack", "images moved", "mean l2", "mean frequency", "below 0.125 (%)")
        table = Table(name="spectra", caption="Where the noise lies", columns=columns, rows=tuple(rows))
        shown = tuple(figure for figure in figures if figure.content)
        return Findings(told=tuple(sentences), figures=shown, tables=(table,), compared=tuple(compared))


_WHITE = 0.383
"""The mean distance from 0 of a point of the square from -0.5 to 0.5: (sqrt 2 + asinh 1) / 6."""


def _relative(name: str, arrays: Arrays, kind: str = "noise") -> Line:
    """A radial profile in units of white noise of the same energy."""
    keep = arrays[f"{kind}_coordinate"] > 0
    scale = arrays["white_mean"].mean() if kind == "noise" else arrays["images_mean"][keep].mean()
    values = [arrays[f"{kind}_{key}"][keep] for key in ("mean", "low", "high")]
    mean, low, high = ([*(value / scale)] for value in values)
    return Line(name, arrays[f"{kind}_coordinate"][keep].tolist(), mean, low, high, is_reference=kind != "noise")


def _center(arrays: Arrays, power: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float, float]:
    """The mean frequency of a noise by its power, and the share of its energy below 1/8 cycles per pixel."""
    radius = np.hypot(arrays["vertical"][:, None], arrays["horizontal"][None])
    return float((radius * power).sum() / power.sum()), float(power[radius < 1 / 8].sum() / power.sum())
