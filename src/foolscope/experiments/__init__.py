"""Experiments: cells of work on a store, and what is read out of them."""

from __future__ import annotations

from foolscope.experiments.audit import Audit, AuditProgress, audit, plan_audit
from foolscope.experiments.evolve import EvolveProgress, evolve
from foolscope.experiments.evolved import Evolved
from foolscope.experiments.results import Results
from foolscope.experiments.runner import RunProgress
from foolscope.experiments.running import RunResult, run
from foolscope.experiments.store import Cell, Store

__all__ = [
    "Audit",
    "AuditProgress",
    "Cell",
    "EvolveProgress",
    "Evolved",
    "Results",
    "RunProgress",
    "RunResult",
    "Store",
    "audit",
    "evolve",
    "plan_audit",
    "run",
]
