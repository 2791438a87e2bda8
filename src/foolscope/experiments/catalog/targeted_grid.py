"""Figure 5 of the report: every class into every other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from foolscope.attacks import parse_attack
from foolscope.attacks.goal import every_target
from foolscope.experiments.catalog.common import AGREES, label_names, told
from foolscope.experiments.experiment import Arrays, Experiment, Found, Kind, Sample, Scene, Work, networks
from foolscope.experiments.findings import Figure, Findings, Picture, Pictures, Table, Value
from foolscope.measure import accuracy, mean_interval
from foolscope.randomness import generator
from foolscope.spec import parameter

_BLOCK = 10

_Row = tuple[str, tuple[Picture | None, ...]]


def targeted(scene: Scene) -> dict[str, Tensor]:
    """Kind `targeted`: every image that is classified right towards every other class.

    `row` and `target` (M,) say which, `success`, `l2` and `adversarial` what came of it.
    """
    data, engine = scene.data, scene.engine()
    rows, goal = every_target(data.labels, data.num_classes)
    right = (engine.predict(data.images) == data.labels)[rows]
    rows, goal = rows[right], goal[right]
    images = data.images[rows]
    attack = parse_attack(scene.options["attack"])
    result = attack(engine, images, goal, rng=generator(scene.options["seed"]))
    return {
        "row": rows + scene.work.images.begin,
        "label": data.labels[rows],
        "target": goal.targets,
        "success": result.success,
        "l2": result.distance("l2"),
        "adversarial": result.images,
    }


KINDS = {"targeted": Kind(targeted)}


@dataclass(frozen=True, kw_only=True)
class TargetedGrid(Experiment):
    """Images of every class turned into every other by Carlini and Wagner's attack in l2, with success and distance.

    The seed: Fig. 5 is Carlini and Wagner's own figure (2017, arXiv 1608.04644), a 10 x 10 grid from every digit of
    MNIST to every other by their targeted attack in l2. The report finds it imperceptible, and itself uses the attack
    untargeted.

    Differences: this is the grid of the report's LeNet. Beside one image a pair, every pair has the share of images
    that reach the target and their mean and largest distance. Only images that are classified right are attacked.
    """

    name: ClassVar[str] = "targeted-grid"
    figure: ClassVar[str] = "Fig. 5"
    summary: ClassVar[str] = "every class into every other by targeted Carlini and Wagner in l2"
    on: ClassVar[tuple[str, ...]] = ("mnist", "cifar10", "digits")
    usual: ClassVar[int | None] = 50

    attack: str = parameter("cw:searches=3,steps=100", "an attack that takes targets")
    model: str = parameter("auto", "the network; auto: the report's")

    def cells(self, sample: Sample) -> list[Work]:
        model = networks(self.model, sample.data)[0]
        passes = parse_attack(self.attack).passes
        options = {"attack": self.attack, "seed": sample.images.seed}
        return [
            Work(
                kind="targeted", images=block, model=model, options=options,
                cost=2.0 * passes * _BLOCK * (sample.data.num_classes - 1),
            )
            for block in sample.blocks(_BLOCK)
        ]  # fmt: skip

    def show(self, sample: Sample, found: Found) -> Findings:
        arrays = found.joined(self.cells(sample))
        names, model = label_names(sample), networks(self.model, sample.data)[0]
        success = torch.from_numpy(arrays["success"])
        share, moved = accuracy(success), arrays["l2"][arrays["success"]]
        distance = mean_interval(torch.from_numpy(moved))
        rows: list[tuple[Value, ...]] = []
        for source, one in enumerate(names):
            for target, other in enumerate(names):
                chosen = (arrays["label"] == source) & (arrays["target"] == target)
                if chosen.any():
                    reached = arrays["l2"][chosen & arrays["success"]]
                    worst = float(reached.max()) if len(reached) else None
                    mean = float(reached.mean()) if len(reached) else None
                    rows.append((f"{one} to {other}", accuracy(success[torch.from_numpy(chosen)]), mean, worst))
        figure = Figure(
            name="grid",
            caption=f"{model}: for each class the image that reaches the most targets, untouched where its own class "
            "is the column, and turned into the column's class.",
            content=Pictures(columns=tuple(names), rows=_grid(sample, arrays, names)),
        )
        columns = ("pair", "success", "mean l2", "largest l2")
        table = Table(name="pairs", caption="Every pair of classes", columns=columns, rows=tuple(rows))
        sentence = f"{model}: {share} of the targets are reached, {distance} away in l2 on average."
        why = AGREES if share.successes == share.trials else "more images than one of each class"
        compared = (
            told(f"{model}: targets reached", "all of one grid", share, why),
            told(f"{model}: mean l2 distance of the successes", None, distance, "not reported there"),
        )
        return Findings(told=(sentence,), figures=(figure,), tables=(table,), compared=compared)


def _grid(sample: Sample, arrays: Arrays, names: Sequence[str]) -> tuple[_Row, ...]:
    """A row for each class that has an image: the one that reaches the most targets."""
    rows = []
    for source, name in enumerate(names):
        own = arrays["row"][(arrays["label"] == source) & arrays["success"]]
        if not len(own):
            continue
        row = int(np.bincount(own).argmax())
        pictures: list[Picture | None] = [None] * len(names)
        pictures[source] = Picture(sample.data.rows(slice(row, row + 1)).images[0].numpy())
        for place in ((arrays["row"] == row) & arrays["success"]).nonzero()[0]:
            pictures[int(arrays["target"][place])] = Picture(arrays["adversarial"][place])
        rows.append((f"from {name}", tuple(pictures)))
    return tuple(rows)
