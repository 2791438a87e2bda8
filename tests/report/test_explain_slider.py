"""The slider of a report on explanations: what it holds, and that a real browser moves it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from foolscope.report.explain_figures import gif_file
from foolscope.report.explain_panels import Panels, Plane
from foolscope.report.explain_parts import Part
from foolscope.report.explain_section import section
from foolscope.report.explain_slider import SCRIPT, Slider, slider
from foolscope.report.figures import Styles
from foolscope.report.html import document
from tests.report.test_html import Reader

pytest_plugins = ["tests.web.browser"]

TOLD = ("Quality 10.", 'Quality <50> & "more".', "Quality 90.")


def planes(level: float) -> Panels:
    """Two planes on fixed scales, of which the second is the same at every level."""
    axis = [-0.25, 0.0, 0.25]
    values = np.zeros((3, 3))
    values[1, 1] = level
    panels = tuple(
        Plane(title="t", vertical=axis, horizontal=axis, values=v, unit="u", limits=(0.0, 1.0))
        for v in (values, np.eye(3))
    )
    return Panels(name="quality", panels=panels, label="l", caption="c")


def made() -> Slider:
    return Slider(what="JPEG quality", told=TOLD, charts=tuple(planes(level) for level in (0.1, 0.5, 0.9)))


def pictures(source: str, kind: str) -> list[str]:
    """The pictures inside the drawing for a kind of window."""
    drawing = source.partition(f'class="{kind}"')[2].partition("</svg>")[0]
    return re.findall(r'<image [^>]*?href="([^"]*)"', drawing)


def test_it_shows_its_middle_and_holds_what_the_other_stops_change() -> None:
    found = slider(made(), Styles())
    reader = Reader(found)
    assert not reader.open
    stops = json.loads(reader.values("data-stops")[0])
    assert [stop["told"] for stop in stops] == list(TOLD)
    drawn = [slider(Slider(what="", told=("",), charts=(planes(level),)), Styles()) for level in (0.1, 0.5, 0.9)]
    for stop, alone in zip(stops, drawn, strict=True):
        assert list(stop["pictures"]) == ["0"], "only the first plane changes; scales and the second do not"
        for kind in ("wide", "narrow"):
            assert pictures(alone, kind)[0] == stop["pictures"]["0"]
    assert pictures(found, "wide")[0] == stops[1]["pictures"]["0"]
    assert len({stop["pictures"]["0"] for stop in stops}) == 3


def test_one_stop_changes_nothing() -> None:
    alone = Slider(what="q", told=("only",), charts=(planes(0.5),))
    assert json.loads(Reader(slider(alone, Styles())).values("data-stops")[0]) == [{"told": "only", "pictures": {}}]


@pytest.fixture
def page(tmp_path: Path) -> Path:
    moving = gif_file([planes(0.1), planes(0.9)], 300)
    part = Part(
        method="jpeg", title="t", told=(), charts=(), measures=(), data={}, animations={"jpeg": moving}, slider=made()
    )
    styles = Styles()
    path = tmp_path / "page.html"
    path.write_text(document("t", section(part, styles), styles, "0", SCRIPT))
    return path


def opened(chromium: Browser, page: Path, *, scripts: bool = True, motion: str = "reduce") -> Page:
    context = chromium.new_context(java_script_enabled=scripts, reduced_motion=motion)  # type: ignore[arg-type]
    tab = context.new_page()
    tab.on("console", lambda message: pytest.fail(message.text))
    tab.goto(page.as_uri())
    return tab


def test_arrow_keys_leaf_through_the_stops(chromium: Browser, page: Path) -> None:
    tab = opened(chromium, page)
    stops = json.loads(tab.locator("[data-stops]").get_attribute("data-stops") or "")
    control = tab.get_by_label("JPEG quality")
    for key, stop in (("ArrowRight", 2), ("ArrowRight", 2), ("ArrowLeft", 1), ("Home", 0), ("ArrowUp", 1)):
        control.press(key)
        assert control.input_value() == str(stop)
        assert control.get_attribute("aria-valuetext") == TOLD[stop]
        assert tab.locator("output").text_content() == TOLD[stop]
        for kind in ("wide", "narrow"):
            picture = tab.locator(f".{kind} image").first
            assert picture.get_attribute("href") == stops[stop]["pictures"]["0"]


def test_without_scripts_there_is_no_slider(chromium: Browser, page: Path) -> None:
    tab = opened(chromium, page, scripts=False)
    assert tab.locator("input").is_hidden()
    assert tab.locator(".wide svg").is_visible()


@pytest.mark.parametrize(("motion", "kind"), [("reduce", "png"), ("no-preference", "gif")])
def test_who_wants_less_motion_sees_a_still_picture(chromium: Browser, page: Path, motion: str, kind: str) -> None:
    tab = opened(chromium, page, motion=motion)
    tab.locator("summary").click()
    shown = tab.locator(".strip img").evaluate("picture => picture.currentSrc")
    assert shown.startswith(f"data:image/{kind};base64,")
