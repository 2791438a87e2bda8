"""Models behind HTTP endpoints: what is sent, what is read, what is repeated, and what every failure says."""

from __future__ import annotations

import base64
import contextlib
import copy
import email.utils
import io
import json
import pickle
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from foolscope.errors import FoolscopeError, InputError, MissingError, ParameterError, SpecError
from foolscope.models import Classifier, Task, http_client, load_model, status
from foolscope.models import http as http_model
from foolscope.models.engine import Engine
from foolscope.models.fingerprint import model_digest
from foolscope.models.http import HttpModel, HttpsModel
from foolscope.randomness import generator

SHAPE = (1, 4, 3)
TASK = Task(name="tiny", input_shape=SHAPE, num_classes=5, class_names=("a", "b", "c", "d", "e"))
WEIGHT = torch.randn(5, 12, generator=generator(1))
CERTIFICATE = Path(__file__).with_name("localhost.pem")


@dataclass(frozen=True)
class Request:
    """What the endpoint was sent; `port` is the client's, so that one connection has one."""

    path: str
    headers: dict[str, str]
    body: bytes
    port: int

    @property
    def images(self) -> Tensor:
        if self.headers["Content-Type"] == "image/png":
            pixels = np.asarray(Image.open(io.BytesIO(self.body)), dtype=np.float32) / 255
            return torch.from_numpy(pixels.reshape(1, *pixels.shape[:2], -1).transpose(0, 3, 1, 2).copy())
        asked = json.loads(self.body)
        assert set(asked) == {"shape", "dtype", "images"}
        values = np.frombuffer(base64.b64decode(asked["images"], validate=True), asked["dtype"])
        return torch.from_numpy(values.reshape(asked["shape"]).copy())


@dataclass(frozen=True)
class Reply:
    """What the endpoint answers; `raw` goes out instead of a whole HTTP answer, and then it hangs up."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None


def logits(request: Request) -> Reply:
    return Reply({"logits": (request.images.flatten(1) @ WEIGHT.T).tolist()})


class Endpoint(ThreadingHTTPServer):
    """Answers with the replies of `script`, one a request, and with `answer` when these are used up."""

    daemon_threads = True

    def __init__(self, secure: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[Request] = []
        self.script: list[Reply | Callable[[Request], Reply]] = []
        self.answer: Callable[[Request], Reply] = logits
        self.scheme = "https" if secure else "http"
        if secure:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
            self.socket = context.wrap_socket(self.socket, server_side=True)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}/classify"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is part of these tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version, disable_nagle_algorithm = "HTTP/1.1", True
    server: Endpoint

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = Request(self.path, dict(self.headers), body, self.client_address[1])
        self.server.requests.append(request)
        found = self.server.script.pop(0) if self.server.script else self.server.answer
        reply = found if isinstance(found, Reply) else found(request)
        if reply.raw is not None:
            self.wfile.write(reply.raw)
            self.close_connection = True
            return
        content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(content)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None: ...


def serving(server: Endpoint) -> Iterator[Endpoint]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    yield from serving(Endpoint())


@pytest.fixture
def secure() -> Iterator[Endpoint]:
    yield from serving(Endpoint(secure=True))


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that would have been waited."""
    waited: list[float] = []
    monkeypatch.setattr(http_client, "sleep", waited.append)
    return waited


@pytest.fixture
def images() -> Tensor:
    return torch.rand(7, *SHAPE, generator=generator(0))


def loaded(endpoint: Endpoint, options: str = "", task: Task | None = TASK) -> Classifier:
    """The model behind the endpoint; its first request is forgotten."""
    model = load_model(endpoint.url + (f"?{options}" if options else ""), task)
    assert isinstance(model, Classifier)
    endpoint.requests.clear()
    return model


def failing(call: Callable[[], object], kind: type[FoolscopeError]) -> str:
    with pytest.raises(FoolscopeError) as caught:
        call()
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- what is sent and read --------------------------------------------------------------------------------------------


