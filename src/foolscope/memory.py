"""Freed memory goes back to the system.

glibc keeps what a process frees, in blocks up to 32 MB, for its next requests.  Attacks, whose batches shrink from step
to step, leave it in pieces that fit few of these: half of an audit's 1.6 GB was such pieces (10,000 CIFAR images).
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any


def release() -> None:
    """Give the system what this process has freed; nothing where the C library cannot."""
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # musl, macOS; Windows takes no None
        return None
