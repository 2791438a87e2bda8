"""Jobs: done in processes of their own, cancelled, killed, resumed, listened to; no restart loses one."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from foolscope.errors import Cancelled, CorruptError
from foolscope.filters import parse_chain
from foolscope.models import Card, Task, load_model, shipped
from foolscope.models.fingerprint import model_digest
from foolscope.web import schemas
from foolscope.web.events import Events
from foolscope.web.gallery import Gallery
from foolscope.web.job_kinds import KINDS
from foolscope.web.job_requests import JobRequest, checked
from foolscope.web.job_worker import _Stop, _turn
from foolscope.web.jobs import UNFINISHED, Job, JobFolder, Jobs
from foolscope.web.networks import Networks
from foolscope.web.problems import BusyError, ConflictError, NotFoundError
from foolscope.web.schemas import AuditRequest, EvolveRequest
from tests.web.serving import API, Served, refused

AUDIT = {
    "kind": "audit", "model": "lenet:weights=digits", "data": "digits",
    "attacks": ["fgsm"], "eps": ["0.1"], "limit": 16,
}  # fmt: skip


EVOLVE = {
    "kind": "evolve", "model": "lenet:weights=digits", "data": "digits", "images": 100, "held_out": 200,
    "detector": None,
}  # fmt: skip


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    made = Jobs(tmp_path / "jobs", 3)
    yield made
    made.stop()


def asked(**changed: Any) -> dict[str, Any]:
    return AUDIT | {"defenses": [], "seed": 0} | changed


def wait(jobs: Jobs, name: str, until: Callable[[Job], bool]) -> Job:
    deadline = time.monotonic() + 60
    while not until(job := jobs.get(name)):
        assert time.monotonic() < deadline, job
        time.sleep(0.02)
    return job


def ended(job: Job) -> bool:
    return job.state not in UNFINISHED


def listened(served: Served, query: str, last_id: str = "") -> list[tuple[str, str, dict[str, Any]]]:
    """(event, id, data) of a stream that ends."""
    found, fields = [], {"event": "", "data": "", "id": ""}
    with served.client.stream("GET", f"{API}/events{query}", headers={"last-event-id": last_id}) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif fields["event"]:
                found.append((fields["event"], fields["id"], json.loads(fields["data"])))
                fields = {"event": "", "data": "", "id": ""}
    return found


def test_an_audit_is_killed_cancelled_resumed_and_read(served: Served) -> None:
    job = served.post("/jobs", **AUDIT).json()
    path = f"/jobs/{job['id']}"
    assert (job["state"], job["title"], job["page"]) == (
        "queued",
        "lenet:weights=digits on digits: fgsm; eps 0.1; 16 images",
        None,
    )
    running = served.services.jobs
    process = running._processes[job["id"]]
    process.kill()
    process.wait()
    assert served.get(path).json()["state"] == "interrupted"
    line = refused(served.client.post(f"{API}{path}/cancel"), 409, "conflict")
    assert line == f"job {job['id']} is interrupted: there is nothing to cancel."

    assert served.client.post(f"{API}{path}/resume").json()["state"] == "queued"
    assert "there is nothing to resume" in refused(served.client.post(f"{API}{path}/resume"), 409, "conflict")
    assert refused(served.client.delete(API + path), 409, "conflict") == f"job {job['id']} runs: cancel it first."
    assert served.client.post(f"{API}{path}/cancel").status_code == 202
    assert wait(running, job["id"], ended).state == "cancelled"

    served.client.post(f"{API}{path}/resume")
    events = listened(served, f"?job={job['id']}")
    states = [data["state"] for event, _, data in events if event == "state"]
    assert states[0] in UNFINISHED
    assert states[-1] == "done"
    assert events[-1][0] == "end"
    progress = [data for event, _, data in events if event == "progress"]
    assert progress
    assert all(entry["job"] == job["id"] and 0 < entry["share"] <= 1 for entry in progress)
    seen = next(id for event, id, _ in events if event == "progress")
    again = listened(served, f"?job={job['id']}", seen)
    assert [data for event, _, data in again if event == "progress"] == progress[1:], "what came after that id"

    done = served.get(path).json()
    assert done["progress"]["label"] == progress[-1]["label"], "the last progress stays"
    (entry,) = (entry for entry in served.get("/reports").json()["reports"] if entry["id"] == job["id"])
    page = served.client.get(entry["page"])
    assert done["page"] == entry["page"]
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"].startswith("sandbox ")
    assert "script-src" not in page.headers["content-security-policy"]
    assert "frame-ancestors 'self'" in page.headers["content-security-policy"]
    assert b"lenet:weights=digits" in page.content
    assert served.client.get(entry["json"]).json()
    assert served.client.get(entry["parquet"]).content.startswith(b"PAR1")
    assert served.client.delete(API + path).status_code == 204
    refused(served.client.get(entry["page"]), 404, "not-found")
    refused(served.client.delete(API + path), 404, "not-found")


def wanted(**body: Any) -> JobRequest:
    """What a server makes of a request."""
    networks = Networks((), limit=1, queue=1, offline=True)
    asked = TypeAdapter(schemas.JobRequest).validate_python(body)
    assert isinstance(asked, AuditRequest | EvolveRequest)
    try:
        return checked(asked, networks.offer(asked.model), Gallery())
    finally:
        networks.close()


def _task(card: Card) -> Task:
    shape = card.input_shape or (1, 28, 28)
    return Task(name=card.data, input_shape=shape, num_classes=10, class_names=card.class_names)


def test_weights_are_the_networks_own_whatever_the_data() -> None:
    """Where `auto` would choose by the data set, as `lenet` on digits."""
    networks = Networks((), limit=1, queue=1, offline=True)
    networks.close()
    tasks = {card.data: _task(card) for card in shipped()}
    for offer in networks.offers.values():
        if offer.card is None:
            continue
        served = model_digest(load_model(offer.model))
        for name, task in tasks.items():
            assert model_digest(load_model(offer.exact, task)) == served, (offer.model, name)


def test_an_audit_is_of_the_network_that_is_served_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work of the kind `audit`, in this process."""
    monkeypatch.setenv("FOOLSCOPE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    job = wanted(**AUDIT | {"model": "lenet", "defenses": ["bits:depth=2"], "limit": 8})
    assert job.title == "lenet on digits: fgsm; eps 0.1; defended by bits:depth=2; 8 images"
    assert job.asked["model"] == "lenet:weights=mnist"
    KINDS["audit"].work(JobFolder(tmp_path / "job"), job.asked, lambda progress, at_once=False: None)
    found = json.loads((tmp_path / "job" / "report" / "results.json").read_bytes())
    assert found["about"]["model"]["digest"] == model_digest(load_model("lenet"))
    monkeypatch.setenv("FOOLSCOPE_HOME", str(tmp_path / "other"))
    exec(compile(job.reproduce["python"], "reproduce.py", "exec"), {})
    again = json.loads((tmp_path / "report" / "results.json").read_bytes())
    for part in ("clean", "curves", "weakest", "samples"):
        assert again[part] == found[part], part
    assert job.reproduce["command"] == found["about"]["command"]


def test_a_search_on_gray_images_tells_its_front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The work of the kind `evolve`, in this process."""
    monkeypatch.setenv("FOOLSCOPE_HOME", str(tmp_path / "home"))
    told: list[dict[str, Any]] = []

    def tell(progress: Mapping[str, Any], *, at_once: bool = False) -> None:
        told.append(dict(progress))

    job = wanted(**EVOLVE | {"filters": 1, "population": 2, "epochs": 1, "images": 8, "held_out": 8})
    assert job.asked["pool"] == "gingham,juno,lark,stinson"
    assert job.title.endswith(": chains of 1 filter (gingham,juno,lark,stinson); 2 at a time, 1 epoch, 8 images")
    folder = JobFolder(tmp_path / "job")
    KINDS["evolve"].work(folder, job.asked, tell)
    shares = [progress["share"] for progress in told]
    assert shares == sorted(shares)
    assert 0 <= shares[0] <= shares[-1] <= 1
    assert {progress["objective"] for progress in told} == {"linf"}
    assert told[-1]["front"]
    for point in told[-1]["front"]:
        assert set(point) == {"chain", "asr", "linf"}
        assert 0 <= point["asr"] <= 1
        (step,) = parse_chain(point["chain"], allow_extreme=True).filters
        assert step.takes_gray
    rates = [point["asr"] for point in told[-1]["front"]]
    assert rates == sorted(rates, reverse=True), "best first"
    assert (folder.report / "report.html").is_file()
    assert all((folder.report / file).is_file() for file in KINDS["evolve"].data.values())
    about = json.loads((folder.report / "evolution.json").read_bytes())["about"]
    assert (job.reproduce["command"], job.reproduce["python"]) == (about["command"], about["python"])


def test_a_restart_interrupts_and_loses_nothing(jobs: Jobs) -> None:
    first = jobs.submit("audit", "one", asked())
    second = jobs.submit("audit", "two", asked())
    assert [job.id for job in jobs.listed()] == [second.id, first.id], "newest first"
    jobs.stop()
    after = Jobs(jobs._folder, 3)
    assert {job.state for job in after.listed()} == {"interrupted"}
    assert after.get(first.id).asked == asked()


def test_a_server_that_is_killed_takes_its_jobs_along(jobs: Jobs) -> None:
    """What its jobs notice is that their stdin ends."""
    name = jobs.submit("audit", "one", asked()).id
    stdin = jobs._processes[name].stdin
    assert stdin is not None
    stdin.close()
    assert wait(Jobs(jobs._folder, 3), name, ended).state == "interrupted"


def test_a_kind_that_breaks_fails_alone(jobs: Jobs) -> None:
    name = jobs.submit("nothing", "broken", {}).id
    job = wait(jobs, name, ended)
    assert (job.state, job.error) == ("failed", "foolscope failed (KeyError); the server's log says why.")
    assert not job.page
    assert jobs.resume(name).state in UNFINISHED
    wait(jobs, name, ended)


def test_what_the_library_refuses_is_the_jobs_error(jobs: Jobs) -> None:
    name = jobs.submit("audit", "unfit", asked(data="nothing")).id
    job = wait(jobs, name, ended)
    assert job.state == "failed"
    assert job.error is not None
    assert job.error.startswith("the gallery has no set 'nothing'")


def test_a_job_that_waits_for_its_turn_can_be_cancelled(jobs: Jobs) -> None:
    fcntl = pytest.importorskip("fcntl")
    jobs._folder.mkdir(parents=True)
    with (jobs._folder / "slot").open("ab") as slot:
        fcntl.flock(slot, fcntl.LOCK_EX)
        name = jobs.submit("nothing", "waits", {}).id
        time.sleep(0.3)
        assert jobs.get(name).state == "queued"
        jobs.cancel(name)
        assert wait(jobs, name, ended).state == "cancelled"


def test_jobs_begin_in_the_order_in_which_they_were_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever finds the slot free gives it back while an older job waits for it too."""
    pytest.importorskip("fcntl")
    monkeypatch.setattr("foolscope.web.job_worker._POLL_SECONDS", 0.0)
    first, second = (JobFolder(tmp_path / f"{place:020x}") for place in (1, 2))
    for folder in (first, second):
        folder.path.mkdir()
        (folder.path / "job.json").write_text("{}")
        folder.set_state("queued")
    lock = first.try_lock()
    assert lock is not None
    with pytest.raises(Cancelled), _turn(second, _Tries(3)):
        raise AssertionError("it went first")
    with _turn(first, _Tries(1)):
        pass
    first.set_state("running")
    with _turn(second, _Tries(1)):
        pass
    first.set_state("queued")
    lock.close()
    with _turn(second, _Tries(1)):
        pass


class _Tries(_Stop):
    """Cancelled after so many looks at the slot."""

    def __init__(self, count: int) -> None:
        self.count = count

    def check(self) -> None:
        self.count -= 1
        if self.count < 0:
            raise Cancelled


def test_the_limit_holds_for_those_who_ask_at_once(tmp_path: Path) -> None:
    servers = [Jobs(tmp_path / "jobs", 3) for _ in range(2)]

    def ask(place: int) -> bool:
        with suppress(BusyError):
            servers[place % 2].submit("audit", "one", asked())
            return True
        return False

    try:
        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(ask, range(8))) == 3
    finally:
        for server in servers:
            server.stop()


