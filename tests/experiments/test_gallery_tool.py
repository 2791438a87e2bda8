"""tools/gallery.py: reduced figures and one table of finished runs."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image

from foolscope.experiments.running import run
from foolscope.experiments.store import Store
from foolscope.report.gallery import write_run
from tests.support import ROOT

TOOL = runpy.run_path(str(ROOT / "tools" / "gallery.py"))


def test_the_gallery_shows_every_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the catalog's order; what is left of an earlier gallery is removed."""
    store, runs, images = Store(tmp_path / "store"), tmp_path / "runs", tmp_path / "docs" / "images" / "gallery"
    for name in ("jpeg-rescue", "dataset-overview"):
        write_run(run(name, "digits", limit=16, store=store, jobs=1), runs / name)
    images.mkdir(parents=True)
    (images / "old.png").touch()
    monkeypatch.setattr(sys, "argv", ["gallery.py", str(runs), "--docs", str(tmp_path / "docs")])
    TOOL["main"]()
    page = (tmp_path / "docs" / "gallery.md").read_text()
    assert page.index("## dataset-overview: digits") < page.index("## jpeg-rescue: digits, 16 of ")
    assert "`foolscope run jpeg-rescue --data digits --limit 16` (Fig. 10). The seed: Fig. 10 shows" in page
    assert "| dataset-overview, digits | most frequent class, test |" in page
    assert "| jpeg-rescue, digits | lenet: fooled images rescued by quality 50 | one is shown |" in page
    written = {path.name for path in images.iterdir()}
    assert {"dataset-overview-samples.png", "dataset-overview-classes.png"} <= written
    assert "old.png" not in written
    assert all(f"images/gallery/{name}" in page for name in written)
    assert all(0 < path.stat().st_size <= TOOL["LARGEST"] for path in images.iterdir())


def test_pictures_of_a_folder_are_credited_on_the_page_and_left_out_of_the_gallery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for row, name in enumerate(("a.png", "b.png")):
        Image.new("RGB", (32, 32), (90 * row, 120, 60)).save(folder / name)
    (folder / "labels.csv").write_text("file,label,author\na.png,0,Ada\nb.png,1,Bob\n")
    found = run("jpeg-levels", f"folder:{folder}", settings={"shown": "1"}, store=Store(tmp_path / "store"), jobs=1)
    page = write_run(found, tmp_path / "runs" / "one").read_text()
    assert "Ada; Bob" in page or "Bob; Ada" in page
    monkeypatch.setattr(sys, "argv", ["gallery.py", str(tmp_path / "runs"), "--docs", str(tmp_path / "docs")])
    TOOL["main"]()
    assert [path.name for path in (tmp_path / "docs/images/gallery").iterdir()] == ["one-size-and-psnr.png"]
    text = (tmp_path / "docs" / "gallery.md").read_text()
    assert "`foolscope run jpeg-levels --data folder:PATH --set shown=1`" in text
    assert str(folder) not in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"value": 0.5, "low": 0.25, "high": 0.75, "successes": 2, "trials": 4}, "50 % [25, 75]"),
        ({"value": 1.5, "low": 1.0, "high": 2.0, "count": 4}, "1.5 [1, 2]"),
        ({"value": 1.5, "low": None, "high": None, "count": 1}, "1.5"),
        (1234, "1,234"),
        (0.12345, "0.123"),
        ("text", "text"),
        (None, ""),
    ],
)
def test_values(value: object, text: str) -> None:
    assert TOOL["shown"](value) == text


def test_a_folder_without_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gallery.py", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"has no folder with a run\.json: foolscope run NAME --out"):
        TOOL["main"]()
