"""Defenses: what stands before a classifier and changes its images."""

from __future__ import annotations

from foolscope.defenses.defended import DEFENSES, Defended, defended, parse_defense
from foolscope.defenses.defense import Defense, Transform
from foolscope.defenses.jpeg import JPEG

__all__ = ["DEFENSES", "JPEG", "Defended", "Defense", "Transform", "defended", "parse_defense"]
