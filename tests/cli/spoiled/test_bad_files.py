"""Files, disks and networks that fail: one clear line each, exit code 2, and nothing half-written."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.cli.running import Program
from tests.cli.spoiled.checks import audit, unchanged


def parquet(content: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch, image: bytes | None = None) -> Path:
    """A data folder with MNIST's test split, damaged."""
    path = Path("data/ylecun/mnist/mnist/test-00000-of-00001.parquet").absolute()
    path.parent.mkdir(parents=True)
    file = io.BytesIO()
    Image.new("L", (28, 28)).save(file, "PNG")
    whole = file.getvalue()
    rows = [{"bytes": image if image is not None and row == 3 else whole, "path": None} for row in range(6)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array(rows, kind), "label": pa.array(range(6), pa.int64())})
    pq.write_table(table, path)
    path.write_bytes(content(path.read_bytes()))
    monkeypatch.setenv("FOOLSCOPE_DATA", str(Path("data").absolute()))
    return path


@pytest.mark.parametrize("cut", [0, 100, 0.5, 0.99])
def test_truncated_parquet(program: Program, net: str, monkeypatch: pytest.MonkeyPatch, cut: float) -> None:
    path = parquet(lambda content: content[: int(cut * len(content)) if cut < 1 else int(cut)], monkeypatch)
    message = unchanged(program, *audit(net, "mnist"))
    assert message.startswith(f"{path}: damaged parquet file (")
    assert message.endswith(").")


