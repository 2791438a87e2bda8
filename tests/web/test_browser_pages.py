"""The other pages in a real browser: Defend, Reports, Evolve, signing in; and an offline server."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from foolscope.web.settings import Settings
from tests.web.browser_tab import PHONE, Opener, Tab
from tests.web.serving import serving

pytest_plugins = ["tests.web.browser"]

CHAINS = ("juno:strength=0.5|lark", "clarendon:intensity=1.2|gingham|reyes:strength=0.9")


def job(state: str, **more: Any) -> dict[str, Any]:
    """A search as the server would tell it."""
    return {
        "id": "0" * 20, "kind": "evolve", "title": "resnet20 on photographs", "state": state,
        "created": "2026-01-01T12:00:00+00:00", "ended": None, "error": None, "page": None, "progress": None,
        "asked": {"kind": "evolve", "model": "resnet20", "data": "photos"},
    } | more  # fmt: skip


def test_defend_without_an_image_leads_to_lab(tab: Tab) -> None:
    page = tab.open("/?view=defend")
    page.get_by_role("button", name="Go to Lab").click()
    expect(page.get_by_role("button", name="Predict")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Squeeze the attack out")).to_be_visible()


def test_defend_squeezes_the_original_and_the_attacked_image(tab: Tab) -> None:
    page = tab.open("/?view=defend&step=attacked&attack=pgd:eps=8/255,steps=10&squeeze=jpeg:quality=30")
    expect(page).to_have_title("Defend · foolscope")
    for title in ("Original", "Attacked"):
        part = page.get_by_role("group", name=f"{title}, squeezed")
        expect(part.get_by_role("list").get_by_role("listitem")).to_have_count(3)
        expect(part.get_by_role("status")).to_have_text(re.compile("^(Right|Wrong): "))
    expect(page.get_by_role("slider", name="JPEG quality, value")).to_have_value("30")
    expect(page.get_by_role("img", name=re.compile("Detector's score"))).to_have_count(2)
    page.get_by_role("checkbox", name="JPEG quality").uncheck()
    attacked = page.get_by_role("group", name="Attacked, squeezed").get_by_role("status")
    expect(attacked).to_have_text(re.compile("^Wrong: "))
    tab.keep("lab-defend")


def start_audit(page: Page, limit: int) -> None:
    page.get_by_role("button", name="New audit").click()
    form = page.get_by_role("form", name="New audit")
    form.get_by_role("combobox", name="network").select_option("lenet:weights=digits")
    expect(form.get_by_role("combobox", name="images")).to_have_value("digits")
    form.get_by_role("spinbutton", name="how many").fill(str(limit))
    form.get_by_role("checkbox", name="pgd").uncheck()
    form.get_by_role("checkbox", name="jpeg").uncheck()
    form.get_by_role("textbox", name="radii").fill("0.1")
    form.get_by_role("button", name="Start the audit").click()


def test_an_audit_runs_and_its_report_opens_in_place(tab: Tab) -> None:
    page = tab.open("/?view=reports")
    start_audit(page, 16)
    audits = page.get_by_role("list", name="Audits")
    done = audits.get_by_role("listitem").filter(has=page.get_by_text("done", exact=True))
    expect(done).to_have_count(1, timeout=60_000)
    done.get_by_role("button", name="lenet:weights=digits on digits", exact=True).click()
    report = page.frame_locator("iframe")
    expect(report.get_by_role("heading", level=1)).to_contain_text("lenet")
    tab.keep("lab-report")
    page.reload()
    expect(report.get_by_role("heading", level=1)).to_contain_text("lenet")
    done.get_by_role("button", name="Delete").click()
    expect(audits.get_by_role("listitem")).to_have_count(0)


def test_an_audit_is_stopped_reloaded_and_resumed(tab: Tab) -> None:
    page = tab.open("/?view=reports")
    start_audit(page, 360)
    row = page.get_by_role("list", name="Audits").get_by_role("listitem")
    expect(row.get_by_text(re.compile("waiting|running"))).to_be_visible()
    page.reload()
    row.get_by_role("button", name="Stop").click()
    expect(row.get_by_text("stopped")).to_be_visible(timeout=30_000)
    page.reload()
    row.get_by_role("button", name="Resume").click()
    expect(row.get_by_text("done", exact=True)).to_be_visible(timeout=60_000)
    row.get_by_role("button", name="Delete").click()


def test_an_audit_that_is_refused_says_why(tab: Tab) -> None:
    tab.allow("422")
    page = tab.open("/?view=reports")
    page.get_by_role("button", name="New audit").click()
    form = page.get_by_role("form", name="New audit")
    form.get_by_role("textbox", name="radii").fill("much")
    form.get_by_role("button", name="Start the audit").click()
    expect(form.get_by_role("alert")).to_contain_text("much")
    form.get_by_role("checkbox", name="fgsm").uncheck()
    form.get_by_role("checkbox", name="pgd").uncheck()
    expect(form.get_by_role("button", name="Start the audit")).to_have_accessible_description("Choose an attack.")


def answer_with(page: Page, found: dict[str, Any], events: str = "") -> None:
    """Let the server have one search, and its stream tell these events."""
    as_json = {"content_type": "application/json"}
    page.route("**/api/v1/jobs", lambda route: route.fulfill(body=json.dumps({"jobs": [found]}), **as_json))
    page.route("**/api/v1/events", lambda route: route.fulfill(body=events, content_type="text/event-stream"))


def test_the_front_of_a_search_is_shown_and_opens_in_lab(tab: Tab) -> None:
    front = [
        {"chain": CHAINS[0], "asr": 0.25, "detection": 0.0},
        {"chain": CHAINS[1], "asr": 0.75, "detection": 0.4},
    ]
    answer_with(tab.page, job("cancelled", progress={"share": 0.5, "front": front, "objective": "detection"}))
    page = tab.open("/?view=evolve")
    points = page.get_by_role("group", name=re.compile("Pareto front of 2 chains")).get_by_role("button")
    expect(points).to_have_count(2)
    expect(points.nth(1)).to_have_accessible_name(
        "clarendon → gingham → reyes: 75.0 % success, 40.0 % detected. Open in Lab"
    )
    expect(points.nth(1)).to_have_attribute("data-chain", CHAINS[1])
    points.nth(1).hover()
    shown = page.get_by_role("img", name="The image in hand with this chain")
    expect(shown).to_have_js_property("complete", True)
    assert shown.evaluate("image => image.naturalWidth") == 32
    points.nth(1).press("Enter")
    expect(page.get_by_role("button", name="Predict")).to_be_visible()
    page.get_by_role("button", name="Predict").click()
    page.get_by_role("button", name="Choose an attack").click()
    steps = page.get_by_role("list", name="Filters of the chain, in order").get_by_role("listitem")
    expect(steps).to_have_text([re.compile("clarendon"), re.compile("gingham"), re.compile("reyes")])


def test_the_front_grows_with_the_events(tab: Tab) -> None:
    progress = {
        "job": "0" * 20,
        "label": "generation 2",
        "share": 0.6,
        "front": [{"chain": "juno", "asr": 0.5, "linf": 0.2}],
    }
    stream = f"event: progress\ndata: {json.dumps(progress)}\n\n"
    answer_with(tab.page, job("running", progress={"label": "generation 1", "share": 0.1, "front": []}), stream)
    page = tab.open("/?view=evolve")
    expect(page.get_by_role("button", name="juno: 50.0 % success, ℓ∞ 0.200. Open in Lab")).to_be_visible()
    expect(page.get_by_text("generation 2")).to_be_visible()


def test_a_search_is_asked_for_as_the_form_says(tab: Tab) -> None:
    asked: list[Any] = []

    def start(route: Route) -> None:
        if route.request.method == "POST":
            asked.append(route.request.post_data_json)
            route.fulfill(status=202, body=json.dumps(job("queued")), content_type="application/json")
        else:
            route.continue_()

    tab.page.route("**/api/v1/jobs", start)
    page = tab.open("/?view=evolve")
    page.get_by_role("button", name="New search").click()
    form = page.get_by_role("form", name="New search")
    form.get_by_role("spinbutton", name="generations").fill("0.5")
    expect(form.get_by_role("button", name="Start the search")).to_have_accessible_description(
        re.compile("generations")
    )
    form.get_by_role("spinbutton", name="generations").fill("2")
    form.get_by_role("button", name="Start the search").click()
    expect(form).to_have_count(0)
    assert asked == [
        {"kind": "evolve", "model": "resnet20", "data": "photos", "detector": "fs", "filters": 5, "population": 10,
         "epochs": 2, "images": 100, "held_out": 200, "seed": 0}
    ]  # fmt: skip


@pytest.mark.parametrize("view", ["defend", "evolve", "reports"])
def test_a_phone_shows_the_page_without_scrolling_sideways(new_tab: Opener, view: str) -> None:
    page = new_tab(PHONE).open(f"/?view={view}&step=seen")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE[0]


def test_a_server_with_a_token_asks_for_it(new_tab: Opener, tmp_path_factory: pytest.TempPathFactory) -> None:
    token = "correct-horse-battery"
    with serving(tmp_path_factory.mktemp("token-home"), Settings(port=0, token=token)) as running:
        tab = new_tab(server=f"http://127.0.0.1:{running.port}")
        tab.allow("401")
        page = tab.open()
        page.get_by_label("Token").fill("another-token-than-that")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_have_text("this is not the server's token.")
        page.get_by_label("Token").fill(token)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("radio", name="tabby, photos-0")).to_be_checked()
        page.close()


def test_an_offline_server_downloads_nothing_and_says_so(
    new_tab: Opener, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with serving(tmp_path_factory.mktemp("offline-home"), Settings(port=0, offline=True)) as running:
        page = new_tab(server=f"http://127.0.0.1:{running.port}").open("/?model=torchvision:vgg19")
        button = page.get_by_role("button", name="Predict")
        expect(button).to_have_accessible_description(re.compile("not available|must be downloaded"))
        expect(page.get_by_role("button", name="Download", disabled=False)).to_have_count(0)
        page.close()


def test_a_server_that_is_gone_is_named(tab: Tab) -> None:
    tab.allow("ERR_")
    page = tab.open()
    expect(page.get_by_role("radio", name="tabby, photos-0")).to_be_checked()
    page.route("**/api/v1/predict", lambda route: route.abort())
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_role("alert")).to_have_text("The server does not answer. Is 'foolscope serve' still running?")
