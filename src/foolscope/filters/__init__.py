"""Photo filters: effects, styles, and chains of them, on batches of images."""

from __future__ import annotations

from foolscope.filters.batch import apply
from foolscope.filters.chain import AGV_A, AGV_A_CODE, AGV_B, AGV_B_CODE, CHAINS, Chain, parse_chain
from foolscope.filters.styles import (
    FILTERS,
    Clarendon,
    Filter,
    Gingham,
    Hudson,
    Juno,
    Lark,
    Perpetua,
    Reyes,
    Rise,
    Slumber,
    Stinson,
)

__all__ = [
    "AGV_A",
    "AGV_A_CODE",
    "AGV_B",
    "AGV_B_CODE",
    "CHAINS",
    "FILTERS",
    "Chain",
    "Clarendon",
    "Filter",
    "Gingham",
    "Hudson",
    "Juno",
    "Lark",
    "Perpetua",
    "Reyes",
    "Rise",
    "Slumber",
    "Stinson",
    "apply",
    "parse_chain",
]