def test_parquet_with_a_damaged_image(program: Program, net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet(lambda content: content, monkeypatch, image=b"\x89PNG\r\n\x1a\nhalf")
    message = unchanged(program, *audit(net, "mnist"))
    assert message == f"{path}: image 3: not an image that Pillow can read."


def test_damaged_weights(program: Program, net: str, tmp_path: Path) -> None:
    content = (tmp_path / "net.safetensors").read_bytes()
    path = Path("bad.safetensors")
    for damaged in (b"", b"hello", content[:50], content[: len(content) // 2], b"\xff" * 64):
        path.write_bytes(damaged)
        message = unchanged(program, *audit("file:bad.safetensors?arch=lenet"))
        assert message.startswith("bad.safetensors: damaged safetensors file (")
    save_file({"layer.weight": torch.zeros(3, 3)}, path)
    assert unchanged(program, *audit("file:bad.safetensors?arch=lenet")) == (
        "bad.safetensors: 'classifier.4.weight' is missing; these are another network's weights."
    )
    assert unchanged(program, *audit("file:text")) == (
        "'text' is not a .safetensors file; safetensors.torch.save_file writes one."
    )
    assert unchanged(program, *audit("file:nothere.safetensors")) == "nothere.safetensors: no such file."
    assert unchanged(program, *audit("file:empty?arch=lenet")) == "empty: no such file."


def test_folders(program: Program, net: str) -> None:
    assert unchanged(program, *audit(net, "folder:empty")) == (
        "empty holds no images: expected one sub-folder of images a class, or a labels.csv."
    )
    assert unchanged(program, *audit(net, "folder:nothere")) == "nothere: no such folder."
    assert unchanged(program, *audit(net, "folder:text")) == "text: no such folder."
    Path("classes/a").mkdir(parents=True)
    Path("classes/a/text.png").write_text("hello")
    expected = "classes/a/text.png: not an image that Pillow can read."
    assert unchanged(program, *audit(net, "folder:classes")) == expected


def test_files_that_cannot_be_read(program: Program, net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    attack = ["attack", "fgsm:eps=0.1", "--model", net]
    assert unchanged(program, *attack, "empty") == "empty: cannot be read (Is a directory)."
    assert unchanged(program, *attack, "text") == "text: not an image that Pillow can read."
    Image.new("L", (28, 28)).save("locked.png")

    def refused(*_: object, **__: object) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Image, "open", refused)
    assert unchanged(program, *attack, "locked.png") == "locked.png: cannot be read (Permission denied)."


@pytest.mark.parametrize("out", ["text", "text/deeper"])
def test_out_that_is_a_file(program: Program, net: str, out: str) -> None:
    message = f"cannot write into {out}: text is a file, not a folder: name another --out."
    assert unchanged(program, *audit(net), "--out", out) == message
    assert unchanged(program, "demo", "--out", out) == message
    assert (
        unchanged(program, "attack", "fgsm:eps=0.1", "--data", "digits", "--limit", 2, "--model", net, "--out", out)
        == message
    )
    assert Path("text").read_text() == "hello"


def full(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def test_no_space_for_cells(program: Program, net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full)
        message = unchanged(program, *audit(net))
    assert message.startswith(f"no space left to write {os.environ['FOOLSCOPE_HOME']}/store/")
    assert message.endswith("; nothing was changed there.")
    assert program(*audit(net)).code == 0


def test_no_space_for_the_report(program: Program, net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        message = program.fails(*audit(net), "--out", "report")
    assert message == "no space left to write report/results.json; nothing was changed there."
    assert not list(Path("report").iterdir())
    assert program(*audit(net), "--out", "report").code == 0


def test_no_space_for_images_and_weights(program: Program, net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        message = unchanged(program, "attack", "fgsm:eps=0.1", "--data", "digits", "--limit", 2, "--model", net)
        assert message == "no space left to write foolscope-attacked/00044.png; nothing was changed there."
    train = ["train", "lenet", "--data", "digits", "--limit", "32", "--epochs", "1"]
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        message = unchanged(program, *train)
        assert message.startswith(f"no space left to write {os.environ['FOOLSCOPE_HOME']}/training/")
    with monkeypatch.context() as patch:
        patch.setattr("safetensors.torch.save_file", full)
        message = program.fails(*train)
        assert message == "no space left to write lenet-digits.safetensors; nothing was changed there."
        assert not list(Path().glob("lenet-digits*"))
    assert program(*train).code == 0


def test_a_home_that_cannot_be_written(program: Program, net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOOLSCOPE_HOME", str(Path("text").absolute()))
    place = Path("text").absolute()
    message = (
        f"cannot write into {place}: {place} is a file, not a folder: set FOOLSCOPE_HOME to a folder that can be "
        "written."
    )
    assert program.fails(*audit(net)) == message
    assert program.fails("train", "lenet", "--data", "digits", "--limit", 32, "--epochs", 1) == message
    assert not Path("foolscope-reports").exists()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="there is no /proc")
@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (audit("lenet", "digits", "--out", "/proc/nope"), "/proc/nope"),
        (["demo", "--out", "/proc/nope"], "/proc/nope"),
        (
            ["train", "lenet", "--data", "digits", "--limit", "32", "--epochs", "1", "--out", "/proc/x.safetensors"],
            "/proc",
        ),
        (["attack", "fgsm:eps=0.1", "--data", "digits", "--model", "lenet", "--out", "/proc/nope"], "/proc/nope"),
        (["filter", "juno", "text", "--out", "/proc/nope"], "/proc/nope"),
        (["evolve", "lenet", "--data", "digits", "--out", "/proc/nope"], "/proc/nope"),
        (["detector", "lenet", "--data", "digits", "--out", "/proc/nope/d.json"], "/proc/nope"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_place_that_cannot_be_written_is_told_before_the_work(
    program: Program, arguments: list[str], place: str
) -> None:
    message = unchanged(program, *arguments)
    assert message.startswith(f"cannot write into {place}: no file can be made in /proc (")
    assert message.endswith("): name another --out.")


@pytest.mark.parametrize("how", ["--offline", "FOOLSCOPE_OFFLINE"])
def test_offline_says_where_to_put_the_file(
    program: Program, net: str, how: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if how == "FOOLSCOPE_OFFLINE":
        monkeypatch.setenv(how, "1")
    place = tmp_path / "home" / "hub" / "ylecun" / "mnist" / "mnist" / "test-00000-of-00001.parquet"
    message = unchanged(program, *audit(net, "mnist"), *(["--offline"] if how == "--offline" else []))
    assert message == (
        "offline, and the test split of ylecun/mnist is not there: put the file of "
        f"https://huggingface.co/datasets/ylecun/mnist at {place}."
    )


def test_no_network_says_where_to_put_the_file(program: Program, net: str, tmp_path: Path) -> None:
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "foolscope", *audit(net, "mnist")],
        env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: cannot download https://huggingface.co/datasets/ylecun/mnist (")
    assert line.endswith("mnist/test-00000-of-00001.parquet.")


def test_a_data_folder_that_is_not_there(program: Program, net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOOLSCOPE_DATA", "/nowhere")
    assert unchanged(program, *audit(net, "mnist")) == "FOOLSCOPE_DATA names '/nowhere', which is no folder."
