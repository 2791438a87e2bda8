"""Uploads: every format, whatever was done to the file; the answer is a picture or one line."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from foolscope.errors import CorruptError
from foolscope.images import decode_image
from foolscope.web import decode_worker
from foolscope.web.settings import Settings
from tests.web.serving import Served, refused, serving

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")


def picture(width: int = 24, height: int = 16, seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return Image.fromarray(values).resize((width, height), Image.Resampling.NEAREST)


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def shown(served: Served, content: bytes, **headers: str) -> tuple[NDArray[np.uint8], list[str]]:
    """The pixels that the server keeps of a file, and what it says of them."""
    answer = served.upload(content, **headers)
    assert answer.status_code == 201, answer.text
    told = answer.json()
    pixels = np.asarray(Image.open(io.BytesIO(served.client.get(told["url"]).content)))
    channels = 1 if pixels.ndim == 2 else 3
    assert (told["height"], told["width"], told["channels"]) == (*pixels.shape[:2], channels)
    return pixels, told["notes"]


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_decoded_as_the_library_does(served: Served, format: str) -> None:
    content = saved(picture(), format)
    pixels, notes = shown(served, content)
    assert np.array_equal(pixels, decode_image(content, 3))
    assert notes == []


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16", "YCbCr", "LAB"])
def test_every_mode_is_decoded_as_the_library_does(mode: str) -> None:
    gray = np.arange(0, 16 * 24 * 171, 171, dtype=np.uint16).reshape(16, 24)
    image = Image.fromarray(gray) if mode == "I;16" else picture().convert(mode)
    content = saved(image, "TIFF")
    pixels, _ = decode_worker.decode(content, 512)
    assert np.array_equal(pixels, decode_image(content))


def test_what_is_said_of_a_file_is_so() -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + bytes(range(24)) for _ in range(4)))
    wide = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    assert decode_worker.decode(wide, 512)[1] == ["reduced from 16 to 8 bits"]
    for opacity, notes in ((255, []), (128, ["transparency laid on black"])):
        image = picture().convert("RGBA")
        image.putalpha(opacity)
        for format in ("PNG", "WEBP"):
            assert decode_worker.decode(saved(image, format, lossless=True), 512)[1] == notes
    with pytest.raises(CorruptError, match=r"^image: its pixels are floating-point numbers: save it with 8 or 16 bits"):
        decode_worker.decode(saved(Image.new("F", (4, 4), 0.5), "TIFF"), 512)


def test_a_webp_that_is_too_large_for_its_decoder_may_be_whole(served: Served) -> None:
    line = refused(served.upload(saved(Image.new("RGB", (8000, 8000)), "WEBP", quality=1, method=0)), 422, "corrupt")
    assert line == "image: damaged, or takes too much memory to decode: make it smaller."


def test_exif_rotation_is_honored(served: Served) -> None:
    upright = picture()
    for orientation, turned in ((3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_90), (2, None)):
        stored = upright.transpose(turned if turned is not None else Image.Transpose.FLIP_LEFT_RIGHT)
        exif = Image.Exif()
        exif[0x0112] = orientation
        pixels, notes = shown(served, saved(stored, "PNG", exif=exif))
        assert np.array_equal(pixels, np.asarray(upright)), orientation
        assert notes == ["turned as its EXIF data say"]


def test_profiles_are_converted(served: Served) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels, notes = shown(served, saved(picture(), "PNG", icc_profile=lab))
    assert np.array_equal(pixels, np.asarray(picture()))
    assert notes == [], "sRGB's own profile changes nothing"
    swapped = _swapped_primaries(lab)
    pixels, notes = shown(served, saved(Image.new("RGB", (4, 4), (255, 0, 0)), "PNG", icc_profile=swapped))
    assert pixels[0, 0, 2] > 250, "this profile calls blue what sRGB calls red"
    assert pixels[0, 0, 0] < 60
    assert notes[0].startswith("converted from the profile '")
    pixels, notes = shown(served, saved(picture(), "PNG", icc_profile=b"no profile"))
    assert np.array_equal(pixels, np.asarray(picture()))


def _swapped_primaries(profile: bytes) -> bytes:
    """sRGB's profile with red and blue exchanged, and another name."""
    content = bytearray(profile)
    count = struct.unpack(">I", content[128:132])[0]
    places = {bytes(content[p : p + 4]): p for p in range(132, 132 + 12 * count, 12)}
    red, blue = places[b"rXYZ"], places[b"bXYZ"]
    content[red + 4 : red + 12], content[blue + 4 : blue + 12] = (
        content[blue + 4 : blue + 12],
        content[red + 4 : red + 12],
    )
    return bytes(content).replace("sRGB".encode("utf-16-be"), "BRGs".encode("utf-16-be")).replace(b"sRGB b", b"BRGs b")


