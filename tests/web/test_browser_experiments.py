"""Experiments in a real browser: the catalog, a run with a reload in its middle, what it shows, and its files."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.web.browser_tab import PHONE, Opener, Tab, fit
from tests.web.test_browser_jobs import free_port, program

pytest_plugins = ["tests.web.browser"]

_LONG = 120_000
"""Milliseconds that a run may take on a busy machine."""


def run(page: Page, limit: str, eps: str = "") -> None:
    form = page.get_by_role("form", name="New run")
    expect(form.get_by_role("combobox", name="images")).to_have_value("digits")
    form.get_by_role("spinbutton", name="how many").fill(limit)
    if eps:
        form.get_by_text("Settings").click()
        form.get_by_role("textbox", name="eps").fill(eps)
    expect(form.get_by_role("status")).to_contain_text("cell", timeout=_LONG)
    form.get_by_role("button", name=re.compile("Run the experiment|Draw what the store holds")).click()


def test_an_experiment_of_the_catalog_is_run_and_read(tab: Tab, tmp_path: Path) -> None:
    page = tab.open("/?view=experiments")
    expect(page).to_have_title("Experiments · foolscope")
    cards = page.get_by_role("link").filter(has_text="Fig.")
    expect(cards.first).to_be_visible()
    beyond = page.get_by_role("region", name="Beyond the report").get_by_role("link")
    for name in ("leaderboard", "adaptive-jpeg", "masking", "agv-transfer", "agv-front"):
        expect(beyond.filter(has=page.get_by_text(name, exact=True))).to_have_count(1)
    expect(beyond.filter(has_text="jpeg-epsilon")).to_have_count(0)
    page.get_by_role("link").filter(has_text="dataset-overview").press("Enter")
    expect(page.get_by_role("heading", name="dataset-overview", level=1)).to_be_focused()
    expect(page.get_by_role("heading", name="What the seed showed")).to_be_visible()
    expect(page.get_by_text("No run has finished here yet")).to_be_visible()
    run(page, "48")
    row = page.get_by_role("list", name="Runs").get_by_role("listitem")
    expect(row.get_by_text("done", exact=True)).to_be_visible(timeout=_LONG)
    findings = page.get_by_role("region", name=re.compile("^Findings of dataset-overview on digits: preview of 48"))
    expect(findings.get_by_text("Preview: 48 images of ")).to_be_visible()
    expect(findings.get_by_role("heading", name="Seed and ours in numbers")).to_be_visible()
    expect(findings.get_by_role("img").first).to_be_visible()
    with page.expect_download() as waited:
        findings.get_by_role("link", name="samples as SVG").click()
    path = tmp_path / "figure.svg"
    waited.value.save_as(path)
    assert path.read_text().startswith("<?xml")
    expect(findings.get_by_role("link", name=re.compile("as Parquet")).first).to_be_visible()
    findings.get_by_text("Repeat this run").click()
    expect(findings.get_by_label("Command line").last).to_have_text(
        "foolscope run dataset-overview --data digits --limit 48"
    )
    page.reload()
    expect(findings.get_by_role("heading", name="Seed and ours in numbers")).to_be_visible()
    expect(page.get_by_role("form", name="New run").get_by_role("button", name="Run the experiment")).to_be_visible()
    page.get_by_role("spinbutton", name="how many").fill("48")
    expect(page.get_by_role("button", name="Draw what the store holds")).to_be_visible(timeout=_LONG)
    page.get_by_role("button", name="All experiments").click()
    expect(page.get_by_role("link").filter(has_text="dataset-overview")).to_contain_text("done")


@pytest.mark.parametrize(
    ("known", "rest"),
    [
        ({"seconds": 35.2, "unknown_cells": 0}, "the rest takes about 35 s."),
        (
            {"seconds": 35.2, "unknown_cells": 12},
            "the rest takes about 35 s, not counting 12 cells of kinds that were never computed here.",
        ),
        (
            {"seconds": 35.2, "unknown_cells": 1},
            "the rest takes about 35 s, not counting 1 cell of a kind that was never computed here.",
        ),
        (
            {"seconds": None, "unknown_cells": 15},
            "how long the rest takes is not known before such cells were computed here.",
        ),
    ],
)
def test_an_estimate_tells_the_cells_that_it_leaves_out(tab: Tab, known: dict[str, Any], rest: str) -> None:
    found = {"cells": 20, "done": 5, "failed": 0, "bytes": 1, "images": 100, "of": 500, "preview": True, **known}
    tab.page.route("**/api/v1/experiments/estimate", lambda route: route.fulfill(json=found))
    page = tab.open("/?view=experiments&open=jpeg-epsilon")
    status = page.get_by_role("form", name="New run").get_by_role("status")
    expect(status).to_have_text(f"100 images of 500, a preview: 5 of 20 cells are in the store; {rest}", timeout=_LONG)


def test_a_run_that_cannot_be_says_why(tab: Tab) -> None:
    tab.allow("422")
    page = tab.open("/?view=experiments&open=jpeg-epsilon")
    form = page.get_by_role("form", name="New run")
    form.get_by_role("spinbutton", name="how many").fill("0.5")
    start = form.get_by_role("button", name="Run the experiment")
    expect(start).to_have_accessible_description("how many: a whole number, or nothing.")
    form.get_by_role("spinbutton", name="how many").fill("16")
    form.get_by_text("Settings").click()
    form.get_by_role("textbox", name="eps").fill("much")
    expect(form.get_by_role("alert")).to_contain_text("much", timeout=_LONG)
    page.goto(page.url.replace("jpeg-epsilon", "jpeg-epsilom"))
    expect(page.get_by_role("alert")).to_have_text("There is no experiment 'jpeg-epsilom'.")


def test_a_run_survives_a_reload_a_killed_server_and_a_stop(
    new_tab: Opener, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home, port = tmp_path_factory.mktemp("run-home"), free_port()
    tab = new_tab(server=f"http://127.0.0.1:{port}")
    tab.allow("ERR_|Failed to load resource")
    row = tab.page.get_by_role("list", name="Runs").get_by_role("listitem")
    with program(home, port) as server:
        page = tab.open("/?view=experiments&open=jpeg-epsilon")
        run(page, "", ",".join(f"{0.005 * place:.3f}" for place in range(1, 61)))
        expect(row.get_by_text(re.compile(r"[1-9]\d* of \d+ cells"))).to_be_visible(timeout=_LONG)
        page.reload()
        expect(row.get_by_text(re.compile(r"of \d+ cells"))).to_be_visible()
        server.send_signal(signal.SIGKILL)
        server.wait()
    with program(home, port):
        expect(row.get_by_text("interrupted")).to_be_visible(timeout=_LONG)
        row.get_by_role("button", name="Resume").click()
        expect(row.get_by_text(re.compile("from the store"))).to_be_visible(timeout=_LONG)
        row.get_by_role("button", name="Stop").click()
        expect(row.get_by_text("stopped")).to_be_visible(timeout=_LONG)
        tab.page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 900), PHONE], ids=["wide", "phone"])
def test_catalog_and_run_fit_every_window(new_tab: Opener, size: tuple[int, int], scheme: str) -> None:
    tab = new_tab(size, color_scheme=scheme)
    kind = "phone-" if size == PHONE else ""
    page = tab.open("/?view=experiments")
    expect(page.get_by_role("heading", name="Beyond the report")).to_be_visible()
    fit(page)
    tab.keep(f"experiments-{kind}{scheme}")
    page.get_by_role("link").filter(has_text="dataset-overview").click()
    done = page.get_by_role("heading", name="Seed and ours in numbers")
    expect(page.get_by_role("heading", name="dataset-overview", level=1)).to_be_visible()
    expect(page.get_by_role("heading", name="What the seed showed")).to_be_visible()
    if not done.count():
        run(page, "48")
    expect(done).to_be_visible(timeout=_LONG)
    fit(page)
    tab.keep(f"experiment-{kind}{scheme}")
