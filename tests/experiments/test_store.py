"""The store: whole cells or none, whatever happens while they are written."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from foolscope.errors import StorageError
from foolscope.experiments.store import Store, cell_key
from tests.support import ROOT

SPEC: dict[str, Any] = {"kind": "attack", "eps": 8 / 255, "victims": ["", "jpeg"]}
ARRAYS: dict[str, NDArray[Any]] = {"a": np.arange(5), "b": np.ones((2, 3), np.float32)}


def test_a_cell_round_trips(tmp_path: Path) -> None:
    store = Store(tmp_path / "new" / "store")
    assert store.load(SPEC) is None
    assert SPEC not in store
    store.save(SPEC, ARRAYS, {"seconds": 1.5})
    assert SPEC in store
    cell = Store(tmp_path / "new" / "store").load(SPEC)
    assert cell is not None
    assert cell.spec == SPEC
    assert cell.info == {"seconds": 1.5}
    assert list(cell.arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert np.array_equal(cell.arrays[name], array)
        assert cell.arrays[name].dtype == array.dtype
    assert [path.name for path in store.root.iterdir()] == [cell_key(SPEC)[:2]]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(spec=st.dictionaries(st.text(), JSON, max_size=4))
def test_the_key_depends_on_the_content_alone(spec: dict[str, Any]) -> None:
    again = json.loads(json.dumps(dict(reversed(spec.items()))))
    assert cell_key(again) == cell_key(spec)
    assert re.fullmatch("[0-9a-f]{64}", cell_key(spec))
    assert cell_key({**spec, "one more": 1}) != cell_key(spec)


def test_another_value_is_another_cell() -> None:
    keys = {cell_key({"eps": value}) for value in (0.1, 0.1 + 1e-16, 1, 1.5, "0.1", None, [0.1])}
    assert len(keys) == 7 - (0.1 == 0.1 + 1e-16)


def test_a_cell_holds_its_two_files_and_others_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        Store(tmp_path).save(SPEC, ARRAYS, {})
    finally:
        os.umask(before)
    folder = Store(tmp_path).path(SPEC)
    assert {path.name for path in folder.iterdir()} == {"arrays.npz", "cell.json"}
    assert folder.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in tmp_path.iterdir()] == [folder.parent.name]


def test_the_first_writer_keeps_the_cell(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save(SPEC, ARRAYS, {"by": "first"})
    store.save(SPEC, ARRAYS, {"by": "second"})
    cell = store.load(SPEC)
    assert cell is not None
    assert cell.info == {"by": "first"}
    assert not list(tmp_path.glob(".part-*"))


def test_many_writers_at_once(tmp_path: Path) -> None:
    large = {"a": np.arange(100_000)}

    def work(number: int) -> bool:
        store = Store(tmp_path)
        spec = {"cell": number % 3}
        store.save(spec, large, {"writer": number})
        cell = store.load(spec)
        return cell is not None and np.array_equal(cell.arrays["a"], large["a"])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(48)))
    assert len(list(tmp_path.glob("*/*/cell.json"))) == 3
    assert not list(tmp_path.glob(".part-*"))
    assert not (tmp_path / "damaged").exists()


@pytest.mark.parametrize("damage", ["bit", "truncated", "no arrays", "no cell", "not json", "list", "swapped"])
def test_a_damaged_cell_is_set_aside_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str) -> None:
    store = Store(tmp_path)
    store.save(SPEC, ARRAYS, {})
    folder = store.path(SPEC)
    arrays, cell = folder / "arrays.npz", folder / "cell.json"
    content = bytearray(arrays.read_bytes())
    if damage == "bit":
        content[len(content) // 2] ^= 1
        arrays.write_bytes(content)
    elif damage == "truncated":
        arrays.write_bytes(content[:50])
    elif damage == "no arrays":
        arrays.unlink()
    elif damage == "no cell":
        cell.unlink()
    elif damage == "swapped":
        other = {"kind": "other"}
        store.save(other, {"a": np.zeros(1)}, {})
        for name in ("arrays.npz", "cell.json"):
            (folder / name).write_bytes((store.path(other) / name).read_bytes())
    else:
        cell.write_text("{" if damage == "not json" else "[]")
    for _ in range(2):  # twice: the second is set aside beside the first
        with caplog.at_level(logging.WARNING, "foolscope"):
            caplog.clear()
            assert store.load(SPEC) is None
        (record,) = caplog.records
        text = record.getMessage()
        assert re.match(rf"damaged result {folder.name[:12]} \(.+\): set aside in [^ ]+$", text, re.S)
        assert not folder.exists()
        store.save(SPEC, ARRAYS, {})
        assert store.load(SPEC) is not None
        store.path(SPEC).joinpath("arrays.npz").write_bytes(b"")
    assert len(list((tmp_path / "damaged").iterdir())) == 2


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.EACCES])
@pytest.mark.parametrize("reads", ["is_dir", "is_file", "read_text"])
def test_a_disk_that_cannot_be_read_costs_no_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, reads: str
) -> None:
    store = Store(tmp_path)
    store.save(SPEC, ARRAYS, {})

    def refused(self: Path, *_: object) -> None:
        raise OSError(number, os.strerror(number), str(self))

    with monkeypatch.context() as broken:
        broken.setattr(Path, reads, refused)
        expected = f"cannot read {store.path(SPEC)}: {os.strerror(number)}; nothing was changed there."
        with pytest.raises(StorageError, match=f"^{re.escape(expected)}$"):
            _ = SPEC in store if reads == "is_file" else store.load(SPEC)
    assert store.load(SPEC) is not None
    assert not (tmp_path / "damaged").exists()


def test_another_process_may_set_the_damaged_cell_aside_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.save(SPEC, ARRAYS, {})
    store.path(SPEC).joinpath("arrays.npz").write_bytes(b"")

    def gone(self: Path, target: Path) -> Path:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "rename", gone)
    assert store.load(SPEC) is None


def test_a_damaged_cell_that_cannot_be_moved_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.save(SPEC, ARRAYS, {})
    store.path(SPEC).joinpath("arrays.npz").write_bytes(b"")

    def refused(self: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(StorageError, match=r"^cannot set the damaged result .+ aside: .*Permission denied\.$"):
        store.load(SPEC)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device"), "no space left to write {path}; nothing was changed there."),
        (OSError(30, "Read-only file system"), "cannot write {path}: Read-only file system."),
    ],
)
def test_a_disk_that_takes_nothing_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, message: str
) -> None:
    store = Store(tmp_path)

    def refused(path: Path, **_: object) -> None:
        Path(path).write_bytes(b"half")
        raise error

    monkeypatch.setattr(np, "savez", refused)
    expected = message.format(path=store.path(SPEC))
    with pytest.raises(StorageError, match=f"^{re.escape(expected)}$"):
        store.save(SPEC, ARRAYS, {})
    assert SPEC not in store
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_root_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("")
    store = Store(tmp_path / "store")
    with pytest.raises(StorageError, match=f"^cannot write {re.escape(str(store.path(SPEC)))}: Not a directory\\.$"):
        store.save(SPEC, ARRAYS, {})


CHILD = """
import os, signal, sys
from pathlib import Path
import numpy as np
from foolscope.experiments import store

savez = np.savez
def half(path, **arrays):
    savez(path, **arrays)
    os.truncate(path, os.path.getsize(path) // 2)
    os.kill(os.getpid(), signal.SIGKILL)

np.savez = half
store.Store(Path(sys.argv[1])).save({"cell": 1}, {"a": np.arange(1000)}, {})
"""


def test_a_kill_in_the_middle_of_writing_leaves_no_cell(tmp_path: Path) -> None:
    child = subprocess.run([sys.executable, "-c", CHILD, str(tmp_path)], cwd=ROOT, timeout=120, env=os.environ)
    assert child.returncode == -signal.SIGKILL
    store = Store(tmp_path)
    assert {"cell": 1} not in store
    assert store.load({"cell": 1}) is None
    store.save({"cell": 1}, {"a": np.arange(1000)}, {})
    assert store.load({"cell": 1}) is not None
