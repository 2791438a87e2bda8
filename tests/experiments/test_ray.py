"""Ray gives the bits of one process, also where a node is lost in the middle.  In a process of its own: Ray stays."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from foolscope.experiments.running import Asked, plan, run_planned
from foolscope.experiments.store import Store
from tests.support import ROOT

pytest.importorskip("ray", reason="Ray is not installed: pip install 'foolscope[ray]'")

ASKED = Asked(
    name="adaptive-jpeg", data="digits", limit=100,
    settings={"eps": "0.05,0.1,0.15,0.2,0.25,0.3", "qualities": "50"},
)  # fmt: skip

RUN = """
import json, sys, time
from pathlib import Path
from ray.cluster_utils import Cluster
from foolscope.experiments import executors
from foolscope.experiments.running import Asked, plan, run_planned
from foolscope.experiments.store import Store

folder, asked = Path(sys.argv[1]), json.loads(sys.argv[2])
nodes, lost = [], []
collect = executors.Ray.collect

def disturbed(self, seconds):
    if nodes and len(self._running) == 2 and len(list(folder.glob("*/*/cell.json"))) > 4:
        time.sleep(0.3)  # until both are at work
        cluster.remove_node(nodes.pop(), allow_graceful=False)
    answers = collect(self, seconds)
    lost.extend(answer for answer in answers if answer.lost)
    return answers

executors.Ray.collect = disturbed

if __name__ == "__main__":
    memory = {"num_cpus": 1, "object_store_memory": 100_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={**memory, "include_dashboard": False})
    nodes.append(cluster.add_node(**memory))
    result = run_planned(plan(Asked(**asked), store=Store(folder)), jobs=f"ray:{cluster.address}")
    print(json.dumps({"computed": result.computed, "killed": not nodes, "lost": len(lost)}))
    cluster.shutdown()
"""


def cells(root: Path) -> dict[str, dict[str, bytes]]:
    """The arrays of all cells, as bytes."""
    found = {}
    for path in root.glob("*/*/arrays.npz"):
        with np.load(path) as file:
            found[path.parent.name] = {name: file[name].tobytes() for name in file.files}
    return found


def test_a_cluster_of_two_nodes_of_which_one_is_killed_in_the_middle(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(RUN)
    settings = {"name": ASKED.name, "data": ASKED.data, "settings": dict(ASKED.settings), "limit": ASKED.limit}
    done = subprocess.run(
        [sys.executable, script, tmp_path / "ray", json.dumps(settings)],
        cwd=ROOT, text=True, capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    whole = run_planned(plan(ASKED, store=Store(tmp_path / "serial")), jobs=1)
    assert (told["computed"], told["killed"]) == (whole.computed, True)
    assert told["lost"] <= 1, "only what was in hand"
    assert whole.computed > 10
    assert cells(tmp_path / "ray") == cells(tmp_path / "serial")
