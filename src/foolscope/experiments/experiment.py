"""What an experiment is: a grid of cells as pure data, a function that computes one, and what is read out of them.

An `Experiment` is a frozen record of its grid's settings.  `cells` lists its work without doing any, a function of its
module computes one cell (`KINDS` of the catalog names them all), and `show` makes figures, tables and sentences of what
the store holds, and of nothing else.  Work is named by what decides its result, not by the experiment: two experiments
that need the same cell share it, and a wider grid only adds to what is there.

The class's docstring tells what it is, and in paragraphs that begin with 'The seed:' and 'Differences:' what the report
of the seed showed and where and why ours differs; what ours shows is told by `show`, from the numbers.
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foolscope.attacks import parse_attack
from foolscope.data import ImageSet, load_data
from foolscope.defenses import defended
from foolscope.errors import InputError, MissingError, ParameterError, SpecError
from foolscope.experiments.findings import Findings
from foolscope.experiments.store import Store, cell_key
from foolscope.files import canonical_json
from foolscope.models import load_model
from foolscope.models.engine import Engine
from foolscope.models.fingerprint import model_digest
from foolscope.randomness import seeded
from foolscope.spec import Parameters, parse_spec, parse_value

BLOCK = 256
"""Images of a cell that works on many."""

TRAINING = "training"
"""The kind of cell whose arrays `weight NAME` are a network's."""

_TRAINED = 4

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Images:
    """The images of a cell by name: rows `begin` to `end` of what `load_data(data, split, limit, seed)` gives."""

    data: str
    split: str = "test"
    limit: int | None = None
    seed: int = 0
    begin: int = 0
    end: int | None = None

    @property
    def whole(self) -> Images:
        """The set that the rows are taken from."""
        return Images(data=self.data, split=self.split, limit=self.limit, seed=self.seed)


@dataclass(frozen=True, kw_only=True)
class Work:
    """One cell to compute, as pure data that can be sent anywhere.

    `kind` names the function that computes it, `options` are JSON values that it is given.  `model` is a spec;
    where `needs` has a training, its weights come from there.  `cost` is in passes over one image, and only says what
    share of a run the cell is.
    """

    kind: str
    images: Images
    model: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[Work, ...] = ()
    cost: float = 1.0

    @cached_property
    def training(self) -> Work | None:
        """The training among what it needs."""
        return next((need for need in self.needs if need.kind == TRAINING), None)

    @cached_property
    def text(self) -> str:
        """The same for equal work."""
        return canonical_json({name: value for name, value in asdict(self).items() if name != "cost"})

    def __hash__(self) -> int:
        return hash(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Work) and other.text == self.text


class Library:
    """Images and networks by their names, each read once; and the spec of a cell, from their digests."""

    def __init__(self, offline: bool = False) -> None:
        self.offline = offline
        self._images: dict[Images, ImageSet] = {}
        self._models: dict[tuple[str, str], nn.Module] = {}
        self._digests: dict[tuple[str, str], str] = {}
        self._trained: dict[str, nn.Module] = {}
        self._specs: dict[str, dict[str, Any]] = {}

    def images(self, wanted: Images) -> ImageSet:
        """The images; raises what `load_data` raises."""
        if wanted not in self._images:
            if wanted != wanted.whole:
                self._images[wanted] = self.images(wanted.whole).rows(slice(wanted.begin, wanted.end))
            else:
                loaded = load_data(wanted.data, wanted.split, wanted.limit, wanted.seed, offline=self.offline)
                self._images[wanted] = loaded
        return self._images[wanted]

    def model(self, spec: str, images: Images) -> nn.Module:
        """The network that a spec names, with the weights for these images."""
        key = (spec, images.data)
        if key not in self._models:
            self._models[key] = load_model(spec, self.images(images.whole).task, offline=self.offline)
        return self._models[key]

    def trained(self, work: Work, needed: Sequence[Arrays]) -> nn.Module:
        """The network of a cell: a shipped one, or that of its needed training with its weights."""
        if work.model is None:
            raise SpecError(f"a cell of kind {work.kind} names no model.")
        if work.training is None:
            return self.model(work.model, work.images)
        key = work.training.text
        if key not in self._trained:
            network = load_model(work.model, self.images(work.images.whole).task, offline=self.offline)
            arrays = needed[work.needs.index(work.training)]
            state = {name.removeprefix("weight "): torch.from_numpy(array) for name, array in arrays.items()}
            state = {name: state[name] for name in network.state_dict()}
            network.load_state_dict(state)
            self._trained[key] = network.eval()
            while len(self._trained) > _TRAINED:
                self._trained.pop(next(iter(self._trained)))
        return self._trained[key]

    def spec(self, work: Work) -> dict[str, Any]:
        """All that decides the cell's result: names stand for nothing here, digests and versions do."""
        from foolscope.experiments.catalog import KINDS

        if work.text not in self._specs:
            spec: dict[str, Any] = {
                **work.options,
                "kind": work.kind,
                "version": KINDS[work.kind].version,
                "data": self.images(work.images).digest,
            }
            if "attack" in work.options:
                attack = parse_attack(work.options["attack"])
                spec["attack"] = {"name": attack.name, **asdict(attack)}
            if work.model is not None:
                spec["model"] = work.model if work.training else self.digest(work.model, work.images)
            if work.needs:
                spec["needs"] = [cell_key(self.spec(need)) for need in work.needs]
            self._specs[work.text] = spec
        return self._specs[work.text]

    def digest(self, model: str, images: Images) -> str:
        """The digest of a network with all its weights."""
        key = (model, images.data)
        if key not in self._digests:
            self._digests[key] = model_digest(self.model(model, images))
        return self._digests[key]


