"""Peak resident memory of an audit of 10,000 CIFAR images, as a whole process: `python benchmarks/memory.py`.

CIFAR-10's test set where `FOOLSCOPE_DATA` has it, else as many images of noise in a folder.  The peak includes Python,
torch, decoding the images, and writing the report.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from timing import machine, markdown

from foolscope.data import load_data
from foolscope.errors import FoolscopeError


def noise(folder: Path, count: int) -> None:
    """Images of noise, one folder a class."""
    rng = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"class{number % 10}" / f"{number:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=10_000, help="images")
    parser.add_argument("--attacks", default="fgsm,pgd:steps=2")
    parser.add_argument("--eps", default="8/255")
    parser.add_argument("--defense", default="jpeg:quality=50")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = "cifar10"
        try:
            load_data(data, split="test", limit=1, offline=True)
        except FoolscopeError as error:
            print(f"noise instead of {data} ({error})", file=sys.stderr)
            noise(folder / "noise", chosen.limit)
            data = f"folder:{folder / 'noise'}"
        command = [str(Path(sys.executable).with_name("foolscope")), "audit", "cifar-cnn:weights=none", "--data", data]
        command += ["--attacks", chosen.attacks, "--eps", chosen.eps, "--limit", str(chosen.limit)]
        command += ["--defense", chosen.defense, "--out", str(folder / "report")]
        home = {"FOOLSCOPE_HOME": str(folder / "home")}  # so that everything is computed and nothing is found
        begun = time.perf_counter()
        subprocess.run(command, check=True, env=os.environ | home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(f"{machine()}\n")
    what = f"{chosen.limit:,} images of {data.split(':')[0]}, {chosen.attacks}, {chosen.defense}"
    print(markdown(["audit", "peak resident GiB", "s"], [[what, f"{peak / 2**30:.2f}", f"{seconds:.0f}"]]))


if __name__ == "__main__":
    main()