def test_so_many_jobs_may_wait(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        jobs.submit("audit", "one", asked())
    with pytest.raises(BusyError, match="3 jobs wait or run already: cancel one, or wait") as caught:
        jobs.submit("audit", "one", asked())
    assert caught.value.seconds == 60
    monkeypatch.setattr("foolscope.web.jobs._MOST", 3)
    jobs._limit = 9
    with pytest.raises(ConflictError, match="3 jobs are kept already: delete some"):
        jobs.submit("audit", "one", asked())


def test_no_more_are_resumed_than_may_wait(jobs: Jobs) -> None:
    name = jobs.submit("nothing", "broken", {}).id
    wait(jobs, name, ended)
    for _ in range(3):
        jobs.submit("audit", "one", asked())
    with pytest.raises(BusyError, match="3 jobs wait or run already: cancel one, or wait"):
        jobs.resume(name)
    assert jobs.get(name).state == "failed"


def test_a_job_of_before_there_was_a_text_that_repeats_it(jobs: Jobs) -> None:
    name = jobs.submit("nothing", "broken", {}).id
    wait(jobs, name, ended)
    path = jobs.folder(name).path / "job.json"
    content = json.loads(path.read_bytes())
    del content["reproduce"]
    path.write_text(json.dumps(content))
    assert [job.reproduce for job in jobs.listed()] == [None]


def test_looking_does_not_make_a_job_alive(jobs: Jobs) -> None:
    name = jobs.submit("nothing", "broken", {}).id
    jobs._processes[name].wait(60)
    folder = jobs.folder(name)
    first = folder.try_lock(shared=True)
    second = folder.try_lock(shared=True)
    assert first is not None
    assert second is not None
    assert folder.try_lock() is None or os.name == "nt"
    first.close()
    second.close()


@pytest.mark.parametrize("name", ["", "x", "0" * 20, "../../etc", "0" * 19 + "g"])
def test_unknown_jobs(jobs: Jobs, name: str) -> None:
    for action in (jobs.get, jobs.cancel, jobs.resume, jobs.delete, jobs.folder):
        with pytest.raises(NotFoundError, match=r"there is no job '.*': GET /api/v1/jobs lists all\."):
            action(name)


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("state.json", [b"{", b"[]", b"", b"{}", b"\xff"]),
        ("state.json", [{"state": "weird"}, {"state": 5}, {"ended": 5}, {"error": []}, {"progress": 5}]),
        ("job.json", [b"{}", {"kind": 5}, {"title": 5}, {"created": None}, {"asked": 5}, {"reproduce": 5}]),
    ],
)
def test_damaged_and_newer_folders_break_no_list(jobs: Jobs, file: str, changes: list[Any]) -> None:
    name, other = (jobs.submit("nothing", "broken", {}).id for _ in range(2))
    for one in (name, other):
        wait(jobs, one, ended)
    path = jobs.folder(name).path / file
    before = json.loads(path.read_bytes())
    for change in changes:
        path.write_bytes(change if isinstance(change, bytes) else json.dumps(before | change).encode())
        assert [job.id for job in jobs.listed()] == [other], change
        with pytest.raises(CorruptError, match=f"job {name} cannot be read"):
            jobs.get(name)
        assert list(Events(jobs, [name, other], "")._news(name, jobs.folder(name))) == []
    jobs.delete(name)
    assert not (jobs._folder / name).exists()


