"""Gradient masking: whether a robustness number can be believed, with the evidence."""

from __future__ import annotations

from foolscope.masking.evidence import QUESTIONS, Evidence, Examination
from foolscope.masking.examiner import examine

__all__ = ["QUESTIONS", "Evidence", "Examination", "examine"]
