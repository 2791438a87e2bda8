"""Files are written whole or not at all, and lie where the user said."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foolscope import files
from foolscope.errors import MissingError, StorageError


def failing(error: OSError) -> Any:
    def fail(*arguments: Any, **options: Any) -> Any:
        raise error

    return fail


FULL = OSError(errno.ENOSPC, "No space left on device")


# --- folders ----------------------------------------------------------------------------------------------------------


def test_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FOOLSCOPE_HOME", "~/mine")
    assert files.home() == tmp_path / "mine"
    monkeypatch.delenv("FOOLSCOPE_HOME")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert files.home() == tmp_path / "xdg" / "foolscope"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert files.home() == tmp_path / ".cache" / "foolscope"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert files.home() == tmp_path / "Library" / "Caches" / "foolscope"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert files.home() == tmp_path / "local" / "foolscope"
    assert list(tmp_path.iterdir()) == [], "asking creates nothing"


def test_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FOOLSCOPE_DATA", raising=False)
    assert files.data_folder() is None
    monkeypatch.setenv("FOOLSCOPE_DATA", str(tmp_path))
    assert files.data_folder() == tmp_path
    monkeypatch.setenv("FOOLSCOPE_DATA", str(tmp_path / "none"))
    message = f"FOOLSCOPE_DATA names '{tmp_path / 'none'}', which is no folder."
    with pytest.raises(MissingError, match=f"^{re.escape(message)}$"):
        files.data_folder()


# --- whole or not at all ----------------------------------------------------------------------------------------------


def test_a_file_is_written_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "result.json"
    files.write_json(path, {"b": 1, "a": [1.5, None]})
    assert json.loads(path.read_text()) == {"b": 1, "a": [1.5, None]}
    assert path.read_text().endswith("}\n")
    files.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in path.parent.iterdir()] == ["result.json"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_others_may_read_a_file_as_the_user_wants(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        files.write_bytes(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"old")
    with files.replacing(path) as temporary:
        assert temporary.parent.parent == tmp_path, "moving is only atomic within one file system"
        temporary.write_bytes(b"half")
        assert path.read_bytes() == b"old"
        temporary.write_bytes(b"whole")
    assert path.read_bytes() == b"whole"


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
@pytest.mark.parametrize("exists", [True, False])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: BaseException, exists: bool) -> None:
    path = tmp_path / "weights"
    if exists:
        path.write_bytes(b"old")
    with pytest.raises(type(error)), files.replacing(path) as temporary:
        temporary.write_bytes(b"half")
        raise error
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == ([("weights", b"old")] if exists else [])


@pytest.mark.parametrize("where", ["mkdir", "write_bytes", "replace"])
def test_a_full_disk_is_one_clear_line(tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"old")
    with monkeypatch.context() as patch:
        patch.setattr(Path, where, failing(FULL))
        message = f"no space left to write {path}; nothing was changed there."
        with pytest.raises(StorageError, match=f"^{re.escape(message)}$") as caught:
            files.write_bytes(path, b"new")
    assert caught.value.__cause__ is FULL
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("weights", b"old")]


def test_a_full_disk_where_the_temporary_file_would_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "mkdtemp", failing(FULL))
    with pytest.raises(StorageError, match=r"^no space left to write .*weights; nothing was changed there\.$"):
        files.write_bytes(tmp_path / "weights", b"new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "Permission denied"),
        (OSError(errno.EROFS, "Read-only file system"), "Read-only file system"),
        (OSError("strange"), "strange"),
    ],
)
def test_other_failures_give_their_reason(
    tmp_path: Path, error: OSError, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights"
    monkeypatch.setattr(Path, "write_bytes", failing(error))
    with pytest.raises(StorageError, match=f"^{re.escape(f'cannot write {path}: {reason}.')}$"):
        files.write_bytes(path, b"new")


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    path = tmp_path / "file" / "inner" / "weights"
    with pytest.raises(StorageError, match=f"^{re.escape(f'cannot write {path}: ')}.+\\.$"):
        files.write_bytes(path, b"new")


def test_json_has_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "x.json", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.canonical_json(float("inf"))


# --- digests ----------------------------------------------------------------------------------------------------------

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def reordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    return [reordered(item) for item in value] if isinstance(value, list) else value


@given(values)
def test_canonical_json_does_not_depend_on_the_order_of_keys(value: Any) -> None:
    text = files.canonical_json(value)
    assert files.canonical_json(reordered(value)) == text
    assert json.loads(text) == value
    assert files.canonical_json(json.loads(text)) == text


def test_canonical_json_by_hand() -> None:
    assert files.canonical_json({"b": [1, 2.5, None], "a": {"ä": True}}) == '{"a":{"\\u00e4":true},"b":[1,2.5,null]}'


@given(st.lists(st.binary(max_size=4), max_size=4), st.lists(st.binary(max_size=4), max_size=4))
def test_digests_tell_where_parts_end(first: list[bytes], second: list[bytes]) -> None:
    assert (files.digest(*first) == files.digest(*second)) == (first == second)


def test_digests_by_hand(tmp_path: Path) -> None:
    expected = hashlib.sha256(b"\x02" + bytes(7) + b"\xc3\xa4").hexdigest()
    assert files.digest("ä") == files.digest("ä".encode()) == expected
    path = tmp_path / "file"
    path.write_bytes(os.urandom(300_000))
    assert files.file_digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()


# --- before the work --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "new", "new/deep"])
def test_a_folder_that_can_be_written_is_left_as_it_is(tmp_path: Path, name: str) -> None:
    files.check_writable(tmp_path / name, "name another")
    assert not list(tmp_path.iterdir())


def test_relative_folders_are_looked_for_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files.check_writable(Path("a/b"), "name another")
    Path("a").write_text("")
    with pytest.raises(StorageError, match=r"^cannot write into a/b: a is a file, not a folder: name another\.$"):
        files.check_writable(Path("a/b"), "name another")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="there is no /proc")
def test_a_folder_in_which_no_file_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    message = r"^cannot write into /proc/nope: no file can be made in /proc \([a-z ]+\): name another\.$"
    with pytest.raises(StorageError, match=message):
        files.check_writable(Path("/proc/nope"), "name another")
    monkeypatch.setenv("FOOLSCOPE_HOME", "/proc/nope")
    with pytest.raises(StorageError, match=r"set FOOLSCOPE_HOME to a folder that can be written\.$"):
        files.check_home()


def test_a_write_that_fails_in_the_home_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOOLSCOPE_HOME", str(tmp_path))
    error = files.storage_error(tmp_path / "a" / "b", OSError(errno.EACCES, "Permission denied"))
    expected = f"cannot write {tmp_path}/a/b: Permission denied: set FOOLSCOPE_HOME to a folder that can be written."
    assert str(error) == expected


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_files_can_be_read_by_those_whom_the_umask_lets(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with files.replacing(tmp_path / "net") as temporary:
            temporary.touch(mode=0o600)  # as safetensors and torch.hub do
    finally:
        os.umask(before)
    assert (tmp_path / "net").stat().st_mode & 0o777 == 0o640
