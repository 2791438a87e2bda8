"""The report on explanations: the page, its figures, and what goes into files."""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from foolscope import explain
from foolscope.data import ImageSet
from foolscope.defenses import defended
from foolscope.experiments.findings import Line
from foolscope.images import to_uint8
from foolscope.measure import Mean, Proportion
from foolscope.report.explain import TERMS, explanation_json, explanation_page
from foolscope.report.explain_bands import heatmap_part
from foolscope.report.explain_figures import Chart, png_file, svg_file
from foolscope.report.explain_frequency import jacobian_part, spectrum_part, transfer_part
from foolscope.report.explain_jpeg import jpeg_part
from foolscope.report.explain_maps import Maps, maps_part, stability_part
from foolscope.report.explain_panels import Curves, Dots, Panels, Plane
from foolscope.report.explain_parts import Measure, Part, Subject, as_json
from foolscope.report.explain_pictures import (
    image_picture,
    map_picture,
    on_one_scale,
    overlay_picture,
    shortened,
)
from tests.explain.networks import random, small
from tests.report.test_html import Reader

HOSTILE = '<b>"&'


def subject() -> Subject:
    """Four color images with a hostile class name, of which the attack changed two."""
    images = random(4, 3, 10, 12)
    data = ImageSet(
        name="made", split="test", pixels=to_uint8(images), labels=torch.tensor([0, 1, 2, 3]), num_classes=4,
        digest="0" * 64, total=4, class_names=(HOSTILE, "b", "c", "d"),
    )  # fmt: skip
    adversarial = data.images.clone()
    adversarial[1:3] = adversarial[1:3].flip(2)
    return Subject(
        model="small", data=data, class_names=data.class_names, predictions=torch.tensor([0, 1, 2, 0]), attack="flip",
        adversarial=adversarial, answers=torch.tensor([0, 2, 2, 0]),
    )  # fmt: skip


def parts() -> list[Part]:
    model, about = small(), subject()
    data, rows = about.data, about.moved
    assert about.adversarial is not None
    originals, adversarial, labels = data.images[rows], about.adversarial[rows], data.labels[rows]
    signed = explain.saliency(model, data.images, data.labels)
    maps = Maps(magnitudes=explain.pixel_saliency(signed), signed=signed)
    stability = explain.explanation_stability(model, originals, adversarial, labels)
    energy = explain.energy_on_salient(adversarial - originals, stability.true_class.original)
    probed = explain.transfer_function(model, "0.0", (10, 12), resolution=3)
    codec = explain.transfer_function(defended(model, "jpeg:quality=50"), "defense", (10, 12), resolution=3)
    return [
        maps_part(about, "saliency", "Saliency", ("Told.",), maps, maps, "logits"),
        stability_part(about, "saliency", stability, energy, rows),
        transfer_part([probed]),
        jacobian_part(explain.jacobian_transfer_function(model, data.images, data.labels)),
        jpeg_part(probed, {10: probed, 90: probed}, {10: codec, 90: codec}),
        spectrum_part(about, explain.noise_spectrum(adversarial - originals, originals), rows),
        heatmap_part(explain.fourier_heatmap(model, data, 2.0, reach=1)),
    ]


@dataclass
class Report:
    """A report's three ingredients."""

    about: dict[str, Any]
    subject: Subject
    parts: list[Part]


@pytest.fixture(scope="module")
def report() -> Report:
    about = {
        "model": {"name": HOSTILE, "weights": None, "trained_on": None},
        "data": {"spec": "made", "split": "test", "images": 4, "of": 4, "preview": False, "digest": "0" * 64},
        "attack": "flip", "moved": 2, "fooled": 1, "defense": None, "seed": 0, "command": "foolscope explain made",
        "versions": {"foolscope": "0"},
    }  # fmt: skip
    return Report(about, subject(), parts())


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return explanation_page(report.about, report.subject, report.parts)


def test_page_is_well_formed_self_contained_and_the_same_again(report: Report, page: str) -> None:
    reader = Reader(page)
    assert not reader.open
    assert all(source.startswith("data:") for source in reader.values("src"))
    links = [link for link in reader.values("href") if not link.startswith(("data:", "#", "https://arxiv.org/"))]
    assert not links
    assert " style=" not in page.split("<body>")[1]
    assert page == explanation_page(report.about, report.subject, report.parts)
    assert set(TERMS) <= set(reader.texts)
    assert HOSTILE not in page
    for part in report.parts:
        assert {part.title, *(chart.caption for chart in part.charts)} <= set(reader.texts)


def test_ids_are_one_of_a_kind(page: str) -> None:
    identifiers = Reader(page).values("id")
    assert len(identifiers) == len(set(identifiers))