def test_json_is_exact_in_as_few_requests_as_the_batch_allows(endpoint: Endpoint, images: Tensor) -> None:
    model = loaded(endpoint, "batch=3")
    found = Engine(model).logits(images)
    assert torch.allclose(found, images.flatten(1) @ WEIGHT.T, atol=1e-6)
    assert [len(request.images) for request in endpoint.requests] == [3, 3, 1]
    assert torch.equal(torch.cat([request.images for request in endpoint.requests]), images)
    (headers,) = {tuple(sorted(r.headers.items())) for r in endpoint.requests if len(r.images) == 3}
    assert dict(headers)["Content-Type"] == "application/json"
    assert "Authorization" not in dict(headers)


def test_png_is_one_image_a_request_rounded_to_8_bits(endpoint: Endpoint, images: Tensor) -> None:
    model = loaded(endpoint, "format=png")
    found = model(images)
    assert torch.equal(torch.cat([request.images for request in endpoint.requests]), (images * 255).round() / 255)
    assert {request.headers["Content-Type"] for request in endpoint.requests} == {"image/png"}
    assert torch.allclose(found, (images * 255).round().div(255).flatten(1) @ WEIGHT.T, atol=1e-6)


def test_color_images(endpoint: Endpoint) -> None:
    colored = torch.rand(2, 3, 5, 4, generator=generator(3))
    endpoint.answer = lambda request: Reply({"logits": request.images.mean((2, 3)).tolist()})
    for form in ("json", "png"):
        model = loaded(endpoint, f"format={form},classes=3", None)
        given = colored if form == "json" else (colored * 255).round() / 255
        torch.testing.assert_close(model(colored), given.mean((2, 3)))
        assert model.input_shape == (3, None, None)


def test_probabilities_become_their_logarithms(endpoint: Endpoint) -> None:
    endpoint.answer = lambda request: Reply({"probabilities": [[0.25, 0.75, 0]] * len(request.images), "seconds": 1})
    found = loaded(endpoint)(torch.zeros(2, *SHAPE))
    assert found.dtype == torch.float32
    want = torch.tensor([0.25, 0.75, torch.finfo(torch.float32).tiny]).log()
    torch.testing.assert_close(found, want.expand(2, 3))


def test_a_connection_is_kept(endpoint: Endpoint, images: Tensor) -> None:
    model = loaded(endpoint, "batch=1")
    model(images)
    assert len({request.port for request in endpoint.requests}) == 1
    assert {request.path for request in endpoint.requests} == {"/classify"}


def test_a_kept_connection_that_was_closed_is_opened_again(
    endpoint: Endpoint, images: Tensor, waits: list[float]
) -> None:
    model = loaded(endpoint, "retries=0")
    whole = json.dumps(logits(Request("", {"Content-Type": ""}, body_of(images), 0)).body).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(whole)}\r\n\r\n".encode()
    endpoint.script = [Reply(raw=head + whole)]  # does not say that it will close
    first = model(images)
    time.sleep(0.05)  # or the client could write before it is closed; both go well
    assert torch.equal(model(images), first)
    assert waits == []
    assert len({request.port for request in endpoint.requests}) == 2


def body_of(images: Tensor) -> bytes:
    return http_model.encoded(images, "json")[1]


def test_an_address_may_have_a_query_and_no_path(endpoint: Endpoint, images: Tensor) -> None:
    port = endpoint.server_port
    for spec, path in [
        (f"http:(//127.0.0.1:{port}/x?model=b,c=d)?batch=8", "/x?model=b,c=d"),
        (f"http://127.0.0.1:{port}", "/"),
    ]:
        model = load_model(spec, TASK)
        assert model(images).shape == (7, 5)
        assert endpoint.requests[-1].path == path


def test_answers_in_pieces_are_read(endpoint: Endpoint, images: Tensor) -> None:
    content = json.dumps({"logits": [[1.5, 2]]}).encode()
    pieces = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (content[:5], content[5:])) + b"0\r\n\r\n"
    for raw in (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces,
        b"HTTP/1.0 200 OK\r\n\r\n" + content,
    ):
        endpoint.script = [Reply(raw=raw)]
        model = load_model(f"{endpoint.url}?classes=2,channels=1")
        assert model(images[:1]).tolist() == [[1.5, 2.0]]


