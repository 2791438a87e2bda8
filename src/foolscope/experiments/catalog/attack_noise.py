"""Figure 6 of the report: one image, three attacks, three noises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from foolscope.attacks import AttackResult, Targeted, parse_attack
from foolscope.errors import InputError
from foolscope.experiments.catalog.common import AGREES, label_names, told
from foolscope.experiments.experiment import Experiment, Found, Images, Kind, Sample, Scene, Work, networks
from foolscope.experiments.findings import Figure, Findings, Picture, Pictures, Table
from foolscope.measure import distances
from foolscope.models.engine import Engine
from foolscope.randomness import generator
from foolscope.spec import parameter

_LADDERS: dict[str, tuple[float, int]] = {"fgsm": (0.005, 100), "fgm": (0.05, 200)}
"""The first radius of each one-step attack, and how many multiples of it are tried."""

_NEAREST = "cw:searches=6,steps=300"
_CANDIDATES = 64


def noises(scene: Scene) -> dict[str, Tensor]:
    """Kind `attack-noise`: the first image of a class that three targeted attacks each turn into another.

    The one-step attacks are given the smallest radius of a ladder that does it.  `images` has the original and the
    three adversarial ones, `eps` the radii (0 of Carlini and Wagner's), `row` the image's place; all are empty where
    there is no such image.
    """
    source, target = scene.options["source"], scene.options["target"]
    engine = scene.engine()
    candidates = (scene.data.labels == source).nonzero()[:_CANDIDATES, 0]
    images = scene.data.rows(candidates).images
    right = engine.predict(images) == source
    candidates, images = candidates[right], images[right]
    for row, image in zip(candidates, images, strict=True):
        found = [_smallest(name, engine, image[None], target, scene) for name in (*_LADDERS, scene.options["attack"])]
        if all(result is not None for _, result in found):
            made = [result.images for _, result in found if result is not None]
            return {
                "images": torch.cat([image[None], *made]),
                "eps": torch.tensor([eps for eps, _ in found], dtype=torch.float64),
                "row": row[None],
            }
    nothing = torch.empty(0)
    return {"images": images[:0], "eps": nothing, "row": candidates[:0]}


def _smallest(name: str, engine: Engine, image: Tensor, target: int, scene: Scene) -> tuple[float, AttackResult | None]:
    """The attack at the smallest radius of its ladder, if it has one, that reaches the target."""
    goal, attack = Targeted(torch.tensor([target])), parse_attack(name)
    step, count = scene.options["ladders"].get(name, (0.0, 1))
    for number in range(1, count + 1):
        tried = attack.replace(eps=number * step) if step else attack
        result = tried(engine, image, goal, rng=generator(scene.options["seed"]))
        if result.success.all():
            return number * step, result
    return 0.0, None


KINDS = {"attack-noise": Kind(noises)}


@dataclass(frozen=True, kw_only=True)
class AttackNoise(Experiment):
    """One image that FGSM, FGM and Carlini and Wagner's attack each turn into the same other class, and their noises.

    The seed: Fig. 6 shows the noises of FGSM, FGM and Carlini and Wagner's attack on an 8 of MNIST that LeNet takes for
    a 3 after each; the noise gets subtler in that order.

    Differences: the report's attacks are untargeted, and it does not say with which radii. Here all three are
    targeted, and the one-step attacks have the smallest radius of a ladder that reaches the target, so that the noises
    can be compared. The image is the first of the class for which all three succeed, whatever the limit.
    """

    name: ClassVar[str] = "attack-noise"
    figure: ClassVar[str] = "Fig. 6"
    summary: ClassVar[str] = "one image, three attacks, three noises with their norms"
    on: ClassVar[tuple[str, ...]] = ("mnist", "cifar10", "digits")

    source: int = parameter(8, "class of the image", low=0)
    target: int = parameter(3, "class that it is turned into", low=0)
    model: str = parameter("auto", "the network; auto: the report's")

    def cells(self, sample: Sample) -> list[Work]:
        for name, label in (("source", self.source), ("target", self.target)):
            if label >= sample.data.num_classes:
                raise InputError(f"{name} must be below the {sample.data.num_classes} classes, got {label}.")
        if self.source == self.target:
            raise InputError(f"source and target must be two classes, got {self.source} for both.")
        return [self._work(sample)]

    def _work(self, sample: Sample) -> Work:
        options = {
            "source": self.source,
            "target": self.target,
            "ladders": {name: list(ladder) for name, ladder in _LADDERS.items()},
            "attack": _NEAREST,
            "seed": sample.images.seed,
        }
        model = networks(self.model, sample.data)[0]
        images = Images(data=sample.name, split=self.split)
        return Work(kind="attack-noise", images=images, model=model, options=options, cost=4000.0)

    def show(self, sample: Sample, found: Found) -> Findings:
        work = self._work(sample)
        arrays, names = found[work], label_names(sample)
        pair = f"{names[self.source]} to {names[self.target]}"
        if not len(arrays["row"]):
            return Findings(told=(f"{work.model}: no image goes from {pair} under all three attacks.",))
        images = torch.from_numpy(arrays["images"])
        apart = distances(images[:1].expand(3, *images.shape[1:]).contiguous(), images[1:])
        titles = [
            f"FGSM, ε {arrays['eps'][0]:.3g}",
            f"FGM, ε {arrays['eps'][1]:.3g}",
            "C&W, l2",
        ]
        rows = tuple(
            (
                f"{title}: l2 {apart.l2[n]:.3g}, linf {apart.linf[n]:.3g}",
                (
                    Picture(arrays["images"][0]),
                    Picture(arrays["images"][n + 1] - arrays["images"][0], kind="noise"),
                    Picture(arrays["images"][n + 1]),
                ),
            )
            for n, title in enumerate(titles)
        )
        figure = Figure(
            name="noise",
            caption=f"{work.model}: image {int(arrays['row'][0])}, a {names[self.source]} that each attack turns into "
            f"a {names[self.target]}. The noise is drawn around gray, as strong as fits; its norms stand above.",
            content=Pictures(columns=("image", "noise", "adversarial"), rows=rows),
        )
        table = Table(
            name="norms", caption="How far each attack moves the image", columns=("attack", "l2", "linf", "l0", "SSIM"),
            rows=tuple(
                (title, float(apart.l2[n]), float(apart.linf[n]), int(apart.l0[n]), float(apart.ssim[n]))
                for n, title in enumerate(titles)
            ),
        )  # fmt: skip
        order = " > ".join(f"{float(value):.3g}" for value in apart.l2)
        falls = bool((apart.l2.diff() < 0).all())
        sentence = (
            f"{work.model}, {pair}: the noises' l2 norms are {', '.join(f'{float(v):.3g}' for v in apart.l2)} for "
            "FGSM, FGM and Carlini and Wagner: the noise "
            f"{'gets subtler in that order' if falls else 'does not get subtler in that order'}."
        )
        why = AGREES if falls else "on this image the smallest noises that fool lie in another order"
        compared = told("l2 of FGSM, FGM, C&W", "falls in that order", order.replace(" > ", ", "), why)
        return Findings(told=(sentence,), figures=(figure,), tables=(table,), compared=(compared,))
