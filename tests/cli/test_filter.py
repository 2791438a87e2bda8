"""`filter`: photos in, filtered PNGs out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from foolscope.filters import AGV_A, AGV_B, Chain, Juno, parse_chain, thesis
from foolscope.images import decode_image, encode_png, from_uint8, quantize, to_uint8
from foolscope.randomness import generator
from tests.cli.running import Program
from tests.filters.pictures import pictures


@pytest.fixture
def files(program: Program) -> list[Path]:
    """Three photos of different sizes as PNG, the last one gray."""
    images = [pictures(1, height=9, width=12)[0], pictures(1, height=20, width=7)[0], pictures(1, 1, 8, 8)[0]]
    paths = [Path("a.png"), Path("b.png"), Path("gray.png")]
    for path, image in zip(paths, images, strict=True):
        path.write_bytes(encode_png(image))
    return paths


def reread(path: Path | str) -> Tensor:
    return from_uint8(decode_image(Path(path))[None])


@pytest.mark.parametrize("chain", ["agv-b", "clarendon:strength=0.8,intensity=1.1|rise"])
def test_what_is_saved_is_the_filtered_image(program: Program, files: list[Path], chain: str) -> None:
    outcome = program("filter", chain, files[0], "-o", "out.png", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    expected = quantize(parse_chain(chain)(reread(files[0])))
    assert torch.equal(reread("out.png"), expected)
    change = expected - reread(files[0])
    (row,) = outcome.json["images"]
    assert (outcome.json["chain"], outcome.json["title"]) == (parse_chain(chain).spec(), parse_chain(chain).title)
    assert row["l2"] == pytest.approx(float(change.norm()), abs=1e-5)
    assert row["linf"] == pytest.approx(float(change.abs().max()), abs=1e-6)
    assert {key: row[key] for key in ("image", "file", "width", "height")} == {
        "image": "a.png",
        "file": "out.png",
        "width": 12,
        "height": 9,
    }


def test_several_images_of_any_size_go_into_a_folder(program: Program, files: list[Path]) -> None:
    outcome = program("filter", "agv-a", *files[:2], "--out", "deep/down")
    assert outcome.code == 0
    assert sorted(path.name for path in Path("deep/down").iterdir()) == ["a.png", "b.png"]
    for path in files[:2]:
        assert torch.equal(reread(Path("deep/down") / path), quantize(AGV_A(reread(path))))
        assert str(Path("deep/down") / path) in outcome.out


def test_without_out_there_is_a_folder(program: Program, files: list[Path]) -> None:
    assert program("filter", "juno", files[0]).code == 0
    assert torch.equal(reread("foolscope-filtered/a.png"), quantize(Juno()(reread(files[0]))))


def test_images_of_the_same_name_are_numbered(program: Program, files: list[Path]) -> None:
    Path("other").mkdir()
    Path("other/a.png").write_bytes(files[1].read_bytes())
    assert program("filter", "juno", files[0], files[1], "other/a.png", "-o", "out").code == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["000-a.png", "002-a.png", "b.png"]
    assert torch.equal(reread("out/002-a.png"), reread("out/b.png"))


def test_no_image_is_lost_to_another_one_s_number(program: Program, files: list[Path]) -> None:
    paths = [files[0], Path("a.bmp"), Path("000-a.png")]
    Image.open(files[1]).save(paths[1])
    paths[2].write_bytes(files[2].read_bytes())
    rows = program("filter", "juno", *paths, "-o", "many", "--json").json["images"]
    assert [row["file"] for row in rows] == ["many/000-a.png", "many/001-a.png", "many/002-000-a.png"]
    for path, row in zip(paths, rows, strict=True):
        assert torch.equal(reread(row["file"]), quantize(Juno()(reread(path))))


def test_gray_images_stay_gray_where_the_filters_leave_them_so(program: Program, files: list[Path]) -> None:
    program("filter", "juno|lark", files[2], "-o", "gray-still.png")
    assert torch.equal(reread("gray-still.png"), quantize(parse_chain("juno|lark")(reread(files[2]))))
    assert reread("gray-still.png").shape[1] == 1
    program("filter", "juno|rise", files[2], "-o", "colored.png")
    color = reread(files[2]).expand(-1, 3, -1, -1)
    assert torch.equal(reread("colored.png"), quantize(parse_chain("juno|rise")(color)))


def test_a_camera_s_rotation_is_honored(program: Program) -> None:
    levels = to_uint8(torch.rand(1, 3, 6, 10, generator=generator(0)))[0]
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    Image.fromarray(levels).save("turned.png", exif=exif)
    assert program("filter", "juno:strength=0", "turned.png", "-o", "out.png").code == 0
    with Image.open("out.png") as saved:
        assert np.array_equal(np.asarray(saved), np.rot90(levels, -1))
        assert not saved.getexif()


def test_strength_0_keeps_every_pixel(program: Program, files: list[Path]) -> None:
    row = program("filter", "juno:strength=0|rise:strength=0", files[0], "-o", "x.png", "--json").json["images"][0]
    assert (row["l2"], row["linf"]) == (0, 0)
    assert torch.equal(reread("x.png"), reread(files[0]))


@pytest.mark.parametrize(("ids", "name"), [("thesis", "agv-b"), ("code", "agv-b-code")])
def test_a_file_of_the_thesis(program: Program, files: list[Path], ids: str, name: str) -> None:
    Path("attack.json").write_text(json.dumps({**thesis.AGV_B, "filters_data": "gASV"}))
    outcome = program("filter", "attack.json", files[0], "-o", "x.png", "--ids", ids, "--json")
    assert outcome.json["chain"] == parse_chain(name).spec()
    assert torch.equal(reread("x.png"), quantize(parse_chain(name)(reread(files[0]))))


def test_a_file_of_ours_with_extremes(program: Program, files: list[Path]) -> None:
    chain = Chain((Juno(intensity=4.0),), title="mine")
    Path("Mine.JSON").write_text(chain.to_json())
    outcome = program("filter", "Mine.JSON", files[0], "-o", "x.png", "--json").json
    assert (outcome["chain"], outcome["title"]) == ("juno:intensity=4", "mine")
    assert torch.equal(reread("x.png"), quantize(chain(reread(files[0]))))


def test_extremes_must_be_allowed(program: Program, files: list[Path]) -> None:
    message = "juno: intensity must be between 0.5 and 1.5 unless extremes are allowed, got 3."
    assert program.fails("filter", "juno:intensity=3", files[0], "-o", "x.png") == message
    assert not Path("x.png").exists()
    assert program("filter", "juno:intensity=3", files[0], "-o", "x.png", "--allow-extreme").code == 0
    assert torch.equal(reread("x.png"), quantize(Juno(intensity=3.0)(reread(files[0]))))


@pytest.mark.parametrize("out", ["a.png", "./a.png", "link.png", "."])
def test_an_original_is_never_overwritten(program: Program, files: list[Path], out: str) -> None:
    before = files[0].read_bytes()
    Path("link.png").symlink_to("a.png")
    said = program.fails("filter", "agv-b", files[0], "-o", out)
    assert said.endswith("would be overwritten by its own filtered image: name another --out.")
    assert files[0].read_bytes() == before


def test_no_image_takes_another_ones_place(program: Program, files: list[Path]) -> None:
    Path("out").mkdir()
    Path("out/a.png").write_bytes(files[1].read_bytes())
    said = program.fails("filter", "juno", "out/a.png", "b.png", "-o", "out")
    assert said == "out/a.png would be overwritten by its own filtered image: name another --out."
    assert not Path("out/b.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("jumo", "a.png"), "unknown filter 'jumo'. Did you mean juno? 'foolscope filters' lists all."),
        (("", "a.png"), "an empty chain: name at least one filter; 'foolscope filters' lists all."),
        (("juno", "no.png"), "no.png: no such file."),
        (("juno", "text.png"), "text.png: not an image that Pillow can read."),
        (("juno", "a.png", "b.png", "-o", "x.png"), "--out x.png is one file for 2 images: name a folder."),
        (
            ("juno", "a.png", "-o", "x.jpg"),
            "--out x.jpg: filtered images are saved as PNG, which keeps every pixel: name OUT.png.",
        ),
        (
            ("juno", "a.png", "-o", "b.png/x"),
            "cannot write into b.png/x: b.png is a file, not a folder: name another --out.",
        ),
        (
            ("juno", "a.png", "-o", "b.png/x.png"),
            "cannot write into b.png: b.png is a file, not a folder: name another --out.",
        ),
        (("no.json", "a.png"), "no.json: cannot be read (No such file or directory)."),
        (("bad.json", "a.png"), "bad.json: not JSON: Expecting value (line 1, column 1)."),
        (("deep.json", "a.png"), "deep.json: not a chain: nested too deeply."),
        (("good.json", "a.png", "--ids", "both"), "ids must be thesis or code, got 'both'."),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    program: Program, files: list[Path], arguments: tuple[str, ...], message: str
) -> None:
    Path("text.png").write_text("no image")
    Path("bad.json").write_text("juno")
    Path("deep.json").write_text("[" * 50_000)
    Path("good.json").write_text(AGV_B.to_json())
    assert program.fails("filter", *arguments) == message