# --- what is known about the model ------------------------------------------------------------------------------------


def test_classes_and_their_names(endpoint: Endpoint) -> None:
    def known(options: str = "", task: Task | None = TASK) -> tuple[int, tuple[str, ...] | None]:
        model = loaded(endpoint, options, task)
        return model.num_classes, model.class_names

    assert known() == (5, TASK.class_names)
    assert known("labels=(u|v|w|x | y,z)") == (5, ("u", "v", "w", "x", "y,z"))
    assert known("height=4,width=3,channels=1", None) == (5, None)
    assert known("classes=5,channels=1", None) == (5, None)
    other = Task(name="other", input_shape=SHAPE, num_classes=3, class_names=("a", "b", "c"))
    assert known("", other) == (5, None)
    endpoint.answer = lambda request: Reply({**logits(request).body, "classes": list("vwxyz")})
    assert known() == (5, tuple("vwxyz"))
    assert known("labels=(a|b|c|d|e)") == (5, tuple("abcde"))


def test_what_it_says_of_itself(endpoint: Endpoint, images: Tensor) -> None:
    model = loaded(endpoint, "batch=8")
    assert model.name == f"{endpoint.url}?batch=8"
    assert model.input_shape == (1, None, None)
    assert not model.differentiable
    assert not model.training
    assert model.weights == f"what answers at {endpoint.url}; a change of it is noticed by its answer to one image"
    fixed = loaded(endpoint, "height=4,width=3,channels=1", None)
    assert fixed.input_shape == SHAPE
    unknown = loaded(endpoint, "classes=5", None)
    assert unknown.weights == f"what answers at {endpoint.url}; a change of it is not noticed"
    assert endpoint.requests == []
    with pytest.raises(InputError, match=r"gives no gradients: attack it as a black box\.$"):
        Engine(model).gradients(images, lambda z, rows: z.sum(1))


def test_nothing_tells_the_number_of_classes(endpoint: Endpoint) -> None:
    assert failing(lambda: load_model(endpoint.url), SpecError) == (
        f"how many classes has {endpoint.url}? Add classes=NUMBER, or height=... and width=... to ask."
    )


def test_the_digest_is_that_of_address_options_and_one_answer(endpoint: Endpoint) -> None:
    def told(options: str = "", task: Task | None = TASK) -> str:
        return model_digest(loaded(endpoint, options, task))

    base = told()
    assert told("timeout=7,retries=1,rate=1000,batch=2") == base
    assert told("labels=(u|v|w|x|y)") == base
    assert told("format=png") != base
    unasked = told("classes=5", None)
    assert unasked != base
    assert told("classes=5", None) == unasked != told("classes=6", None)
    answer = endpoint.answer
    endpoint.answer = lambda request: Reply({"logits": [[v * 1.0001 for v in answer(request).body["logits"][0]]]})
    near = told()
    endpoint.answer = lambda request: Reply({"logits": [[v * 1.1 for v in answer(request).body["logits"][0]]]})
    assert told() not in (base, near)
    assert told("classes=5", None) == unasked


def test_rounding_errors_leave_the_digest(endpoint: Endpoint) -> None:
    digests = set()
    for error in (0.0, 1e-6):
        endpoint.answer = lambda request, error=error: Reply({"logits": [[1.2341 + error, -567.1 + error]]})  # type: ignore[misc]
        digests.add(model_digest(loaded(endpoint)))
    assert len(digests) == 1


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_has_a_connection_of_its_own(
    endpoint: Endpoint, images: Tensor, copied: Callable[[Classifier], Classifier]
) -> None:
    model = loaded(endpoint)
    first = model(images)
    assert torch.equal(copied(model)(images), first)
    assert len({request.port for request in endpoint.requests}) == 2


# --- rate, token, TLS -------------------------------------------------------------------------------------------------


