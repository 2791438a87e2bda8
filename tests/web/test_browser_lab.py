"""Lab in a real browser: every step of the thesis' section 3.4, and what goes beyond it."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, Route, expect

from tests.web.browser_tab import PHONE, Opener, Tab, fit

pytest_plugins = ["tests.web.browser"]

WRONG = "cifar-cnn cifar10-linf"
"""Sees frogs in the photographs of a cat."""


def network(page: Page, name: str) -> Locator:
    return page.get_by_role("group", name="Network").get_by_role("radio", name=name)


def image(page: Page, name: str) -> Locator:
    return page.get_by_role("group", name="Image").get_by_role("radio", name=name)


def second_form(page: Page) -> Locator:
    return page.get_by_role("region", name="Choose an attack")


def predict(page: Page) -> Locator:
    page.get_by_role("button", name="Predict").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    return dialog


def reach_second_form(tab: Tab, address: str = "/") -> Page:
    page = tab.open(address)
    predict(page).get_by_role("button", name="Choose an attack").click()
    expect(second_form(page)).to_be_visible()
    return page


def filters(page: Page) -> None:
    page.get_by_role("button", name="Photo filters").click()


def run(page: Page) -> Locator:
    page.get_by_role("button", name="Run attack").click()
    expect(page.get_by_role("heading", name="Take it with you")).to_be_visible()
    return page.get_by_role("region", name="The image and what the network sees")


def photograph(color: tuple[int, int, int] = (40, 90, 160)) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((300, 200)).convert("RGB").point(lambda value: value // 2 + color[0]).save(
        buffer, "PNG"
    )
    return buffer.getvalue()


# Form 1: network and image


def test_the_page_opens_ready_to_predict(tab: Tab) -> None:
    page = tab.open()
    expect(page).to_have_title("foolscope")
    expect(network(page, "resnet20, CIFAR-10")).to_be_checked()
    expect(image(page, "tabby, photos-0")).to_be_checked()
    expect(page.get_by_text("Ground truth: tabby")).to_be_visible()
    expect(second_form(page)).to_have_count(0)
    for name in ("vgg19", "inception_v3", "resnet50", "mobilenet_v2", "densenet201"):
        expect(network(page, name)).to_have_accessible_name(re.compile("MiB download|ready|unavailable"))
    tab.keep("lab-start")


def test_a_network_that_must_be_downloaded_says_so_and_nothing_can_be_predicted(tab: Tab) -> None:
    page = tab.open("/?model=torchvision:vgg19")
    button = page.get_by_role("button", name="Predict")
    expect(button).to_have_attribute("aria-disabled", "true")
    expect(button).to_have_accessible_description(re.compile("must be downloaded first: .*MiB"))
    expect(page.get_by_role("button", name="Download")).to_be_enabled()
    button.click(force=True)
    expect(page.get_by_role("dialog")).not_to_be_visible()


def test_a_correct_preset_opens_the_second_form(tab: Tab) -> None:
    page = tab.open()
    dialog = predict(page)
    expect(dialog).to_have_accessible_name("resnet20 sees a cat")
    expect(dialog.get_by_text("Correct", exact=True)).to_be_visible()
    expect(dialog.get_by_role("list", name="Top 3 classes").get_by_role("listitem")).to_have_count(3)
    expect(dialog.get_by_text("resnet20 sees 32 x 32 pixels: scaled from 224 x 224.")).to_be_visible()
    tab.keep("lab-prediction")
    dialog.get_by_role("button", name="Choose an attack").click()
    expect(dialog).not_to_be_visible()
    expect(page.get_by_role("heading", name="Choose an attack")).to_be_focused()


def test_an_incorrect_preset_keeps_the_second_form_hidden_and_says_why(tab: Tab) -> None:
    page = tab.open()
    network(page, WRONG).check()
    dialog = predict(page)
    expect(dialog.get_by_text("Incorrect", exact=True)).to_be_visible()
    expect(dialog.get_by_text("sees 'frog', not 'cat'")).to_be_visible()
    dialog.get_by_role("button", name="Choose another").click()
    expect(second_form(page)).to_have_count(0)
    expect(page.get_by_role("button", name="Predict")).to_be_focused()


@pytest.mark.parametrize("change", ["network", "image"])
def test_changing_network_or_image_hides_the_second_form(tab: Tab, change: str) -> None:
    page = reach_second_form(tab)
    if change == "network":
        network(page, "cifar-cnn, CIFAR-10").check()
    else:
        image(page, "photos-2").check()
    expect(second_form(page)).to_have_count(0)
    expect(page).not_to_have_url(re.compile("step="))


def test_the_gallery_has_digits_for_the_network_that_reads_them(tab: Tab) -> None:
    page = tab.open()
    network(page, "lenet digits").check()
    page.get_by_role("button", name="Show handwritten digits").click()
    image(page, "7, digits-7").check()
    expect(predict(page)).to_have_accessible_name("lenet sees 7")


def test_a_preset_of_a_class_that_the_network_lacks_keeps_the_second_form_hidden(tab: Tab) -> None:
    page = tab.open("/?image=photos-1")
    dialog = predict(page)
    expect(dialog.get_by_text("Not one of its classes", exact=True)).to_be_visible()
    expect(dialog.get_by_text("espresso")).to_be_visible()
    expect(dialog.get_by_role("group", name="What is it really?")).to_have_count(0)
    dialog.get_by_role("button", name="Choose another").click()
    expect(second_form(page)).to_have_count(0)
    network(page, "lenet digits").check()
    predict(page).get_by_role("button", name="Show handwritten digits").click()
    expect(image(page, "7, digits-7")).to_be_visible()
    expect(second_form(page)).to_have_count(0)


# Uploads


def test_an_upload_has_the_ground_truth_that_is_chosen_among_the_top_three(tab: Tab) -> None:
    page = tab.open()
    page.get_by_label("Image file").set_input_files({"name": "x.png", "mimeType": "image/png", "buffer": photograph()})
    expect(image(page, "your image")).to_be_checked()
    dialog = predict(page)
    choices = dialog.get_by_role("group", name="What is it really?").get_by_role("radio")
    expect(choices).to_have_count(3)
    expect(choices.nth(0)).to_be_checked()
    choices.nth(1).check()
    name = (choices.nth(1).get_attribute("aria-label") or "").split(",")[0]
    tab.keep("lab-upload")
    dialog.get_by_role("button", name="Choose an attack").click()
    chosen = second_form(page).get_by_role("group", name="What is it really?").get_by_role("radio", name=name)
    expect(chosen).to_be_checked()
    with page.expect_response("**/api/v1/attack") as answer:
        run(page)
    assert answer.value.json()["truth"]["name"] == name


def test_another_ground_truth_ends_the_attack_on_the_one_before(tab: Tab) -> None:
    page = tab.open()
    expect(image(page, "photos-0")).to_be_checked()
    page.get_by_label("Image file").set_input_files({"name": "x.png", "mimeType": "image/png", "buffer": photograph()})
    expect(image(page, "your image")).to_be_checked()
    dialog = predict(page)
    choices = dialog.get_by_role("group", name="What is it really?").get_by_role("radio")
    expect(choices).to_have_count(3)
    name = (choices.nth(1).get_attribute("aria-label") or "").split(",")[0]
    dialog.get_by_role("button", name="Choose an attack").click()
    page.get_by_text("More settings").click()
    target = page.get_by_role("combobox", name="target")
    target.select_option(name)
    page.route("**/api/v1/attack", lambda route: None)  # no answer: the attack is under way
    page.get_by_role("button", name="Run attack").click()
    expect(page.get_by_role("button", name="Attacking")).to_be_visible()
    with page.expect_event("requestfailed", lambda request: request.url.endswith("/attack")):
        second_form(page).get_by_role("radio", name=name).check()
    expect(target).to_have_value("")
    page.unroute("**/api/v1/attack")
    with page.expect_response("**/api/v1/attack") as answer:
        run(page)
    assert (answer.value.json()["truth"]["name"], answer.value.json()["target"]) == (name, None)


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_an_image_can_be_dropped_and_pasted(tab: Tab, way: str) -> None:
    page = tab.open()
    expect(image(page, "photos-0")).to_be_checked()
    page.evaluate(
        """([way, content]) => {
            const bytes = Uint8Array.from(atob(content), (sign) => sign.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], "x.png", { type: "image/png" }));
            const target = way === "drop" ? document.querySelector(".drop") : document.body;
            const event = way === "drop"
                ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
                : new ClipboardEvent("paste", { clipboardData: data, bubbles: true });
            target.dispatchEvent(event);
        }""",
        [way, base64.b64encode(photograph()).decode()],
    )
    expect(image(page, "your image")).to_be_checked()


def test_a_file_that_is_no_image_is_refused_in_one_line(tab: Tab) -> None:
    tab.allow("422")
    page = tab.open()
    expect(image(page, "photos-0")).to_be_checked()
    page.get_by_label("Image file").set_input_files({"name": "x.png", "mimeType": "image/png", "buffer": b"no image"})
    expect(page.get_by_role("group", name="Image").get_by_role("alert")).to_contain_text(re.compile("image|format"))
    expect(image(page, "photos-0")).to_be_checked()


# Form 2: filters


@pytest.mark.parametrize("name", ["AGV-A", "AGV-B"])
def test_a_shipped_chain_attacks(tab: Tab, name: str) -> None:
    page = reach_second_form(tab)
    filters(page)
    page.get_by_role("radio", name=name).check()
    expect(page.get_by_role("list", name=f"Filters of {name}").get_by_role("listitem")).to_have_count(5)
    expect(page.get_by_role("img", name="The image with the chain of filters")).to_be_visible()
    result = run(page)
    expect(result.get_by_role("status").first).to_have_text(re.compile("Not fooled|Fooled"))
    expect(result.get_by_role("list", name="Top 3 classes after").get_by_role("listitem")).to_have_count(3)


def test_a_chain_is_composed_by_keyboard_and_kept(tab: Tab, tmp_path: Path) -> None:
    page = reach_second_form(tab)
    filters(page)
    page.get_by_role("radio", name="A chain of your own").check()
    run_button = page.get_by_role("button", name="Run attack")
    expect(run_button).to_have_accessible_description("Add a filter to the chain.")
    for name in ("clarendon", "juno", "lark"):
        page.get_by_role("button", name=f"Add {name}").press("Enter")
    steps = page.get_by_role("list", name="Filters of the chain, in order").get_by_role("listitem")
    expect(steps).to_have_text([re.compile("clarendon"), re.compile("juno"), re.compile("lark")])
    preview = page.get_by_role("img", name="The image with the chain of filters")
    before = preview.get_attribute("src") or ""
    page.get_by_role("button", name="Move lark, number 3 up").press("Enter")
    expect(steps).to_have_text([re.compile("clarendon"), re.compile("lark"), re.compile("juno")])
    expect(page.get_by_text("lark is now number 2 of 3.")).to_be_attached()
    page.get_by_role("button", name="Remove juno, number 3").press("Enter")
    page.get_by_role("slider", name="Strength of clarendon, number 1").press("ArrowLeft")
    intensity = page.get_by_role("slider", name="Intensity of lark, number 2")
    intensity.press("ArrowRight")
    expect(intensity).to_have_attribute("aria-valuetext", "1.01")
    expect(preview).not_to_have_attribute("src", before)
    tab.keep("lab-editor")
    page.get_by_role("textbox", name="Name").fill("cold evening")
    page.get_by_role("button", name="Save chain").click()
    saved = page.get_by_role("radio", name="cold evening, clarendon → lark")
    expect(saved).to_be_checked()
    page.reload()
    expect(saved).to_be_checked()
    titles = page.get_by_role("group", name="Chain of filters").get_by_role("radio")
    expect(titles.nth(2)).to_have_accessible_name(re.compile("cold evening"))

    page.get_by_text("Import a chain").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Export", exact=True).click()
    own = tmp_path / "other.json"
    download.value.save_as(own)
    page.get_by_label("Chain file").set_input_files(own)
    expect(saved).to_have_count(2)
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Delete for good").click()
    expect(saved).to_have_count(1)
    saved.check()

    with page.expect_download() as download:
        page.get_by_role("link", name="Export for the thesis").click()
    path = tmp_path / "winter.json"
    download.value.save_as(path)
    content = json.loads(path.read_text())
    assert content == {"filters": [0, 4], "params": [[0.99, 1.0], [1.0, 1.01]]}
    page.get_by_label("Chain file").set_input_files(path)
    expect(page.get_by_role("radio", name="winter, clarendon → lark")).to_be_checked()

    page.get_by_role("textbox", name="Name").fill("warm evening")
    page.get_by_role("button", name="Rename").click()
    expect(page.get_by_role("radio", name="warm evening")).to_be_checked()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Delete for good").click()
    expect(page.get_by_role("radio", name="warm evening")).to_have_count(0)
    expect(page.get_by_role("radio", name="AGV-A")).to_be_checked()


def test_a_chain_of_an_address_stays_as_it_is(tab: Tab) -> None:
    """Amounts beyond the sliders' own range, and with all their digits."""
    chain = "juno:strength=0.123456789,intensity=1.5|lark"
    page = reach_second_form(tab, f"/?chain={chain}")
    expect(page.get_by_role("radio", name="A chain of your own")).to_be_checked()
    assert parse_qs(urlsplit(page.url).query)["chain"] == [chain]
    intensity = page.get_by_role("slider", name="Intensity of juno, number 1")
    intensity.press("ArrowLeft")
    expect(intensity).to_have_attribute("aria-valuetext", "1.49")
    tab.allow("422")
    page.goto(f"{tab.server}/?chain=juno:intensity=99&step=seen")
    expect(second_form(page).get_by_role("alert")).to_have_count(1)


