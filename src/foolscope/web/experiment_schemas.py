"""What is answered on experiments, as pydantic models.  docs/api.md explains them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from foolscope.web.schemas import Repetition, SetEntry


class ExperimentEntry(BaseModel):
    """An experiment of the catalog: what it is, what the seed showed, and where ours differs.

    `data` are the data sets that it is meant for, `sets` those of the gallery that it can be run on here; of `usual`
    images (null: all) where no limit is given.
    """

    name: str
    figure: str
    summary: str
    what: str
    seed: str
    differences: str
    data: list[str]
    sets: list[SetEntry]
    usual: int | None
    settings: list[dict[str, Any]]


class ExperimentList(BaseModel):
    """The catalog, in the report's order, then what goes beyond it."""

    experiments: list[ExperimentEntry]


class RunEstimate(BaseModel):
    """What of a run the store holds already.

    `seconds` of one worker and `bytes` for the rest leave out `unknown_cells`, of kinds that were never computed here,
    and are null where all of the rest are such.
    """

    cells: int
    done: int
    failed: int
    seconds: float | None
    bytes: int | None
    unknown_cells: int
    images: int
    of: int
    preview: bool
    reproduce: Repetition
