"""The command line.  stdout is the result, stderr the progress; exit 0 done, 1 failed, 2 wrong input, 130 stopped.

Nothing heavy is imported before a command runs, so that `foolscope --help` answers at once.
"""

from __future__ import annotations

from foolscope.cli.app import main

__all__ = ["main"]
