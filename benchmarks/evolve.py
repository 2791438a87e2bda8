"""AGV's racing search against the thesis' plain one: `python benchmarks/evolve.py`.

Both search the same training images of CIFAR-10 with the same settings, seeds, network and detector, one after the
other for each seed.  The plain search judges its population on all images when it ends, the racing one after every
step.  So the plain search's last hypervolume is the goal, and what the racing search has asked at the end of the first
step that reaches it is what it needs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass

from timing import machine, markdown

from foolscope.attacks.agv import Evaluator, Search, Settings, Step
from foolscope.data import load_data
from foolscope.defenses import parse_detector
from foolscope.errors import FoolscopeError
from foolscope.models import load_model
from foolscope.models.engine import Engine

CALIBRATION = 2000
FALSE_POSITIVES = 0.05


@dataclass(frozen=True)
class Point:
    """A search at the end of a step."""

    seconds: float
    step: Step

    def against(self, goal: Point) -> tuple[float, float]:
        """How many times fewer queries and seconds this took than the goal."""
        return goal.step.queries / self.step.queries, goal.seconds / self.seconds

    def row(self, seed: int, name: str, ratios: tuple[float, float] | None) -> list[str]:
        """A row of the table."""
        step = self.step
        counts = [f"{count:,}" for count in (step.queries, step.detections)]
        found = [f"{self.seconds:.0f}", f"{step.hypervolume:.3f}", str(step.front), f"{100 * step.asr:.1f} %"]
        return [str(seed), name, *counts, *found, *(f"{ratio:.1f}" for ratio in ratios or ())]


def subject(network: str, detector: str, images: int, seed: int) -> Evaluator:
    """The network with a calibrated detector, and training images."""
    engine = Engine(load_model(network))
    clean = load_data("cifar10", "test", CALIBRATION, seed, offline=True)
    calibrated = parse_detector(detector).calibrate(engine, clean.images, FALSE_POSITIVES)
    data = load_data("cifar10", "train", images, seed, offline=True)
    return Evaluator(engine, data.images, data.labels, detectors=calibrated)


def searched(settings: Settings, evaluator: Evaluator, seed: int) -> list[Point]:
    """A whole search, step by step."""
    search, points, seconds = Search(settings, evaluator, seed=seed), list[Point](), 0.0
    while not search.done:
        begun = time.perf_counter()
        search.step()
        seconds += time.perf_counter() - begun
        points.append(Point(seconds, search.history[-1]))
        print(f"{settings.strategy}, seed {seed}, {seconds:.0f} s: {points[-1].step}", file=sys.stderr)
    return points


def compared(settings: Settings, evaluator: Evaluator, seed: int) -> tuple[list[list[str]], tuple[float, float]]:
    """The table's rows for one seed, and how many times fewer queries and seconds racing takes (0 for never)."""
    racing = searched(settings, evaluator, seed)
    goal = searched(settings.replace(strategy="plain"), evaluator, seed)[-1]
    reached = next((point for point in racing if point.step.hypervolume >= goal.step.hypervolume), None)
    ratios = reached.against(goal) if reached else (0.0, 0.0)
    rows = [goal.row(seed, "plain", (1.0, 1.0))]
    if reached:
        rows.append(reached.row(seed, f"racing, {reached.step.step} of {len(racing)} steps", ratios))
    return [*rows, racing[-1].row(seed, "racing", racing[-1].against(goal))], ratios


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="cifar-cnn")
    parser.add_argument("--detector", default="fs")
    parser.add_argument("--objective", default="detection,linf", help="what is minimized beside 1 - ASR")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--population", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    chosen = parser.parse_args()
    settings = Settings(objective=chosen.objective, epochs=chosen.epochs, population=chosen.population)
    rows: list[list[str]] = []
    ratios: list[tuple[float, float]] = []
    try:
        for seed in chosen.seeds:
            evaluator = subject(chosen.network, chosen.detector, chosen.images, seed)
            more, ratio = compared(settings, evaluator, seed)
            rows += more
            ratios.append(ratio)
    except FoolscopeError as error:
        raise SystemExit(str(error)) from error
    header = ["seed", "search", "queries", "detector asked", "s", "hypervolume", "front", "best ASR"]
    print(f"{machine()}; {chosen.network}, {chosen.images} images, objective {settings.objective}.\n")
    print(markdown([*header, "times fewer queries", "times as fast"], rows))
    print(f"\nTo the plain search's hypervolume, median of the seeds: {_medians(ratios)}.")


def _medians(ratios: Iterable[tuple[float, float]]) -> str:
    queries, seconds = (statistics.median(column) for column in zip(*ratios, strict=True))
    return f"{queries:.1f} times fewer queries, {seconds:.1f} times as fast"


if __name__ == "__main__":
    main()
