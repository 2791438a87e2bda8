"""How a run grows faster with workers: measured here, simulated for a cluster: `python benchmarks/scaling.py`.

A run of `jpeg-accuracy` is computed from nothing with one and two processes (or `--jobs`).  The seconds that each cell
took alone, which its store holds, then go to simulated workers, to the next free one in the run's order, where a cell
waits for what it needs.  `--store` simulates a run that a store holds already, such as one on MNIST.
"""

from __future__ import annotations

import argparse
import heapq
import tempfile
import time
from pathlib import Path

from timing import machine, markdown

from foolscope.experiments.experiment import Work
from foolscope.experiments.running import Asked, Planned, plan, run_planned
from foolscope.experiments.store import Store

WORKERS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
START = 5.0
"""Seconds in which a worker imports torch, reads images and loads weights."""

OVERHEAD = 0.003
"""Seconds in which the process that was started hands a cell out and stores what comes back."""


def measured(asked: Asked, jobs: list[int]) -> tuple[list[list[str]], dict[str, float]]:
    """Rows of wall times on fresh stores, and the seconds of each cell of the first run by its text."""
    rows, alone, seconds = [], 0.0, dict[str, float]()
    for count in jobs:
        with tempfile.TemporaryDirectory() as folder:
            planned = plan(asked, store=Store(Path(folder)))
            begun = time.perf_counter()
            run_planned(planned, jobs=count)
            spent = time.perf_counter() - begun
            seconds = seconds or stored(planned)
        alone = alone or spent
        rows.append([str(count), f"{spent:.1f}", f"{alone / spent:.2f}"])
    return rows, seconds


def stored(planned: Planned) -> dict[str, float]:
    """Seconds that the cells of a finished run took, by their text."""
    found = {}
    for work in planned.works:
        cell = planned.store.load(planned.library.spec(work))
        if cell is None:
            raise SystemExit(f"{planned.store.root} does not hold all of {planned.asked.command()}")
        found[work.text] = float(cell.info["seconds"])
    return found


def simulated(works: tuple[Work, ...], seconds: dict[str, float], workers: int) -> float:
    """Seconds until the last cell is stored: each goes to the next free worker, once what it needs is done."""
    free = [START] * workers if workers > 1 else [0.0]
    ends: dict[str, float] = {}
    handed = 0.0
    for work in works:
        ready = max((ends[need.text] for need in work.needs), default=0.0)
        handed = max(handed + OVERHEAD, ready, heapq.heappop(free))
        ends[work.text] = handed + seconds[work.text]
        heapq.heappush(free, ends[work.text])
    return max(ends.values())


def main() -> None:
    """Print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiment", default="jpeg-accuracy")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--jobs", type=int, nargs="*", default=[1, 2], help="processes to measure")
    parser.add_argument("--store", type=Path, help="a store that holds the run: simulate alone")
    chosen = parser.parse_args()
    asked = Asked(name=chosen.experiment, data=chosen.data, settings={}, limit=chosen.limit)
    print(f"{machine()}; {asked.command()}.\n")
    if chosen.store:
        planned = plan(asked, store=Store(chosen.store))
        seconds = stored(planned)
    else:
        rows, seconds = measured(asked, chosen.jobs)
        print(markdown(["processes", "s", "times as fast"], rows), end="\n\n")
        planned = plan(asked)
    one = simulated(planned.works, seconds, 1)
    ends = [(count, simulated(planned.works, seconds, count)) for count in WORKERS]
    rows = [[f"{count:,}", f"{end:.1f}", f"{one / end:.1f}", f"{100 * one / end / count:.0f} %"] for count, end in ends]
    print(
        f"Simulated: {len(seconds):,} cells, {sum(seconds.values()):.0f} s, the longest {max(seconds.values()):.2f}.\n"
    )
    print(markdown(["workers", "s", "times as fast", "of the workers at work"], rows))


if __name__ == "__main__":
    main()
