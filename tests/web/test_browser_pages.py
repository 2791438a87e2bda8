"""The other pages in a real browser: Defend, Reports, Evolve, signing in; and an offline server."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from foolscope.web.settings import Settings
from tests.web.browser_tab import PHONE, Opener, Tab, fit
from tests.web.serving import serving

pytest_plugins = ["tests.web.browser"]

CHAINS = ("juno:strength=0.5|lark", "clarendon:intensity=1.2|gingham|reyes:strength=0.9")


def job(state: str, **more: Any) -> dict[str, Any]:
    """A search as the server would tell it."""
    return {
        "id": "0" * 20, "kind": "evolve", "title": "resnet20 on photographs", "state": state,
        "created": "2026-01-01T12:00:00+00:00", "ended": None, "error": None, "page": None, "progress": None,
        "asked": {"kind": "evolve", "model": "resnet20:weights=cifar10", "data": "photos", "images": 8, "held_out": 9},
        "reproduce": None,
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
    expect(page.get_by_text("attacked by pgd:eps=8/255,steps=10.")).to_be_visible()
    part = page.get_by_role("group", name="Attacked, squeezed")
    part.get_by_text("Repeat: attacked, squeezed").click()
    expect(part.get_by_label("Python")).to_contain_text("parse_defense('jpeg:quality=30')")
    expect(part.get_by_text("Made with ")).to_contain_text("torch ")
    expect(page.get_by_role("slider", name="JPEG quality, value")).to_have_value("30")
    expect(page.get_by_role("img", name=re.compile("Detector's score"))).to_have_count(2)
    page.get_by_role("checkbox", name="JPEG quality").uncheck()
    attacked = page.get_by_role("group", name="Attacked, squeezed").get_by_role("status")
    expect(attacked).to_have_text(re.compile("^Wrong: "))
    tab.keep("lab-defend")


def start_audit(page: Page, limit: int) -> None:
    page.get_by_role("button", name="New audit").click()
    form = page.get_by_role("form", name="New audit")
    expect(form.get_by_role("combobox", name="network")).to_have_value("lenet:weights=digits")
    expect(form.get_by_role("combobox", name="images")).to_have_value("digits")
    form.get_by_role("spinbutton", name="how many").fill(str(limit))
    form.get_by_role("textbox", name="radii").fill("0.1")
    form.get_by_role("button", name="Start the audit").click()


def test_an_audit_runs_and_its_report_opens_in_place(tab: Tab) -> None:
    page = tab.open("/?view=reports")
    start_audit(page, 16)
    audits = page.get_by_role("list", name="Audits")
    done = audits.get_by_role("listitem").filter(has=page.get_by_text("done", exact=True))
    expect(done).to_have_count(1, timeout=120_000)
    done.get_by_role(
        "button", name=re.compile("^lenet:weights=digits on digits: fgsm, pgd; eps 0.1; .*16 images")
    ).click()
    report = page.frame_locator("iframe")
    expect(report.get_by_role("heading", level=1)).to_contain_text("lenet")
    tab.keep("lab-report")
    page.reload()
    expect(report.get_by_role("heading", level=1)).to_contain_text("lenet")
    page.get_by_text("Repeat this audit").click()
    expect(page.get_by_label("Command line")).to_contain_text("foolscope audit lenet:weights=digits")
    done.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Keep").click()
    expect(done).to_have_count(1)
    done.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete with its report").click()
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
    expect(row.get_by_text("done", exact=True)).to_be_visible(timeout=120_000)
    row.get_by_role("button", name="Delete").click()
    row.get_by_role("button", name="Delete with its report").click()


def test_an_audit_that_is_refused_says_why(tab: Tab) -> None:
    tab.allow("422")
    page = tab.open("/?view=reports")
    page.get_by_role("button", name="New audit").click()
    form = page.get_by_role("form", name="New audit")
    form.get_by_role("textbox", name="radii").fill("much")
    form.get_by_role("button", name="Start the audit").click()
    expect(form.get_by_role("alert")).to_contain_text("much")
    form.get_by_role("combobox", name="network").select_option("resnet20")
    start = form.get_by_role("button", name="Start the audit")
    expect(start).to_have_accessible_description(re.compile("^No images with the classes of this network are at hand"))
    form.get_by_role("combobox", name="network").select_option("lenet:weights=digits")
    form.get_by_role("checkbox", name="fgsm").uncheck()
    form.get_by_role("checkbox", name="pgd", exact=True).uncheck()
    expect(form.get_by_role("button", name="Start the audit")).to_have_accessible_description("Choose an attack.")


def answer_with(page: Page, found: dict[str, Any], events: str = "") -> None:
    """Let the server have one search, and its stream tell these events."""
    as_json = {"content_type": "application/json"}
    page.route("**/api/v1/jobs", lambda route: route.fulfill(body=json.dumps({"jobs": [found]}), **as_json))
    page.route("**/api/v1/events", lambda route: route.fulfill(body=events, content_type="text/event-stream"))


def test_the_front_of_a_search_is_shown_and_opens_in_lab(tab: Tab) -> None:
    front = [
        {"chain": CHAINS[0], "asr": 0.25, "detection": 0.0},
        {"chain": CHAINS[1], "asr": 0.75, "detection": 0.4, "linf": 0.2},
        {"chain": "lark|lark", "asr": 0.75, "detection": 0.4, "linf": 0.3},
    ]
    tab.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    found = job("cancelled", progress={"share": 0.5, "front": front, "objective": "detection"})
    answer_with(tab.page, found)
    page = tab.open("/?view=evolve")
    chart = page.get_by_role("group", name=re.compile("Pareto front of 3 chains"))
    points = chart.get_by_role("button")
    expect(points).to_have_count(2)
    expect(points.nth(0)).to_have_accessible_name("juno → lark: 25.0 % success, 0.0 % detected. Open in Lab")
    expect(points.nth(1)).to_have_accessible_name("2 chains: 75.0 % success, 40.0 % detected. Show the first")
    expect(points.nth(1)).to_have_attribute("data-chain", CHAINS[1])
    expect(page.get_by_text("Measured on the 8 images that the search looks at, so too high")).to_be_visible()
    text = chart.get_by_text("attack success").evaluate("(text) => text.getBoundingClientRect().width")
    assert text > 11, "the axis' text is turned: its width is its height"
    points.nth(1).hover()
    shown = page.get_by_role("img", name="The image in hand with this chain")
    expect(shown).to_have_js_property("complete", True)
    assert shown.evaluate("image => image.naturalWidth") == 32
    listed = page.get_by_role("list", name="Chains of the front").get_by_role("button")
    expect(listed).to_have_count(3)
    expect(listed.nth(2)).to_have_accessible_name("Show lark → lark: 75.0 % success, 40.0 % detected, ℓ∞ 0.300")
    before = shown.get_attribute("src") or ""
    listed.nth(2).press("Enter")
    expect(shown).not_to_have_attribute("src", before)
    page.get_by_role("button", name="Open in Lab", exact=True).click()
    steps = page.get_by_role("list", name="Filters of the chain, in order").get_by_role("listitem")
    expect(steps).to_have_text([re.compile("lark"), re.compile("lark")])
    expect(page.get_by_role("img", name="The image with the chain of filters")).to_be_visible()


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


@pytest.mark.parametrize("view", ["defend", "evolve", "reports"])
def test_a_phone_shows_the_page_without_scrolling_sideways(new_tab: Opener, view: str) -> None:
    page = new_tab(PHONE).open(f"/?view={view}&step=seen")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    fit(page)


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
        failed = {"state": "failed", "detail": "the file is damaged"}
        answer = running.get("/models").json()["models"]
        body = json.dumps({"models": [one | failed if one["model"] == "resnet20" else one for one in answer]})
        page.route("**/api/v1/models", lambda route: route.fulfill(body=body, content_type="application/json"))
        page.reload()
        page.get_by_role("radio", name="resnet20, CIFAR-10").check()
        expect(page.get_by_role("button", name="Try again")).to_be_enabled()
        page.close()


def test_a_server_that_is_gone_is_named(tab: Tab) -> None:
    tab.allow("ERR_")
    page = tab.open()
    expect(page.get_by_role("radio", name="tabby, photos-0")).to_be_checked()
    page.route("**/api/v1/predict", lambda route: route.abort())
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_role("alert")).to_have_text("The server does not answer. Is 'foolscope serve' still running?")


_RACES = """async () => {
    const { get, told } = await import("/static/js/api.js");
    const [plain, seen] = [window.fetch, {}];
    const tried = async (answer, signal) => {
        window.fetch = answer;
        try { await get("/models", signal); } catch (error) { return told(error); } finally { window.fetch = plain; }
    };
    const stopped = new AbortController();
    seen.aborted = await tried(async () => {
        stopped.abort();
        throw new TypeError("Failed to fetch");
    }, stopped.signal);
    const cut = new ReadableStream({ pull: (stream) => stream.error(new TypeError("network error")) });
    seen.cut = await tried(async () => new Response(cut), new AbortController().signal);
    return seen;
}"""


def test_a_connection_that_breaks_late_or_with_an_abort_is_understood(tab: Tab) -> None:
    seen = tab.open().evaluate(_RACES)
    assert seen == {"aborted": "", "cut": "The server does not answer. Is 'foolscope serve' still running?"}
