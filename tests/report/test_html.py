"""The page: well-formed, self-contained, escaped, deterministic, and it says what is to be said."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from foolscope.attacks import FGSM, PGD
from foolscope.experiments import Store, audit, sanity
from foolscope.experiments.results import SanityWarning
from foolscope.report import page, to_json, to_table
from foolscope.report.closing import HANDED_OVER
from foolscope.report.figures import TEXT, _tick_labels
from foolscope.report.markup import breakable
from foolscope.report.samples import magnified
from foolscope.report.summary import CHECKS
from foolscope.report.tables import MOST_CLASSES, MOST_RADII, bands
from foolscope.report.words import number
from tests.experiments.networks import digits, digits_lenet, weights_file
from tests.report.made import DARKEN, JPEG, NAMES, record, results

HOSTILE = '<script>alert("1")</script>&\'"><img src=x onerror=alert(1)>'
VOID = {"meta", "link", "br", "img", "input", "source", "wbr"}
WARNING = SanityWarning(code="random", message="The model draws random numbers.", evidence={"difference": 0.25})


class Reader(HTMLParser):
    """Checks that elements nest, and gathers attributes, ids and text."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.texts))

    def values(self, name: str) -> list[str]:
        return [value for _, key, value in self.attributes if key == name]

    def tags(self) -> set[str]:
        return {tag for tag, _, _ in self.attributes}


def test_page_is_well_formed() -> None:
    reader = Reader(page(results()))
    assert reader.open == []
    ids = reader.values("id")
    assert len(ids) == len(set(ids))
    used = {v[1:] for v in reader.values("href") if v.startswith("#")}
    used |= set(re.findall(r"url\(#([^)]+)\)", page(results())))
    assert used <= set(ids)
    assert used


def test_page_needs_nothing_from_outside() -> None:
    source = page(results())
    for tag, name, value in Reader(source).attributes:
        if name in ("src", "href", "srcset", "action", "data", "poster"):
            paper = tag == "a" and value.startswith("https://arxiv.org/abs/")
            assert paper or value.startswith(("#", "data:")), (tag, name, value[:80])
    assert not {"script", "iframe", "object", "embed", "base"} & Reader(source).tags()
    sheet = re.search(r"<style>(.*?)</style>", source, re.DOTALL)
    assert sheet
    assert "url(" not in sheet[1]
    assert "@import" not in sheet[1]


def test_strict_policy_allows_all_that_the_page_has() -> None:
    source = page(results())
    assert source.count("<style") == 1
    assert Reader(source).values("style") == []
    assert not [name for _, name, _ in Reader(source).attributes if name.startswith("on")]
    sheet = re.search(r"<style>(.*?)</style>", source, re.DOTALL)
    assert sheet
    digest = base64.b64encode(hashlib.sha256(sheet[1].encode()).digest()).decode()
    (policy,) = [v for v in Reader(source).values("content") if "default-src" in v]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:;")


def test_equal_results_give_equal_bytes() -> None:
    assert page(results()) == page(results())
    assert page(results()) != page(results(seconds=100.0))


def test_names_are_escaped() -> None:
    hostile = results(
        names=(HOSTILE, "$one$", "two"),
        model={"spec": HOSTILE, "weights": HOSTILE},
        data={"spec": HOSTILE, "credits": {"0": HOSTILE}},
        command=HOSTILE,
        python=HOSTILE,
        warnings=(SanityWarning(code="random", message=HOSTILE, evidence={HOSTILE: 1.0}),),
    )
    source = page(hostile)
    assert "<script" not in source
    assert "<img src=x" not in source
    reader = Reader(source)
    assert reader.open == []
    assert reader.text.count(HOSTILE) >= 9
    assert not [name for _, name, _ in reader.attributes if name.startswith("on")]


def test_preview_is_marked() -> None:
    assert "Preview" not in page(results())
    text = Reader(page(results(data={"preview": True, "of": 1797}))).text
    assert "Preview: 8 of 1,797 images only" in text


def test_summary_says_the_numbers() -> None:
    text = Reader(page(results())).text
    said = (
        "lenet classifies 87.5 % [52.9, 97.8] of the 8 images right as they are, 25.0 % [7.1, 59.1] when each is "
        "changed by up to ε = 0.3 in ℓ∞ by the attack that is worst for it and 25.0 % [7.1, 59.1] when each is "
        "changed by up to ε = 1.5 in ℓ2 by fgm."
    )
    assert said in text
    assert "NetworkNo attackOblivious attackAdaptive attackWeakest" in text
    worst = "37.5 % [13.7, 69.4]fgsm, straight-through"
    assert f"{JPEG}87.5 % [52.9, 97.8]75.0 % [40.9, 92.9]fgsm{worst}{worst}" in text
    assert "Oblivious and adaptive: under the attack that leaves least, named below the number." in text


