"""Searches for chains of filters as cells: one network is searched on, and all of them judge what is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from numpy.typing import NDArray

from foolscope.data import parse_data
from foolscope.errors import InputError
from foolscope.experiments import evolved
from foolscope.experiments.catalog.common import IMAGENET_NETWORKS, is_large, read, shipped_networks, written
from foolscope.experiments.evolve import evolve
from foolscope.experiments.experiment import Arrays, Experiment, Images, Kind, Sample, Scene, Work
from foolscope.experiments.store import Store
from foolscope.filters import FILTERS
from foolscope.images import from_uint8
from foolscope.measure import Proportion
from foolscope.spec import parameter

UNDETECTED = 0.05
"""The detection rate up to which a chain counts as undetected: that of untouched images, by calibration."""

_PASSES = 300.0
"""Passes over an image that a search takes for each of the images that it searches on."""


@dataclass(frozen=True, kw_only=True)
class Judgment:
    """A chain on held-out images, as one network sees it: success against the true label, and detection."""

    asr: Proportion
    detection: Proportion


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A chain with its mean distance in linf, and one judgment a network.

    `searched` is (success, detection) on the images of the search, None of a published chain, which has a `title`.
    """

    spec: str
    title: str
    linf: float
    searched: tuple[float, float] | None
    judged: tuple[Judgment, ...]

    @classmethod
    def of(cls, content: dict[str, Any]) -> Self:
        """What `_chain` told."""
        judged = tuple(Judgment(asr=Proportion(*a), detection=Proportion(*d)) for a, d in content["judged"])
        searched = content["searched"] and tuple(content["searched"])
        return cls(**{**content, "judged": judged, "searched": searched})


def _chain(found: evolved.Found) -> dict[str, Any]:
    known = found.searched
    return {
        "spec": found.chain.spec(),
        "title": found.chain.title,
        "linf": found.distances["linf"].value,
        "searched": known and (known.asr, known.detection),
        "judged": [(_pair(one.asr), _pair(one.detection)) for one in found.judged],
    }


def _pair(share: Proportion | None) -> tuple[int, int]:
    return (share.successes, share.trials) if share else (0, 0)


def best(front: Sequence[Chain]) -> Chain:
    """The most successful chain that the search found undetected; where there is none, the least detected one.

    It is chosen by what the search knew, so that the held-out images judge it fairly.
    """
    known = [(chain, *chain.searched) for chain in front if chain.searched]
    quiet = [item for item in known if item[2] <= UNDETECTED]
    return max(quiet, key=lambda item: item[1])[0] if quiet else min(known, key=lambda item: item[2])[0]


def evolution(scene: Scene) -> dict[str, NDArray[Any]]:
    """Kind `evolution`: a search for chains on one network, its front judged by that network and the `others`.

    `found` is JSON: `clean` has accuracy and false detections of each network, `front` and `published` chains,
    `queries` what the search asked.  `images` and `filtered` (n, C, H, W) are held-out images, untouched and by the
    `best` chain.
    """
    options = scene.options
    with TemporaryDirectory() as folder:
        result = evolve(
            scene.work.model or "",
            scene.work.images.data,
            detector=options["detector"],
            transfer=list(options["others"]),
            images=options["images"],
            held_out=options["held_out"],
            seed=options["seed"],
            store=Store(Path(folder)),
            offline=scene.library.offline,
            **options["settings"],
        )
    front = [_chain(one) for one in result.front]
    chosen = [Chain.of(one) for one in front].index(best([Chain.of(one) for one in front]))
    images = from_uint8(result.sheet)
    found = {
        "clean": [(_pair(one.accuracy), _pair(one.detection)) for one in result.clean],
        "front": front,
        "published": [_chain(one) for one in result.published],
        "queries": result.history[-1].queries,
    }
    return {"found": written(found), "images": images.numpy(), "filtered": result.front[chosen].chain(images).numpy()}


KINDS = {"evolution": Kind(evolution)}


def chains(arrays: Arrays, which: str) -> list[Chain]:
    """The chains of a cell: `front`, the most successful first, or `published`."""
    return [Chain.of(content) for content in read(arrays["found"])[which]]


@dataclass(frozen=True, kw_only=True)
class AgvSearch(Experiment):
    """Base of the experiments that search chains on every network and let all of them judge; they share the cells."""

    images: int = parameter(200, "images that a search looks at", low=2)
    filters: int = parameter(5, "filters in a chain", low=1, high=10)
    population: int = parameter(10, "chains that survive a generation", low=2, high=1000)
    epochs: int = parameter(3, "passes of a search over its images", low=1)
    pool: str = parameter("auto", "filters to choose from; auto: the thesis' five, for gray images all that take them")
    detector: str = parameter("fs", "detector that chains must not be caught by, calibrated at 5 % false positives")
    models: str = parameter("auto", "networks, joined by '|'; auto: those shipped for the data, or for ImageNet")

    def cells(self, sample: Sample) -> list[Work]:
        return [self.search(sample, model) for model in self.networks(sample)]

    def networks(self, sample: Sample) -> list[str]:
        """The networks that are searched on and judge.

        'auto' are those shipped for the data; where that is only one, those shipped for MNIST, which take gray digits
        as well, stand beside it; for photographs two that know ImageNet.  Raises `InputError` where there are fewer
        than two.
        """
        found = [part.strip() for part in self.models.split("|")]
        if self.models == "auto" and is_large(sample):
            found = IMAGENET_NETWORKS.split("|")
        elif self.models == "auto":
            found = shipped_networks(sample.name)
            found += shipped_networks("mnist") if len(found) == 1 else []
        if len(found) < 2:
            need = f"{self.name} needs two networks or more, one to search on and others to judge, and has {len(found)}"
            raise InputError(f"{need} for {sample.name}: name some by --set 'models=A|B'.")
        return found

    def _pool(self, sample: Sample) -> str:
        if self.pool != "auto":
            return self.pool
        gray = sample.data.pixels.shape[3] == 1
        return ",".join(name for name in FILTERS if FILTERS[name].takes_gray) if gray else "thesis"

    def search(self, sample: Sample, model: str) -> Work:
        """Work: the search on `model`, judged on as many held-out images as the sample has, by the others too."""
        whole, seed = Images(data=sample.name, split=sample.images.split), sample.images.seed
        splits = parse_data(sample.name).splits
        trained = Images(data=sample.name, split="train", limit=self.images, seed=seed)
        searched = trained if splits is not None and "train" in splits else whole
        others = [other for other in self.networks(sample) if other != model]
        options = {
            "others": others,
            "digests": [sample.library.digest(other, whole) for other in others],
            "searched": sample.library.images(searched).digest,
            "detector": self.detector,
            "images": self.images,
            "held_out": len(sample.data),
            "seed": seed,
            "settings": {
                "filters": self.filters, "population": self.population, "epochs": self.epochs,
                "pool": self._pool(sample),
            },
        }  # fmt: skip
        return Work(
            kind="evolution", images=whole, model=model, options=options, cost=_PASSES * self.epochs * self.images
        )
