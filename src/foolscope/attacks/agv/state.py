"""A search's state as JSON values: what they are made of, and how they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from foolscope.attacks.agv.candidate import Candidate, packed, unpacked
from foolscope.attacks.agv.evaluator import Evaluator
from foolscope.attacks.agv.genome import Genomes
from foolscope.attacks.agv.run import Member
from foolscope.attacks.agv.settings import Settings
from foolscope.errors import CorruptError, InputError
from foolscope.filters.chain import Chain
from foolscope.filters.styles import FILTERS

SCHEMA = "foolscope-search/3"

_DIFFERENT = {
    "count": "was on {} images, not {}",
    "images": "was on other images",
    "models": "was against {}, not {}",
    "predictions": "was against models that answer otherwise",
    "detectors": "had detectors {}, not {}",
}
"""How searches differ, by the part of `Evaluator.identity`; what was saved comes first."""


@contextmanager
def reading() -> Iterator[None]:
    """Whatever is raised because values are not what they should be becomes a `CorruptError`.

    An `InputError` is no sign of damage: the state is of another search.
    """
    try:
        yield
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RuntimeError) as error:
        raise CorruptError(f"the saved search is damaged ({type(error).__name__}): begin anew.") from error


def check(saved: Mapping[str, Any], settings: Settings, evaluator: Evaluator) -> None:
    """Raise `InputError` where the state is not of a search with these settings on this evaluator."""
    if saved["schema"] != SCHEMA:
        raise InputError(f"the saved search is of schema {saved['schema']}, not {SCHEMA}: begin anew.")
    for name, value in vars(settings).items():
        if saved["settings"][name] != value:
            raise InputError(f"the saved search has {name}={saved['settings'][name]}, not {name}={value}.")
    for name, text in evaluator.identity().items():
        if (known := saved["evaluator"][name]) != text:
            raise InputError(f"the saved search {_DIFFERENT[name].format(known, text)}.")


def member_json(member: Member) -> dict[str, Any]:
    """A member of the population; `member` reads it."""
    return {
        "kinds": member.genome.kinds.tolist(),
        "values": member.genome.values.tolist(),
        "objectives": member.objectives,
        "violation": member.violation,
        "step": member.step,
    }


def member(values: Mapping[str, Any]) -> Member:
    """What `member_json` made."""
    kinds, amounts = torch.tensor(values["kinds"]), torch.tensor(values["values"], dtype=torch.float64)
    return Member(Genomes(kinds, amounts), list(values["objectives"]), values["violation"], values["step"])


def judged_json(chain: Chain, candidate: Candidate | None) -> dict[str, Any]:
    """A chain and what is known of it, None where it was dropped; `judged` reads it."""
    filters = [[item.name, item.strength, item.intensity] for item in chain.filters]
    return {"chain": filters, "candidate": candidate and _candidate_json(candidate)}


def _candidate_json(candidate: Candidate) -> dict[str, Any]:
    return {
        "fooled": packed(candidate.fooled),
        "changed": packed(candidate.changed),
        "detected": None if candidate.detected is None else packed(candidate.detected),
        "distances": dict(candidate.distances),
        "step": candidate.step,
        "queries": candidate.queries,
    }


def judged(values: Mapping[str, Any], evaluator: Evaluator, several: str) -> tuple[Chain, Candidate | None]:
    """What `judged_json` made."""
    chain = Chain(tuple(FILTERS[name](strength=s, intensity=a) for name, s, a in values["chain"]))
    known = values["candidate"]
    return chain, known and _candidate(chain, known, evaluator, several)


def _candidate(chain: Chain, known: Mapping[str, Any], evaluator: Evaluator, several: str) -> Candidate:
    count, device = len(evaluator.images), evaluator.images.device
    fooled, changed = (unpacked(known[name], count).to(device) for name in ("fooled", "changed"))
    return Candidate(
        chain=chain,
        models=evaluator.names,
        several=several,
        right=evaluator.right,
        fooled=fooled,
        changed=changed,
        detected=None if known["detected"] is None else unpacked(known["detected"], count).to(device),
        distances=known["distances"],
        step=known["step"],
        queries=known["queries"],
    )


def counts(rows: list[list[int]], evaluator: Evaluator) -> Tensor:
    """Counts (M, N)."""
    return torch.tensor(rows, dtype=torch.int64).view_as(evaluator.queries)
