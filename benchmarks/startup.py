"""What importing and `--help` cost, as whole processes: `python benchmarks/startup.py`."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

from timing import interleaved, machine, markdown

TOUCH = "import foolscope\nfor name in foolscope.__all__: getattr(foolscope, name)"
TORCH, LAZY, EVERYTHING, HELP = "import torch", "import foolscope", "import foolscope, every name", "foolscope --help"


def run(*command: str | Path) -> None:
    """Run a process to its end."""
    subprocess.run([*map(str, command)], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11, help="counted repetitions of everything")
    rounds = parser.parse_args().rounds
    python = sys.executable
    jobs = {
        "python -c pass": lambda: run(python, "-c", "pass"),
        TORCH: lambda: run(python, "-c", "import torch"),
        LAZY: lambda: run(python, "-c", "import foolscope"),
        EVERYTHING: lambda: run(python, "-c", TOUCH),
        HELP: lambda: run(Path(python).with_name("foolscope"), "--help"),
    }
    seconds = interleaved(jobs, rounds)
    base = seconds[TORCH]
    rows = [
        [
            f"`{name}`",
            f"{statistics.median(values):.3f}",
            f"{statistics.median(a - b for a, b in zip(values, base, strict=True)):+.3f}",
        ]
        for name, values in seconds.items()
    ]
    print(f"{machine()}; medians of {rounds} interleaved rounds.\n")
    print(markdown(["process", "median s", "more than `import torch`, s"], rows))


if __name__ == "__main__":
    main()
