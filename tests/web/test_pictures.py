"""The store of pictures, the gallery's ground truth, and the networks in memory."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foolscope.data import load_data
from foolscope.errors import MissingError, SpecError
from foolscope.models import imagenet, shipped
from foolscope.web import pictures
from foolscope.web.gallery import Gallery
from foolscope.web.networks import THESIS, Networks, canonical
from foolscope.web.pictures import Picture, PictureStore, Recent, picture_of
from foolscope.web.problems import NotFoundError
from tests.support import needs_data
from tests.web.serving import Served, refused, serving


def noise(seed: int, side: int = 16, channels: int = 3) -> Picture:
    return picture_of(np.random.default_rng(seed).integers(0, 256, (side, side, channels), dtype=np.uint8))


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.png"))


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_kept_for_other_processes(tmp_path: Path, channels: int) -> None:
    picture = PictureStore(tmp_path, 1 << 20).put(noise(0, channels=channels))
    found = PictureStore(tmp_path, 1 << 20).get(picture.id)
    assert np.array_equal(found.pixels, picture.pixels)


def test_shape_counts_in_the_id() -> None:
    flat = np.zeros((2, 8, 3), dtype=np.uint8)
    assert picture_of(flat).id != picture_of(flat.reshape(4, 4, 3)).id


@pytest.mark.parametrize("name", ["", "0" * 32, "../x", "0" * 31, "A" * 32, "/etc/passwd", "0" * 33])
def test_unknown_ids(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFoundError, match=r"there is no image '.*': upload it \(again\), or see GET /api/v1/gallery"):
        PictureStore(tmp_path, 1 << 20).get(name)


def test_a_file_that_is_not_what_its_name_says_is_removed(tmp_path: Path) -> None:
    store = PictureStore(tmp_path, 1 << 20)
    first, second = store.put(noise(0)), store.put(noise(1))
    (path,) = tmp_path.rglob(f"{first.id}.png")
    path.write_bytes(second.png())
    with pytest.raises(NotFoundError):
        PictureStore(tmp_path, 1 << 20).get(first.id)
    assert not path.exists()
    (path,) = tmp_path.rglob(f"{second.id}.png")
    path.write_bytes(b"damaged")
    with pytest.raises(NotFoundError):
        PictureStore(tmp_path, 1 << 20).get(second.id)
    assert np.array_equal(store.put(noise(1)).pixels, second.pixels)


def test_what_was_not_asked_for_longest_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "_WRITES_PER_SWEEP", 10)
    kept = [noise(seed) for seed in range(20)]
    size = len(kept[0].png())
    store = PictureStore(tmp_path, 10 * size)
    for place, picture in enumerate(kept):
        store.put(picture)
        if place == 9:
            (path,) = tmp_path.rglob(f"{kept[0].id}.png")
            os.utime(path, (2e9, 2e9))  # asked for
    left = {path.stem for path in files(tmp_path)}
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 10 * size
    assert kept[0].id in left
    assert kept[1].id not in left
    assert kept[-1].id in left


def test_what_memory_answers_is_asked_for_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most once a minute: a file whose picture is used all the time must not be the first to go."""
    store = PictureStore(tmp_path, 1 << 20)
    picture = store.put(noise(0))
    (path,) = files(tmp_path)

    def is_marked_by(use: Callable[[], object]) -> bool:
        os.utime(path, (1e9, 1e9))
        use()
        return path.stat().st_mtime > 1e9

    assert is_marked_by(lambda: store.get(picture.id))
    assert not is_marked_by(lambda: store.get(picture.id)), "a minute has not passed"
    assert not store.is_due(picture.id)
    for use in (lambda: store.get(picture.id), lambda: store.put(picture), lambda: store.keep(picture)):
        monkeypatch.setattr(pictures, "_MARK_SECONDS", -1.0)
        assert store.is_due(picture.id)
        assert is_marked_by(use)


def test_a_view_that_is_used_again_is_written_again(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"model": "resnet20", "image": "photos-2"}
    shown = served.post("/predict", **asked).json()["shown"]
    (path,) = served.home.rglob(f"{shown['id']}.png")
    path.unlink()
    monkeypatch.setattr(pictures, "_MARK_SECONDS", -1.0)
    served.post("/predict", **asked)
    assert path.exists()