def test_filters_are_reordered_by_dragging(tab: Tab) -> None:
    page = reach_second_form(tab, "/?chain=clarendon|juno|lark")
    filters(page)
    steps = page.get_by_role("list", name="Filters of the chain, in order").get_by_role("listitem")
    expect(steps).to_have_count(3)
    steps.nth(2).get_by_title("Drag to reorder").drag_to(steps.nth(0))
    expect(steps).to_have_text([re.compile("lark"), re.compile("clarendon"), re.compile("juno")])
    expect(page).to_have_url(re.compile(re.escape("chain=lark%7Cclarendon%7Cjuno")))


def test_a_chain_file_that_is_none_is_refused_in_one_line(tab: Tab) -> None:
    tab.allow("422|400")
    page = reach_second_form(tab)
    filters(page)
    page.get_by_text("Import a chain").click()
    page.get_by_label("Chain file").set_input_files({"name": "x.json", "mimeType": "", "buffer": b'{"filters": [99]}'})
    expect(page.get_by_role("group", name="Chain of filters").get_by_role("alert")).to_be_visible()


def test_a_gray_network_refuses_filters_of_color_with_the_reason(tab: Tab) -> None:
    page = reach_second_form(tab, "/?model=lenet:weights=digits&image=digits-7&chain=agv-b")
    expect(page.get_by_role("button", name="Run attack")).to_have_accessible_description(re.compile("needs colors"))


