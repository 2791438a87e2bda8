"""Experiments over HTTP: the catalog, what a run would take, runs as jobs, and the files that come out."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from typing import Any

import pyarrow.parquet as pq
import pytest

from foolscope.experiments.catalog import EXPERIMENTS
from foolscope.experiments.running import Asked, plan
from foolscope.web.experimenting import Experimenting, asked_of
from foolscope.web.gallery import Gallery
from foolscope.web.jobs import UNFINISHED
from foolscope.web.lab import Caller
from foolscope.web.problems import GoneError
from foolscope.web.schemas import ExperimentRequest
from tests.web.serving import API, Served, refused

RUN = {"kind": "experiment", "experiment": "dataset-overview", "data": "digits", "limit": 32}


def finished(served: Served, name: str) -> dict[str, Any]:
    deadline = time.monotonic() + 100
    while True:
        job: dict[str, Any] = served.get(f"/jobs/{name}").json()
        if job["state"] not in UNFINISHED:
            return job
        assert time.monotonic() < deadline, job
        time.sleep(0.05)


@pytest.fixture(scope="module")
def run(served: Served) -> dict[str, Any]:
    started = served.post("/jobs", **RUN)
    assert started.status_code == 202, started.text
    job = finished(served, started.json()["id"])
    assert job["state"] == "done", job
    return job


def test_the_catalog_is_the_librarys(served: Served) -> None:
    found = served.get("/experiments").json()["experiments"]
    assert [one["name"] for one in found] == list(EXPERIMENTS)
    for one in found:
        kind = EXPERIMENTS[one["name"]]
        assert (one["seed"], one["differences"], one["figure"]) == (
            kind.told()["seed"], kind.told()["differences"], kind.figure,
        )  # fmt: skip
        assert "digits" in [entry["set"] for entry in one["sets"]], "which runs everywhere"
        assert served.get(f"/experiments/{one['name']}").json() == one
    line = refused(served.get("/experiments/jpeg-epsilom"), 422, "spec")
    assert "Did you mean jpeg-epsilon" in line


def test_an_estimate_counts_the_cells_of_the_plan(served: Served) -> None:
    body = RUN | {"experiment": "jpeg-epsilon", "limit": 64, "seed": 7}
    found = served.post("/experiments/estimate", **body).json()
    planned = plan(Asked(name="jpeg-epsilon", data="digits", settings={}, limit=64, seed=7), offline=True)
    assert (found["cells"], found["done"], found["images"], found["preview"]) == (len(planned.works), 0, 64, True)
    assert found["unknown_cells"] == planned.estimate().unknown_cells
    assert found["reproduce"]["command"] == "foolscope run jpeg-epsilon --data digits --limit 64 --seed 7"


def test_a_run_is_drawn_and_its_files_can_be_kept(served: Served, run: dict[str, Any]) -> None:
    assert run["title"] == "dataset-overview on digits: preview of 32 images"
    assert run["progress"]["done"] == run["progress"]["cells"] > 0
    place = f"/reports/{run['id']}"
    found = served.get(f"{place}/findings.json").json()
    assert (found["experiment"], found["preview"], found["images"]) == ("dataset-overview", True, 32)
    assert "What the seed showed" in found["html"]
    assert found["html"].count("<svg") >= 2
    assert "<script" not in found["html"]
    assert "style=" not in found["html"], "which the page's policy refuses"
    assert "--series-1" in found["style"]
    files = [name for one in found["files"] for name in one["files"]]
    assert {name.rpartition(".")[2] for name in files} == {"svg", "png", "csv", "parquet"}
    for name in files:
        answer = served.get(f"{place}/{name}")
        assert answer.status_code == 200, name
        assert answer.headers["content-disposition"].startswith("attachment"), name
        assert answer.headers["content-security-policy"].startswith("sandbox"), name
        if name.endswith(".parquet"):
            rows = pq.read_table(io.BytesIO(answer.content)).num_rows
            assert rows == served.get(f"{place}/{name.replace('.parquet', '.csv')}").text.count("\n") - 1
    assert served.get("/reports").json()["reports"][0]["json"] == f"{API}{place}/run.json"


@pytest.mark.parametrize("file", ["figures/nothing.svg", "figures/..svg", "data/%2e%2e%2frun.json", "data/run.json"])
def test_other_files_are_not_there(served: Served, run: dict[str, Any], file: str) -> None:
    answer = served.get(f"/reports/{run['id']}/{file}")
    assert answer.status_code == 404, answer.text


def test_what_the_store_holds_is_not_computed_again(served: Served, run: dict[str, Any]) -> None:
    known = served.post("/experiments/estimate", **RUN).json()
    assert known["done"] == known["cells"]
    assert (known["seconds"], known["bytes"], known["unknown_cells"]) == (0, 0, 0)
    again = finished(served, served.post("/jobs", **RUN).json()["id"])
    assert again["progress"]["reused"] == known["cells"]
    pages = [served.get(f"/reports/{job['id']}/findings.json").json()["html"] for job in (run, again)]
    assert pages[0] == pages[1]


def test_the_python_of_a_run_repeats_it(run: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    monkeypatch.setattr("foolscope.report.gallery.write_run", lambda result, folder: written.append(result))
    exec(run["reproduce"]["python"], {})
    (result,) = written
    assert (result.computed, result.experiment.name, len(result.sample.data)) == (0, "dataset-overview", 32)


def test_a_run_of_other_settings_is_asked_for(served: Served) -> None:
    body = RUN | {"experiment": "jpeg-epsilon", "settings": {"eps": "0.1", "qualities": "50"}, "limit": None}
    found = asked_of(body, Gallery())
    assert found == Asked(
        name="jpeg-epsilon", data="digits", settings={"eps": "0.1", "qualities": "50"}, limit=None, seed=0
    )
    few, all_of = (served.post("/experiments/estimate", **RUN | one).json()["cells"] for one in (
        {"experiment": "jpeg-epsilon", "settings": {"eps": "0.1"}}, {"experiment": "jpeg-epsilon"},
    ))  # fmt: skip
    assert few < all_of


def test_a_job_is_checked_while_an_estimate_is_at_work() -> None:
    """And an estimate whose caller has left ends before it looks into the store."""

    async def ask() -> None:
        served, release, begun = Experimenting(Gallery(), 4), threading.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        def work(stop: threading.Event) -> None:
            begun.set()
            assert release.wait(60)

        caller = Caller("one", loop.create_future())
        busy = asyncio.create_task(served._estimates.run(work, caller.name, caller.gone))
        try:
            assert await asyncio.to_thread(begun.wait, 60)
            eps = ",".join(f"{place / 1000:.3f}" for place in range(1, 61))
            body = RUN | {"experiment": "jpeg-epsilon", "settings": {"eps": eps}}
            wanted = await asyncio.wait_for(served.checked(ExperimentRequest.model_validate(body), caller), 60)
            assert len(wanted.title) == 200
            assert wanted.title.endswith("…")
            assert not busy.done()
        finally:
            release.set()
            await busy
            served.close()
        left = threading.Event()
        left.set()
        with pytest.raises(GoneError, match="the caller left"):
            served._planned(ExperimentRequest.model_validate(RUN), left)

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("more", "status", "kind", "line"),
    [
        ({"experiment": "overvieu"}, 422, "spec", "unknown experiment 'overvieu'"),
        ({"data": "nowhere"}, 404, "not-found", "the gallery has no set 'nowhere'"),
        ({"data": "photos", "experiment": "jpeg-epsilon"}, 422, "input", "no networks are known for photos"),
        ({"settings": {"colour": "1"}}, 422, "spec", "colour"),
        (
            {"experiment": "jpeg-epsilon", "settings": {"eps": ",".join(["0.1"] * 34), "models": "lenet|resnet|mlp"}},
            422,
            "parameter",
            "settings: 102 combinations of values, at most 100 are run here: "
            "'foolscope run jpeg-epsilon' has no limit.",
        ),
        ({"limit": 0}, 422, "invalid", "limit: "),
        ({"model": "resnet20"}, 422, "invalid", "model: "),
    ],
)
def test_what_cannot_be_run_is_refused_at_once(
    served: Served, more: dict[str, Any], status: int, kind: str, line: str
) -> None:
    for path in ("/jobs", "/experiments/estimate"):
        assert line in refused(served.post(path, **RUN | more), status, kind)
