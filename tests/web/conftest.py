"""One server for all tests of a worker that leave it as it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.running import Program
from tests.web.serving import Served, serving


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("web-home")) as running:
        yield running


@pytest.fixture
def program(capsys: pytest.CaptureFixture[str]) -> Program:
    return Program(capsys)
