"""What is freed goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

from foolscope import memory

SCRIPT = """
from foolscope.memory import release

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

blocks = [bytearray(64 * 1024) for _ in range(3200)]
last = bytearray(64 * 1024)
del blocks
held = resident()
release()
print(held - resident())
"""


@pytest.mark.skipif(memory._trim() is None, reason="this C library has no malloc_trim")
def test_a_gap_below_a_block_in_use_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 100 * 1024


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_trim", lambda: None)
    memory.release()
