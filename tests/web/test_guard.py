"""Who may ask, from where, with how much; and what every answer carries."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from foolscope.errors import ParameterError
from foolscope.web import bodies
from foolscope.web.app import STATIC
from foolscope.web.bodies import Bodies
from foolscope.web.problems import BusyError, GoneError, MalformedError, TooLargeError
from foolscope.web.settings import Settings, is_loopback
from tests.web.serving import Served, refused, serving

TOKEN = "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with a token, called lab.example.org by a proxy."""
    settings = Settings(port=0, token=TOKEN, names=("lab.example.org",), proxy_headers=True)
    with serving(tmp_path_factory.mktemp("closed"), settings) as running:
        yield running


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST", "127.0.0.2"])
def test_this_machines_names_are_answered(served: Served, host: str) -> None:
    assert served.get("/about", headers={"host": f"{host}:{served.port}"}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "192.168.1.5",
        "localhost.evil",
        "",
        "[::1",
        "[::2]",
        "0.0.0.0",
        "evil.com@localhost",
        "localhost/x",
        "localhost#x",
        "localhost?x",
    ],
)
def test_a_name_that_was_rebound_is_not(served: Served, host: str) -> None:
    line = refused(served.get("/about", headers={"host": host}), 403, "foreign")
    assert line == f"this server does not answer for the host '{host}'; 'foolscope serve --name' adds one."


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "http://[::1"},
        {"origin": ""},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_other_sites_pages_are_refused(served: Served, headers: dict[str, str], method: str) -> None:
    answer = served.client.request(method, "/api/v1/chains", headers=headers)
    assert "this request comes from another" in refused(answer, 403, "foreign")


def test_own_pages_and_links_to_the_page_are_not(served: Served) -> None:
    own = {"origin": f"http://127.0.0.1:{served.port}", "sec-fetch-site": "same-origin"}
    assert served.get("/chains", headers=own).status_code == 200
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert served.client.get("/", headers=link).status_code == 200


def test_every_answer_carries_its_policy(served: Served) -> None:
    style = next(STATIC.rglob("*.*")).relative_to(STATIC).as_posix()
    ids = set()
    for path in ("/", f"/static/{style}", "/api/v1/about", "/api/v1/nothing", "/healthz", "/static/nothing"):
        answer = served.client.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["cache-control"] in ("no-cache", "no-store")
        assert "server" not in answer.headers
        ids.add(answer.headers["x-request-id"])
    assert len(ids) == 6


def test_scripts_have_the_type_that_browsers_run(served: Served) -> None:
    for path in STATIC.rglob("*.js"):
        answer = served.client.get(f"/static/{path.relative_to(STATIC).as_posix()}")
        assert answer.headers["content-type"].startswith("text/javascript"), path


@pytest.mark.parametrize(
    "path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd",
             "/static/%00", "/api/v1/images/..%2f..%2fx.png", "/api/v1/gallery/%00", "/api/v1/jobs/..",
             "/api/v1/reports/../../job.json", "/api/v1/reports/0/job.json", "/api/v1/chains/..%2f..%2fx",
             "/api/v1/jobs/" + "0" * 20, "/static/" + "x" * 3000],
)  # fmt: skip
def test_paths_lead_nowhere_else(served: Served, path: str) -> None:
    request = served.client.build_request("GET", "/")
    request.url = request.url.copy_with(raw_path=path.encode())
    answer = served.client.send(request)
    assert answer.status_code in (404, 422), answer.text
    refused(answer, answer.status_code, answer.json()["kind"])


def test_what_load_balancers_and_download_managers_ask(served: Served) -> None:
    for path in ("/", "/healthz", "/static/index.html"):
        answer = served.client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")
    for wanted in ("bytes=0-3", "bytes=99999999-", "bytes=x"):
        answer = served.client.get("/static/index.html", headers={"range": wanted})
        assert answer.status_code == 200, "files are given whole"
        assert answer.content == (STATIC / "index.html").read_bytes()
    url = served.post("/predict", model="resnet20", image="photos-0").json()["shown"]["url"]
    tag = served.client.get(url).headers["etag"]
    for given, status in (("*", 304), (f'"x", {tag}', 304), (f"W/{tag}", 304), ('"x"', 200), ("", 200)):
        assert served.client.get(url, headers={"if-none-match": given}).status_code == status, given