# Form 2: gradients, and the result


def test_a_gradient_attack_fools_the_network(tab: Tab, new_tab: Opener) -> None:
    page = reach_second_form(tab)
    expect(page.get_by_role("radio", name="pgd, many steps")).to_be_checked()
    expect(page.get_by_role("textbox", name="eps (radius)")).to_have_value("8/255")
    result = run(page)
    verdict = result.get_by_role("status").first
    expect(verdict).to_have_text(re.compile("^Fooled: resnet20 sees '.*' instead of 'cat'.$"))
    for name in ("ℓ0", "ℓ1", "ℓ2", "ℓ∞", "SSIM", "PSNR"):
        expect(result.get_by_text(name, exact=True)).to_be_visible()
    expect(result.get_by_role("img", name="The difference of the two images")).to_be_visible()
    expect(result.get_by_text(re.compile("magnified × 15"))).to_be_visible()
    expect(result.get_by_text(re.compile("Score|Detected|Not detected"))).to_be_visible()
    expect(result.get_by_role("group", name="Attacked image, squeezed").get_by_role("status")).to_be_visible()

    slider = result.get_by_role("slider", name="Compare the original with the attacked image")
    slider.press("ArrowLeft")
    expect(slider).to_have_attribute("aria-valuetext", "49 % original")
    slider.press("End")
    expect(slider).to_have_attribute("aria-valuetext", "100 % original")
    slider.fill("50")
    tab.keep("lab-fooled")

    told = verdict.inner_text()
    page.reload()
    expect(verdict).to_have_text(told)
    other = new_tab().open(page.url.removeprefix(tab.server))
    expect(other.get_by_text(told)).to_be_visible()


