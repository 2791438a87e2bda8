"""Defenses: what stands before a classifier and changes its images."""

from __future__ import annotations

from foolscope.defenses.defended import DEFENSES, Defended, defended, parse_defense
from foolscope.defenses.defense import Defense, Transform
from foolscope.defenses.detector import (
    DETECTORS,
    ROC,
    CalibratedDetector,
    Detector,
    FeatureSqueezing,
    halves,
    parse_detector,
    roc,
    threshold_at,
)
from foolscope.defenses.filter import PhotoFilter
from foolscope.defenses.jpeg import JPEG
from foolscope.defenses.randomized import Noise, RandomJPEG, ResizePad
from foolscope.defenses.squeezing import BitDepth, Gaussian, Median, NonLocalMeans, TotalVariation

__all__ = [
    "DEFENSES",
    "DETECTORS",
    "JPEG",
    "ROC",
    "BitDepth",
    "CalibratedDetector",
    "Defended",
    "Defense",
    "Detector",
    "FeatureSqueezing",
    "Gaussian",
    "Median",
    "Noise",
    "NonLocalMeans",
    "PhotoFilter",
    "RandomJPEG",
    "ResizePad",
    "TotalVariation",
    "Transform",
    "defended",
    "halves",
    "parse_defense",
    "parse_detector",
    "roc",
    "threshold_at",
]