def test_the_strongest_attack_of_each_meeting_is_named() -> None:
    made = results(attacks=[FGSM(eps=0.3), PGD(eps=0.3, steps=20)])
    records = tuple(
        record(
            r.attack,
            r.source,
            r.victim,
            {"oblivious": 1, "straight-through": 4}.get(r.mode, 5) + (r.attack.name == name),
        )
        for r, name in zip(made.records, ("", "", "pgd", "pgd", "fgsm", "fgsm"), strict=True)
    )
    text = Reader(page(replace(made, records=records))).text
    worst = "25.0 % [7.1, 59.1]fgsm, straight-through"
    assert f"{JPEG}87.5 % [52.9, 97.8]62.5 % [30.6, 86.3]pgd{worst}{worst}" in text


def test_without_a_defense_nothing_is_said_of_any() -> None:
    text = Reader(page(results(defended=False))).text
    assert "no defense" in text
    assert JPEG not in text
    assert "NetworkNo attack" not in text


def test_defense_without_gradients_says_why_a_number_is_missing() -> None:
    made = results()
    oblivious = tuple(record for record in made.records if record.mode != "straight-through")
    text = Reader(page(replace(made, records=oblivious))).text
    assert "–it gives no gradients" in text  # noqa: RUF001
    assert "dotted with triangles" not in text


def test_warnings_stand_before_the_charts() -> None:
    text = Reader(page(results(warnings=[WARNING]))).text
    assert "1 warning: these numbers may look better than they are" in text
    assert "The model draws random numbers. (difference: 0.250)" in text
    assert text.index("The model draws") < text.index("Accuracy against ε")
    assert "None of the" not in text
    assert CHECKS["probabilities"] in text
    assert CHECKS["random"] not in text


def test_quiet_checks_are_listed() -> None:
    text = Reader(page(results())).text
    assert "None of the 6 sanity checks raised a warning" in text
    assert all(check in text for check in CHECKS.values())


def test_checks_that_were_not_made_are_not_claimed() -> None:
    text = Reader(page(results(gradients=False, attacks=[PGD(eps=0.3, steps=20)]))).text
    assert "None of the 3 sanity checks raised a warning" in text
    assert CHECKS["zero-gradient"] not in text
    assert CHECKS["iterative-weaker"] not in text
    assert "Not checked: zero gradients, because the model gives no gradients." in text
    assert CHECKS["broken-gradient"] not in text
    assert "Not checked: NaN or infinite gradients, because the model gives no gradients." in text
    assert "Not checked: iterative against one-step attacks, because no norm has both" in text


def test_every_warning_has_its_check() -> None:
    with open(sanity.__file__) as file:
        assert set(re.findall(r'code="([a-z-]+)"', file.read())) == set(CHECKS)


def test_tables_have_what_the_charts_show() -> None:
    source = page(results())
    text = Reader(source).text
    for curve in results().curves:
        for point in curve.points:
            assert f"{100 * point.accuracy.value:.1f} %" in text
    assert source.count("<caption>") == source.count("<table")
    assert all(Reader(source).values("alt"))
    assert "radius ε in ℓ∞ (images in [0, 1])" in text
    levels = results(attacks=[FGSM(eps=4 / 255), FGSM(eps=8 / 255)])
    assert "radius ε in ℓ∞ (units of 1/255)" in Reader(page(levels)).text
    assert "ε = 4/255ε = 8/255" in Reader(page(levels)).text


@pytest.mark.parametrize(
    ("count", "most", "lengths"),
    [(0, 7, []), (1, 7, [1]), (7, 7, [7]), (8, 7, [4, 4]), (14, 7, [7, 7]), (15, 7, [5, 5, 5]), (13, 6, [4, 4, 5])],
)
def test_radii_are_banded_evenly(count: int, most: int, lengths: list[int]) -> None:
    found = bands(range(count), most)
    assert [len(band) for band in found] == lengths
    assert [value for band in found for value in band] == list(range(count))