def test_json_holds_everything_that_is_finite(report: Report) -> None:
    told = explanation_json(report.about, report.subject, report.parts)
    again = json.loads(json.dumps(told, allow_nan=False))
    assert again == told
    assert told["images"][1] == {
        "image": 1, "file": None, "class": 1, "prediction": 1, "attacked_prediction": 2,
    }  # fmt: skip
    assert told["methods"]["spectrum"]["images_taken"] == [1, 2]
    assert told["methods"]["stability"]["true_class"]["agreement"]["k"] == 12
    heatmap = told["methods"]["heatmap"]
    assert np.shape(heatmap["errors"]) == (3, 3)
    assert heatmap["errors"][0] == heatmap["errors"][2][::-1]


def test_files_are_called_by_their_names(report: Report) -> None:
    names = tuple(f"{HOSTILE}{number}.png" for number in range(4))
    named = replace(report.subject, files=names)
    assert named.title(3) == f"{HOSTILE}3.png: d, seen as {HOSTILE}"
    assert [image["file"] for image in explanation_json(report.about, named, [])["images"]] == list(names)
    many = replace(report.subject, files=tuple(f"{number}.png" for number in range(9)))
    facts = " ".join(Reader(explanation_page(report.about, many, [])).texts)
    assert "4 images: 0.png, 1.png, 2.png, 3.png, 4.png, 5.png and 3 more" in facts


def test_values_become_json() -> None:
    assert as_json({"a": torch.tensor([1.0, math.nan]), "b": (math.inf, 1, True, None)}) == {
        "a": [1.0, None],
        "b": [None, 1, True, None],
    }
    assert as_json(0.123456789) == 0.123457
    assert as_json(Proportion(1, 2))["trials"] == 2
    found = as_json(Line("x", [1.0], [2.0]), leave_out=("y",))
    assert "y" not in found
    assert found["x"] == [1.0]


def test_intervals_end_where_values_must_lie() -> None:
    wide = Mean(0.9, -0.4, 2.2, 2)
    assert Measure.of("m", wide, 0.1, (0.0, 1.0)) == Measure("m", 0.9, 0.0, 1.0, 0.1)
    assert Measure.of("m", wide) == Measure("m", 0.9, -0.4, 2.2)
    single = Mean(0.9, -math.inf, math.inf, 1)
    assert Measure.of("m", single, within=(0.0, 1.0)) == Measure("m", 0.9, -math.inf, math.inf)


def plane(row: int, column: int, log: bool = False) -> Panels:
    values = np.zeros((5, 5)) + (1e-9 if log else 0)
    values[row, column] = 1
    axis = [-0.4, -0.2, 0.0, 0.2, 0.4]
    panel = Plane(title="t", vertical=axis, horizontal=axis, values=values, unit="u", log=log)
    return Panels(name="p", label="l", caption="c", panels=(panel,))


def pixels(chart: Chart) -> np.ndarray[Any, Any]:
    with Image.open(io.BytesIO(png_file(chart, scale=1.0))) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def strongest(chart: Chart) -> tuple[float, float]:
    """The middle of the pixels in the color of the largest value, without the scale at the right."""
    found = pixels(chart)[:, :365]
    rows, columns = (abs(found - (254, 232, 56)).sum(2) < 30).nonzero()
    return float(rows.mean()), float(columns.mean())


@pytest.mark.parametrize("log", [False, True])
def test_planes_have_downward_frequencies_below_and_those_to_the_right_at_the_right(log: bool) -> None:
    middle = strongest(plane(2, 2, log))
    assert strongest(plane(4, 2, log))[0] > middle[0] + 50
    assert strongest(plane(0, 2, log))[0] < middle[0] - 50
    assert strongest(plane(2, 4, log))[1] > middle[1] + 50
    assert strongest(plane(2, 4, log))[0] == pytest.approx(middle[0], abs=1)


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_planes_of_one_value_can_be_drawn(value: float) -> None:
    for log in (False, True):
        panel = Plane(
            title="", vertical=[0.0], horizontal=[0.0], values=np.full((1, 1), value), unit="u", log=log
        )  # fmt: skip
        assert svg_file(Panels(name="p", label="l", caption="c", panels=(panel,)))


def test_curves_without_an_interval_have_no_band() -> None:
    x, y = [0.0, 1.0], [1.0, 2.0]

    def drawn(low: list[float]) -> bytes:
        panel = Curves(title="t", lines=(Line("a", x, y, low, [3.0, 3.0]),), x="x", y="y", y_range=(0, 4))
        return svg_file(Panels(name="p", label="l", caption="c", panels=(panel,)))

    assert b"opacity: 0.16" in drawn([0.0, 0.5])
    assert b"opacity: 0.16" not in drawn([-math.inf, math.nan])


