"""An evolution's report: well-formed, complete, escaped, equal for equal results, and its files can be used."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foolscope.experiments import Evolved
from foolscope.filters import Chain
from foolscope.images import from_uint8, to_uint8
from foolscope.measure import Proportion
from foolscope.report import evolution_json, evolution_page, write_evolution
from foolscope.report.evolution import TERMS
from foolscope.report.evolution_figures import SHEET_CHAINS, contact_sheet, marks, shown_places
from foolscope.report.words import percent, short_chain
from tests.experiments.evolving import evolved
from tests.report.test_html import HOSTILE, Reader


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Evolved:
    return evolved(tmp_path_factory.mktemp("evolved"))


def test_page_is_well_formed_self_contained_and_the_same_again(found: Evolved) -> None:
    page = evolution_page(found)
    reader = Reader(page)
    assert not reader.open
    assert all(source.startswith("data:") for source in reader.values("src"))
    assert "http" not in "".join(reader.values("href"))
    assert page == evolution_page(found)
    assert set(TERMS) <= set(reader.texts)


def spaced(value: Proportion) -> str:
    """A share as `Reader.text` has it."""
    return percent(value).replace("\N{NO-BREAK SPACE}", " ")


def test_page_tells_every_chain_and_every_model(found: Evolved) -> None:
    text = Reader(evolution_page(found)).text
    for place in shown_places(found):
        result = found.front[place]
        assert f"Chain {place + 1}: fools {spaced(result.judged[0].asr)}" in text
        assert short_chain(result.chain) in text
    for result in found.front:
        for seen in result.judged:
            assert spaced(seen.asr) in text
    for name in ("AGV-A", "AGV-B", "Brightness (transfer)", "none of them searched", "Hypervolume"):
        assert name in text
    assert found.about["python"] in Reader(evolution_page(found)).texts


def test_hostile_names_are_text(found: Evolved) -> None:
    about = {**found.about, "data": {**found.about["data"], "spec": HOSTILE}, "python": HOSTILE, "command": HOSTILE}
    page = evolution_page(replace(found, about=about, sheet_labels=(HOSTILE,)))
    reader = Reader(page)
    assert "script" not in reader.tags()
    assert HOSTILE in reader.texts


def test_marks_are_what_the_first_model_does_in_percent(found: Evolved) -> None:
    first, *_, last = marks(found, "detection")
    seen = found.front[0].judged[0]
    assert seen.detection is not None
    assert first.name == "1"
    assert first.x == (100 * seen.detection.value, 100 * seen.detection.low, 100 * seen.detection.high)
    assert first.y[0] == 100 * seen.asr.value
    assert (last.name, last.published) == ("AGV-B", True)


def test_without_a_detector_the_chart_is_over_the_distance(found: Evolved) -> None:
    def blind(result: Evolved) -> Evolved:
        clean = tuple(replace(one, detection=None, threshold=None) for one in result.clean)
        front = tuple(
            replace(one, judged=tuple(replace(seen, detection=None) for seen in one.judged)) for one in result.front
        )
        about = {**result.about, "objectives": ["linf"]}
        return replace(result, about=about, clean=clean, front=front, published=())

    result = blind(found)
    assert marks(result, "linf")[0].x[0] == found.front[0].distances["linf"].value
    text = Reader(evolution_page(result)).text
    assert not re.search("detect", text.split("How to repeat this")[0], re.IGNORECASE)
    assert "Detection" not in text


def test_contact_sheet_shows_the_images_untouched_and_by_every_chain(found: Evolved) -> None:
    sheet = contact_sheet(found)
    rows = 1 + min(len(found.front), SHEET_CHAINS)
    assert sheet.shape == (rows * 100 - 4, 8 * 100 - 4, 3)  # tiles of 12 pixels eight times as large, 4 between them
    small = sheet[:96:8, 100:196:8]
    np.testing.assert_array_equal(small, found.sheet[1])
    filtered = to_uint8(found.front[0].chain(from_uint8(found.sheet)))
    np.testing.assert_array_equal(sheet[100:196:8, 100:196:8], filtered[1])


def test_of_many_chains_some_from_the_first_to_the_last_are_shown(found: Evolved) -> None:
    many = replace(found, front=found.front[:1] * 40)
    places = shown_places(many)
    assert (len(places), places[0], places[-1]) == (SHEET_CHAINS, 0, 39)
    assert places == sorted(set(places))
    assert [mark.name for mark in marks(many, "linf") if mark.name][:-2] == [str(place + 1) for place in places]
    assert f"{40 - SHEET_CHAINS} chains more in the table" in Reader(evolution_page(many)).text
    assert shown_places(replace(found, front=found.front[:1])) == [0]


def test_chains_beyond_the_limit_are_named(found: Evolved) -> None:
    def told(limit: float) -> str:
        settings = {**found.about["settings"], "max_linf": limit}
        return Reader(evolution_page(replace(found, about={**found.about, "settings": settings}))).text

    assert "was to be at most 1; on held-out images all chains keep it." in told(1.0)
    everyone = ", ".join(str(place) for place in range(1, len(found.front) + 1))
    assert f"was to be at most 0; on held-out images above it: {everyone}." in told(0.0)


def test_large_images_become_tiles(found: Evolved) -> None:
    large = found.sheet.repeat(20, axis=1).repeat(10, axis=2)  # 240 x 120
    assert contact_sheet(replace(found, sheet=large)).shape[1] == 8 * (48 + 4) - 4


def test_folder_holds_page_numbers_sheet_and_chains(found: Evolved, tmp_path: Path) -> None:
    page = write_evolution(found, tmp_path / "out")
    assert page.read_text("utf-8") == evolution_page(found)
    assert json.loads((tmp_path / "out" / "evolution.json").read_text()) == json.loads(
        json.dumps(evolution_json(found), allow_nan=False)
    )
    with Image.open(tmp_path / "out" / "contact-sheet.png") as sheet:
        assert sheet.size == contact_sheet(found).shape[1::-1]
    (tmp_path / "out" / "chains" / "99.json").write_text("of an earlier front")
    write_evolution(found, tmp_path / "out")
    files = sorted((tmp_path / "out" / "chains").iterdir())
    assert [Chain.from_json(file.read_text()) for file in files] == [one.chain for one in found.front]