def test_reports_of_a_newer_version_are_left_out(served: Served) -> None:
    """A kind of job that this version does not know is listed as a job, for it can be deleted."""
    folder = JobFolder(served.services.jobs._folder / "0123456789abcdef0123")
    folder.report.mkdir(parents=True)
    about: dict[str, Any] = {"kind": "explain", "title": "newer", "created": "2030", "asked": {}, "reproduce": None}
    (folder.path / "job.json").write_text(json.dumps(about))
    folder.set_state("done")
    (folder.report / "report.html").write_text("x")
    assert folder.id in {job["id"] for job in served.get("/jobs").json()["jobs"]}
    assert folder.id not in {report["id"] for report in served.get("/reports").json()["reports"]}
    assert not (folder.path / "alive").exists(), "looking writes nothing"
    assert served.client.delete(f"{API}/jobs/{folder.id}").status_code == 204


def test_events_half_written_wait(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    folder.tell("progress", {"share": 0.1})
    folder.tell("progress", {"share": 0.2})
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(b'5\n{}\n{"event": "x", "data": 5}\n{"event": "progress", "da')
    (first, _, one), (second, _, two) = folder.events(0)
    assert (one, two) == ({"share": 0.1}, {"share": 0.2})
    assert folder.events(first) == [(second, "progress", two)], "nor is there what cannot be read"
    assert folder.events(second) == []
    assert len(folder.events(10**9)) == 2, "a place of another life of the file"


def test_events_ask_for_jobs_that_are_there(jobs: Jobs, served: Served) -> None:
    with pytest.raises(NotFoundError):
        Events(jobs, ["0" * 20], "")
    refused(served.get("/events?job=" + "0" * 20), 404, "not-found")
    assert [event for event, _, _ in listened(served, "", "nonsense=1,=,%")] == ["end"]


@pytest.mark.parametrize(
    ("changed", "status", "line"),
    [
        ({"kind": "other"}, 422, "kind"),
        ({"data": "folder:/etc"}, 404, "the gallery has no set 'folder:/etc'"),
        ({"data": "hf:a/b"}, 404, "the gallery has no set 'hf:a/b'"),
        ({"model": "py:os:system"}, 404, "this server offers no model"),
        ({"attacks": []}, 422, "attacks"),
        ({"attacks": ["nothing"]}, 422, "nothing"),
        ({"attacks": ["fgsm"] * 21}, 422, "attacks"),
        ({"defenses": ["py:x"]}, 422, "py"),
        ({"eps": ["x"]}, 422, "x"),
        ({"limit": 0}, 422, "limit"),
        ({"out": "/etc"}, 422, "out"),
        ({"model": "resnet20"}, 422, "class '0' of digits is not among those of resnet20"),
        ({"data": "photos"}, 422, "photos"),
        (EVOLVE | {"detector": "nothing"}, 422, "nothing"),
        (EVOLVE | {"pool": "clarendon,juno"}, 422, "pool: clarendon would color gray images; gingham, juno, lark, "),
        (EVOLVE | {"pool": "nothing"}, 422, "nothing"),
        (
            EVOLVE | {"held_out": 251},
            422,
            "handwritten digits: there are at most 1297 images to search on and then 250",
        ),
        (EVOLVE | {"images": 1298}, 422, "250 to judge on, not 1298 and 200: ask for fewer, or take a larger set."),
        (EVOLVE | {"model": "resnet20", "data": "photos"}, 422, "photographs: there are at most 2 images to search on"),
    ],
)
def test_jobs_that_are_refused(served: Served, changed: dict[str, Any], status: int, line: str) -> None:
    before = len(served.get("/jobs").json()["jobs"])
    answer = served.post("/jobs", **(changed if changed.get("kind") == "evolve" else AUDIT | changed))
    assert line in refused(answer, status, answer.json()["kind"])
    assert len(served.get("/jobs").json()["jobs"]) == before
