"""Kill runs with two workers at random moments, again and again, and compare them with one that nobody disturbed.

    python tools/kill_runs.py --kills 50

A run is killed with -9 after a random time and the same command is given again, until it comes to its end; then the
next one begins, until there were so many kills.  At every end the findings and every cell must be those of the
undisturbed run, bit for bit, and no cell may have been begun that was in the store at an earlier kill: nothing is
computed twice but what was in hand.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

WORKERS = 2

EXPERIMENTS = {
    "jpeg-epsilon": {"qualities": "30,70"},
    "overfitting": {"epochs": "1,2", "seeds": "0,1", "attacks": "fgsm", "train_images": "512"},
}
"""What can be killed, with settings that make it short; the second one has trainings, which other cells need."""

RUN = """
import json
import sys
from pathlib import Path
from foolscope.experiments import executors
from foolscope.experiments.experiment import Library
from foolscope.experiments.running import Asked, plan, run_planned
from foolscope.experiments.store import Store, cell_key

folder = Path(sys.argv[1])
workers, eps, name, settings = int(sys.argv[2]), sys.argv[3], sys.argv[4], json.loads(sys.argv[5])
library = Library()

class Noted(executors.Processes):
    def start(self, work, needed):
        with (folder / "begun").open("a") as file:
            file.write(cell_key(library.spec(work)) + chr(10))
        super().start(work, needed)

if __name__ == "__main__":
    executors.Processes = Noted
    asked = Asked(name=name, data="digits", settings={"eps": eps, **settings})
    print(run_planned(plan(asked, store=Store(folder / "store")), jobs=workers).findings)
"""
"""A run that writes down which cells it begins."""


@dataclass(frozen=True)
class Outcome:
    """What came of it: kills, runs that came to their end, cells of each, and cells that were begun more than once."""

    kills: int
    runs: int
    cells: int
    again: int


def cells(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Every finished cell by its name: its spec and the bytes of its arrays."""
    return {
        cell.parent.name: (
            json.dumps(json.loads(cell.read_text())["spec"], sort_keys=True),
            (cell.parent / "arrays.npz").read_bytes(),
        )
        for cell in (folder / "store").glob("??/*/cell.json")
    }


def begun(folder: Path) -> list[str]:
    """The cells that were begun so far, in order."""
    notes = folder / "begun"
    return notes.read_text().split() if notes.is_file() else []


def torment(folder: Path, kills: int, radii: int, seed: int, name: str = "jpeg-epsilon") -> Outcome:
    """Kill runs of `radii` + 1 blocks of cells so many times.  Raises `SystemExit` where one ends differently."""
    script, draw = folder / "run.py", random.Random(seed)
    script.write_text(RUN)
    settings = json.dumps(EXPERIMENTS[name])
    eps = ",".join(f"{0.3 * (n + 1) / radii:.4f}" for n in range(radii))

    def started(place: Path) -> subprocess.Popen[str]:
        place.mkdir(exist_ok=True)
        command = [sys.executable, str(script), str(place), str(WORKERS), eps, name, settings]
        return subprocess.Popen(command, text=True, stdout=subprocess.PIPE)

    at = time.monotonic()
    expected = _finished(started(folder / "whole"))
    takes, whole = time.monotonic() - at, cells(folder / "whole")
    done, runs, again = 0, 0, 0
    while done < kills:
        place, present = folder / f"killed-{runs}", set[str]()
        while True:
            before, run = len(begun(place)), started(place)
            try:
                run.wait(draw.uniform(0, takes) if done < kills else None)
            except subprocess.TimeoutExpired:
                run.send_signal(signal.SIGKILL)
                done += 1
            output = run.communicate()[0]
            if twice := present & set(begun(place)[before:]):
                raise SystemExit(f"{len(twice)} finished cells were begun again after kill {done}")
            if run.returncode != -signal.SIGKILL:
                break
            present = cells(place).keys() | present
        if run.returncode or output != expected:
            raise SystemExit(f"run {runs} ended with {run.returncode} and other findings")
        if cells(place) != whole:
            raise SystemExit(f"run {runs} has other cells")
        runs, again = runs + 1, again + len(begun(place)) - len(set(begun(place)))
    return Outcome(kills=done, runs=runs, cells=len(whole), again=again)


def _finished(run: subprocess.Popen[str]) -> str:
    output = run.communicate()[0]
    if run.returncode:
        raise SystemExit(f"the undisturbed run ended with {run.returncode}")
    return output


def main() -> None:
    """Print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--radii", type=int, default=12, help="radii of each run: the more the longer it takes")
    parser.add_argument("--experiment", choices=EXPERIMENTS, default="jpeg-epsilon")
    parser.add_argument("--seed", type=int, default=0, help="decides when each kill comes")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = torment(Path(folder), asked.kills, asked.radii, asked.seed, asked.experiment)
    print(
        f"{found.kills} kills in {found.runs} runs of {found.cells} cells: every cell and finding equal, "
        f"{found.again} cells begun more than once, none that was finished."
    )


if __name__ == "__main__":
    main()