def test_many_radii_go_into_tables_below_each_other() -> None:
    radii = [round(0.025 * step, 3) for step in range(1, 14)]
    source = page(results(attacks=[attack for eps in radii for attack in (FGSM(eps=eps), PGD(eps=eps, steps=20))]))
    found = re.findall(r"<table.*?</table>", source, re.DOTALL)
    wide = [table for table in found if "ε = 0.025" in table and "Attack</th>" in table]
    assert len(wide) == 3, "accuracy, costs and what 8 bits keep"
    for table in found:
        rows = [re.findall(r'<t[hd][^>]*?(?:colspan="(\d+)")?>', row) for row in table.split("<tr")[1:]]
        widths = {sum(int(span or 1) for span in row) for row in rows}
        assert len(widths) == 1
        assert widths.pop() <= 1 + MOST_RADII
    text = Reader(source).text
    for begin, end in (("0", "0.15"), ("0.175", "0.325"), ("0.025", "0.1"), ("0.125", "0.2"), ("0.225", "0.325")):
        assert f"Radii from {begin} to {end}." in text
    for eps in radii:
        assert source.count(f'<th scope="col">ε = {eps:g}</th>') == 3


def test_attacks_without_a_radius_have_their_own_rows() -> None:
    made = results(attacks=[FGSM(eps=0.3), DARKEN])
    reader = Reader(page(made))
    assert reader.open == []
    assert "and 25.0 % [7.1, 59.1] after darken:share=0.5, which has no radius." in reader.text
    worst = "37.5 % [13.7, 69.4]"
    assert f"{JPEG}87.5 % [52.9, 97.8]75.0 % [40.9, 92.9]darken{worst}darken, black box{worst}" in reader.text
    assert "darken:share=0.5no defense25.0 % [7.1, 59.1]71.4 % [35.9, 91.8]80.0 % [37.6, 96.4]" in reader.text
    assert "no defense21.0 / 20.00.5 soblivious21.0 / 20.00.5 s" in reader.text
    assert "Not checked: iterative against one-step attacks" in reader.text
    assert "Without a radius" in reader.text
    assert "darken:share=0.5, oblivious" in reader.text


def test_a_page_of_attacks_without_a_radius_alone() -> None:
    made = results(attacks=[DARKEN])
    text = Reader(page(made)).text
    assert "right as they are and 25.0 % [7.1, 59.1] after darken:share=0.5, which has no radius." in text
    assert "Accuracy against ε" not in text
    assert "The summary speaks of" not in text
    assert text.count("darken:share=0.5") >= 7


def test_charts_use_the_pages_colors_and_keep_text() -> None:
    source = page(results())
    charts = re.findall(r"<svg viewBox.*?</svg>", source, re.DOTALL)
    assert len(charts) == 10  # two norms and three distances, each wide and narrow
    assert all(">pgd oblivious</text>" in chart for chart in charts[:2])
    assert "#0001" not in source
    assert "#0002" not in source
    used = set(re.findall(r"var\((--[a-z0-9-]+)\)", source))
    assert used <= set(re.findall(r"(--[a-z0-9-]+):", source))
    assert {"--series-1", "--series-2"} <= used


def test_of_many_classes_the_worst_are_shown() -> None:
    made = results(names=NAMES)
    assert "Clean accuracy of each of 3 classes without defense." in Reader(page(made)).text
    labels = np.arange(30)
    clean = {"label": labels, "prediction_0": np.where(labels % 2, labels, 0), "gradient_linf": np.ones(30)}
    many = replace(made, clean=clean, records=(), samples=(), victims=("",), class_names=None)
    text = Reader(page(many)).text
    assert f"the {MOST_CLASSES} worst of 30 classes, worst first" in text
    assert "No image is shown" in text


def test_samples_show_noise_with_its_factor_and_answers() -> None:
    source = page(results(data={"credits": {"0": "Photo: A. Author, CC BY 2.0"}}))
    text = Reader(source).text
    assert "noise × 5" in text
    assert f"{JPEG}: one (wrong)" in text
    assert "Photo: A. Author, CC BY 2.0" in text
    assert 'class="subject pixels"' in source
    assert "What fgsm, oblivious, adds to image 0: noise ×\u00a05, around gray" in Reader(source).values("alt")