def test_a_shared_link_waits_for_its_network(tab: Tab) -> None:
    wanted = {"image": "photos-0", "step": "attacked", "label": "3", "chain": "agv-b", "seed": "7"}

    def asked_for() -> dict[str, str]:
        return dict(parse_qsl(urlsplit(tab.page.url).query)) | {"attack": "", "model": ""}

    page = tab.open(f"/?{urlencode({'model': 'torchvision:vgg19', **wanted})}")
    expect(page.get_by_role("button", name="Predict")).to_have_accessible_description(re.compile("downloaded first"))
    expect(image(page, "photos-0")).to_be_checked()
    assert wanted.items() <= asked_for().items()

    waiting = True

    def listed(route: Route) -> None:
        answer = route.fetch()
        found = answer.json()
        for one in found["models"]:
            if one["model"] == "resnet20" and waiting:
                one |= {"state": "loading", "detail": "reading the weights", "loaded": False}
        route.fulfill(response=answer, json=found)

    page.route("**/api/v1/models", listed)
    page.goto(f"{tab.server}/?{urlencode({'model': 'resnet20', **wanted})}")
    expect(page.get_by_role("button", name="Predict")).to_have_accessible_description("This network is being loaded.")
    assert wanted.items() <= asked_for().items()
    waiting = False
    expect(page.get_by_role("heading", name="Take it with you")).to_be_visible()
    expect(page.get_by_role("radio", name="AGV-B")).to_be_checked()
    assert wanted.items() <= asked_for().items()


