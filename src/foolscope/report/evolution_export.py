"""An evolution's result folder: page, numbers, contact sheet and chains."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from foolscope.experiments.evolved import Clean, Evolved, Found, Together
from foolscope.files import write_bytes, write_json
from foolscope.report.evolution import evolution_page
from foolscope.report.evolution_figures import sheet_png
from foolscope.report.export import proportion

SCHEMA = "foolscope-evolution/1"


def write_evolution(evolved: Evolved, folder: Path | str) -> Path:
    """Write `report.html`, `evolution.json`, `contact-sheet.png` and `chains/NN.json`; return the page's path.

    Each is written whole or not at all.  Raises `StorageError`.
    """
    folder = Path(folder)
    write_json(folder / "evolution.json", evolution_json(evolved))
    for old in (folder / "chains").glob("[0-9]*.json"):
        old.unlink()  # of a front that was longer
    for place, found in enumerate(evolved.front, start=1):
        write_bytes(folder / "chains" / f"{place:02}.json", found.chain.to_json().encode())
    write_bytes(folder / "contact-sheet.png", sheet_png(evolved))
    path = folder / "report.html"
    write_bytes(path, evolution_page(evolved).encode())
    return path


def evolution_json(evolved: Evolved) -> dict[str, Any]:
    """Everything but the pictures, as values that JSON can hold."""
    return {
        "schema": SCHEMA,
        "about": evolved.about,
        "clean": [_clean_json(clean) for clean in evolved.clean],
        "front": [_found_json(found, evolved.together(found)) for found in evolved.front],
        "published": [_found_json(found, evolved.together(found)) for found in evolved.published],
        "history": [asdict(step) for step in evolved.history],
    }


def _clean_json(clean: Clean) -> dict[str, Any]:
    shares = {"accuracy": proportion(clean.accuracy), "detection": clean.detection and proportion(clean.detection)}
    return {"model": clean.model, "role": clean.role, "threshold": clean.threshold, **shares}


def _found_json(found: Found, together: Together | None) -> dict[str, Any]:
    return {
        "title": found.chain.title,
        "chain": found.chain.spec(),
        "searched": found.searched and asdict(found.searched),
        "distances": {name: asdict(mean) for name, mean in found.distances.items()},
        "judged": [
            {
                "model": seen.model,
                **{name: proportion(getattr(seen, name)) for name in ("accuracy", "asr", "asr_clean", "saved")},
                "detection": seen.detection and proportion(seen.detection),
            }
            for seen in found.judged
        ],
        "together": together and asdict(together),
    }