@pytest.mark.parametrize("x", [0.0, 50.0, 8 / 255])
def test_a_grid_of_one_value_shows_a_mark_with_its_interval(x: float) -> None:
    def drawn(low: list[float] | None) -> bytes:
        panel = Curves(title="t", lines=(Line("a", [x], [1.0], low, [3.0]),), x="x", y="y")
        return svg_file(Panels(name="p", label="l", caption="c", panels=(panel,)))

    assert drawn(None).count(b"<use") == 1
    assert b"LineCollection" not in drawn(None)
    assert drawn([0.5]).count(b"LineCollection") == 1
    assert b"LineCollection" not in drawn([math.nan])


def test_a_lone_point_among_others_lines_has_a_mark() -> None:
    lines = (Line("a", [1.0, 2.0], [math.nan, 1.0]), Line("b", [1.0, 2.0], [1.0, 2.0]))
    panel = Curves(title="t", lines=lines, x="x", y="y")
    assert svg_file(Panels(name="p", label="l", caption="c", panels=(panel,))).count(b"<use") == 1


@pytest.mark.parametrize(("lines", "bands"), [(8, 8), (9, 0)])
def test_bands_of_many_lines_are_not_drawn(lines: int, bands: int) -> None:
    drawn = tuple(Line(str(n), [0.0, 1.0], [n, n], [n - 1.0, n - 1.0], [n + 1.0, n + 1.0]) for n in range(lines))
    panel = Curves(title="t", lines=drawn, x="x", y="y")
    assert svg_file(Panels(name="p", label="l", caption="c", panels=(panel,))).count(b"opacity: 0.16") == bands


def test_dots_leave_out_what_is_not_there() -> None:
    def drawn(value: float) -> bytes:
        groups = (("g", ((value, math.nan, math.nan), (1.0, 0.5, 1.5))),)
        panel = Dots(title="t", categories=("a", "b"), groups=groups, y="y", y_range=(0, 2))
        return svg_file(Panels(name="p", label="l", caption="c", panels=(panel,)))

    assert drawn(math.nan).count(b"<use") == drawn(1.0).count(b"<use") - 1


def test_files_are_the_same_again_and_name_no_date(report: Report) -> None:
    for chart in (report.parts[0].charts[0], report.parts[-1].charts[0]):
        svg = svg_file(chart)
        assert svg == svg_file(chart)
        assert b"dc:date" not in svg
        assert chart.is_picture
        assert png_file(chart) == png_file(chart)


def test_panels_take_the_room_that_there_is() -> None:
    panel = plane(2, 2).panels[0]
    chart = Panels(name="p", label="l", caption="c", panels=(panel,) * 4)
    assert chart.height(836) == 2 * panel.height(418)  # two rows of two, not three and one
    assert chart.height(350) == 4 * panel.height(350)


def test_overlays_show_the_image_where_the_map_is_zero() -> None:
    image = torch.full((3, 4, 4), 0.6)
    values = torch.zeros(4, 4)
    values[1, 2] = 1
    found = overlay_picture(image, values, "").pixels
    assert (found[0, 0] == 153).all()
    assert found[1, 2, 0] > found[1, 2, 2] + 100  # yellow


def test_maps_have_their_colors() -> None:
    found = map_picture(torch.tensor([[-1.0, 0.0, 1.0, 2.0]]), "", signed=True).pixels[0].astype(int)
    assert found[0, 2] > found[0, 0] + 50  # blue
    assert (found[1] > 240).all()
    assert found[2, 0] > found[2, 2] + 50  # red
    assert (found[3] == found[2]).all()


def test_maps_share_a_scale_that_a_few_pixels_do_not_set() -> None:
    first, second = torch.full((10, 10), 0.5), torch.full((10, 10), -1.0)
    first[0, 0] = 1000
    scaled = on_one_scale(first, second)
    assert float(scaled[1].min()) == pytest.approx(-1)
    assert float(scaled[0][5, 5]) == pytest.approx(0.5)
    sparse = torch.zeros(20, 20)
    sparse[3, 3] = 4
    assert float(on_one_scale(sparse)[0].max()) == 1
    assert not on_one_scale(torch.zeros(2, 2))[0].any()


def test_large_pictures_are_reduced() -> None:
    assert image_picture(torch.rand(3, 300, 600), "").pixels.shape == (112, 224, 3)
    assert image_picture(torch.rand(1, 28, 28), "").pixels.shape == (28, 28, 3)


def test_texts_are_cut_to_the_room() -> None:
    assert shortened("abcdefghij", 40) == "abcd…"
    assert shortened("abc", 40) == "abc"