def test_the_rate_is_kept(endpoint: Endpoint, images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    now, begun = [100.0], list[float]()

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(http_client, "monotonic", lambda: now[0])
    monkeypatch.setattr(http_client, "sleep", sleep)

    def timed(request: Request) -> Reply:
        begun.append(now[0])
        return logits(request)

    endpoint.answer = timed
    model = load_model(f"{endpoint.url}?rate=4,batch=1", TASK)
    model(images[:2])
    now[0] += 10
    model(images[:2])
    assert begun == [100, 100.25, 100.5, 110.5, 110.75]
    endpoint.script = [Reply("busy", 503), Reply("busy", 503)]
    model(images[:1])
    assert begun[5:] == [112.5], "0.25 s for the rate, then 0.5 s and 1 s between the attempts"


def test_the_token_is_sent_and_never_kept_or_shown(
    endpoint: Endpoint, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINY_TOKEN", "s3cret")
    model = loaded(endpoint, "token=TINY_TOKEN,retries=0")
    model(images)
    assert endpoint.requests[0].headers["Authorization"] == "Bearer s3cret"
    assert b"s3cret" not in pickle.dumps(model)
    assert "s3cret" not in repr(model) + model.name + str(model.weights)
    endpoint.script = [Reply(b"no entry for Bearer s3cret", 403), Reply(b"", 302, {"Location": "/x?t=s3cret"})]
    assert failing(lambda: model(images), MissingError) == (
        f"{endpoint.url} answers 403 Forbidden 'no entry for Bearer ***'."
    )
    assert "'/x?t=***'" in failing(lambda: model(images), MissingError)
    endpoint.script = [Reply(b"what is s3cret?")]
    assert "s3cret" not in failing(lambda: model(images), InputError)
    monkeypatch.setenv("TINY_TOKEN", "a\nb")
    assert failing(lambda: model(images), MissingError) == (
        "the environment variable TINY_TOKEN holds characters that no token can have."
    )
    monkeypatch.delenv("TINY_TOKEN")
    told = "the environment variable TINY_TOKEN, which is to hold the endpoint's token, is not set."
    assert failing(lambda: model(images), MissingError) == told
    assert str(status(f"{endpoint.url}?token=TINY_TOKEN")) == "the environment variable TINY_TOKEN is not set"
    assert status(endpoint.url).state == "ready"


def test_certificates_are_checked(secure: Endpoint, images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    said = failing(lambda: load_model(secure.url, TASK), MissingError)
    assert said == f"{secure.url} has no certificate to be trusted (self-signed certificate)."
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    torch.testing.assert_close(loaded(secure)(images), images.flatten(1) @ WEIGHT.T)
    other = secure.url.replace("127.0.0.1", "localhost")
    assert "certificate is not valid for 'localhost'" in failing(lambda: load_model(other, TASK), MissingError)


def test_proxies_of_the_environment_are_not_asked(
    endpoint: Endpoint, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert loaded(endpoint)(images).shape == (7, 5)


# --- failures ---------------------------------------------------------------------------------------------------------


def answered(content: object, status: int = 200, **headers: str) -> Reply:
    return Reply(content, status, {name.replace("_", "-"): value for name, value in headers.items()})


BAD = "must be a list of as many numbers for every image."


@pytest.mark.parametrize(
    ("reply", "kind", "message"),
    [
        (answered(b"<html>\n<b>hi</b>"), InputError, " does not answer with JSON, but with '<html> <b>hi</b>'."),
        (answered(b"\xff\x00\x1b[31m"), InputError, " does not answer with JSON, but with '\ufffd[31m'."),
        (answered(b""), InputError, " does not answer with JSON, but with nothing."),
        (answered(b"", 204), InputError, " does not answer with JSON, but with nothing."),
        (answered(b"[" * 100_000), InputError, f" does not answer with JSON, but with '{'[' * 200}...'."),
        (answered([[1, 2]]), InputError, " must answer with an object that has either 'logits' or 'probabilities'."),
        (answered({}), InputError, " must answer with an object that has either 'logits' or 'probabilities'."),
        (
            answered({"logits": [[1]], "probabilities": [[1]]}),
            InputError,
            " must answer with an object that has either 'logits' or 'probabilities'.",
        ),
        (answered({"logits": [1, 2]}), InputError, f": 'logits' {BAD}"),
        (answered({"logits": [[1, 2], [1]]}), InputError, f": 'logits' {BAD}"),
        (answered({"logits": [[1, "2"]]}), InputError, f": 'logits' {BAD}"),
        (answered({"logits": [[1, True]]}), InputError, f": 'logits' {BAD}"),
        (answered({"logits": [[]]}), InputError, f": 'logits' {BAD}"),
        (answered({"logits": []}), InputError, f": 'logits' {BAD}"),
        (answered({"logits": None}), InputError, f": 'logits' {BAD}"),
        (answered({"probabilities": {"a": 1}}), InputError, f": 'probabilities' {BAD}"),
        (answered(b'{"logits": [[1, NaN]]}'), InputError, " answers with NaN or infinite logits."),
        (answered(b'{"logits": [[1, -Infinity]]}'), InputError, " answers with NaN or infinite logits."),
        (answered({"logits": [[1, 1e39]]}), InputError, " answers with NaN or infinite logits."),
        (answered({"logits": [[1, 10**400]]}), InputError, " answers with NaN or infinite logits."),
        (
            answered({"probabilities": [[1.2, -0.2]]}),
            InputError,
            ": 'probabilities' must be from 0 to 1 and add up to 1 for every image.",
        ),
        (
            answered({"probabilities": [[0.5, 0.4]]}),
            InputError,
            ": 'probabilities' must be from 0 to 1 and add up to 1 for every image.",
        ),
        (
            answered({"logits": [[0] * 5] * 2}),
            InputError,
            " must answer with 1 x 5 numbers (images x classes), got 2 x 5.",
        ),
        (
            answered({"logits": [[0] * 4]}),
            InputError,
            " must answer with 1 x 5 numbers (images x classes), got 1 x 4.",
        ),
        (answered({"logits": [[0] * 5], "classes": ["a"]}), InputError, ": 'classes' must be a list of 5 names."),
        (answered({"logits": [[0] * 5], "classes": "abcde"}), InputError, ": 'classes' must be a list of 5 names."),
        (answered({"logits": [[0] * 5], "classes": [1] * 5}), InputError, ": 'classes' must be a list of 5 names."),
        (answered({}, Content_Length=str(2**27)), InputError, " answers with more than 64 MiB."),
        (answered({"error": "28 x 28"}, 400), MissingError, """ answers 400 Bad Request '{"error": "28 x 28"}'."""),
        (answered(b"", 404), MissingError, " answers 404 Not Found."),
        (answered(b"", 599), MissingError, " answers 599."),
        (
            answered(b"", 401),
            MissingError,
            " answers 401 Unauthorized. token=VARIABLE names the environment variable that holds a token.",
        ),
        (
            answered(b"", 301, Location="http://elsewhere.example/x"),
            MissingError,
            " answers 301 and points to 'http://elsewhere.example/x': name that address instead.",
        ),
        (answered(b"", 304), MissingError, " answers 304 and points to nowhere: name that address instead."),
    ],
)
def test_answers_that_end_it_at_once(
    endpoint: Endpoint, images: Tensor, waits: list[float], reply: Reply, kind: type[FoolscopeError], message: str
) -> None:
    model = loaded(endpoint)
    endpoint.script = [reply]
    assert failing(lambda: Engine(model).logits(images[:1]), kind) == endpoint.url + message
    assert (len(endpoint.requests), waits) == (1, [])
    assert Engine(model).logits(images[:1]).shape == (1, 5), "the next request is answered"


def test_an_endless_answer_is_cut(
    endpoint: Endpoint, images: Tensor, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    model = loaded(endpoint)
    monkeypatch.setattr(http_client, "_LARGEST_ANSWER", 2**20)
    endpoint.script = [Reply(raw=b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 2**21)]
    assert failing(lambda: model(images), InputError) == f"{endpoint.url} answers with more than 1 MiB."
    assert waits == []


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (answered(b"", 503), " answers 503 Service Unavailable (4 attempts)."),
        (answered(b"slow\ndown", 429), " answers 429 Too Many Requests 'slow down' (4 attempts)."),
        (answered(b"", 500), " answers 500 Internal Server Error (4 attempts)."),
        (Reply(raw=b""), " cannot be asked (Remote end closed connection without response) (4 attempts)."),
        (Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"), " breaks off its answer (4 attempts)."),
        (
            Reply(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{"),
            " breaks off its answer (4 attempts).",
        ),
        (Reply(raw=b"SSH-2.0-OpenSSH\r\n"), " cannot be asked (SSH-2.0-OpenSSH) (4 attempts)."),
        (
            Reply(raw=b"\x1b[31m" + b"x" * 300 + b"\r\n"),
            f" cannot be asked ([31m{'x' * 196}...) (4 attempts).",
        ),
    ],
)  # fmt: skip
def test_what_may_pass_is_tried_again(
    endpoint: Endpoint, images: Tensor, waits: list[float], reply: Reply, message: str
) -> None:
    model = loaded(endpoint)
    endpoint.script = [reply] * (4 if reply.raw == b"" else 3)  # the kept connection is at once opened again
    assert model(images).shape == (7, 5)
    assert waits == [0.5, 1, 2]
    endpoint.answer = lambda request: reply
    assert failing(lambda: model(images), MissingError) == endpoint.url + message
    assert waits == [0.5, 1, 2] * 2


def test_waits_grow_to_a_minute_and_no_further(endpoint: Endpoint, images: Tensor, waits: list[float]) -> None:
    model = loaded(endpoint, "retries=9")
    endpoint.script = [answered(b"", 503)] * 9
    assert model(images).shape == (7, 5)
    assert waits == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]


def test_retry_after_is_honored(endpoint: Endpoint, images: Tensor, waits: list[float]) -> None:
    model = loaded(endpoint)
    soon = email.utils.formatdate(time.time() + 30, usegmt=True)
    past = email.utils.formatdate(time.time() - 30, usegmt=True)
    endpoint.script = [answered(b"", 429, Retry_After="7"), answered(b"", 503, Retry_After=soon)]
    assert model(images).shape == (7, 5)
    assert waits[0] == 7
    assert 25 < waits[1] <= 30
    endpoint.script = [answered(b"", 429, Retry_After=past), answered(b"", 503, Retry_After="when I like")]
    assert model(images).shape == (7, 5)
    assert waits[2:] == [0, 1]
    endpoint.script = [answered(b"", 429, Retry_After="3600")]
    assert failing(lambda: model(images), MissingError) == (
        f"{endpoint.url} answers 429 Too Many Requests, and wants 3,600 s to pass first."
    )


def test_nobody_listens(waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"http://127.0.0.1:{port}/x"
    assert failing(lambda: load_model(f"{url}?retries=1", TASK), MissingError) == (
        f"{url} refuses the connection: no server listens there (2 attempts)."
    )
    assert waits == [0.5]

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert failing(lambda: load_model("http://nowhere.invalid/x?retries=0", TASK), MissingError) == (
        "http://nowhere.invalid/x cannot be asked (Name or service not known)."
    )


def test_answers_that_never_come_or_drip(endpoint: Endpoint, images: Tensor) -> None:
    model = loaded(endpoint, "timeout=0.1,retries=0")
    done = threading.Event()

    def silent(request: Request) -> Reply:
        done.wait(10)
        return Reply(raw=b"")

    endpoint.script = [silent]
    message = f"{endpoint.url} gives no answer within 0.1 s."
    assert failing(lambda: model(images), MissingError) == message
    done.set()


def test_an_answer_that_drips_has_no_longer(
    endpoint: Endpoint, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]

    def clock() -> float:
        now[0] += 20
        return now[0]

    model = loaded(endpoint, "retries=0")
    monkeypatch.setattr(http_client, "monotonic", clock)
    monkeypatch.setattr(http_client, "_PIECE", 8)
    assert failing(lambda: model(images), MissingError) == f"{endpoint.url} gives no answer within 30 s."


# --- specs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec",
    [
        "http://127.0.0.1:8000/classify",
        "http://[::1]:8000/x",
        "http://models.example.org?format=png,labels=(cat|dog)",
        "http:(//h/x?model=b,c=d)?rate=0.5,token=A_TOKEN",
    ],
)
def test_specs_print_and_parse_again(spec: str) -> None:
    model = HttpModel.from_spec(spec)
    assert model.spec() == spec
    assert HttpModel.from_spec(model.spec()) == model


@pytest.mark.parametrize(
    ("spec", "kind", "message"),
    [
        ("http:localhost:8000", SpecError, "malformed address 'http:localhost:8000': expected http://HOST/PATH, as in "
         "'http://127.0.0.1:8000/classify'."),
        ("http:///x", SpecError, "malformed address 'http:///x': "),
        ("http://h:99999/", SpecError, "malformed address 'http://h:99999/': "),
        ("http://h:x/", SpecError, "malformed address 'http://h:x/': "),
        ("http://h:0/", SpecError, "malformed address 'http://h:0/': "),
        ("http://[::1/", SpecError, "malformed address 'http://[::1/': "),
        ("http://h/a b", SpecError, "malformed address 'http://h/a b': "),
        ("http://h/\u00e4", SpecError, "malformed address 'http://h/\u00e4': "),
        ("http://h/a\rb", SpecError, "malformed address 'http://h/a\rb': "),
        ("http://h/#a", SpecError, "malformed address 'http://h/#a': "),
        ("https:h", SpecError, "malformed address 'https:h': expected https://HOST/PATH, as in "
         "'https://models.example.org/classify?token=CLASSIFIER_TOKEN'."),
        ("http", SpecError, "malformed spec 'http': expected http:ADDRESS, as in 'http://127.0.0.1:8000/classify'."),
        ("http://h/x?model=b", SpecError, "http has no parameter 'model'."),
        ("http://h/?format=xml", ParameterError, "http: format must be one of json, png, got 'xml'."),
        ("http://h/?channels=2", ParameterError, "http: channels must be 1 or 3, got 2."),
        ("http://h/?labels=(a||b)", ParameterError, "http: labels must be names joined by |, got 'a||b'."),
        ("http://h/?classes=3,labels=(a|b)", ParameterError, "http: classes is 3, and labels are 2 names."),
        ("http://h/?timeout=0", ParameterError, "http: timeout must be between 0.001 and 3600, got 0."),
        ("http://h/?rate=0", ParameterError, "http: rate must be at least 0.001, got 0."),
        ("http://h/?batch=0", ParameterError, "http: batch must be between 1 and 4096, got 0."),
        ("http://h/?retries=-1", ParameterError, "http: retries must be between 0 and 20, got -1."),
    ],
)  # fmt: skip
def test_specs_that_are_refused(spec: str, kind: type[FoolscopeError], message: str) -> None:
    assert failing(lambda: load_model(spec), kind).startswith(message)


def test_secrets_in_specs_are_refused_and_not_repeated() -> None:
    said = failing(lambda: load_model("http://user:s3cret@h/x"), SpecError)
    assert said == "an address names no user or password, for results name it: http takes token=VARIABLE."
    said = failing(lambda: load_model("https://h/x?token=s3cret-token"), ParameterError)
    assert said == "https: token must be the name of an environment variable, not the token."


def test_https_is_http_with_another_scheme() -> None:
    assert HttpsModel.from_spec("https://h/x").url == "https://h/x"


def test_headers_that_drip_have_no_longer(images: Tensor) -> None:
    """Every line comes within the socket's own timeout; the server gives up after what would be far too long."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        done = threading.Event()

        def drip() -> None:
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                for number in range(400):
                    connection.sendall(b"X-%d: x\r\n" % (number % 50))
                    if done.wait(0.05):
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/x"
        model = load_model(f"{url}?timeout=0.5,retries=0,classes=3")
        assert failing(lambda: model(images), MissingError) == f"{url} gives no answer within 0.5 s."
        done.set()
        thread.join()
