"""`python -m foolscope` is the command line `foolscope`."""

from __future__ import annotations

from foolscope.cli import main

if __name__ == "__main__":
    main()
