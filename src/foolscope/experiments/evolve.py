"""AGV as an experiment: search chains of filters on some images, judge the front on others; see `evolve_images`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from foolscope.attacks.agv import Candidate, Evaluator, Search, SearchProgress, Settings
from foolscope.data import ImageSet
from foolscope.errors import SpecError, nearest
from foolscope.experiments.evolve_about import about, usual_objective
from foolscope.experiments.evolve_images import HELD_OUT, SEARCHED, Asked, prepared
from foolscope.experiments.evolved import Evolved, Found
from foolscope.experiments.held_out import HeldOut, Witness
from foolscope.experiments.search_file import load_search, save_search
from foolscope.experiments.store import Store
from foolscope.files import home
from foolscope.filters import AGV_A, AGV_B, Chain
from foolscope.measure import ssim

SHOWN = 8
"""Held-out images of the contact sheet."""


@dataclass(frozen=True, kw_only=True)
class EvolveProgress:
    """Where an evolution stands: in words, by steps of the search or chains judged, and with the best chains so far.

    `done` and `total` count first the steps, then the chains.  `front` is empty before the first step is finished.
    """

    label: str
    done: int
    total: int
    front: tuple[Candidate, ...] = ()


EvolveWatch = Callable[[EvolveProgress], None]


def evolve(
    model: str | nn.Module | Sequence[str | nn.Module],
    data: str,
    *,
    detector: str | None = None,
    transfer: Sequence[str | nn.Module] = (),
    images: int = SEARCHED,
    held_out: int = HELD_OUT,
    seed: int = 0,
    folder: Path | None = None,
    store: Store | None = None,
    device: str | None = None,
    watch: EvolveWatch | None = None,
    offline: bool = False,
    **settings: Any,
) -> Evolved:
    """Evolve chains of filters that fool `model`, or several at once, and judge the front on held-out images.

    `model` and `transfer` are specs or modules; `transfer` are models that the search never asks.  `detector` is a spec
    such as `fs`; without one the front is over the mean linf distance.  `images` and `held_out` are the most images to
    search and to judge on, chosen by `seed`.  `settings` are fields of `attacks.agv.Settings`: filters, population,
    epochs, objective, strategy and so on.
    With `folder` the search is saved there after every step, and the same call goes on after a kill and ends with the
    same bits; judged chains are kept in `store` (default: under `FOOLSCOPE_HOME`).
    Raises `SpecError` and `ParameterError` for what is asked, `InputError` where models, images and detector do not
    fit, where a model misclassifies everything, and where `folder` has another search.
    """
    models = (model,) if isinstance(model, str | nn.Module) else tuple(model)
    asked = Asked(
        models=models,
        transfer=tuple(transfer),
        data=data,
        detector=detector,
        images=images,
        held_out=held_out,
        seed=seed,
    )
    chosen = _settings({"objective": usual_objective(detector), **settings})
    parts, witnesses = prepared(asked, device, offline)
    place = store or Store(home() / "store")
    place.check()
    search = _searched(chosen, witnesses[: len(models)], parts.searched, seed, folder, watch)
    front = search.front().candidates
    judge = HeldOut(parts.held_out, witnesses, place, chosen.distances)
    found: list[Found] = []
    judged: list[tuple[Chain, Candidate | None]] = [(one.chain, one) for one in front]
    judged += [(chain, None) for chain in _published(parts.held_out)]
    for done, (chain, candidate) in enumerate(judged):
        if watch:
            label = f"judging chain {done + 1} of {len(judged)} on held-out images"
            watch(EvolveProgress(label=label, done=done, total=len(judged), front=front))
        found.append(judge.found(chain, candidate))
    sheet = parts.held_out.rows(slice(0, SHOWN))
    return Evolved(
        about=about(asked, chosen, parts, witnesses, search),
        clean=judge.clean(),
        front=tuple(found[: len(front)]),
        published=tuple(found[len(front) :]),
        history=search.history,
        sheet=sheet.pixels.copy(),
        sheet_labels=tuple(sheet.label_name(label) for label in sheet.labels.tolist()),
    )


def _published(data: ImageSet) -> list[Chain]:
    """The thesis' chains, as far as they can be applied to such images."""
    gray = data.task.input_shape[0] == 1
    return [chain for chain in (AGV_A, AGV_B) if not gray or all(item.takes_gray for item in chain.filters)]


def _settings(values: dict[str, Any]) -> Settings:
    known = [field.name for field in fields(Settings)]
    for name in values:
        if name not in known:
            raise SpecError(f"evolve has no setting '{name}'.{nearest(name, known)} There are {', '.join(known)}.")
    return Settings(**values)


def _searched(
    settings: Settings,
    targets: Sequence[Witness],
    data: ImageSet,
    seed: int,
    folder: Path | None,
    watch: EvolveWatch | None,
) -> Search:
    """The finished search, begun or gone on with."""
    evaluator = Evaluator(
        [target.engine for target in targets],
        data.images,
        data.labels,
        detectors=[target.detector.detector for target in targets if target.detector],
        distances={"ssim": _dissimilarity},
    )
    search = load_search(folder, [target.digest for target in targets], settings, evaluator, seed)
    front = search.front().candidates

    def tell(progress: SearchProgress) -> None:
        if watch:
            label = f"step {progress.step} of {progress.steps}: {progress.queries:,} queries"
            watch(EvolveProgress(label=label, done=progress.step - 1, total=progress.steps, front=front))

    while not search.done:
        search.step(tell)
        front = search.front().candidates
        if folder is not None:
            save_search(folder, search, [target.digest for target in targets])
    return search


def _dissimilarity(originals: Tensor, images: Tensor) -> Tensor:
    return 1 - ssim(originals, images)