def test_a_parameter_out_of_range_is_explained_in_place(tab: Tab) -> None:
    tab.allow("422")
    page = reach_second_form(tab)
    page.get_by_role("textbox", name="eps (radius)").fill("-1")
    page.get_by_role("button", name="Run attack").click()
    expect(second_form(page).get_by_role("alert")).to_contain_text("eps")
    page.get_by_role("textbox", name="eps (radius)").fill("4/255")
    expect(second_form(page).get_by_role("alert")).to_have_count(0)
    run(page)
    expect(page).to_have_url(re.compile("eps=4/255"))


def test_a_target_is_reached(tab: Tab) -> None:
    page = reach_second_form(tab)
    page.get_by_text("More settings").click()
    page.get_by_role("combobox", name="target").select_option("ship")
    page.get_by_role("textbox", name="seed").fill("3")
    with page.expect_response("**/api/v1/attack") as answer:
        run(page)
    assert (answer.value.json()["target"]["name"], answer.value.json()["seed"]) == ("ship", 3)


def test_the_result_is_taken_along(new_tab: Opener, tmp_path: Path) -> None:
    tab = new_tab(permissions=["clipboard-read", "clipboard-write"])
    page = reach_second_form(tab)
    with page.expect_response("**/api/v1/attack") as answer:
        run(page)
    done = answer.value.json()
    for button, text in (
        ("Copy command line", done["reproduce"]["command"]),
        ("Copy Python", done["reproduce"]["python"]),
        ("Copy link", page.url),
    ):
        page.get_by_role("button", name=button).click()
        expect(page.get_by_text(re.compile("copied\\."))).to_be_visible()
        page.wait_for_function("async (text) => (await navigator.clipboard.readText()) === text", arg=text)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download PNG").click()
    download.value.save_as(tmp_path / "attacked.png")
    shown = page.request.get(tab.server + done["adversarial"]["url"]).body()
    assert (tmp_path / "attacked.png").read_bytes() == shown