def test_without_a_place_to_write_all_but_uploads_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    home = tmp_path / "home"
    home.write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING, "foolscope.web"), serving(home) as closed:
        monkeypatch.setenv("FOOLSCOPE_HOME", str(home))
        assert closed.client.get("/api/v1/images/photos-0.png").status_code == 200
        assert closed.client.get("/api/v1/images/photos-0/thumbnail.png").status_code == 200
        asked = {"model": "resnet20", "image": "photos-0"}
        told = closed.post("/predict", **asked).json()
        attacked = closed.post("/attack", **asked, attack="fgsm").json()
        defended = closed.post("/defend", **asked, defense="bits").json()
        for picture in (told["shown"], attacked["adversarial"], attacked["noise"], defended["shown"]):
            assert closed.client.get(picture["url"]).status_code == 200
        refused(closed.upload(noise(0).png()), 507, "storage")
        audit = {"kind": "audit", "model": "lenet:weights=digits", "data": "digits", "attacks": ["fgsm"]}
        refused(closed.post("/jobs", **audit), 507, "storage")
    lines = [record.getMessage() for record in caplog.records]
    assert sum("nothing can be uploaded or saved, and no job started: " in line for line in lines) == 1
    assert sum("pictures are kept in memory alone: " in line for line in lines) == 1


def test_recent_keeps_what_was_used_last() -> None:
    recent: Recent[str, int] = Recent(10)
    for name in "abc":
        recent.put(name, 1, 4)
    assert [recent.get(name) for name in "abc"] == [None, 1, 1]
    recent.get("b")
    recent.put("d", 1, 4)
    assert [recent.get(name) for name in "bcd"] == [1, None, 1]
    recent.put("large", 1, 100)
    assert recent.get("large") == 1, "what is put last is kept in any case"


def test_presets_are_rows_of_their_sets(served: Served) -> None:
    data = load_data("digits", "test")
    listed = served.get("/gallery/digits").json()["images"]
    assert len(listed) == 20
    assert sorted(entry["truth"] for entry in listed) == sorted([str(n) for n in range(10)] * 2)
    for entry in listed[:5]:
        row = int(entry["id"].rpartition("-")[2])
        picture = served.services.gallery.find(entry["id"])
        assert picture is not None
        assert np.array_equal(picture.picture.pixels, data.pixels[row])
        assert entry["truth"] == data.label_name(int(data.labels[row]))
        about = served.get(f"/images/{entry['id']}").json()
        assert (about["id"], about["url"]) == (entry["id"], entry["url"])
        for url in (entry["url"], entry["thumbnail"]):
            assert served.client.get(url).headers["content-type"] == "image/png"


