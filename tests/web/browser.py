"""A real Chromium on a real server, for the tests of the page.

A test module names this one in `pytest_plugins` and imports `browser_tab`.
`FOOLSCOPE_REQUIRE_BROWSER=1` turns a missing browser into an error; `FOOLSCOPE_SCREENSHOTS=docs/images` keeps the
pictures that the tests take.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright

from tests.web.browser_tab import WIDE, Opener, Tab
from tests.web.serving import Served, serving

_PATIENCE = 20_000
"""Milliseconds; machines of continuous integration are busy."""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Chromium; its loop would be in the way of other modules' asyncio, so each module has its own."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        reason = "there is no chromium: install it (Debian and Ubuntu: apt install chromium)"
        if os.environ.get("FOOLSCOPE_REQUIRE_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    expect.set_options(timeout=_PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The server of the page's tests, on embedded data, with a home of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("FOOLSCOPE_DATA", raising=False)
        with serving(tmp_path_factory.mktemp("page-home")) as running:
            yield running


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures of the page go."""
    asked = os.environ.get("FOOLSCOPE_SCREENSHOTS")
    return Path(asked) if asked else tmp_path_factory.mktemp("pictures")


@pytest.fixture
def new_tab(chromium: Browser, site: Served, pictures: Path) -> Iterator[Opener]:
    """Open tabs; at the end none of them may have had trouble."""
    contexts: list[BrowserContext] = []
    tabs: list[Tab] = []

    def open_tab(size: tuple[int, int] = WIDE, server: str = "", **options: Any) -> Tab:
        width, height = size
        viewport: Any = {"width": width, "height": height}
        context = chromium.new_context(viewport=viewport, reduced_motion="reduce", accept_downloads=True, **options)
        context.set_default_timeout(_PATIENCE)
        contexts.append(context)
        tab = Tab(context.new_page(), server or f"http://127.0.0.1:{site.port}", pictures)
        tab.watch()
        tabs.append(tab)
        return tab

    yield open_tab
    for tab in tabs:
        if not tab.page.is_closed():
            tab.page.unroute_all(behavior="ignoreErrors")  # a page that polls may have an answer under way
    for context in contexts:
        context.close()
    for tab in tabs:
        tab.check()


@pytest.fixture
def tab(new_tab: Opener) -> Tab:
    """A tab of a desktop's size."""
    return new_tab()