@dataclass(frozen=True)
class Scene:
    """What the function that computes a cell is given."""

    work: Work
    library: Library
    needed: Sequence[Arrays]

    @property
    def options(self) -> Mapping[str, Any]:
        """The work's options."""
        return self.work.options

    @cached_property
    def data(self) -> ImageSet:
        """The cell's images with labels."""
        return self.library.images(self.work.images)

    @cached_property
    def model(self) -> nn.Module:
        """The cell's network."""
        return self.library.trained(self.work, self.needed)

    def engine(self, defense: str = "") -> Engine:
        """The network, behind a defense if one is named."""
        return Engine(defended(self.model, defense) if defense else self.model)


@dataclass(frozen=True)
class Kind:
    """A kind of cell: `compute` gives its arrays by their names.

    `version` is part of the key of every such cell.  It is raised where `compute`, or a constant or helper that it
    uses, comes to give other numbers, so that what is stored is not taken for what would be computed.
    """

    compute: Callable[[Scene], Mapping[str, Tensor | NDArray[Any]]]
    version: int = 1


def compute(work: Work, needed: Sequence[Arrays], library: Library) -> Arrays:
    """The arrays of one cell, always with the same bits: random numbers are seeded, torch has one thread."""
    from foolscope.experiments.catalog import KINDS

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with seeded(0):
            found = KINDS[work.kind].compute(Scene(work, library, needed))
    finally:
        torch.set_num_threads(threads)
    return {
        name: np.asarray(value.detach().cpu().numpy() if isinstance(value, Tensor) else value, order="C")
        for name, value in found.items()
    }


class Found:
    """What the store holds of an experiment's cells; each is read once."""

    def __init__(self, store: Store, library: Library) -> None:
        self.store, self.library = store, library
        self._cells: dict[str, Arrays] = {}

    def __getitem__(self, work: Work) -> Arrays:
        """The arrays of a cell.  Raises `MissingError` where it is not done."""
        if work.text not in self._cells:
            cell = self.store.load(self.library.spec(work))
            if cell is None:
                raise MissingError(f"a cell of kind {work.kind} is not in the store {self.store.root}: run it again.")
            self._cells[work.text] = cell.arrays
        return self._cells[work.text]

    def joined(self, works: Sequence[Work]) -> Arrays:
        """The arrays of the blocks of one piece of work, one behind the other."""
        parts = [self[work] for work in works]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def images(self, images: Images) -> ImageSet:
        """The images themselves, for labels and names."""
        return self.library.images(images)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The images that an experiment is run on, and their name; the library reads networks."""

    data: ImageSet
    images: Images
    library: Library

    @property
    def name(self) -> str:
        """The data set's spec."""
        return self.images.data

    @property
    def title(self) -> str:
        """The name over figures: of a folder its own, without those above it."""
        return self.name.rpartition("/")[2]

    def blocks(self, size: int = BLOCK) -> list[Images]:
        """The images in blocks of `size`."""
        starts = range(0, len(self.data), size)
        whole = asdict(self.images.whole)
        return [Images(**{**whole, "begin": start, "end": min(start + size, len(self.data))}) for start in starts]


@dataclass(frozen=True, kw_only=True)
class Experiment(Parameters):
    """Base of the experiments of the catalog.

    `figure` says which of the report's figures it is, `on` the data sets that it is meant for, `split` the images.
    """

    listing: ClassVar[str] = "foolscope experiments"
    figure: ClassVar[str]
    summary: ClassVar[str]
    on: ClassVar[tuple[str, ...]] = ("mnist", "cifar10")
    split: ClassVar[str] = "test"
    usual: ClassVar[int | None] = None
    """So many images are taken where no limit is given; None of all."""

    @abstractmethod
    def cells(self, sample: Sample) -> list[Work]:
        """All work.  What a cell needs need not be among it."""

    @abstractmethod
    def show(self, sample: Sample, found: Found) -> Findings:
        """Figures, tables and sentences, from what is found in the store."""

    @classmethod
    def told(cls) -> dict[str, str]:
        """The docstring's paragraphs, `what`, `seed` and `differences`, each beginning as a sentence does."""
        paragraphs = [" ".join(part.split()) for part in (inspect.getdoc(cls) or "").split("\n\n")]
        parts = {"what": paragraphs[0]}
        for key, begin in (("seed", "The seed:"), ("differences", "Differences:")):
            text = next(p.removeprefix(begin).strip() for p in paragraphs if p.startswith(begin))
            parts[key] = text[:1].upper() + text[1:]
        return parts


_NETWORKS = {"digits": ["lenet"], "mnist": ["lenet", "resnet20"], "cifar10": ["cifar-cnn", "resnet20"]}


def networks(text: str, data: ImageSet) -> list[str]:
    """The networks that a setting names, joined by '|'; 'auto' are the report's for a data set, with shipped weights.

    Raises `InputError` where there are none.
    """
    if text != "auto":
        return [part.strip() for part in text.split("|")]
    name = parse_spec(data.name).name
    if name not in _NETWORKS:
        known = ", ".join(_NETWORKS)
        raise InputError(f"no networks are known for {data.name} (for {known} there are): name some by --set models=.")
    return _NETWORKS[name]


def numbers(text: str, what: str, kind: type[int] | type[float] = float) -> tuple[Any, ...]:
    """Read a grid, `0.1,0.2` or `8/255`, ascending and each value once.  Raises `SpecError` and `ParameterError`."""
    values = {parse_value(part.strip(), kind, what) for part in text.split(",")}
    if any(not value >= 0 or value == float("inf") for value in values):
        raise ParameterError(f"{what} must be at least 0 and finite, got {text}.")
    return tuple(sorted(values))