@pytest.mark.parametrize(("change", "factor", "left"), [(0.1, "5", 1.0), (0.04, "12", 0.98), (0.9, "0.55", 0.995)])
def test_noise_is_magnified_as_far_as_it_fits(change: float, factor: str, left: float) -> None:
    image = np.zeros((1, 4, 4), np.float32)
    adversarial = image.copy()
    adversarial[..., :2] = change
    noise, told = magnified(image, adversarial)
    assert told == f"×\u00a0{factor}"
    assert noise[0, 0, 0] == pytest.approx(left, abs=1e-6)
    assert noise[0, 0, 3] == 0.5
    below, _ = magnified(adversarial, image)
    assert below[0, 0, 0] == pytest.approx(1 - left, abs=1e-6)


def test_equal_images_have_no_noise() -> None:
    image = np.full((3, 4, 4), 0.25, np.float32)
    noise, told = magnified(image, image)
    assert told == ""
    assert (noise == 0.5).all()
    made = results(attacks=[FGSM(eps=0.3)])
    still = replace(made.samples[0], adversarial=made.samples[0].image)
    assert "nothing was added" in Reader(page(replace(made, samples=(still,)))).text


def test_how_to_repeat_it_is_said() -> None:
    text = Reader(page(results())).text
    assert "foolscope audit lenet --data digits" in text
    assert "results = fs.audit('lenet', 'digits')" in text
    assert "a" * 64 in text
    assert "b" * 64 in text
    assert "arXiv 1706.06083" in text
    assert "handed over" not in text


@pytest.mark.parametrize(("model", "data"), [(True, False), (False, True), (True, True)])
def test_what_was_handed_over_as_an_object_is_said(model: bool, data: bool, tmp_path: Path) -> None:
    images = digits(4)
    made = audit(
        digits_lenet() if model else weights_file(tmp_path),
        images if data else "digits",
        ["fgsm:eps=0.1"],
        limit=None if data else 4,
        store=Store(tmp_path),
    )
    text = Reader(page(made)).text
    said = [told for told in HANDED_OVER.values() if told in text]
    assert said == [HANDED_OVER[("model",) * model + ("data",) * data]]
    for name, given in (("model", model), ("data", data)):
        assert (f"    {name}," in made.about["python"]) is given


def test_each_defense_has_a_sentence() -> None:
    text = Reader(page(results())).text
    said = (
        f"Behind {JPEG}: clean 87.5 % [52.9, 97.8]; oblivious 75.0 % [40.9, 92.9], adaptive 37.5 % [13.7, 69.4] "
        "(fgsm, straight-through) at ε = 0.3 in ℓ∞; oblivious 75.0 % [40.9, 92.9], adaptive 37.5 % [13.7, 69.4] (fgm, "
        "straight-through) at ε = 1.5 in ℓ2."
    )
    assert said in text
    free = Reader(page(results(attacks=[DARKEN]))).text
    assert f"Behind {JPEG}: clean 87.5 % [52.9, 97.8]; oblivious 75.0 % [40.9, 92.9], adaptive 37.5 %" in free
    assert "[13.7, 69.4] (darken, black box) without a radius." in free
    assert "Behind" not in Reader(page(results(defended=False))).text


def test_a_defense_without_gradients_has_no_adaptive_number() -> None:
    made = results(attacks=[FGSM(eps=0.3)])
    oblivious = tuple(record for record in made.records if record.mode != "straight-through")
    text = Reader(page(replace(made, records=oblivious))).text
    assert f"Behind {JPEG}: clean 87.5 % [52.9, 97.8]; oblivious 75.0 % [40.9, 92.9] at ε = 0.3 in ℓ∞." in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1024.0, "1,024"), (1023.6, "1,024"), (999.6, "1,000"), (150528.4, "150,528"), (700.0, "700"), (12.34, "12.3"),
        (0.09998, "0.100"), (0.0, "0.00"), (3.5e-5, "3.5e-05"), (None, "–"), (float("inf"), "–"),  # noqa: RUF001
    ],
)  # fmt: skip
def test_numbers_keep_all_digits_before_the_point(value: float | None, text: str) -> None:
    assert number(value) == text


def test_specs_break_where_a_reader_would_break_them() -> None:
    assert breakable("jpeg:quality=25,subsampling=420|bits") == (
        "jpeg:<wbr>quality=<wbr>25,<wbr>subsampling=<wbr>420|<wbr>bits"
    )


def grid(source: str) -> list[list[str]]:
    """What stands in the columns of the first image: one list a row, each cell's captions."""
    found = re.search(r'<div class="plates columns-3">(.*?)</div></div></section>', source, re.DOTALL)
    assert found
    cells = [re.findall(r'class="what">(.*?)<', cell) for cell in found[1].split('<div class="cell">')[1:]]
    return [[", ".join(cell) for cell in cells[row : row + 3]] for row in range(0, len(cells), 3)]


