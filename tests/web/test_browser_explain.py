"""Explain in a real browser: maps, spectra, transfer functions, and waves through JPEG."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.web.browser_tab import PHONE, Opener, Tab, fit

pytest_plugins = ["tests.web.browser"]

DIGIT = "model=lenet:weights=digits&image=digits-3"
ATTACKED = f"/?view=explain&{DIGIT}&step=attacked&attack=pgd:eps=0.3,steps=5"


def loaded(image: Locator) -> None:
    expect(image).to_have_js_property("complete", True)
    assert image.evaluate("image => image.naturalWidth") > 0


def test_a_newcomer_sees_maps_at_once_and_attacks(tab: Tab) -> None:
    page = tab.open(f"/?view=explain&{DIGIT}")
    expect(page).to_have_title("Explain · foolscope")
    loaded(page.get_by_role("img", name="Original: map of the class"))
    expect(page.get_by_role("region", name="Attacked")).to_have_count(0)
    page.get_by_role("button", name=re.compile("^Attack it with pgd")).click()
    attacked = page.get_by_role("region", name="Attacked")
    loaded(attacked.get_by_role("img", name="Attacked: map of the class"))
    expect(page.get_by_role("heading", name="Do both maps agree?")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("^Rank correlation"))).to_be_visible()
    page.get_by_text("The numbers").click()
    expect(page.get_by_role("table").filter(has_text="noise that falls anywhere")).to_be_visible()
    page.get_by_text("Repeat this explanation").click()
    expect(page.get_by_label("Python")).to_contain_text("explanation_stability")


def test_lab_leads_to_its_explanation(tab: Tab) -> None:
    page = tab.open("/?step=attacked&attack=pgd:eps=8/255,steps=10")
    page.get_by_role("button", name="See why: explain both images").click()
    expect(page.get_by_role("heading", name="See why it is fooled")).to_be_visible()
    loaded(page.get_by_role("img", name="Attacked: map of the class"))
    page.go_back()
    expect(page.get_by_role("status").filter(has_text="Fooled: ")).to_be_visible()


def test_method_class_and_look_are_chosen_by_keyboard_and_stay_in_the_address(tab: Tab) -> None:
    page = tab.open(ATTACKED)
    shown = page.get_by_role("img", name="Original: map of the class")
    loaded(shown)
    before = shown.get_attribute("src") or ""
    method = page.get_by_role("group", name="Method").get_by_role("button", name="Grad-CAM")
    method.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text(re.compile(r"Grad-CAM: .* \(layer "))).to_be_visible()
    expect(shown).not_to_have_attribute("src", before)
    signed = page.get_by_role("group", name="Shown").get_by_role("button", name="Signed")
    expect(signed).to_have_accessible_description("Signed: Grad-CAM has no sign: it tells where, not which way")
    page.get_by_role("group", name="Method").get_by_role("button", name="Saliency").press("Enter")
    page.get_by_role("group", name="Shown").get_by_role("button", name="Signed").press("Enter")
    expect(page.get_by_text("brighter pixels speak against the class")).to_be_visible()
    page.get_by_role("group", name="Class").get_by_role("button").nth(1).press("Enter")
    expect(page).to_have_url(re.compile(r"look=signed.*class=\d|class=\d.*look=signed"))
    chosen = re.compile("^Original: map of the class (?!3$)")
    expect(shown).to_have_accessible_name(chosen)
    page.reload()
    expect(shown).to_have_accessible_name(chosen)
    expect(signed).to_have_attribute("aria-pressed", "true")


def test_a_class_of_an_address_is_offered_and_ends_with_its_image(tab: Tab) -> None:
    found = tab.page.request.post(
        f"{tab.server}/api/v1/predict", data={"model": "lenet:weights=digits", "image": "digits-3"}
    ).json()
    other = next(str(index) for index in range(10) if index not in {one["index"] for one in found["top"]})
    page = tab.open(f"/?view=explain&{DIGIT}&class={other}")
    classes = page.get_by_role("group", name="Class")
    loaded(page.get_by_role("img", name=f"Original: map of the class {other}", exact=True))
    expect(classes.get_by_role("button", name=other, exact=True)).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_text(f"Where it looks for {other}.")).to_be_visible()
    page.get_by_text("Another network or image").click()
    page.get_by_role("radio", name="7, digits-7").check()
    expect(page.get_by_text("Where it looks for 7.")).to_be_visible()
    expect(page).not_to_have_url(re.compile("class="))


def test_an_image_of_no_class_of_the_network_is_not_called_wrong(tab: Tab) -> None:
    page = tab.open("/?view=explain&image=photos-1")
    expect(page.get_by_text("on an image of espresso")).to_be_visible()
    attack = page.get_by_role("button", name=re.compile("^Attack it with"))
    expect(attack).to_have_accessible_description(re.compile("It has no class 'espresso'"))
    verdict = page.get_by_role("region", name="Original").get_by_text(re.compile(r", \d+"))
    expect(verdict).to_have_class("verdict")
    expect(page.get_by_role("group", name="Class").get_by_role("button", name=re.compile("truth"))).to_have_count(0)


def test_an_attack_that_changed_nothing_leaves_one_map(tab: Tab) -> None:
    page = tab.open(f"/?view=explain&{DIGIT}&step=attacked&attack=fgsm:eps=0")
    expect(page.get_by_text("This attack changed nothing")).to_be_visible()
    loaded(page.get_by_role("img", name="Original: map of the class"))
    expect(page.get_by_role("region", name="Attacked")).to_have_count(0)


def test_a_method_that_the_network_cannot_be_asked_says_why(tab: Tab) -> None:
    why = "Grad-CAM needs gradients and black gives none: transfer_function works without."

    def without(route: Any) -> None:
        found = route.fetch().json()
        for one in found["methods"]:
            one["why"] = why
        route.fulfill(body=json.dumps(found), content_type="application/json")

    tab.page.route(re.compile(r"/api/v1/explain\?"), without)
    page = tab.open(f"/?view=explain&{DIGIT}")
    button = page.get_by_role("group", name="Method").get_by_role("button", name="Grad-CAM")
    expect(button).to_have_accessible_description(f"Grad-CAM: {why}")
    expect(button).to_be_disabled()


def test_the_spectrum_of_the_noise_is_drawn(tab: Tab) -> None:
    page = tab.open(f"{ATTACKED}&part=spectrum")
    part = page.get_by_role("region", name="The noise's spectrum")
    expect(part.get_by_role("img", name=re.compile("^Power of the noise"))).to_be_visible()
    expect(part.get_by_text("cycles per pixel").first).to_be_visible()
    expect(part.get_by_role("row", name=re.compile("^noise: mean frequency"))).to_be_visible()
    tab.keep("explain-spectrum", full_page=True)
    page.goto(page.url.replace("step=attacked", "step=seen"))
    expect(page.get_by_text("There is no noise yet")).to_be_visible()


def test_layers_are_probed_and_others_can_be_chosen(tab: Tab) -> None:
    page = tab.open(f"/?view=explain&{DIGIT}&part=frequencies")
    part = page.get_by_role("region", name="Transfer functions")
    expect(part.get_by_role("img", name=re.compile("^Response to every frequency"))).to_be_visible()
    page.get_by_role("combobox", name="Layer").select_option("logits")
    expect(page).to_have_url(re.compile("layer=logits"))
    expect(part.get_by_role("row", name=re.compile("^logits: strongest ring"))).to_be_visible()
    expect(part.get_by_role("row")).to_have_count(4)


@pytest.mark.parametrize(("part", "shown"), [("frequencies", "Transfer functions"), ("jpeg", "JPEG keeps")])
def test_a_layer_of_another_network_is_forgotten(tab: Tab, part: str, shown: str) -> None:
    page = tab.open(f"/?view=explain&{DIGIT}&part={part}&layer=layer1.0.conv1")
    expect(page.get_by_text(shown).or_(page.get_by_role("region", name=shown)).first).to_be_visible()
    expect(page.get_by_role("combobox", name="Layer")).to_have_value("")
    expect(page).not_to_have_url(re.compile("layer="))


def test_a_wave_goes_through_jpeg(tab: Tab) -> None:
    page = tab.open(f"/?view=explain&{DIGIT}&part=jpeg&quality=10&wave=0.25:90")
    told = page.get_by_role("status").filter(has_text="JPEG keeps")
    expect(told).to_contain_text("At quality 10, JPEG keeps")
    low = told.inner_text()
    for name in ("The wave", "The wave after JPEG of quality 10"):
        loaded(page.get_by_role("img", name=name, exact=True))
    quality = page.get_by_role("slider", name="JPEG quality")
    quality.press("End")
    expect(told).to_contain_text("At quality 100, JPEG keeps")
    assert told.inner_text() != low
    expect(page).to_have_url(re.compile("quality=100"))
    plane = page.get_by_role("img", name="JPEG's gain, at every frequency")
    box = plane.bounding_box()
    assert box
    loaded(plane)
    plane.click(position={"x": box["width"] * 0.9, "y": box["height"] / 2 + 2})
    expect(page).to_have_url(re.compile(r"wave=0\.3\d*:0"))
    expect(page.get_by_role("slider", name="Direction")).to_have_value("0")
    page.get_by_role("button", name="Play all qualities").click()
    expect(told).not_to_contain_text("At quality 100")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Sending waves through JPEG")).to_have_count(0)
    page.get_by_text("Repeat this measurement").click()
    qualities = ",".join(map(str, range(5, 101, 5)))
    expect(page.get_by_label("Command line").last).to_contain_text(f"--qualities {qualities} ")
    tab.keep("explain-jpeg", full_page=True)


@pytest.mark.parametrize("part", ["maps", "spectrum", "frequencies", "jpeg"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_every_part(new_tab: Opener, part: str, scheme: str) -> None:
    tab = new_tab(PHONE, color_scheme=scheme)
    page = tab.open(f"{ATTACKED}&part={part}")
    pressed = page.get_by_role("group", name="What to explain").locator("[aria-pressed=true]")
    expect(pressed).to_be_visible()
    expect(page.get_by_text(re.compile("^Repeat this"))).to_be_visible()
    for image in page.locator("main img:not([loading=lazy])").all():
        loaded(image)
    fit(page)
    tab.keep(f"explain-{part}-phone-{scheme}", full_page=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures_for_the_documentation(new_tab: Opener, scheme: str) -> None:
    tab = new_tab(color_scheme=scheme)
    page = tab.open("/?view=explain&step=attacked&attack=pgd:eps=8/255,steps=10")
    loaded(page.get_by_role("img", name="Attacked: map of the class"))
    fit(page)
    tab.keep(f"explain-maps-{scheme}", full_page=True)


def test_an_address_that_says_too_much_is_told(tab: Tab) -> None:
    page = tab.open(f"/?view=explain&{DIGIT}&part=nothing&wave=9:9")
    expect(page.get_by_role("alert")).to_have_text("This address asks for what is not here: part=nothing, wave=9:9.")
    loaded(page.get_by_role("img", name="Original: map of the class"))
