"""AGV: universal, unrestricted, black-box attacks by chains of photo filters, which two nested evolutions find."""

from __future__ import annotations

from foolscope.attacks.agv.candidate import Candidate, Front, Tally
from foolscope.attacks.agv.distances import DISTANCES, Distance, Frechet, color_difference
from foolscope.attacks.agv.evaluator import Detector, Evaluator
from foolscope.attacks.agv.search import Search, SearchProgress, SearchWatch, Step
from foolscope.attacks.agv.settings import OBJECTIVES, STRATEGIES, Settings

__all__ = [
    "DISTANCES",
    "OBJECTIVES",
    "STRATEGIES",
    "Candidate",
    "Detector",
    "Distance",
    "Evaluator",
    "Frechet",
    "Front",
    "Search",
    "SearchProgress",
    "SearchWatch",
    "Settings",
    "Step",
    "Tally",
    "color_difference",
]