def test_sliders_squeeze_the_result(tab: Tab) -> None:
    page = reach_second_form(tab)
    result = run(page)
    squeezed = result.get_by_role("group", name="Attacked image, squeezed").get_by_role("img")
    expect(squeezed).to_be_visible()
    before = squeezed.get_attribute("src") or ""
    result.get_by_role("slider", name="JPEG quality, value").fill("20")
    expect(squeezed).not_to_have_attribute("src", before)
    with page.expect_request(lambda request: "bits:depth=5" in (request.post_data or "")):
        result.get_by_role("checkbox", name="Bit depth").check()
    expect(page).to_have_url(re.compile("squeeze=jpeg:quality=20%7Cbits:depth=5"))


# Everyone


def test_a_network_is_fooled_by_keyboard_alone(tab: Tab) -> None:
    page = tab.open()
    expect(image(page, "photos-0")).to_be_checked()

    def tab_to(target: Locator) -> None:
        for _ in range(60):
            if target.evaluate("element => element === document.activeElement"):
                return
            page.keyboard.press("Tab")
        raise AssertionError("not reached by Tab")

    tab_to(network(page, "resnet20, CIFAR-10"))
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowDown")
    expect(network(page, "resnet20, CIFAR-10")).to_be_checked()
    tab_to(page.get_by_role("button", name="Predict"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_role("button", name="Choose an attack")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Choose an attack")).to_be_focused()
    tab_to(page.get_by_role("button", name="Run attack"))
    page.keyboard.press("Enter")
    expect(page.get_by_text(re.compile("^Fooled"))).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_everything_without_scrolling_sideways(new_tab: Opener, scheme: str) -> None:
    tab = new_tab(PHONE, color_scheme=scheme, has_touch=True)
    page = tab.open()
    expect(image(page, "photos-0")).to_be_checked()

    fit(page)
    chosen = page.get_by_role("img", name="The chosen image").bounding_box()
    button = page.get_by_role("button", name="Predict").bounding_box()
    assert chosen
    assert button
    assert chosen["y"] + chosen["height"] <= button["y"]
    dialog = predict(page)
    fit(page)
    tab.keep(f"lab-phone-{scheme}")
    dialog.get_by_role("button", name="Choose an attack").click()
    filters(page)
    page.get_by_role("radio", name="A chain of your own").check()
    page.get_by_role("button", name="Add juno").click()
    fit(page)
    result = run(page)
    fit(page)
    edges = [
        result.get_by_role("list", name=name).bounding_box() for name in ("Top 3 classes after", "Top 3 classes before")
    ]
    whole = result.bounding_box()
    assert whole
    for edge in edges:
        assert edge
        assert edge["x"] + edge["width"] <= whole["x"] + whole["width"]


def test_the_dark_page_is_dark_and_readable(new_tab: Opener) -> None:
    tab = new_tab(color_scheme="dark")
    page = reach_second_form(tab)
    run(page)
    expect(page.get_by_text(re.compile("Score|Detected|Not detected"))).to_be_visible()
    tab.keep("lab-dark")
    paper, ink = page.evaluate(
        "(({backgroundColor, color}) => [backgroundColor, color])(getComputedStyle(document.body))"
    )
    assert contrast(paper, ink) > 7


def contrast(one: str, other: str) -> float:
    """WCAG's contrast of two colors written as rgb(r, g, b)."""

    def luminance(color: str) -> float:
        values = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
        red, green, blue = (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_an_unknown_network_in_the_address_is_named(tab: Tab) -> None:
    page = tab.open("/?model=nonesuch")
    expect(page.get_by_text("This server offers no network 'nonesuch'.")).to_be_visible()
    expect(network(page, "resnet20, CIFAR-10")).to_be_checked()


def test_what_an_address_cannot_mean_is_told(tab: Tab) -> None:
    page = tab.open("/?attack=nonesuch:eps=1&step=over&seed=x&chain=agv-z&squeeze=jpeg&color=red")
    line = "This address asks for what is not here: attack=nonesuch:eps=1, step=over, seed=x, chain=agv-z, color=red."
    expect(page.get_by_role("alert")).to_have_text(line)
    image(page, "photos-2").check()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_an_image_that_is_gone_is_named(tab: Tab) -> None:
    tab.allow("404")
    page = tab.open(f"/?image={'0' * 32}")
    expect(page.get_by_role("group", name="Image").get_by_role("alert")).to_be_visible()