def test_what_is_done_is_told(served: Served) -> None:
    deep = Image.fromarray(np.array([[0, 128, 129, 65535]], dtype=np.uint16))
    pixels, notes = shown(served, saved(deep, "PNG"))
    assert pixels.tolist() == [[0, 0, 1, 255]], "rounded, not cut"
    assert notes == ["reduced from 16 to 8 bits"]
    assert shown(served, saved(picture().convert("CMYK"), "JPEG"))[1] == ["converted from CMYK"]
    frames = [picture(seed=seed) for seed in range(3)]
    pixels, notes = shown(served, saved(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert notes == ["the first of 3 frames"]
    assert np.array_equal(pixels, np.asarray(frames[0]))
    glass = Image.new("RGBA", (2, 1), (200, 100, 50, 0))
    glass.putpixel((1, 0), (200, 100, 50, 255))
    pixels, notes = shown(served, saved(glass, "PNG"))
    assert pixels.tolist() == [[[0, 0, 0], [200, 100, 50]]]
    assert notes == ["transparency laid on black"]
    pixels, notes = shown(served, saved(picture(900, 300), "PNG"))
    assert pixels.shape == (171, 512, 3)
    assert notes == ["scaled from 900 x 300 to 512 x 171 pixels"]
    animated = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert shown(served, animated)[1] == ["the first of 3 frames"]


def test_names_and_types_that_are_declared_are_not_looked_at(served: Served) -> None:
    content = saved(picture(), "BMP")
    for kind in ("image/svg+xml", "text/html", "application/x-python", "image/png", ""):
        assert np.array_equal(shown(served, content, **{"content-type": kind})[0], np.asarray(picture()))
    for name in ("../../etc/passwd", "py:os:system", "a\x00.png", "x" * 5000, "<script>.png", "😀.png"):
        answer = served.client.post("/api/v1/images", files={"file": (name, content, "text/html")})
        assert answer.status_code in (201, 400), answer.text
    kept = sorted(path.name for path in (served.home / "web" / "images").rglob("*") if path.is_file())
    assert all(path.endswith(".png") and len(path) == 36 for path in kept), kept


def test_the_same_pixels_have_the_same_id(served: Served) -> None:
    ids = {served.upload(saved(picture(), format)).json()["id"] for format in ("PNG", "BMP", "TIFF")}
    assert len(ids) == 1


def _damaged(content: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.4:
        return content[: rng.randrange(len(content))]
    spoiled = bytearray(content)
    for _ in range(rng.randint(1, 12)):
        spoiled[rng.randrange(len(spoiled))] ^= 1 << rng.randrange(8)
    return bytes(spoiled)


@pytest.mark.parametrize("format", FORMATS)
def test_damaged_files_of_every_format(served: Served, format: str) -> None:
    content, rng = saved(picture(64, 48), format), random.Random(format)
    statuses = set()
    for _ in range(40):
        answer = served.upload(_damaged(content, rng))
        statuses.add(answer.status_code)
        if answer.status_code != 201:
            assert refused(answer, 422, "corrupt").startswith("image: ")
    assert 422 in statuses


def _png(width: int, height: int, rows: Callable[[], bytes]) -> bytes:
    """A gray PNG that claims its size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows()) + chunk(b"IEND", b"")


SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
NOT_TAKEN = "image: not a PNG, JPEG, WebP, GIF, BMP or TIFF file."
HOSTILE = {
    "empty": (b"", "image: the file is empty."),
    "svg": (SVG, NOT_TAKEN),
    "html": (b"<!doctype html><script>alert(1)</script>", NOT_TAKEN),
    "pickle": (b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93.", NOT_TAKEN),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) print\n", NOT_TAKEN),
    "pdf": (b"%PDF-1.7\n", NOT_TAKEN),
    "zeros": (bytes(100_000), NOT_TAKEN),
    "icon": (saved(picture(16, 16), "ICO"), NOT_TAKEN),
    "bomb": (_png(60_000, 60_000, lambda: zlib.compress(bytes(1000))), "image: "),
    "claims": (_png(2**31 - 1, 2**31 - 1, lambda: zlib.compress(b"")), "image: "),
    "no pixels": (_png(0, 0, lambda: b""), "image: "),
    "50,000 wide": (
        _png(50_000, 2, lambda: zlib.compress(bytes(2 * 50_001), 9)),
        "image: 50000 x 2 pixels: no side may be longer than 16,384.",
    ),
    "gif bomb": (
        b"GIF89a\xff\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\xff\xff\xff\xff\x00\x02\x02D\x01\x00;",
        "image: ",
    ),
    "tiff loop": (b"II*\x00\x08\x00\x00\x00\x00\x00\x08\x00\x00\x00" + bytes(40), "image: "),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_in_a_line(served: Served, name: str) -> None:
    content, line = HOSTILE[name]
    assert line in refused(served.upload(content, **{"content-type": "image/png"}), 422, "corrupt")


def test_a_polyglot_leaves_as_pixels_alone(served: Served) -> None:
    content = saved(picture(), "PNG") + b"<script>alert(1)</script>PK\x03\x04"
    told = served.upload(content).json()
    answer = served.client.get(told["url"])
    assert b"script" not in answer.content
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_large_pictures_within_the_limits_cost_bounded_memory(served: Served) -> None:
    """64 megapixels: decoded within the decoder's memory, or refused in a line."""
    side = 7_900
    content = _png(side, side, lambda: zlib.compress(bytes(side * (side + 1)), 1))
    answer = served.upload(content)
    if answer.status_code != 201:
        refused(answer, 422, "corrupt")
    else:
        assert max(answer.json()["width"], answer.json()["height"]) == 512


def test_a_decoder_that_dies_is_replaced(served: Served) -> None:
    decoder = served.services.decoder
    process = decoder._process
    assert process is not None
    process.kill()
    answer = served.upload(saved(picture(), "PNG"))
    if answer.status_code != 201:  # it died with this file in hand
        line = refused(answer, 422, "corrupt")
        assert line == "image: damaged in a way that its decoder does not survive."
    assert served.upload(saved(picture(), "PNG")).status_code == 201
    assert decoder._process is not None
    assert decoder._process.pid != process.pid


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Any:
    settings = Settings(port=0, upload_bytes=20_000, upload_seconds=1e-6)
    with serving(tmp_path_factory.mktemp("small"), settings) as running:
        yield running


def test_decoding_may_take_so_long(small: Served) -> None:
    line = refused(small.upload(saved(picture(), "PNG")), 422, "corrupt")
    assert line == "image: takes more than 1e-06 s to decode."


def test_too_many_bytes(small: Served) -> None:
    line = refused(small.upload(bytes(30_000)), 413, "too-large")
    assert line == "the body has 30,000 bytes, more than the 24,096 that are allowed here."
    line = refused(small.upload(bytes(21_000)), 413, "too-large")
    assert line == "the file has 21,000 bytes, more than the 20,000 that are allowed."
    streamed = small.client.post("/api/v1/images", content=(bytes(10_000) for _ in range(9)))
    assert "the body has 90,000 bytes" in refused(streamed, 413, "too-large")


def test_100_mb_are_refused_with_an_answer(small: Served) -> None:
    line = refused(small.client.post("/api/v1/images", content=(bytes(1 << 20) for _ in range(100))), 413, "too-large")
    assert "104,857,600 bytes" in line
    line = refused(small.client.post("/api/v1/predict", content=bytes(70_000)), 413, "too-large")
    assert "more than the 65,536 that are allowed here" in line


@pytest.mark.parametrize(
    ("kind", "body", "line"),
    [
        ("multipart/form-data", b"", "the form's Content-Type names no boundary."),
        ("multipart/form-data; boundary=x", b"nothing", "the form cannot be read"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\nabc", "the form ends too early."),
        ("multipart/form-data; boundary=x", b"", "the form ends too early."),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--x\r\n"
            b"Content-Disposition: form-data; name=b\r\n\r\n2\r\n--x--\r\n",
            "the form must have one part, the image file; it has 2.",
        ),
    ],
)
def test_forms_that_cannot_be_read(served: Served, kind: str, body: bytes, line: str) -> None:
    assert line in refused(served.upload(body, **{"content-type": kind}), 400, "malformed")