def test_pictures_are_asked_for_once(served: Served) -> None:
    shown = served.post("/predict", model="resnet20", image="photos-0").json()["shown"]
    for url in (shown["url"], shown["thumbnail"]):
        first = served.client.get(url)
        assert first.headers["cache-control"] == "private, max-age=31536000, immutable"
        again = served.client.get(url, headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_ground_truth_among_other_classes() -> None:
    gallery = Gallery()
    cat, digit = gallery.find("photos-0"), gallery.find("digits-0")
    assert cat is not None
    assert digit is not None
    assert cat.truth == "tabby"
    assert cat.truth_among(imagenet.class_names()) == 281
    cifar10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    assert cat.truth_among(cifar10) == 3
    assert cat.truth_among(("a", "b")) is None
    assert cat.truth_among(None) is None
    assert cat.truth_among(("Tabby", "b")) == 0
    assert cat.truth_among(("tabby", "tabby")) is None, "two classes of that name: neither is it"
    assert digit.truth_among(tuple("0123456789")) == int(digit.truth)
    assert digit.truth_among(cifar10) is None


@needs_data
def test_data_sets_at_hand_are_in_the_gallery() -> None:
    gallery = Gallery()
    assert {"photos", "digits", "mnist", "cifar10"} <= {source.id for source in gallery.sources()}
    preset = gallery.find("cifar10-0")
    assert preset is not None
    assert preset.truth == load_data("cifar10", "test").label_name(int(preset.data.labels[0]))
    assert preset.truth_among(("cat", "ship")) == 1


def test_the_thesis_networks_are_offered_with_what_they_need(served: Served) -> None:
    listed = {entry["model"]: entry for entry in served.get("/models").json()["models"]}
    for name in THESIS:
        entry = listed[f"torchvision:{name}"]
        assert (entry["group"], entry["classes"]) == ("imagenet", 1000)
        assert entry["state"] in ("ready", "download")
        assert (entry["state"] == "download") == ("MiB" in entry["detail"])
    assert all(entry["state"] == "ready" for entry in listed.values() if entry["group"] == "shipped")


def test_specs_have_one_spelling() -> None:
    assert canonical("cifar-cnn") == "cifar-cnn"
    assert canonical("lenet:weights=digits") == "lenet:weights=digits"
    assert canonical("lenet:extra=0") == canonical("lenet")
    for card in shipped():
        spec = canonical(f"{card.architecture}{',' if ':' in card.architecture else ':'}weights={card.name}")
        assert canonical(spec) == spec


def test_the_network_not_used_longest_leaves() -> None:
    async def scenario() -> None:
        networks = Networks((), limit=1, queue=8, offline=True)
        first = await networks.get("lenet:weights=digits")
        assert await networks.get("lenet:weights=digits") is first
        assert networks.state("lenet:weights=digits").loaded
        await networks.get("resnet20")
        assert not networks.state("lenet:weights=digits").loaded
        assert networks.state("lenet:weights=digits").name == "ready"
        one, two = await asyncio.gather(networks.get("lenet"), networks.get("lenet"))
        assert one is two, "loaded once for both"
        networks.close()

    asyncio.run(scenario())


def test_nothing_downloads_by_being_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FOOLSCOPE_DATA", raising=False)
    monkeypatch.delenv("FOOLSCOPE_OFFLINE", raising=False)

    async def scenario() -> None:
        networks = Networks((), limit=1 << 30, queue=8, offline=False)
        assert networks.state("torchvision:vgg19").name == "download"
        with pytest.raises(
            MissingError, match=r"needs a download of [0-9.]+ MiB.*: POST /api/v1/models/load starts it"
        ):
            await networks.get("torchvision:vgg19")
        offline = Networks((), limit=1 << 30, queue=8, offline=True)
        assert offline.state("torchvision:vgg19").name == "unavailable"
        with pytest.raises(MissingError):
            await offline.get("torchvision:vgg19")
        assert offline.state("torchvision:vgg19").name == "failed"
        networks.close()
        offline.close()

    asyncio.run(scenario())


def test_a_download_that_hangs_holds_up_nothing_else(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, release = threading.Event(), threading.Event()

    def hang(*args: object, **more: object) -> None:
        begun.set()
        release.wait(60)
        raise OSError("unreachable")

    monkeypatch.delenv("FOOLSCOPE_DATA", raising=False)
    monkeypatch.delenv("FOOLSCOPE_OFFLINE", raising=False)
    monkeypatch.setattr("torch.hub.download_url_to_file", hang)
    try:
        for name in THESIS:
            assert served.post("/models/load", model=f"torchvision:{name}").status_code == 202
        assert begun.wait(30)
        assert served.post("/predict", model="cifar-cnn:weights=cifar10-linf", image="photos-0").status_code == 200
        assert served.get("/chains").status_code == 200
        listed = {entry["model"]: entry for entry in served.get("/models").json()["models"]}
        assert {listed[f"torchvision:{name}"]["state"] for name in THESIS} == {"loading"}
    finally:
        release.set()
    networks = served.services.networks
    deadline = time.monotonic() + 60
    while any(networks.state(f"torchvision:{name}").name == "loading" for name in THESIS):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    failed = networks.state("torchvision:vgg19")
    assert failed.name == "failed"
    assert "cannot download " in failed.detail
    networks._failed.clear()


def test_further_models_are_offered_when_they_are_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "import torch\ndef build():\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 3))\n"
    (tmp_path / "ownnet.py").write_text(source)
    monkeypatch.chdir(tmp_path)

    async def scenario() -> None:
        networks = Networks(("py:ownnet:build",), limit=1 << 30, queue=8, offline=True)
        assert networks.offer("py:ownnet:build").group == "added"
        with pytest.raises(NotFoundError, match=r"Did you mean py:ownnet:build\?"):
            networks.offer("py:ownnet:other")
        found = await networks.get("py:ownnet:build")
        assert found.lock is not None, "others' code runs in one thread at a time"
        networks.close()

    asyncio.run(scenario())
    with pytest.raises(SpecError):
        Networks(("nothing",), limit=1, queue=1, offline=True)
