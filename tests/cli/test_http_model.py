"""A model behind an HTTP endpoint on the command line: the server of docs/http-models.md is audited and attacked."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.cli.running import Program
from tests.support import ROOT

PAGE = (ROOT / "docs" / "http-models.md").read_text()


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    """The page's own example, on a free port."""
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.S | re.M)
    assert len(code.strip().splitlines()) <= 40
    names: dict[str, Any] = {"__name__": "example"}
    exec(code, names)
    handler: type[BaseHTTPRequestHandler] = names["Handler"]
    handler.log_message = lambda *_: None  # type: ignore[method-assign]
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def pictures(program: Program) -> str:
    """Dark and light pictures; one light picture is called dark."""
    rng = np.random.default_rng(0)
    for number in range(12):
        folder = Path("pictures") / ("light" if number % 2 else "dark")
        folder.mkdir(parents=True, exist_ok=True)
        low = 130 if number % 2 or number == 6 else 0
        Image.fromarray(rng.integers(low, low + 126, (8, 10, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return "folder:pictures"


def url(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}/classify"


@pytest.mark.parametrize("format", ["json", "png"])
def test_audit(program: Program, server: ThreadingHTTPServer, pictures: str, format: str) -> None:
    spec = f"{url(server)}?format=png" if format == "png" else url(server)
    asked = ("audit", spec, "--data", pictures)
    outcome = program(*asked, "--attacks", "filter:chain=agv-b", "--defense", "jpeg:quality=50", "--json")
    assert outcome.code == 0, outcome.err
    found = outcome.json
    assert found["clean"][0]["accuracy"]["successes"] == 11
    assert [each["mode"] for each in found["unrestricted"]] == ["none", "oblivious", "black box"]
    told = f"what answers at {url(server)}; a change of it is noticed by its answer to one image"
    assert found["about"]["model"]["weights"] == told
    assert found["about"]["model"]["spec"] == spec
    (report,) = Path("foolscope-reports").glob("*/report.html")
    assert told in report.read_text()
    again = program(*asked, "--attacks", "filter:chain=agv-b", "--defense", "jpeg:quality=50", "--json")
    assert again.json == found, "finished cells are found again"
    assert program.fails(*asked) == (
        f"{spec} gives no gradients: fgsm, pgd cannot attack it; square and filter:chain=agv-b can."
    )


def test_attack(program: Program, server: ThreadingHTTPServer, pictures: str) -> None:
    files = sorted(Path("pictures/dark").glob("*.png"))[:2]
    outcome = program("attack", "filter:chain=agv-b", *files, "--model", f"{url(server)}?classes=2", "--json")
    assert outcome.code == 0, outcome.err
    assert [row["label"] for row in outcome.json["images"]] == ["0", "0"]
    assert [row["backwards"] for row in outcome.json["images"]] == [0, 0]
    named = program("attack", "filter:chain=agv-b", *files, "--model", f"{url(server)}?labels=(dark|light)", "--json")
    assert [row["label"] for row in named.json["images"]] == ["dark", "dark"]


def test_a_server_that_is_not_there(program: Program, pictures: str, server: ThreadingHTTPServer) -> None:
    server.server_close()
    assert program.fails("audit", f"{url(server)}?retries=0", "--data", pictures, "--attacks", "filter:chain=juno") == (
        f"{url(server)} refuses the connection: no server listens there."
    )
    said = program.fails("audit", "http://user:pw@127.0.0.1/", "--data", pictures)
    assert said == "an address names no user or password, for results name it: http takes token=VARIABLE."


def test_the_page_shows_what_is_sent_and_which_options_there_are(program: Program) -> None:
    for name in ("http", "https"):
        outcome = program("models", name)
        assert outcome.code == 0
        assert outcome.out.startswith(f"{name}: a classifier behind an HTTP")
    names = {record["name"] for record in program("models", "http", "--json").json["parameters"]}
    assert set(re.findall(r"[?,`]([a-z]+)=", PAGE)) - {"model"} <= names
