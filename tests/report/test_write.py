"""Files: all three, whole or not at all; and a real audit from end to end."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from foolscope import report
from foolscope.errors import StorageError
from foolscope.experiments import Store, audit
from foolscope.report import export
from tests.report.made import results
from tests.support import needs_data

FILES = ["report.html", "results.json", "results.parquet"]


def test_writes_three_files_into_a_new_folder(tmp_path: Path) -> None:
    path = report.write(results(), tmp_path / "a" / "b")
    assert path == tmp_path / "a" / "b" / "report.html"
    assert sorted(file.name for file in path.parent.iterdir()) == FILES
    assert path.read_text("utf-8") == report.page(results())
    assert json.loads((path.parent / "results.json").read_text()) == report.to_json(results())


def test_repeating_gives_equal_bytes(tmp_path: Path) -> None:
    first, second = report.write(results(), tmp_path / "1").parent, report.write(results(), tmp_path / "2").parent
    for name in FILES:
        assert (first / name).read_bytes() == (second / name).read_bytes()


@pytest.mark.parametrize("name", FILES)
def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    report.write(results(), tmp_path)
    before = (tmp_path / name).read_bytes()
    replace = Path.replace

    def full(self: Path, target: Path) -> Path:
        if Path(target).name == name:
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    message = f"^no space left to write {re.escape(str(tmp_path / name))}; nothing was changed there\\.$"
    with pytest.raises(StorageError, match=message):
        report.write(results(seconds=77.0, data={"preview": True}), tmp_path)
    assert (tmp_path / name).read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == FILES


def test_a_table_that_cannot_be_made_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report.write(results(), tmp_path)
    before = (tmp_path / "results.parquet").read_bytes()

    def broken(_: object) -> object:
        raise MemoryError

    monkeypatch.setattr(report, "to_table", broken)
    with pytest.raises(MemoryError):
        report.write(results(seconds=77.0), tmp_path)
    assert (tmp_path / "results.parquet").read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == FILES


def test_a_folder_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    message = f"^cannot write {re.escape(str(tmp_path / 'out' / 'results.json'))}: (File exists|Not a directory)\\.$"
    with pytest.raises(StorageError, match=message):
        report.write(results(), tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def _audited(data: str, folder: Path, limit: int) -> Path:
    arguments = {"eps": [0.1, 0.3], "defenses": ["jpeg:quality=50"], "limit": limit}
    found = audit("lenet:weights=none", data, ["fgsm", "pgd:steps=2"], store=Store(folder / "store"), **arguments)  # type: ignore[arg-type]
    path = report.write(found, folder / "out")
    assert json.loads((path.parent / "results.json").read_text())["schema"] == export.SCHEMA
    return path


def test_a_real_audit_from_end_to_end_and_again(tmp_path: Path) -> None:
    path = _audited("digits", tmp_path, 16)
    before = {name: (path.parent / name).read_bytes() for name in FILES}
    assert b"Preview: 16 of " in before["report.html"]
    again = _audited("digits", tmp_path, 16)
    assert {name: (again.parent / name).read_bytes() for name in FILES} == before


@needs_data
def test_a_real_audit_of_mnist(tmp_path: Path) -> None:
    text = _audited("mnist", tmp_path, 8).read_text("utf-8")
    assert "lenet:weights=none on mnist" in text
    assert "Preview: 8 of 10,000 images only" in text
