"""What a job is asked for, checked before there is one: what would fail at once is refused in the library's words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from foolscope.attacks.agv import Settings
from foolscope.attacks.agv.genome import Pool
from foolscope.data import ImageSet, parse_data
from foolscope.defenses import parse_defense, parse_detector
from foolscope.errors import InputError, ParameterError
from foolscope.experiments import evolve_about
from foolscope.experiments.evolve_images import Asked
from foolscope.experiments.grid import attack_grids, parse_eps_by_norm, specs_and_eps
from foolscope.experiments.provenance import Repetition, versions
from foolscope.filters import FILTERS
from foolscope.models import load_model
from foolscope.report.words import counted
from foolscope.web.gallery import Gallery, Source
from foolscope.web.networks import Offer
from foolscope.web.schemas import AuditRequest, EvolveRequest

_LONGEST_TITLE = 200


@dataclass(frozen=True)
class JobRequest:
    """A job that can be started: its title, its parameters, and how to do the same without the server."""

    title: str
    asked: dict[str, Any]
    reproduce: dict[str, Any]


def checked(body: AuditRequest | EvolveRequest, offer: Offer, gallery: Gallery) -> JobRequest:
    """The job that a request asks for.

    Its network's weights are named, since `auto` would take others with another data set.
    Raises `NotFoundError` for the data, what the library raises for specs that it does not understand, and `InputError`
    where network and images do not fit or are too few.
    """
    source = gallery.source(body.data)
    data = gallery.data(source)
    asked = body.model_dump() | {"model": offer.exact}
    if isinstance(body, EvolveRequest):
        asked["pool"] = _pool(body.pool, data)
        if body.detector is not None:
            parse_detector(body.detector)
        _check_counts(body, source, len(data))
        about, reproduce = _about_evolve(body, asked["pool"]), _evolve_again(asked, source)
    else:
        for defense in body.defenses:
            parse_defense(defense)
        about, reproduce = _about_audit(body), _audit_again(asked, source, data)
    _check_fit(offer, data)
    title = f"{offer.model} on {body.data}: {about}"
    return JobRequest(short_title(title), asked, {**reproduce, "versions": versions()})


def short_title(title: str) -> str:
    """A job's title, cut where it is too long for a list."""
    return title if len(title) <= _LONGEST_TITLE else f"{title[: _LONGEST_TITLE - 1]}…"


def _check_fit(offer: Offer, data: ImageSet) -> None:
    """Raise `InputError` where the images are none for the network; others than the shipped ones the job checks."""
    if offer.card is not None:
        network = load_model(offer.exact, data.task, offline=True)
        data.aligned_to(network).check_against(network)


def _pool(asked: str | None, data: ImageSet) -> str:
    """The filters that a search chooses from: for gray images those that do not color."""
    is_gray = data.pixels.shape[3] == 1
    fitting = [name for name, kind in FILTERS.items() if kind.takes_gray]
    if asked is None:
        return ",".join(fitting) if is_gray else "thesis"
    coloring = [name for name in Pool(asked).names if not FILTERS[name].takes_gray]
    if is_gray and coloring:
        raise InputError(f"pool: {coloring[0]} would color gray images; {', '.join(fitting)} do not.")
    return asked


def _check_counts(body: EvolveRequest, source: Source, count: int) -> None:
    """Raise `ParameterError` where the set has fewer images than are to be searched and judged on."""
    splits = parse_data(source.spec).splits
    half = (count - 1) // 2
    if splits and "train" in splits:
        searched, judged = splits["train"], count - 1 - half
    else:
        searched, judged = half, count - 1 - min(half, body.images)
    if body.images > searched or body.held_out > judged:
        raise ParameterError(
            f"{source.title}: there are at most {max(0, searched)} images to search on and then {max(0, judged)} to "
            f"judge on, not {body.images} and {body.held_out}: ask for fewer, or take a larger set."
        )


def _about_audit(body: AuditRequest) -> str:
    parts = [", ".join(body.attacks)]
    parts += [f"eps {' '.join(body.eps)}"] if body.eps else []
    parts += [f"defended by {', '.join(body.defenses)}"] if body.defenses else []
    parts += [counted(body.limit, "image")] if body.limit else []
    return "; ".join(parts)


def _about_evolve(body: EvolveRequest, pool: str) -> str:
    filters = f"chains of {counted(body.filters, 'filter')}" + ("" if pool == "thesis" else f" ({pool})")
    size = f"{body.population} at a time, {counted(body.epochs, 'epoch')}, {counted(body.images, 'image')}"
    return f"{filters}; {size}" + (f"; hidden from {body.detector}" if body.detector else "")


def _audit_again(asked: dict[str, Any], source: Source, data: ImageSet) -> dict[str, Any]:
    height, width, channels = data.pixels.shape[1:]
    attacks, eps = specs_and_eps(
        attack_grids(asked["attacks"], parse_eps_by_norm(asked["eps"]), (channels, height, width))
    )
    again = Repetition(
        model=asked["model"],
        data=source.spec,
        split="test",
        limit=asked["limit"] if asked["limit"] and asked["limit"] < len(data) else None,
        attacks=attacks,
        eps=eps,
        defenses=tuple(asked["defenses"]),
        seed=asked["seed"],
        precision="float32",
        device=None,
    )
    return {"command": again.command(), "python": again.python()}


def _evolve_again(asked: dict[str, Any], source: Source) -> dict[str, Any]:
    what = Asked(
        models=(asked["model"],),
        transfer=(),
        data=source.spec,
        detector=asked["detector"],
        images=asked["images"],
        held_out=asked["held_out"],
        seed=asked["seed"],
    )
    names = ("filters", "population", "epochs", "pool")
    objective = evolve_about.usual_objective(asked["detector"])
    settings = Settings(objective=objective, **{name: asked[name] for name in names})
    return {"command": evolve_about.command(what, settings), "python": evolve_about.python_code(what, settings)}