def test_unknown_methods(served: Served) -> None:
    answer = served.client.put("/api/v1/chains")
    assert refused(answer, 405, "method") == "'/api/v1/chains' does not know PUT."
    assert "GET" in answer.headers["allow"]


def test_the_token_opens_everything(closed: Served) -> None:
    line = refused(closed.get("/about"), 401, "token")
    assert line == "this server wants its token, as 'Authorization: Bearer TOKEN' or by signing in."
    assert closed.get("/about").headers["www-authenticate"] == "Bearer"
    for wrong in ("Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer \xff", f"Bearer {TOKEN[:-1]}"):
        refused(closed.get("/about", headers={"authorization": wrong.encode("latin-1")}), 401, "token")
    for right in (f"Bearer {TOKEN}", f"bearer  {TOKEN}"):
        assert closed.get("/about", headers={"authorization": right}).status_code == 200
    assert closed.client.get("/healthz").status_code == 200
    assert closed.client.get("/").status_code == 200, "the page itself, which asks for the token"


def test_signing_in(closed: Served) -> None:
    base = str(closed.client.base_url)
    with httpx.Client(base_url=base) as browser:
        assert browser.get("/api/v1/session").json() == {"needed": True, "signed_in": False}
        refused(browser.post("/api/v1/session", json={"token": "wrong"}), 401, "token")
        answer = browser.post("/api/v1/session", json={"token": TOKEN})
        assert answer.status_code == 204
        cookie = answer.headers["set-cookie"]
        assert TOKEN not in cookie
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert "Secure" not in cookie
        assert browser.get("/api/v1/session").json() == {"needed": True, "signed_in": True}
        assert browser.get("/api/v1/about").status_code == 200
        assert browser.delete("/api/v1/session").status_code == 204
        refused(browser.get("/api/v1/about"), 401, "token")
        led = browser.get("/", params={"token": TOKEN})
        assert (led.status_code, led.headers["location"]) == (303, "/")
        assert browser.get("/api/v1/about").status_code == 200
    for cookie in ("foolscope-session=x", "foolscope-session=\xff", ";;;=", 'foolscope-session="', f"a={TOKEN}"):
        refused(closed.get("/about", headers={"cookie": cookie.encode("latin-1")}), 401, "token")