def test_samples_stand_in_columns_by_how_a_defense_is_met() -> None:
    attacks = [FGSM(eps=0.3), PGD(eps=0.3, steps=20)]
    made = results(attacks=attacks)
    whole = [
        [f"{name}, {mode}" for mode in ("no defense", "oblivious", "adaptive")] for name in ("fgsm", "pgd:steps=20")
    ]
    assert grid(page(made)) == whole
    some = tuple(s for s in made.samples if (s.attack.split(":")[0], s.source) != ("fgsm", JPEG))
    assert grid(page(replace(made, samples=some))) == [[*whole[0][:2], ""], whole[1]]
    assert "columns-" not in re.sub(r"<style>.*?</style>", "", page(results(defended=False)), flags=re.DOTALL)


def test_images_beyond_the_first_and_distances_are_folded() -> None:
    made = results(attacks=[FGSM(eps=0.3)])
    more = tuple(replace(sample, index=index) for sample in made.samples for index in (0, 1, 2))
    source = page(replace(made, samples=more))
    folds = re.findall(r"<details><summary>(.*?)</summary>(.*?)</details>", source, re.DOTALL)
    assert [title for title, _ in folds] == [
        "2 more images", "Success, distances, and what 8-bit files keep, at every radius",
    ]  # fmt: skip
    assert "Image 0: zero" not in folds[0][1]
    assert "Image 1: zero" in folds[0][1]
    assert "Image 2: zero" in folds[0][1]
    assert "<table" in folds[1][1]


def test_images_are_named_by_their_places_in_the_whole_set() -> None:
    made = replace(results(), origin=np.array([40, 7, 3, 9, 11, 12, 13, 14]))
    text = Reader(page(made)).text
    assert "Image 40: zero" in text
    assert "Image 0: zero" not in text
    assert to_json(made)["samples"][0]["index"] == 40
    assert to_table(made)["index"].to_pylist()[:8] == [40, 7, 3, 9, 11, 12, 13, 14]


def test_the_lowest_line_of_each_network_has_a_band() -> None:
    """A band is a path that is filled and faint."""

    def bands_in(chart: str, source: str) -> int:
        sheet = re.search(r"<style>(.*?)</style>", source, re.DOTALL)
        assert sheet
        faint = re.findall(r"\.(f\d+) {[^}]*(?:fill-opacity|opacity): 0\.14", sheet[1])
        return sum(len(re.findall(f'class="{name}"', chart)) for name in faint)

    source = page(results(attacks=[FGSM(eps=0.3), PGD(eps=0.3, steps=20)]))
    for chart in re.findall(r"<svg viewBox.*?</svg>", source, re.DOTALL):
        assert bands_in(chart, source) == 2
    assert "Bands are 95 % intervals, of the attack that leaves least of each network." in Reader(source).text


@pytest.mark.parametrize("width", [300, 640])
def test_ticks_have_room_between_them(width: float) -> None:
    ticks = [0.0, 0.125, 0.25, 0.5, 1.0, 2.0]
    texts = _tick_labels(ticks, width)
    assert (texts[0], texts[-1]) == ("0", "2")
    shown = [(tick / 2 * width, 0.55 * TEXT * len(text)) for tick, text in zip(ticks, texts, strict=True) if text]
    for (left, left_wide), (right, right_wide) in itertools.pairwise(shown):
        assert right - left - (left_wide + right_wide) / 2 >= 8, texts


def test_parameters_are_told_with_the_buffers() -> None:
    told = "552,362 parameters (551,466 trainable, 896 running averages and other buffers), weights: w"
    assert told in Reader(page(results(model={"parameters": 551_466, "buffers": 896, "weights": "w"}))).text
    assert "61,706 parameters, weights: lenet-digits" in Reader(page(results(model={"buffers": 0}))).text


@pytest.mark.parametrize(
    ("model", "data"), [("py:net:build", "digits"), ("lenet", "folder:pictures"), ("lenet", "digits")]
)
def test_paths_are_said_to_be_relative(model: str, data: str) -> None:
    text = Reader(page(results(model={"spec": model}, data={"spec": data}))).text
    told = "Relative paths, and the module of a py: model, are looked for in the folder that this is run in."
    assert (told in text) == ((model, data) != ("lenet", "digits"))


def test_an_interval_is_no_promise() -> None:
    assert "covers the true share in about 95 of 100 samples" in Reader(page(results())).text
