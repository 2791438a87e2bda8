"""Section 3.5 of the report: where a network looks, before and after an attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from foolscope.attacks import Untargeted, parse_attack
from foolscope.experiments.catalog.common import by_images, label_names, told
from foolscope.experiments.experiment import Arrays, Experiment, Found, Kind, Sample, Scene, Work, networks
from foolscope.experiments.findings import Bars, Chart, Figure, Findings, Line, Picture, Pictures, Table, Value
from foolscope.explain import EXPLAINERS, energy_on_salient, explanation_stability
from foolscope.measure import Mean
from foolscope.randomness import generator
from foolscope.spec import parameter

_METHODS = ("saliency", "grad-cam")
_MEASURES = ("rank_correlation", "intersection", "ssim")


def maps(scene: Scene) -> dict[str, Tensor]:
    """Kind `saliency`: maps before and after an attack, their agreement beside that under random noise, and the noise.

    Of the images that the attack fools.  `NAME_agreement` and `NAME_null` are (3, 4): value, low, high and count of
    rank correlation, common top pixels and SSIM; `NAME_energy` (K, 3) is the share of the noise's energy on the most
    salient pixels, for the `shares` (K,) of all.
    """
    images, labels, engine = scene.data.images, scene.data.labels, scene.engine()
    seed, shown = scene.options["seed"], scene.options["shown"]
    result = parse_attack(scene.options["attack"])(engine, images, Untargeted(labels), rng=generator(seed))
    fooled = result.success & ~result.already
    if int(fooled.sum()) < 2:  # an interval needs two
        return {"count": fooled.sum()}
    before, after, labels = images[fooled], result.images[fooled], labels[fooled]
    arrays = {
        "count": fooled.sum(),
        "image": before[:shown],
        "adversarial": after[:shown],
        "label": labels[:shown],
        "answer": result.predictions[fooled][:shown],
    }
    for name in scene.options["methods"]:
        explainer = EXPLAINERS[name]
        found = explanation_stability(engine, before, after, labels, explain=explainer, rng=generator(seed)).predicted
        energy = energy_on_salient(after - before, explainer(engine, before, labels))
        arrays |= {
            f"{name}_before": found.original[:shown],
            f"{name}_after": found.adversarial[:shown],
            f"{name}_agreement": _numbers(found.agreement.means()),
            f"{name}_null": _numbers(found.null.means()),
            f"{name}_energy": torch.tensor([[m.value, m.low, m.high] for m in energy.means]),
            "shares": energy.pixels,
        }
    return arrays


def _numbers(means: object) -> Tensor:
    found: dict[str, Mean] = dict(means)  # type: ignore[call-overload]
    return torch.tensor([[m.value, m.low, m.high, m.count] for m in (found[name] for name in _MEASURES)])


KINDS = {"saliency": Kind(maps)}


@dataclass(frozen=True, kw_only=True)
class Saliency(Experiment):
    """Saliency and Grad-CAM before and after an attack, how much they agree, and where the noise falls.

    The seed: section 3.5, a draft, defines the saliency w = dS_c / dI, whose magnitude says which pixels need to change
    the least to change the score the most, and announces figures that it lacks: of noise that falls on vulnerable
    parts, and of Grad-CAM before and after an attack.

    Differences: these are those figures, with numbers. Random noise of the same norm changes maps, too, so every
    agreement stands beside that null level (Ghorbani, Abid and Zou 2019, arXiv 1710.10547). Maps explain logits: a
    probability's slope vanishes where the network is sure. Only images that the attack fools are counted.
    """

    name: ClassVar[str] = "saliency"
    figure: ClassVar[str] = "section 3.5"
    summary: ClassVar[str] = "where the network looks before and after an attack, and where the noise falls"
    on: ClassVar[tuple[str, ...]] = ("mnist", "cifar10", "digits")
    usual: ClassVar[int | None] = 100

    attack: str = parameter(
        "auto", "the attack; auto: PGD of radius 0.2 for gray images (digits 0.05), 4/255 for color"
    )
    shown: int = parameter(4, "images shown", low=1, high=20)
    model: str = parameter("auto", "the network; auto: the report's")

    def cells(self, sample: Sample) -> list[Work]:
        return [self._work(sample)]

    def _work(self, sample: Sample) -> Work:
        usual = by_images(sample, digits="0.05", gray="0.2", color="4/255")
        attack = f"pgd:eps={usual},steps=20" if self.attack == "auto" else self.attack
        options = {"attack": attack, "seed": sample.images.seed, "shown": self.shown, "methods": list(_METHODS)}
        cost = 2.0 * (parse_attack(attack).passes + 24) * len(sample.data)
        model = networks(self.model, sample.data)[0]
        return Work(kind="saliency", images=sample.images, model=model, options=options, cost=cost)

    def show(self, sample: Sample, found: Found) -> Findings:
        work = self._work(sample)
        arrays, names, attack = found[work], label_names(sample), work.options["attack"]
        count = int(arrays["count"])
        if count < 2:
            return Findings(told=(f"{work.model}: {attack} fools {count} of {len(sample.data)} images, too few.",))
        rows = tuple(
            (
                f"{names[arrays['label'][n]]}, after the attack {names[arrays['answer'][n]]}",
                (
                    Picture(arrays["image"][n]),
                    Picture(arrays["adversarial"][n]),
                    Picture(arrays["adversarial"][n] - arrays["image"][n], kind="noise"),
                    *(Picture(arrays[f"{m}_{w}"][n], kind="map") for m in _METHODS for w in ("before", "after")),
                ),
            )
            for n in range(len(arrays["image"]))
        )
        columns = ("image", "adversarial", "noise", *(f"{m}, {w}" for m in _METHODS for w in ("before", "after")))
        measures = ("rank correlation", "common top tenth", "SSIM")
        groups = tuple(
            (f"{method}, {what}", tuple((float(v[0]), float(v[1]), float(v[2])) for v in arrays[f"{method}_{key}"]))
            for method in _METHODS
            for what, key in (("attack", "agreement"), ("random noise", "null"))
        )
        agreed = Bars(title="Maps", categories=measures, groups=groups, y="agreement", y_range=(None, 1.0))
        figures = (
            Figure(
                name="maps",
                caption=f"{work.model}: images that {attack} fools, and the maps of what the network answers, before "
                "and after; of one method and image they share one scale.",
                content=Pictures(columns=columns, rows=rows),
            ),
            Figure(
                name="agreement", caption="How much the maps of the answer agree before and after the attack, and with "
                "random noise of the same l2 norm instead. 1 is equal. With 95 % intervals.",
                content=(agreed,),
            ),
            Figure(
                name="energy", caption="The share of the noise's energy that falls on the most salient pixels of the "
                "untouched image; the dotted line is noise that falls anywhere.", content=(_energy(arrays),),
            ),
        )  # fmt: skip
        table = Table(
            name="agreement", caption="Agreement of the maps before and after",
            columns=("method", *measures), rows=tuple(_row(name, values) for name, values in groups),
        )  # fmt: skip
        attacked, null = (float(arrays[f"saliency_{key}"][1][0]) for key in ("agreement", "null"))
        place = int(arrays["shares"].searchsorted(0.1))
        energy = float(arrays["saliency_energy"][place][0])
        sentences = (
            f"{work.model}: of the tenth of the pixels that saliency ranks first, {100 * attacked:.0f} % are still "
            f"there after {attack}, and {100 * null:.0f} % after random noise of the same norm.",
            f"{100 * energy:.0f} % of the noise's energy falls on that tenth.",
        )
        compared = (
            told(
                "saliency's top tenth that stays under the attack",
                None,
                f"{100 * attacked:.0f} %",
                "not measured there",
            ),
            told("the same under random noise", None, f"{100 * null:.0f} %", "not measured there: the null level"),
        )
        return Findings(told=sentences, figures=figures, tables=(table,), compared=compared)


def _row(name: str, values: tuple[tuple[float, float, float], ...]) -> tuple[Value, ...]:
    return (name, *(Mean(*triple, count=2) for triple in values))


def _energy(arrays: Arrays) -> Chart:
    shares = [100 * float(share) for share in arrays["shares"]]
    lines = [
        Line(method, shares, value.tolist(), low.tolist(), high.tolist())
        for method in _METHODS
        for value, low, high in [(100 * arrays[f"{method}_energy"]).T]
    ]
    return Chart(
        title="Where the noise falls", lines=(*lines, Line("anywhere", shares, shares, is_reference=True)),
        x="most salient pixels (%)", y="share of the noise's energy (%)", y_range=(0.0, 100.0),
    )  # fmt: skip
