"""What several test files share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
"""The project's root."""

needs_data = pytest.mark.skipif(not os.environ.get("FOOLSCOPE_DATA"), reason="FOOLSCOPE_DATA is not set")
