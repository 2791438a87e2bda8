"""What an evolution says of itself: what was searched, how to repeat it, with which versions."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from foolscope.attacks.agv import Search, Settings
from foolscope.experiments.evolve_images import Asked, Images
from foolscope.experiments.held_out import Witness
from foolscope.experiments.provenance import machine, versions
from foolscope.spec import format_value


def about(
    asked: Asked, settings: Settings, parts: Images, witnesses: Sequence[Witness], search: Search
) -> dict[str, Any]:
    """Values that JSON can hold."""
    return {
        "models": [
            {"name": one.name, "role": one.role, "weights": one.engine.info.weights, "digest": one.digest}
            for one in witnesses
        ],
        "data": {
            "spec": asked.data,
            **{
                name: {"split": part.split, "images": len(part), "digest": part.digest}
                for name, part in vars(parts).items()
            },
        },
        "detectors": {one.name: one.detector.to_json() for one in witnesses if one.detector},
        "settings": vars(settings),
        "objectives": list(settings.objectives),
        "hypervolume": search.front().hypervolume,
        "seed": asked.seed,
        "command": command(asked, settings),
        "python": python_code(asked, settings),
        "versions": versions(),
        "machine": machine(),
    }


def usual_objective(detector: str | None) -> str:
    """What is minimized beside 1 - ASR where nothing else is asked for.

    The thesis minimizes detection alone.  There one chain that is never detected ends the search: the front is that
    chain.  With the distance beside it the front runs from harmless to strong, and the search finds stronger chains.
    """
    return "detection,linf" if detector else "linf"


def command(asked: Asked, settings: Settings) -> str | None:
    """The command line that repeats the evolution; None of a model that no spec names."""
    models = [one for one in (*asked.models, *asked.transfer) if isinstance(one, str)]
    if len(models) < len(asked.models) + len(asked.transfer):
        return None
    first, *others = models[: len(asked.models)]
    parts = ["foolscope", "evolve", first, "--data", asked.data]
    parts += [part for name in others for part in ("--also", name)]
    parts += [part for name in models[len(asked.models) :] for part in ("--transfer", name)]
    parts += ["--detector", asked.detector or "none", "--images", str(asked.images), "--held-out", str(asked.held_out)]
    for name, value in _changed(asked, settings).items():
        parts += [f"--{name.replace('_', '-')}", format_value(value)]
    return shlex.join([*parts, "--seed", str(asked.seed)])


def python_code(asked: Asked, settings: Settings) -> str:
    """The Python that repeats the evolution; a model that was handed over as it is is called `model` there."""
    models = [repr(one) if isinstance(one, str) else "model" for one in asked.models]
    transfer = ", ".join(repr(one) if isinstance(one, str) else "other" for one in asked.transfer)
    given = {
        "detector": asked.detector,
        "images": asked.images,
        "held_out": asked.held_out,
        "seed": asked.seed,
        **_changed(asked, settings),
    }
    lines = [
        "import foolscope as fs",
        "",
        "evolved = fs.evolve(",
        f"    {models[0] if len(models) == 1 else '[' + ', '.join(models) + ']'},",
        f"    {asked.data!r},",
        *([f"    transfer=[{transfer}],"] if transfer else []),
        *(f"    {name}={value!r}," for name, value in given.items()),
        ")",
    ]
    return "\n".join(lines)


def _changed(asked: Asked, settings: Settings) -> dict[str, Any]:
    """The settings that are not the usual ones."""
    usual = Settings(objective=usual_objective(asked.detector))
    return {name: value for name, value in vars(settings).items() if value != getattr(usual, name)}