def logged(caplog: pytest.LogCaptureFixture, answer: httpx.Response) -> dict[str, Any]:
    """The log's fields of the request that got this answer; they are written once it is sent."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for fields in [record.fields for record in caplog.records if hasattr(record, "fields")]:
            if fields.get("id") == answer.headers["x-request-id"]:
                return dict(fields)
        time.sleep(0.005)
    raise AssertionError("nothing was logged")


def test_a_proxy_says_who_asks(closed: Served, caplog: pytest.LogCaptureFixture) -> None:
    headers = {
        "host": "lab.example.org", "origin": "https://lab.example.org", "x-forwarded-for": "203.0.113.9",
        "x-forwarded-proto": "https",
    }  # fmt: skip
    with caplog.at_level(logging.INFO, "foolscope.web"):
        answer = closed.client.post("/api/v1/session", json={"token": TOKEN}, headers=headers)
        assert logged(caplog, answer)["client"] == "203.0.113.9"
    assert "Secure" in answer.headers["set-cookie"]


def test_proxy_headers_are_off_by_default(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "foolscope.web"):
        answer = served.get("/about", headers={"x-forwarded-for": "203.0.113.9"}, params={"token": "secret"})
        fields = logged(caplog, answer)
    assert fields["client"] == "127.0.0.1"
    assert (fields["method"], fields["path"], fields["status"]) == ("GET", "/api/v1/about", 200)
    assert fields["ms"] >= 0
    assert "secret" not in json.dumps(fields)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"host": "0.0.0.0"}, "0.0.0.0 can be reached from other machines: give --token."),
        ({"host": "::"}, ":: can be reached from other machines: give --token."),
        ({"host": "lab.example.org"}, "lab.example.org can be reached from other machines: give --token."),
        ({"host": "0.0.0.0", "token": "short"}, "--token needs at least 16 characters, all ASCII"),
        ({"token": "ä" * 20}, "--token needs at least 16 characters, all ASCII"),
        ({"names": ("lab.example.org",)}, "--name and --proxy-headers are for others to come in: give --token."),
        ({"proxy_headers": True}, "--name and --proxy-headers are for others to come in: give --token."),
        ({"names": ("a b",), "token": TOKEN}, "--name 'a b' is no host name, such as lab.example.org."),
        ({"port": 65_536}, "--port must be between 0 and 65535, got 65536."),
        ({"workers": 0}, "--workers must be between 1 and 64, got 0."),
    ],
)
def test_settings_that_are_refused(given: dict[str, Any], line: str) -> None:
    with pytest.raises(ParameterError) as caught:
        Settings(**given)
    assert line in str(caught.value)


def test_settings_round_trip_and_hide_the_token() -> None:
    settings = Settings(host="0.0.0.0", token=TOKEN, names=("a.b",), models=("py:x:y",), offline=True)
    assert Settings.from_json(settings.to_json()) == settings
    assert TOKEN not in repr(settings)
    assert [is_loopback(host) for host in ("localhost", "::1", "[::1]", "127.9.9.9", "10.0.0.1", "x")] == [
        True, True, True, True, False, False,
    ]  # fmt: skip


def _receive(*messages: dict[str, Any]) -> bodies.Receive:
    waiting = list(messages)

    async def receive() -> bodies.Message:
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    return receive


def _part(content: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": content, "more_body": more}


def test_all_bodies_together_are_bounded() -> None:
    """Four uploads' worth at a time; who comes then is told to try again, and what has ended makes room."""

    async def scenario() -> None:
        held = Bodies(1000)
        whole = _part(bytes(1000), more=False)
        async with (
            held.read("/api/v1/images", "a", "1000", _receive(whole)),
            held.read("/api/v1/images", "a", "1000", _receive(whole)),
            held.read("/api/v1/images", "b", "1000", _receive(whole)),
        ):
            with pytest.raises(BusyError, match="too many uploads at once: try again"):  # half of all are a's already
                async with held.read("/api/v1/images", "a", "1", _receive(_part(b"x", more=False))):
                    pass
            async with held.read("/api/v1/images", "c", "", _receive(_part(b"a"), _part(b"b", more=False))) as body:
                assert body == b"ab"
            async with held.read("/api/v1/images", "c", "1000", _receive(whole)):
                for client in "bc":
                    with pytest.raises(BusyError, match="too many uploads at once: try again"):
                        async with held.read("/api/v1/images", client, "1", _receive(_part(b"x", more=False))):
                            pass
                async with held.read("/api/v1/predict", "a", "1", _receive(_part(b"x", more=False))) as body:
                    assert body == b"x", "uploads leave room for what is short"
        assert held._uploads.held == held._short.held == {}

    asyncio.run(scenario())


def test_bodies_that_do_not_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_PAUSE", 0.01)

    async def scenario() -> None:
        held = Bodies(1000)
        cases: list[tuple[list[dict[str, Any]], type[Exception]]] = [
            ([_part(b"x")], MalformedError),
            ([_part(bytes(100)), _part(b"")], MalformedError),
            ([_part(b"x"), {"type": "http.disconnect"}], GoneError),
            ([_part(bytes(9000), more=False)], TooLargeError),
        ]
        for messages, error in cases:
            with pytest.raises(error):
                async with held.read("/api/v1/images", "a", "9" * 5000, _receive(*messages)):
                    pass
        assert held._uploads.held == {}

    asyncio.run(scenario())
