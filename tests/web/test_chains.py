"""Saved chains: kept over restarts, taken from files of ours and of the thesis, changed by many at once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from foolscope.filters import AGV_A, Chain, parse_chain
from foolscope.web.chains import ChainShelf
from tests.web.serving import Served, refused, serving

API = "/api/v1/chains"


@pytest.fixture
def empty(served: Served) -> Iterator[Served]:
    """The server, without saved chains before and after."""
    yield served
    for kept in served.get("/chains").json()["chains"]:
        if kept["saved"]:
            served.client.delete(f"{API}/{kept['id']}")


def save(served: Served, title: str, spec: str) -> dict[str, Any]:
    answer = served.post("/chains", title=title, spec=spec)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_saved_chains_are_listed_last_and_survive_a_restart(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        ids = [save(first, title, "juno|lark:strength=0.5")["id"] for title in ("one", "two")]
    with serving(tmp_path) as second:
        chains = second.get("/chains").json()["chains"]
    assert [chain["id"] for chain in chains] == ["agv-a", "agv-b", *ids]
    assert [chain["title"] for chain in chains] == ["AGV-A", "AGV-B", "one", "two"]
    assert [chain["saved"] for chain in chains] == [False, False, True, True]


def test_a_chain_is_renamed_changed_and_deleted(empty: Served) -> None:
    kept = save(empty, "cold", "clarendon:strength=0.8,intensity=1.1|juno")
    path = f"{API}/{kept['id']}"
    assert empty.client.patch(path, json={"title": "warm"}).json() == kept | {"title": "warm"}
    changed = empty.client.patch(path, json={"spec": "rise:strength=0.3"}).json()
    assert (changed["title"], changed["spec"]) == ("warm", "rise:strength=0.3")
    assert changed["steps"] == [{"filter": "rise", "strength": 0.3, "intensity": 1.0}]
    assert empty.client.get(path).json() == changed
    shown = empty.get("/preview.png", params={"image": "photos-0", "chain": kept["id"]})
    assert shown.content == empty.get("/preview.png", params={"image": "photos-0", "chain": changed["spec"]}).content
    assert empty.client.delete(path).status_code == 204
    for method in ("DELETE", "GET", "PATCH"):
        answer = empty.client.request(method, path, json={"title": "x"} if method == "PATCH" else None)
        assert refused(answer, 404, "not-found") == (f"there is no chain '{kept['id']}': GET /api/v1/chains lists all.")


def test_shipped_chains_stay(served: Served) -> None:
    line = "'agv-a' comes with foolscope: save a copy to change it."
    assert refused(served.client.delete(f"{API}/agv-a"), 409, "conflict") == line
    assert refused(served.client.patch(f"{API}/agv-a", json={"title": "x"}), 409, "conflict") == line


def test_concurrent_deletes_are_one_delete(empty: Served) -> None:
    path = f"{API}/{save(empty, 'one', 'juno')['id']}"
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: empty.client.delete(path), range(16)))
    assert Counter(answer.status_code for answer in answers) == {204: 1, 404: 15}


def test_concurrent_saves_lose_nothing(tmp_path: Path) -> None:
    shelves = [ChainShelf(tmp_path / "chains") for _ in range(2)]
    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(lambda place: shelves[place % 2].add(parse_chain("juno")), range(24)))
    assert {one.id for one in kept} == {one.id for one in shelves[0].listed() if one.saved}
    assert not [path for path in (tmp_path / "chains").iterdir() if path.name.startswith(".part")]


def test_a_file_of_the_thesis_comes_in_and_goes_out(empty: Served) -> None:
    exported = empty.client.get(f"{API}/agv-a/export", params={"format": "thesis"})
    assert exported.headers["content-disposition"] == 'attachment; filename="AGV-A.json"'
    assert exported.json()["filters"] == [3, 4, 1, 2, 1]
    answer = empty.client.post(f"{API}/import", content=exported.content, params={"title": "again"})
    assert answer.status_code == 201
    assert answer.json()["spec"] == AGV_A.spec()
    read_as_code = empty.client.post(f"{API}/import", content=exported.content, params={"ids": "code"}).json()
    assert [step["filter"] for step in read_as_code["steps"]] == ["reyes", "lark", "gingham", "juno", "gingham"]
    ours = empty.client.get(f"{API}/{answer.json()['id']}/export").content
    assert Chain.from_json(ours).title == "again"
    assert empty.client.post(f"{API}/import", content=ours).json()["spec"] == AGV_A.spec()
    kept = save(empty, "new", "hudson")
    line = refused(empty.client.get(f"{API}/{kept['id']}/export", params={"format": "thesis"}), 422, "parameter")
    assert line == "the thesis has no filter hudson: it has clarendon, gingham, reyes, juno, lark."


def _chain(**changed: Any) -> bytes:
    step = {"name": "juno", "strength": 0.5, "intensity": 1.0}
    content = {"format": "foolscope-chain", "version": 1, "title": "t", "filters": [step]} | changed
    return json.dumps(content).encode()


HOSTILE = {
    "empty": b"",
    "no JSON": b"\x89PNG",
    "not UTF-8": b'"\xff"',
    "deep": b"[" * 100_000,
    "deep objects": b'{"filters":' * 20_000,
    "huge number": b'{"filters": [0], "params": [1' + b"0" * 400 + b", 1]}",
    "endless digits": b'{"filters": [' + b"9" * 10_000 + b'], "params": [1, 1]}',
    "NaN": b'{"filters": [0], "params": [NaN, 1]}',
    "infinity": b'{"filters": [0], "params": [1e999, 1]}',
    "10,000 filters": json.dumps({"filters": [0] * 10_000, "params": [1, 1] * 10_000}).encode(),
    "no filters": b'{"filters": [], "params": []}',
    "unknown id": b'{"filters": [99], "params": [1, 1]}',
    "boolean id": b'{"filters": [true], "params": [1, 1]}',
    "path": _chain(filters=[{"name": "../../etc/passwd"}]),
    "spec": _chain(filters=[{"name": "py:os:system"}]),
    "wrong types": _chain(filters={"name": "juno"}),
    "strength": _chain(filters=[{"name": "juno", "strength": 7}]),
    "other version": _chain(version=99),
    "unknown key": _chain(script="x"),
    "title of lines": _chain(title="a\nb"),
    "long title": _chain(title="x" * 1000),
    "surrogate": b'{"format": "foolscope-chain", "version": 1, "title": "\\ud800", "filters": [{"name": "juno"}]}',
    "list": b"[]",
    "null": b"null",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_one_line(served: Served, name: str) -> None:
    before = served.get("/chains").json()
    answer = served.client.post(f"{API}/import", content=HOSTILE[name])
    assert answer.status_code == 422, answer.text
    line = refused(answer, 422, answer.json()["kind"])
    assert line.startswith("the file: ") or "strength" in line, line
    assert served.get("/chains").json() == before


def test_a_pickle_in_a_file_of_the_thesis_is_ignored(empty: Served) -> None:
    content = {
        "filters": [0],
        "params": [[0.5, 1]],
        "pickle": "gASVIAAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOUjAJpZJSFlFKULg==",
    }
    answer = empty.client.post(f"{API}/import", content=json.dumps(content).encode())
    assert answer.json()["steps"] == [{"filter": "clarendon", "strength": 0.5, "intensity": 1.0}]


def test_files_and_titles_have_their_limits(served: Served) -> None:
    refused(served.client.post(f"{API}/import", content=bytes(2 << 20)), 413, "too-large")
    assert "title" in refused(served.post("/chains", title="x" * 101, spec="juno"), 422, "invalid")
    line = refused(served.post("/chains", title="a\nb", spec="juno"), 422, "parameter")
    assert line == "a title is one line of at most 100 characters."
    refused(served.post("/chains", spec="nothing"), 422, "spec")


def test_damaged_files_on_the_shelf_are_left_out(empty: Served) -> None:
    kept = save(empty, "one", "juno")
    path = empty.home / "chains" / f"{kept['id']}.json"
    path.write_text("{")
    assert kept["id"] not in [chain["id"] for chain in empty.get("/chains").json()["chains"]]
    assert "not JSON" in refused(empty.client.get(f"{API}/{kept['id']}"), 422, "corrupt")
    assert empty.client.delete(f"{API}/{kept['id']}").status_code == 204
