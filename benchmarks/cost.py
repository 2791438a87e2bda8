"""What an attack costs as images and steps grow: `python benchmarks/cost.py`.

Each line is a process of its own, so that its peak of resident memory is its own too; without early stopping, so that
every image takes every step.  `more` is what the process needs beyond one that attacks 8 images in one step.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

from timing import machine, markdown

IMAGES, STEPS = (100, 1000, 10_000), (5, 10, 20)
_WORD = "alone"


def attack(network: str, data: str, count: int, steps: int) -> None:
    """One run, and on stdout its seconds and the process's peak in bytes."""
    from foolscope.attacks import PGD, Untargeted
    from foolscope.data import load_data
    from foolscope.models import load_model
    from foolscope.models.engine import Engine

    loaded = load_data(data, split="test", limit=count, offline=True)
    engine = Engine(load_model(network, loaded.task))
    engine.predict(loaded.images[:8])
    begun = time.perf_counter()
    PGD(eps=8 / 255, steps=steps, early_stop=False)(engine, loaded.images, Untargeted(loaded.labels))
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps([seconds, peak]))


def measured(network: str, data: str, count: int, steps: int) -> tuple[float, int]:
    """Seconds and bytes of a process of its own."""
    command = [sys.executable, __file__, _WORD, network, data, str(count), str(steps)]
    seconds, peak = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return float(seconds), int(peak)


def main() -> None:
    """Print a Markdown table."""
    if sys.argv[1:2] == [_WORD]:
        attack(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="cifar-cnn")
    parser.add_argument("--data", default="cifar10")
    chosen = parser.parse_args()
    _, least = measured(chosen.network, chosen.data, 8, 1)
    rows = []
    for count, steps in dict.fromkeys([*((count, STEPS[1]) for count in IMAGES), *((IMAGES[1], n) for n in STEPS)]):
        seconds, peak = measured(chosen.network, chosen.data, count, steps)
        each, more = 1e3 * seconds / count / steps, (peak - least) / 2**20
        rows.append([f"{count:,}", str(steps), f"{seconds:.1f}", f"{each:.3f}", f"{more:.0f}", f"{peak / 2**30:.2f}"])
    print(f"{machine()}; {chosen.network} on {chosen.data}, PGD without early stop\n")
    print(markdown(["images", "steps", "s", "ms an image and step", "more MiB", "peak GiB"], rows))


if __name__ == "__main__":
    main()
