from __future__ import annotations

import hashlib
import io
import json
import logging
import multiprocessing
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from foolscope.data import decoded as decoded_module
from foolscope.data import load_data, status
from foolscope.errors import CorruptError, InputError, MissingError, SpecError, StorageError
from tests.support import needs_data

Array = NDArray[np.uint8]


def encode(array: Array, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array)
    image.save(buffer, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return buffer.getvalue()


def noise(count: int, shape: tuple[int, ...] = (6, 5, 1), seed: int = 0) -> list[Array]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8))


def write(
    path: Path,
    images: Sequence[bytes | None],
    labels: Sequence[int | None],
    *,
    image: str = "image",
    label: str = "label",
    names: Sequence[str] | None = None,
    extra: dict[str, Any] | None = None,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    column = pa.array([{"bytes": content, "path": None} for content in images], kind)
    table = pa.table({**(extra or {}), image: column, label: pa.array(labels, pa.int64())})
    if names is not None:
        features = {image: {"_type": "Image"}, label: {"names": list(names), "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path)
    return path


def left(home: Path) -> list[str]:
    """Everything decoded or half-written."""
    return sorted(path.name for path in (home / "data").glob("*") if path.is_file())


def test_pixels_and_labels_are_those_of_the_files_in_their_order(data_home: Path) -> None:
    arrays = noise(700)
    for part, rows in enumerate((range(0, 300), range(300, 700))):
        kinds = ["PNG" if row % 2 else "WEBP" for row in rows]
        images = [encode(np.repeat(arrays[row], 3, 2), kind) for row, kind in zip(rows, kinds, strict=True)]
        write(data_home / f"a/b/data/test-0000{part}-of-00002.parquet", images, [row % 7 for row in rows])
    data = load_data("hf:a/b")
    assert np.array_equal(data.pixels, np.repeat(np.stack(arrays), 3, 3))
    assert data.labels.tolist() == [row % 7 for row in range(700)]
    assert isinstance(data.pixels, np.memmap)
    assert (data.name, data.num_classes, data.class_names, data.total) == ("hf:a/b", 7, None, 700)
    assert data.images.shape == (700, 3, 6, 5)


def test_mnist_from_the_data_folder(data_home: Path) -> None:
    arrays = noise(20, (28, 28, 1))
    path = data_home / "ylecun/mnist/mnist/test-00000-of-00001.parquet"
    write(path, [encode(array) for array in arrays], [row % 10 for row in range(20)])
    data = load_data("mnist")
    assert np.array_equal(data.pixels, np.stack(arrays))
    assert data.class_names == tuple("0123456789")
    assert data.source == "https://huggingface.co/datasets/ylecun/mnist"
    assert str(status("mnist")) == "needs a download of 18 MB"
    write(path.with_name("train-00000-of-00001.parquet"), [encode(arrays[0])], [0])
    assert str(status("mnist")) == "present"


def test_the_data_folder_goes_before_the_home(data_home: Path, home: Path) -> None:
    inside = noise(2, seed=1)
    write(home / "hub/a/b/data/test-00000-of-00001.parquet", [encode(array) for array in inside], [0, 1])
    assert np.array_equal(load_data("hf:a/b").pixels, np.stack(inside))
    before = noise(2, seed=2)
    write(data_home / "a/b/data/test-00000-of-00001.parquet", [encode(array) for array in before], [0, 1])
    assert np.array_equal(load_data("hf:a/b").pixels, np.stack(before))


def test_a_second_load_reads_no_parquet_and_hashes_nothing(data_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("cat", "dog")
    path = data_home / "a/b/data/test-00000-of-00001.parquet"
    write(path, [encode(array) for array in noise(4)], [0, 1, 0, 1], names=names)
    first = load_data("hf:a/b")

    def never(*_: object, **__: object) -> None:
        raise AssertionError("decoded or hashed twice")

    monkeypatch.setattr("foolscope.data.hub.find_columns", never)
    monkeypatch.setattr(decoded_module, "file_digest", never)
    monkeypatch.setattr(decoded_module, "decode_image", never)
    second = load_data("hf:a/b")
    assert (second.digest, second.class_names) == (first.digest, names)
    assert np.array_equal(second.pixels, first.pixels)


def test_a_changed_file_is_decoded_anew(data_home: Path) -> None:
    path = data_home / "a/b/data/test-00000-of-00001.parquet"
    write(path, [encode(array) for array in noise(4, seed=1)], [0, 1, 0, 1])
    first = load_data("hf:a/b")
    write(path, [encode(array) for array in noise(5, seed=2)], [0, 1, 0, 1, 1])
    second = load_data("hf:a/b")
    assert (len(first), len(second)) == (4, 5)
    assert first.digest != second.digest


@pytest.mark.parametrize("suffix", [".npy", ".json"])
@pytest.mark.parametrize("keep", [0, 100])
def test_a_damaged_cache_is_decoded_again(data_home: Path, home: Path, suffix: str, keep: int) -> None:
    arrays = noise(9)
    write(data_home / "a/b/test.parquet", [encode(array) for array in arrays], [0] * 9)
    digest = load_data("hf:a/b").digest
    for name in left(home):
        if name.endswith(suffix):
            file = home / "data" / name
            file.write_bytes(file.read_bytes()[:keep])
    again = load_data("hf:a/b")
    assert again.digest == digest
    assert np.array_equal(again.pixels, np.stack(arrays))


def _digest(results: Any) -> None:
    results.put(load_data("hf:a/b").digest)


def test_two_processes_that_decode_at_once(data_home: Path) -> None:
    write(data_home / "a/b/test.parquet", [encode(array) for array in noise(600)], [0] * 600)
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=_digest, args=(results,)) for _ in range(2)]
    for process in processes:
        process.start()
    digests = {results.get(timeout=120) for _ in processes}
    for process in processes:
        process.join()
    assert digests == {load_data("hf:a/b").digest}


def test_gray_images_among_color_ones_become_color_in_any_order(data_home: Path) -> None:
    gray, color = noise(1)[0], noise(1, (6, 5, 3), seed=1)[0]
    write(data_home / "a/first/test.parquet", [encode(gray), encode(color)], [0, 1])
    write(data_home / "a/last/test.parquet", [encode(color), encode(gray)], [0, 1])
    both = np.stack([np.repeat(gray, 3, 2), color])
    assert np.array_equal(load_data("hf:a/first").pixels, both)
    assert np.array_equal(load_data("hf:a/last").pixels, both[::-1])


def test_images_of_different_sizes(data_home: Path, home: Path) -> None:
    path = data_home / "a/b/test.parquet"
    wide = noise(1, (10, 40, 1))[0]
    write(path, [encode(np.zeros((6, 5, 1), np.uint8)), encode(wide)], [0, 1])
    message = (
        f"images of different sizes ({path}: image 0 is 5 x 6, {path}: image 1 40 x 10 pixels): "
        "give size=N to scale and crop all to N x N."
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        load_data("hf:a/b")
    assert left(home) == []
    data = load_data("hf:a/b?size=8")
    assert data.pixels.shape == (2, 8, 8, 1)
    scaled = Image.fromarray(wide[..., 0]).resize((32, 8), Image.Resampling.BICUBIC)
    assert np.array_equal(data.pixels[1, ..., 0], np.asarray(scaled)[:, 12:20])
    assert data.name == "hf:a/b?size=8"


def test_columns_are_found_by_type_and_class_names_in_the_metadata(data_home: Path) -> None:
    arrays = noise(3)
    images = [encode(array) for array in arrays]
    extra = {"id": pa.array([7, 8, 9]), "text": pa.array(["a", "b", "c"])}
    options: dict[str, Any] = {"image": "picture", "label": "kind", "names": ["ant", "bee"], "extra": extra}
    write(data_home / "a/b/test.parquet", images, [1, 0, 1], **options)
    data = load_data("hf:a/b")
    assert data.class_names == ("ant", "bee")
    assert data.labels.tolist() == [1, 0, 1]
    assert load_data("hf:a/b?label=id").labels.tolist() == [7, 8, 9]


def table(columns: dict[str, Any]) -> Callable[[Path], None]:
    return lambda path: pq.write_table(pa.table(columns), path)


def truncate(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])


PICTURES = pa.array([{"bytes": encode(array)} for array in noise(2)], pa.struct([("bytes", pa.binary())]))


@pytest.mark.parametrize(
    ("spec", "prepare", "kind", "message"),
    [
        ("hf:a/b", lambda path: truncate(path, 100), CorruptError, r"{path}: damaged parquet file \(.+\)\."),
        ("hf:a/b", lambda path: truncate(path, 0), CorruptError, r"{path}: damaged parquet file \(.+\)\."),
        (
            "hf:a/b",
            lambda path: path.write_bytes(
                path.read_bytes()[:200].ljust(path.stat().st_size - 600, b"\0") + path.read_bytes()[-600:]
            ),
            CorruptError,
            r"{path}: damaged parquet file \(.+\)\.",
        ),
        (
            "hf:a/b",
            lambda path: write(path, [encode(noise(1)[0]), b"no image"], [0, 1]),
            CorruptError,
            r"{path}: image 1: not an image that Pillow can read\.",
        ),
        (
            "hf:a/b",
            lambda path: write(path, [encode(noise(1)[0])[:-40], encode(noise(1)[0])], [0, 1]),
            CorruptError,
            r"{path}: image 0: damaged image \(.+\)\.",
        ),
        (
            "hf:a/b",
            lambda path: write(path, [encode(noise(1)[0]), None], [0, 1]),
            InputError,
            r"{path}: image 1 is missing: column 'image' has no bytes there\.",
        ),
        (
            "hf:a/b",
            lambda path: write(path, [encode(noise(1)[0])] * 2, [0, -1]),
            InputError,
            r"{path}: image 1 has the label -1 in column 'label' instead of a class index from 0\.",
        ),
        (
            "hf:a/b",
            lambda path: write(path, [encode(noise(1)[0])] * 2, [0, None]),
            InputError,
            r"{path}: image 1 has the label None in column 'label' instead of a class index from 0\.",
        ),
        (
            "hf:a/b",
            lambda path: write(path, [encode(noise(1)[0])] * 2, [0, 2], names=["cat", "dog"]),
            InputError,
            r"{path}: image 1 has the label 2 in column 'label' instead of a class index from 0 to 1\.",
        ),
        ("hf:a/b", lambda path: write(path, [], []), InputError, r"a--b-test has no images\."),
        (
            "hf:a/b",
            table({"text": pa.array(["a"]), "label": pa.array([1])}),
            InputError,
            r"{path} has no image column \(a struct with bytes\) among text, label\.",
        ),
        (
            "hf:a/b",
            table({"image": PICTURES, "label": pa.array(["cat", "dog"])}),
            InputError,
            r"{path} has no label column \(whole numbers\) among image, label\.",
        ),
        (
            "hf:a/b",
            table({"image": PICTURES, "fine": pa.array([1, 2]), "coarse": pa.array([0, 0])}),
            InputError,
            r"{path} has several label columns: choose one with label=NAME among fine, coarse\.",
        ),
        (
            "hf:a/b?label=lable",
            lambda path: None,
            SpecError,
            r"{path} has no column 'lable'\. Did you mean label\? It has image, label\.",
        ),
        (
            "hf:a/b?image=label",
            lambda path: None,
            InputError,
            r"{path}: column 'label' is no image column \(a struct with bytes\)\.",
        ),
    ],
)
def test_files_that_cannot_be_used(
    data_home: Path, home: Path, spec: str, prepare: Callable[[Path], object], kind: type[Exception], message: str
) -> None:
    path = write(data_home / "a/b/test.parquet", [encode(array) for array in noise(2, (40, 40, 1))], [0, 1])
    prepare(path)
    with pytest.raises(kind, match=f"^{message.replace('{path}', re.escape(str(path)))}$"):
        load_data(spec)
    assert left(home) == []


def test_no_space_left_leaves_nothing(data_home: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(data_home / "a/b/test.parquet", [encode(array) for array in noise(2)], [0, 1])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", full)
    with pytest.raises(StorageError, match=r"^no space left to write .+\.npy; nothing was changed there\.$"):
        load_data("hf:a/b")
    assert left(home) == []


def test_several_configurations(data_home: Path) -> None:
    for row, config in enumerate(("large", "small")):
        write(data_home / f"a/b/{config}/test-00000-of-00001.parquet", [encode(noise(1)[0])], [row])
    message = "a/b has several configurations with a split 'test': choose one with config=NAME among large, small."
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        load_data("hf:a/b")
    assert load_data("hf:a/b?config=small").labels.tolist() == [1]


@pytest.mark.parametrize("variable", ["FOOLSCOPE_OFFLINE", "HF_HUB_OFFLINE", None])
def test_offline_says_where_to_put_the_file(
    data_home: Path, home: Path, monkeypatch: pytest.MonkeyPatch, variable: str | None
) -> None:
    if variable:
        monkeypatch.setenv(variable, "1")
    write(data_home / "ylecun/mnist/mnist/test-00000-of-00002.parquet", [encode(noise(1)[0])], [0])
    message = (
        "offline, and the test split of ylecun/mnist is not there: put the file of "
        f"https://huggingface.co/datasets/ylecun/mnist at {data_home}/ylecun/mnist/mnist/test-00000-of-00001.parquet."
    )
    with pytest.raises(MissingError, match=f"^{re.escape(message)}$"):
        load_data("mnist", offline=variable is None)
    monkeypatch.delenv("FOOLSCOPE_DATA")
    with pytest.raises(
        MissingError, match=re.escape(f"at {home}/hub/uoft-cs/cifar10/plain_text/train-00000-of-00001.")
    ):
        load_data("cifar10", "train", offline=True)
    with pytest.raises(MissingError, match=re.escape(f"at {home}/hub/a/b/data/train-00000-of-00001.parquet.")):
        load_data("hf:a/b", "train", offline=True)


class Hub:
    """A server that answers as the hub does."""

    def __init__(self, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/api/datasets/a/b":
                    siblings = [{"rfilename": name, "size": len(content)} for name, content in files.items()]
                    self.answer(200, json.dumps({"id": "a/b", "siblings": siblings}).encode())
                elif path.startswith("/datasets/a/b/resolve/main/"):
                    self.answer(200, files[path.removeprefix("/datasets/a/b/resolve/main/")])
                else:
                    code = {"/api/datasets/a/gated": "GatedRepo"}.get(path, "RepoNotFound")
                    self.answer(403 if code == "GatedRepo" else 404, b"{}", {"X-Error-Code": code})

            do_HEAD = do_GET

            def answer(self, code: int, content: bytes, headers: dict[str, str] | None = None) -> None:
                self.send_response(code)
                etag = hashlib.sha256(content).hexdigest()
                known = {"ETag": f'"{etag}"', "X-Repo-Commit": "0" * 40, "Content-Length": str(len(content))}
                for key, value in {**known, "Content-Type": "application/json", **(headers or {})}.items():
                    self.send_header(key, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        address = f"http://127.0.0.1:{self.server.server_port}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)

    def __enter__(self) -> Hub:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.delenv("FOOLSCOPE_DATA", raising=False)
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "none"))
    images = [encode(array) for array in noise(3)]
    file = write(tmp_path / "made.parquet", images, [0, 1, 1], names=["cat", "dog"]).read_bytes()
    files = {"README.md": b"# b", "data/train-00000-of-00001.parquet": file}
    with Hub(files, monkeypatch) as running:
        yield running


def test_what_is_not_there_is_downloaded_after_a_word(hub: Hub, home: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "foolscope"):
        data = load_data("hf:a/b", "train")
    assert np.array_equal(data.pixels, np.stack(noise(3)))
    assert data.class_names == ("cat", "dog")
    message = f"downloading the train split of https://huggingface.co/datasets/a/b (0.0 MB) to {home}/hub/a/b"
    assert [record.getMessage() for record in caplog.records if record.name == "foolscope"] == [message]
    assert (home / "hub/a/b/data/train-00000-of-00001.parquet").is_file()
    assert not (home / "hub/a/b/README.md").exists()
    assert load_data("hf:a/b", "train", offline=True).digest == data.digest


@pytest.mark.parametrize(
    ("spec", "kind", "message"),
    [
        ("hf:a/b", SpecError, "a/b has no split 'test'. It has train in data."),
        ("hf:a/b?config=x", SpecError, "a/b has no split 'test' in config 'x'. It has train in data."),
        ("hf:a/none", MissingError, "there is no data set a/none on the hub, or it is private."),
        (
            "hf:a/gated",
            MissingError,
            "https://huggingface.co/datasets/a/gated wants you to accept its terms there, and a token in HF_TOKEN.",
        ),
        ("hf:a/b--c", SpecError, "'a/b--c' cannot be the name of a data set on the hub."),
        ("hf:b", SpecError, "malformed data set 'b': expected OWNER/NAME, as in 'hf:ylecun/mnist'."),
        ("hf:../b", SpecError, "malformed data set '../b': expected OWNER/NAME, as in 'hf:ylecun/mnist'."),
    ],
)
def test_what_the_hub_does_not_have(hub: Hub, spec: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=f"^{re.escape(message)}$"):
        load_data(spec)


def test_a_data_set_without_parquet(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    message = (
        "https://huggingface.co/datasets/a/b holds no parquet files: only data sets stored as parquet can be read."
    )
    with Hub({"data.zip": b""}, monkeypatch), pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        load_data("hf:a/b")


def test_no_network(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FOOLSCOPE_DATA", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    message = (
        r"cannot download https://huggingface\.co/datasets/ylecun/mnist \(.+\): put the file of "
        rf"https://huggingface\.co/datasets/ylecun/mnist at {re.escape(str(home))}/hub/ylecun/mnist/mnist/test-"
        r"00000-of-00001\.parquet\."
    )
    with pytest.raises(MissingError, match=f"^{message}$"):
        load_data("mnist")


@needs_data
def test_real_mnist(real_data: Path) -> None:
    train, test = load_data("mnist", "train"), load_data("mnist")
    assert (train.pixels.shape, test.pixels.shape) == ((60_000, 28, 28, 1), (10_000, 28, 28, 1))
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert train.labels.bincount()[1] == 6742 == train.labels.bincount().max()
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    # The sum of all pixels of the original idx files, as the mean that everyone normalizes by.
    assert float(train.pixels.mean()) / 255 == pytest.approx(0.1306604762738429, abs=1e-12)


@needs_data
def test_real_cifar10(real_data: Path) -> None:
    train, test = load_data("cifar10", "train"), load_data("cifar10")
    assert (train.pixels.shape, test.pixels.shape) == ((50_000, 32, 32, 3), (10_000, 32, 32, 3))
    assert train.labels.bincount().tolist() == [5000] * 10
    assert test.labels.bincount().tolist() == [1000] * 10
    assert train.label_name(int(train.labels[0])) == "frog"
    means = [round(mean / 255, 4) for mean in train.pixels.mean((0, 1, 2))]
    assert means == [0.4914, 0.4822, 0.4465]
