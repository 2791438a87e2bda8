"""Figures 1 to 4 of the report: what the data look like."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from foolscope.experiments.catalog.common import label_names, told
from foolscope.experiments.experiment import Experiment, Found, Images, Kind, Sample, Scene, Work
from foolscope.experiments.findings import Bars, Figure, Findings, Picture, Pictures, Table
from foolscope.randomness import generator
from foolscope.spec import parameter

_SPLITS = ("train", "test")
_SEED = {"mnist": "1", "cifar10": "as many of every class"}


def overview(scene: Scene) -> dict[str, Tensor]:
    """Kind `overview`: counts of each class, and the first and some random images with labels."""
    data, shown = scene.data, scene.options["shown"]
    rows = torch.randperm(len(data), generator=generator(scene.options["seed"]))[:shown]
    begin, some = data.rows(slice(0, shown)), data.rows(rows)
    return {
        "counts": data.labels.bincount(minlength=data.num_classes),
        "first": begin.images,
        "first_label": begin.labels,
        "random": some.images,
        "random_label": some.labels,
        "random_row": rows,
    }


KINDS = {"overview": Kind(overview)}


@dataclass(frozen=True, kw_only=True)
class DatasetOverview(Experiment):
    """The first and some random images of both splits with their labels, and how many there are of each class.

    The seed: Fig. 1 to 4 show samples of MNIST and CIFAR-10; digit 1 is the most frequent class of MNIST, and
    CIFAR-10 has as many images of every class.

    Differences: none; the counts are exact and those of the whole splits, whatever the limit.
    """

    name: ClassVar[str] = "dataset-overview"
    figure: ClassVar[str] = "Fig. 1-4"
    summary: ClassVar[str] = "samples of a data set with labels, and its class distribution"
    on: ClassVar[tuple[str, ...]] = ("mnist", "cifar10", "digits")

    shown: int = parameter(8, "images shown of each kind", low=1, high=64)

    def cells(self, sample: Sample) -> list[Work]:
        return [self._work(sample, split) for split in _SPLITS]

    def _work(self, sample: Sample, split: str) -> Work:
        images = Images(data=sample.name, split=split)
        return Work(kind="overview", images=images, options={"shown": self.shown, "seed": sample.images.seed})

    def show(self, sample: Sample, found: Found) -> Findings:
        names = label_names(sample)
        rows: list[tuple[str, tuple[Picture | None, ...]]] = []
        bars, counted, compared = [], [], []
        why = "counted on the same images" if sample.name in _SEED else "not in the report"
        for split in _SPLITS:
            arrays = found[self._work(sample, split)]
            for kind in ("first", "random"):
                labels = [names[label] for label in arrays[f"{kind}_label"]]
                pictures = [Picture(image, tells=name) for image, name in zip(arrays[kind], labels, strict=True)]
                rows.append((f"{split}, {kind}: {', '.join(labels)}", tuple(pictures)))
            counts = arrays["counts"].tolist()
            total = sum(counts)
            bars.append((f"{split} ({total:,} images)", tuple((100 * n / total, math.nan, math.nan) for n in counts)))
            counted += [(f"{split}: {name}", count) for name, count in zip(names, counts, strict=True)]
            compared.append(
                told(f"most frequent class, {split}", _SEED.get(sample.name), _most_frequent(counts, names), why)
            )
        columns = ("",) * self.shown
        samples = Figure(
            name="samples",
            caption="The first images of each split, and some at random, with their labels above each row.",
            content=Pictures(columns=columns, rows=tuple(rows)),
        )
        distribution = Figure(
            name="classes",
            caption="How the images are spread over the classes, in percent of each split.",
            content=(Bars(title="Classes", categories=tuple(names), groups=tuple(bars), x="class", y="share (%)"),),
        )
        table = Table(name="classes", caption="Images of each class", columns=("class", "images"), rows=tuple(counted))
        sentences = tuple(f"{row.what}: {row.ours}." for row in compared)
        return Findings(told=sentences, figures=(samples, distribution), tables=(table,), compared=tuple(compared))


def _most_frequent(counts: Sequence[int], names: Sequence[str]) -> str:
    if len(set(counts)) == 1:
        return f"as many of every class, {counts[0]:,}"
    most = max(range(len(counts)), key=lambda label: counts[label])
    return f"{names[most]}, {counts[most]:,} of {sum(counts):,} images"
