"""A search in a real browser, nothing mocked: the form as it opens, a reload, and a server that is killed."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.web.browser_tab import Opener

pytest_plugins = ["tests.web.browser"]

_LONG = 120_000
"""Milliseconds that a job may take on a busy machine."""


@contextmanager
def program(home: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """`foolscope serve` as a process of its own, once it listens; killed at the end."""
    command = [sys.executable, "-m", "foolscope", "serve", "--port", str(port), "--offline"]
    environment = {name: value for name, value in os.environ.items() if name != "FOOLSCOPE_DATA"}
    environment["FOOLSCOPE_HOME"] = str(home)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        try:
            assert process.stdout
            assert "foolscope is at" in process.stdout.readline()
            yield process
        finally:
            process.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def test_the_search_that_the_form_offers_survives_a_reload_and_a_killed_server(
    new_tab: Opener, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home, port = tmp_path_factory.mktemp("search-home"), free_port()
    tab = new_tab(server=f"http://127.0.0.1:{port}")
    tab.allow("ERR_|Failed to load resource")
    with program(home, port) as server:
        page = tab.open("/?view=evolve")
        page.get_by_role("button", name="New search").click()
        form = page.get_by_role("form", name="New search")
        start = form.get_by_role("button", name="Start the search")
        form.get_by_role("spinbutton", name="epochs").fill("0.5")
        expect(start).to_have_accessible_description("epochs: a whole number, 1 to 100.")
        form.get_by_role("spinbutton", name="epochs").fill("12")  # enough to be killed in the middle
        form.get_by_role("spinbutton", name="images to judge on").fill("9000")
        start.click()
        expect(form.get_by_role("alert")).to_contain_text("at most")
        form.get_by_role("spinbutton", name="images to judge on").fill("50")
        start.click()
        row = page.get_by_role("list", name="Searches").get_by_role("listitem")
        points = page.get_by_role("group", name=re.compile("Pareto front")).get_by_role("button")
        expect(points.first).to_be_visible(timeout=_LONG)
        page.reload()
        expect(points.first).to_be_visible()
        expect(row.get_by_text("running")).to_be_visible()
        server.send_signal(signal.SIGKILL)
        server.wait()
        expect(page.get_by_role("alert")).to_have_text(re.compile("^The server does not answer"))
    with program(home, port):
        expect(row.get_by_text("interrupted")).to_be_visible(timeout=_LONG)
        expect(page.get_by_role("alert")).to_have_count(0)
        row.get_by_role("button", name="Resume").click()
        expect(row.get_by_text("done", exact=True)).to_be_visible(timeout=_LONG)
        expect(page.get_by_role("link", name="Read the report")).to_be_visible()
        page.get_by_role("list", name="Chains of the front").get_by_role("button").first.click()
        expect(page.get_by_role("img", name="The image in hand with this chain")).to_have_js_property("complete", True)
        tab.keep("lab-evolve")
        page.get_by_role("button", name="Open in Lab", exact=True).click()
        expect(page.get_by_role("radio", name="lenet digits")).to_be_checked()
        expect(page.get_by_role("radio", name="A chain of your own")).to_be_checked()
        expect(page.get_by_role("img", name="The image with the chain of filters")).to_be_visible()
        page.close()
