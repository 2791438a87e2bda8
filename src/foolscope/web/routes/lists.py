"""What forms are built from: filters, attacks, defenses, detectors, with their parameters."""

from __future__ import annotations

from typing import Any

from foolscope.attacks import ATTACKS
from foolscope.defenses import DEFENSES, DETECTORS
from foolscope.filters import FILTERS
from foolscope.registry import Registry
from foolscope.spec import Parameters, describe_parameters
from foolscope.web.routes.common import new_router

router = new_router("lists")

_STRENGTH = (0.0, 1.0)
_SLIDER = (0.8, 1.3)
"""The thesis' range of the editor's slider for intensities."""


@router.get("/filters")
async def filters() -> dict[str, list[dict[str, Any]]]:
    """The filters, with the ranges of the editor's sliders and those that are searched."""
    return {
        "filters": [
            {
                **_about(kind),
                "takes_gray": kind.takes_gray,
                "strength": {"low": _STRENGTH[0], "high": _STRENGTH[1], "default": 1.0},
                "intensity": {"low": _SLIDER[0], "high": _SLIDER[1], "default": 1.0},
                "searched": {"strength": list(kind.strength_range), "intensity": list(kind.intensity_range)},
            }
            for kind in FILTERS.values()
        ]
    }


@router.get("/attacks")
async def attacks() -> dict[str, list[dict[str, Any]]]:
    """The attacks and their parameters."""
    return {"attacks": [{**_about(kind), "needs_gradients": kind.needs_gradients} for kind in ATTACKS.values()]}


@router.get("/defenses")
async def defenses() -> dict[str, list[dict[str, Any]]]:
    """The defenses and their parameters."""
    return {"defenses": _all(DEFENSES)}


@router.get("/detectors")
async def detectors() -> dict[str, list[dict[str, Any]]]:
    """The detectors and their parameters."""
    return {"detectors": _all(DETECTORS)}


def _all(registry: Registry[Any]) -> list[dict[str, Any]]:
    return [_about(kind) for kind in registry.values()]


def _about(kind: type[Parameters]) -> dict[str, Any]:
    return {
        "name": kind.name,
        "summary": getattr(kind, "summary", ""),
        "source": getattr(kind, "source", ""),
        "parameters": describe_parameters(kind),
    }
