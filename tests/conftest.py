"""How tests run: in a home of their own, and on one thread each where several run at once."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported; also for what a test starts


def pytest_configure() -> None:
    if os.environ.get("FOOLSCOPE_REQUIRE_DATA") and not os.environ.get("FOOLSCOPE_DATA"):
        raise pytest.UsageError("FOOLSCOPE_REQUIRE_DATA is set and FOOLSCOPE_DATA is not: tests would be skipped.")


@pytest.fixture(scope="session", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's FOOLSCOPE_HOME out of the tests; all workers share one, so that data are decoded once."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOOLSCOPE_HOME", str(folder / "foolscope-home"))
        yield
