"""The examples of docs/api.md are run, and every endpoint stands there."""

from __future__ import annotations

import io
import json
import math
import re
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from tests.support import ROOT
from tests.web.serving import Served

TEXT = (ROOT / "docs" / "api.md").read_text()
BLOCKS = re.findall(r"```http\n(\w+) (\S+)\n(.*?)```\n```json\n(\d+) (.*?)\n```", TEXT, re.S)


@dataclass(frozen=True)
class Example:
    method: str
    path: str
    body: str
    status: int
    answer: str

    def __str__(self) -> str:
        return f"{self.method} {urlsplit(self.path).path} {self.status}"


EXAMPLES = [Example(m, p, b.strip(), int(s), a) for m, p, b, s, a in BLOCKS]


def photo() -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((600, 400)).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()


def fits(expected: Any, found: Any) -> bool:
    """Whether an answer is as documented: '…' in a string stands for anything, at a list's end for more, '*' too."""
    if expected == "*":
        return True
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and set(expected) == set(found)
            and all(fits(value, found[key]) for key, value in expected.items())
        )
    if isinstance(expected, list):
        more = bool(expected) and expected[-1] == "…"
        shown = expected[:-1] if more else expected
        return (
            isinstance(found, list)
            and (len(found) >= len(shown) if more else len(found) == len(shown))
            and all(fits(*pair) for pair in zip(shown, found, strict=False))
        )
    if isinstance(expected, str) and isinstance(found, str):
        return re.fullmatch(".*".join(map(re.escape, expected.split("…"))), found, re.S) is not None
    if isinstance(expected, float):
        return isinstance(found, float) and math.isclose(expected, found, rel_tol=0.01, abs_tol=1e-4)
    return type(expected) is type(found) and bool(expected == found)


def test_every_example_is_found() -> None:
    assert len(EXAMPLES) == TEXT.count("```http") >= 15


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_examples_run(served: Served, example: Example) -> None:
    content = photo() if example.body == "@photo.jpg" else example.body.encode()
    kind = {} if example.body == "@photo.jpg" else {"content-type": "application/json"}
    answer = served.client.request(example.method, example.path, content=content or None, headers=kind)
    assert answer.status_code == example.status, answer.text
    if example.answer == "image/png":
        assert answer.headers["content-type"] == "image/png"
        assert Image.open(io.BytesIO(answer.content)).size == (32, 32)
        return
    found = answer.json()
    assert fits(json.loads(example.answer), found), json.dumps(found, indent=1, ensure_ascii=False)
    if example.path.endswith("/jobs") and answer.status_code == 202:
        served.client.post(f"{example.path}/{found['id']}/cancel")
    if example.path.endswith("/detect"):
        while served.client.post(example.path, json=json.loads(example.body)).json()["calibration"] == "calibrating":
            time.sleep(0.1)


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ("a…", "b"),
        (["a"], ["a", "b"]),
        (["a", "…"], []),
        ({"a": 1}, {"a": 1, "b": 2}),
        (1, True),
        (0.5, 0.6),
        (None, 0),
    ],
)
def test_other_answers_would_be_noticed(expected: Any, found: Any) -> None:
    assert not fits(expected, found)


def test_every_endpoint_is_documented_and_no_other(served: Served) -> None:
    """Placeholders aside: the text writes `…`, `{id}` or `{set}` for them."""
    paths = served.get("/openapi.json").json()["paths"]
    said = {re.sub(r"\{\w+\}|…", "*", path) for path in re.findall(r"/api/v1(/[^\s`?|\"\\]+)", TEXT)}
    concrete = {re.sub(r"\{\w+\}", "*", path.removeprefix("/api/v1")) for path in paths}
    for path in concrete:
        assert any(re.fullmatch(re.escape(path).replace(r"\*", "[^/]+"), one) for one in said), path
    known = {method.upper() for entry in paths.values() for method in entry}
    assert known == {"GET", "POST", "PATCH", "DELETE"}


def test_openapi_has_examples_and_problems(served: Served) -> None:
    description = served.get("/openapi.json").json()
    assert description["info"]["title"] == "foolscope"
    schemas = description["components"]["schemas"]
    for name in (
        "PredictRequest", "AttackRequest", "DefendRequest", "ChainRequest", "AuditRequest", "MapsRequest",
        "FrequencyRequest", "ExperimentRequest",
    ):  # fmt: skip
        assert schemas[name]["examples"], name
    for path, entry in description["paths"].items():
        for method, told in entry.items():
            assert told["summary"], (path, method)
            assert "application/problem+json" in told["responses"]["422"]["content"], (path, method)
