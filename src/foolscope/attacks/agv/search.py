"""The universal search: one chain of filters for all images, evolved step by step, and resumable.

AGV, 'Effective Universal Unrestricted Adversarial Attacks using a MOE Approach' (Baia, Di Bari and Poggioni 2021, doi
10.1007/978-3-030-72699-7_35): an outer evolution over sequences of m filters, an inner evolution strategy over their
amounts, NSGA-II over

    minimize  (1 - ASR, detection rate)                        eq. 2.9 of the thesis

or over 1 - ASR and distances.  A step is one generation on one batch of the images; the first one tries random chains.
Beyond the population every chain that was judged on all images is remembered, so that the front loses none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from foolscope.attacks.agv import descent, plain, racing, state
from foolscope.attacks.agv.candidate import Candidate, Front
from foolscope.attacks.agv.evaluator import Evaluator
from foolscope.attacks.agv.judge import Judge
from foolscope.attacks.agv.run import Member, Run
from foolscope.attacks.agv.settings import Settings
from foolscope.errors import InputError
from foolscope.filters.chain import Chain
from foolscope.randomness import generator


@dataclass(frozen=True, kw_only=True)
class SearchProgress:
    """Where a search stands: at work on `step` of `steps`, and what it has asked so far.

    `judged` chains were tried on all images or dropped on the way; `queries` are filtered images shown to models,
    `detections` those shown to detectors.
    """

    step: int
    steps: int
    judged: int
    queries: int
    detections: int


SearchWatch = Callable[[SearchProgress], None]
"""Called between evaluations.  Raising `Cancelled` in it leaves the search as it was before the step."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A finished step: what the search has asked until then, and the front that it has.

    `points` are the front's (1 - ASR, objectives), in units of their scale; `front` is their number, `asr` the best
    success rate among them, 0 where nothing was judged on all images yet.
    """

    step: int
    queries: int
    detections: int
    judged: int
    front: int
    hypervolume: float
    asr: float
    points: tuple[tuple[float, ...], ...]


class Search:
    """A search that goes on where `step` left it.

    `evaluator` is not changed: the search counts its queries in a copy, `self.evaluator`.  Raises `InputError` where
    the settings need a detector or a distance that the evaluator has not, or more images.
    """

    def __init__(self, settings: Settings, evaluator: Evaluator, *, seed: int = 0) -> None:
        self.settings, self.seed, self.evaluator = settings, seed, evaluator.fresh()
        self._judge = Judge(settings, self.evaluator)
        self._generator = generator(seed)
        self._batches = self._schedule()
        self._population: list[Member] = []
        self._memo: dict[Chain, Candidate | None] = {}
        self._history: list[Step] = []

    def _schedule(self) -> list[Tensor]:
        """The images of every step: in each epoch every image once, in a random order."""
        images, batches = self.evaluator.images, list[Tensor]()
        for _ in range(self.settings.epochs):
            order = torch.randperm(len(images), generator=self._generator).to(images.device)
            batches += torch.split(order, self.settings.batch)
        fewest, least = min(map(len, batches)), self.settings.least_images
        if self.settings.strategy == "plain" and fewest < least:
            raise InputError(
                f"the plain strategy tries chains on whole batches, and the objective 'fid' needs {least} images: "
                f"batch={self.settings.batch} leaves a batch of {fewest} of {len(images)}: name another one."
            )
        return [batches[0], *batches]

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return len(self._batches)

    @property
    def done(self) -> bool:
        """Whether all steps are finished."""
        return len(self._history) == self.steps

    @property
    def history(self) -> tuple[Step, ...]:
        """The finished steps."""
        return tuple(self._history)

    def step(self, watch: SearchWatch | None = None) -> None:
        """One generation: all of it or, where `watch` or anything else raises, nothing.

        Raises `InputError` where all steps are finished.
        """
        if self.done:
            raise InputError(f"the search is finished: it has {self.steps} steps.")
        evaluator, number = self.evaluator, len(self._history) + 1
        before = self._generator.get_state(), evaluator.queries.clone(), evaluator.detections.clone()

        def report(run: Run) -> None:
            if watch:
                watch(SearchProgress(step=number, steps=self.steps, **self._asked(run)))

        run = Run(
            judge=self._judge,
            generator=self._generator,
            step=number,
            population=list(self._population),
            memo=dict(self._memo),
            report=report,
        )
        try:
            self._work(run, self._batches[number - 1])
        except BaseException:
            self._generator.set_state(before[0])
            evaluator.queries, evaluator.detections = before[1:]
            raise
        self._population, self._memo = run.population, run.memo
        self._history.append(self._record(run))

    def _work(self, run: Run, rows: Tensor) -> None:
        if self.settings.strategy == "plain":
            plain.step(run, rows)
            if run.step == self.steps:
                plain.finish(run)
        else:
            racing.step(run, rows, descent.descended if self.settings.strategy == "gradient" else racing.evolved)

    def _asked(self, run: Run) -> dict[str, int]:
        queries, detections = self.evaluator.queries, self.evaluator.detections
        return {"judged": len(run.memo), "queries": int(queries.sum()), "detections": int(detections.sum())}

    def _record(self, run: Run) -> Step:
        front = self.front()
        points = tuple(tuple(self._judge.objectives(candidate)) for candidate in front.candidates)
        return Step(
            step=run.step,
            **self._asked(run),
            front=len(points),
            hypervolume=front.hypervolume,
            asr=max((1 - point[0] for point in points), default=0.0),
            points=points,
        )

    def run(self, watch: SearchWatch | None = None) -> Front:
        """All steps that are left, and the front."""
        while not self.done:
            self.step(watch)
        return self.front()

    def front(self) -> Front:
        """What no other chain dominates, of all that were judged on all images so far.

        Where no chain keeps the limit, the one that breaks it least; it dominates no volume.
        """
        found = self._judge.front([candidate for candidate in self._memo.values() if candidate is not None])
        found.sort(key=self._judge.objectives)
        return Front(self.settings.objectives, tuple(found), self._judge.hypervolume(found))

    def state(self) -> dict[str, Any]:
        """All that `restore` needs, as values that JSON can hold."""
        return {
            "schema": state.SCHEMA,
            "settings": dict(vars(self.settings)),
            "seed": self.seed,
            "evaluator": self.evaluator.identity(),
            "generator": bytes(self._generator.get_state().tolist()).hex(),
            "queries": self.evaluator.queries.tolist(),
            "detections": self.evaluator.detections.tolist(),
            "population": [state.member_json(member) for member in self._population],
            "judged": [state.judged_json(chain, candidate) for chain, candidate in self._memo.items()],
            "history": [dict(vars(step)) for step in self._history],
        }

    @classmethod
    def restore(cls, settings: Settings, evaluator: Evaluator, saved: Mapping[str, Any]) -> Self:
        """The search that `state` described; it goes on to the same bits as if it had not been interrupted.

        Raises `InputError`, which names the first difference, where the state is of a search with other settings,
        models, images or detectors, and `CorruptError` for a state that is none.
        """
        with state.reading():
            state.check(saved, settings, evaluator)
            search = cls(settings, evaluator, seed=saved["seed"])
            search._generator.set_state(torch.tensor(list(bytes.fromhex(saved["generator"])), dtype=torch.uint8))
            search.evaluator.queries = state.counts(saved["queries"], evaluator)
            search.evaluator.detections = state.counts(saved["detections"], evaluator)
            search._population = [state.member(values) for values in saved["population"]]
            search._memo = dict(state.judged(values, evaluator, settings.several) for values in saved["judged"])
            search._history = [_step(values) for values in saved["history"]]
        return search


def _step(values: Mapping[str, Any]) -> Step:
    """The step that JSON made these values of."""
    return Step(**{**values, "points": tuple(map(tuple, values["points"]))})
