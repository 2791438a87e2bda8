"""JSON and table: complete, finite, documented, and equal for equal findings."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from foolscope import report
from foolscope.attacks import FGSM
from foolscope.experiments.results import SanityWarning
from foolscope.report.export import timing
from tests.report.made import DARKEN, JPEG, LABELS, results
from tests.support import ROOT

DOCUMENTED = (ROOT / "docs" / "results.md").read_text()
OPEN_MAPS = {"evidence", "versions", "credits"}
WARNING = SanityWarning(code="random", message="It draws.", evidence={"difference": math.inf, "share": 0.5})


def keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            if key not in OPEN_MAPS:
                yield from keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner)


def test_json_round_trips_and_has_no_nan() -> None:
    value = report.to_json(results(warnings=[WARNING]))
    assert json.loads(json.dumps(value, allow_nan=False)) == value
    assert value["schema"] == "foolscope-audit/2"
    assert value["warnings"][0]["evidence"] == {"difference": None, "share": 0.5}


def test_json_says_what_was_found() -> None:
    value = report.to_json(results())
    assert [entry["defense"] for entry in value["clean"]] == ["", JPEG]
    assert value["clean"][0]["accuracy"]["successes"] == 7
    assert value["clean"][0]["per_class"][1]["class_name"] == "one"
    assert value["clean"][0]["per_class"][1]["accuracy"]["value"] == pytest.approx(2 / 3)
    assert len(value["curves"]) == 9
    found = {(c["attack"], c["mode"]): [p["accuracy"]["successes"] for p in c["points"]] for c in value["curves"]}
    assert found["pgd:steps=20", "none"] == [7, 2, 2]
    assert found["pgd:steps=20", "oblivious"] == [7, 6, 6]
    assert found["pgd:steps=20", "straight-through"] == [7, 3, 3]
    attacked = value["curves"][0]["points"][1]
    assert (attacked["success"]["successes"], attacked["success"]["trials"]) == (5, 7)
    assert (attacked["saved"]["successes"], attacked["saved"]["trials"]) == (4, 5)
    assert attacked["forwards"] == 21
    weakest = {(c["norm"], c["defense"]): c["points"][-1]["accuracy"]["successes"] for c in value["weakest"]}
    assert weakest == {("linf", ""): 2, ("linf", JPEG): 3, ("l2", ""): 2, ("l2", JPEG): 3}
    least = {(c["norm"], c["defense"]): c["points"][-1]["strongest"] for c in value["weakest"]}
    assert [least["linf", JPEG][key] for key in ("attack", "mode", "eps")] == ["fgsm", "straight-through", 0.1]
    assert least["linf", JPEG]["accuracy"]["successes"] == 3
    assert value["weakest"][0]["points"][0]["strongest"] is None
    assert value["samples"][0]["predictions"] == [{"defense": "", "clean": 0, "attacked": 1}]


def test_attacks_without_a_radius_have_no_curve_and_no_eps() -> None:
    made = results(attacks=[FGSM(eps=0.3), DARKEN])
    value = report.to_json(made)
    assert {curve["attack"] for curve in value["curves"]} == {"fgsm"}
    assert [(u["attack"], u["defense"], u["mode"], u["accuracy"]["successes"]) for u in value["unrestricted"]] == [
        ("darken:share=0.5", "", "none", 2),
        ("darken:share=0.5", JPEG, "oblivious", 6),
        ("darken:share=0.5", JPEG, "black box", 3),
    ]
    assert [run["eps"] for run in value["timing"]["attacks"]] == [0.3, None] * 3
    assert {key for key in keys(value) if f"`{key}`" not in DOCUMENTED} == set()
    rows = report.to_table(made).to_pylist()
    assert {(row["attack"], row["norm"], row["eps"]) for row in rows} == {
        ("fgsm", "linf", 0.3), ("darken:share=0.5", "", None)
    }  # fmt: skip
    assert report.to_table(made).schema == report.to_table(results()).schema


def test_no_successes_to_save_is_null() -> None:
    value = report.to_json(results())
    saved = value["curves"][0]["points"][0]["saved"]
    assert (saved["successes"], saved["trials"], saved["value"]) == (0, 0, None)


def test_time_is_under_timing_alone() -> None:
    quick, slow = report.to_json(results(seconds=0.5)), report.to_json(results(seconds=2.0))
    assert quick["timing"]["seconds"] == 0.5 * 15  # 5 runs without defense, 5 oblivious, 5 adaptive
    assert quick.pop("timing") != slow.pop("timing")
    assert quick == slow


def test_an_oblivious_attack_that_two_defenses_are_shown_is_timed_once() -> None:
    base = results(attacks=[FGSM(eps=0.1)])
    other = replace(base.records[1], victim="jpeg:quality=10")
    several = replace(base, records=(*base.records, other))
    assert [run["mode"] for run in timing(base)["attacks"]] == ["none", "oblivious", "straight-through"]
    assert timing(several) == timing(base)


def test_every_key_is_documented() -> None:
    found = set(keys(report.to_json(results(warnings=[WARNING]))))
    assert len(found) > 40
    assert {key for key in found if f"`{key}`" not in DOCUMENTED} == set()


def test_table_has_a_row_for_every_image_attack_radius_and_network() -> None:
    made = results()
    table = report.to_table(made)
    assert table.num_rows == len(made.records) * len(LABELS)
    assert {name for name in table.column_names if f"`{name}`" not in DOCUMENTED} == set()
    rows = table.to_pylist()
    assert rows[0] == pytest.approx(
        {
            "index": 0, "label": 0, "clean_prediction": 0, "prediction": 1, "prediction_saved": 0, "attack": "fgsm",
            "norm": "linf", "eps": 0.1, "defense": "", "mode": "none", "success": True, "l0": 700, "l1": 1.0,
            "l2": 0.1, "linf": 0.01, "ssim": 0.8, "psnr": 20.0, "forwards": 21, "backwards": 20,
        }
    )  # fmt: skip
    assert rows[7]["psnr"] is None
    assert not rows[7]["success"]  # wrong before, so not fooled
    assert {row["mode"] for row in rows} == {"none", "oblivious", "straight-through"}
    for curve in made.curves:
        for point in curve.points[1:]:
            key = (curve.attack, curve.defense, curve.mode, point.eps)
            mine = [r for r in rows if (r["attack"], r["defense"], r["mode"], r["eps"]) == key]
            assert sum(r["prediction"] == r["label"] for r in mine) == point.accuracy.successes
            assert sum(r["success"] for r in mine) == point.success.successes


def test_table_of_nothing_has_the_same_columns() -> None:
    empty = report.to_table(results(attacks=[]))
    assert empty.num_rows == 0
    assert empty.schema == report.to_table(results()).schema


def test_parquet_round_trips(tmp_path: Path) -> None:
    made = results()
    report.write(made, tmp_path)
    file = pq.ParquetFile(tmp_path / "results.parquet")
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    assert file.schema_arrow.field("eps").type == pa.float64()
    assert (file.schema_arrow.metadata or {})[b"schema"] == b"foolscope-audit/2"
    assert file.read().to_pylist() == report.to_table(made).to_pylist()
