"""What the machinery around cells costs, and the whole catalog on digits: `python benchmarks/experiments.py`."""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from unittest.mock import patch

import torch
from timing import machine, markdown
from torch import Tensor

from foolscope.experiments import catalog, running
from foolscope.experiments.catalog import EXPERIMENTS
from foolscope.experiments.experiment import Experiment, Found, Images, Kind, Sample, Scene, Work
from foolscope.experiments.findings import Findings
from foolscope.experiments.running import Asked, Planned, plan, run_planned
from foolscope.experiments.store import Store
from foolscope.registry import Registry
from foolscope.report.gallery import write_run
from foolscope.spec import parameter

VALUES = 1000
"""Numbers that an empty cell holds."""


def nothing(scene: Scene) -> Mapping[str, Tensor]:
    """A cell that costs nothing but its place in the store."""
    return {"values": torch.full((VALUES,), float(scene.options["number"]))}


@dataclass(frozen=True, kw_only=True)
class Empty(Experiment):
    """Cells of nothing.

    The seed: none.

    Differences: none.
    """

    name: ClassVar[str] = "empty"
    figure: ClassVar[str] = "none"
    summary: ClassVar[str] = "cells of nothing"
    on: ClassVar[tuple[str, ...]] = ("digits",)

    count: int = parameter(10_000, "cells", low=1)

    def cells(self, sample: Sample) -> list[Work]:
        images = Images(data=sample.name, end=1)
        return [Work(kind="empty", images=images, options={"number": number}) for number in range(self.count)]

    def show(self, sample: Sample, found: Found) -> Findings:
        total = sum(float(found[work]["values"][0]) for work in self.cells(sample))
        return Findings(told=(f"{total:g}",))


def planned(folder: Path, count: int) -> Planned:
    """A plan of so many empty cells on the store in `folder`."""
    return plan(Asked(name="empty", data="digits", settings={"count": str(count)}), store=Store(folder))


def timed_run(folder: Path, count: int) -> tuple[float, float]:
    """Seconds of computing and storing all cells, and of the same run once it is finished: planned, read and shown."""
    begun = time.perf_counter()
    result = run_planned(planned(folder, count), jobs=1)
    first, begun = time.perf_counter() - begun, time.perf_counter()
    again = run_planned(planned(folder, count), jobs=1)
    if (result.computed, again.computed) != (count, 0) or again.findings != result.findings:
        raise SystemExit("the second run should have found every cell in the store")
    return first, time.perf_counter() - begun


def cells(count: int, rounds: int) -> list[list[str]]:
    """Rows: the overhead of a cell and of resuming."""
    firsts, seconds = [], []
    kinds = Registry("kind of cell", "none", {"empty": Kind(nothing)})
    experiments = Registry("experiment", "none", {"empty": Empty})
    with patch.object(catalog, "KINDS", kinds), patch.object(running, "EXPERIMENTS", experiments):
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                first, second = timed_run(Path(folder), count)
            firsts.append(first)
            seconds.append(second)
    return [
        [f"a cell of {VALUES} numbers: spec, lease, store", f"{1000 * statistics.median(firsts) / count:.2f} ms"],
        [f"a finished run of {count:,} cells, repeated: plan, read, show", f"{statistics.median(seconds):.2f} s"],
    ]


def digits(jobs: int) -> list[list[str]]:
    """Rows: every experiment of the catalog that takes digits, from an empty store to its page."""
    rows, total = [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store")
        for name, kind in ((name, EXPERIMENTS[name]) for name in EXPERIMENTS):
            if "digits" not in kind.on:
                continue
            begun = time.perf_counter()
            write_run(running.run(name, "digits", store=store, jobs=jobs), Path(folder) / name)
            total += (spent := time.perf_counter() - begun)
            rows.append([f"`{name}`", f"{spent:.1f} s"])
            print(f"{name}: {spent:.1f} s", flush=True)
    return [*rows, ["all of them", f"{total:.1f} s"]]


def main() -> None:
    """Print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="empty cells")
    parser.add_argument("--rounds", type=int, default=3, help="runs of them, of which the median is told")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes for the catalog")
    parser.add_argument("--without-catalog", action="store_true", help="the empty cells alone")
    asked = parser.parse_args()
    print(f"{machine()}; cells have one torch thread.\n")
    print(markdown(["what", "cost"], cells(asked.count, asked.rounds)))
    if not asked.without_catalog:
        print(f"\n{markdown(['experiment on digits, whole', 'seconds'], digits(asked.jobs))}")


if __name__ == "__main__":
    main()
