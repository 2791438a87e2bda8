"""Pictures: the gallery, uploads, and their PNGs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated

from fastapi import Query, Request, Response
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from foolscope.web import schemas
from foolscope.web.answers import picture_entry
from foolscope.web.gallery import Preset
from foolscope.web.pictures import Picture, picture_of
from foolscope.web.problems import MalformedError, TooLargeError
from foolscope.web.routes.common import ClientHere, ServicesHere, new_router

router = new_router("images")

_PNG = {200: {"content": {"image/png": {}}, "description": "8 bits a channel"}}
_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
            },
        },
    }
}


@router.get("/gallery")
async def gallery(services: ServicesHere) -> schemas.SetList:
    """The sets of preset pictures that are at hand."""
    sources = await asyncio.to_thread(services.gallery.sources)
    return schemas.SetList(sets=[schemas.SetEntry(set=source.id, title=source.title) for source in sources])


@router.get("/gallery/{name}")
async def gallery_set(name: str, services: ServicesHere) -> schemas.PresetList:
    """The presets of a set."""

    def listed() -> schemas.PresetList:
        source = services.gallery.source(name)
        images = [_preset_entry(preset) for preset in services.gallery.listed(source)]
        return schemas.PresetList(set=name, count=len(services.gallery.data(source)), images=images)

    return await asyncio.to_thread(listed)


@router.post("/images", status_code=201, openapi_extra=_UPLOAD)
async def upload(request: Request, services: ServicesHere, client: ClientHere) -> schemas.Uploaded:
    """Keep a picture: the body is an image file, or a multipart form with one."""
    content, limit = await request.body(), services.settings.upload_bytes
    media_type = request.headers.get("content-type", "")
    if media_type.lower().startswith("multipart/form-data"):
        content = _file_in_form(media_type, content)
    if len(content) > limit:
        raise TooLargeError(f"the file has {len(content):,} bytes, more than the {limit:,} that are allowed.")
    decoded = await services.decoder.decode(content, client)
    picture = await asyncio.to_thread(services.pictures.put, picture_of(decoded.pixels))
    return schemas.Uploaded(**picture_entry(picture).model_dump(), notes=list(decoded.notes))


@router.get("/images/{name}.png", response_class=Response, responses=_PNG)  # type: ignore[arg-type]
async def png(
    name: str, request: Request, services: ServicesHere, download: Annotated[bool, Query()] = False
) -> Response:
    """The picture as PNG."""
    picture = await services.lab.picture(name)
    headers = {"Content-Disposition": f'attachment; filename="{name}.png"'} if download else {}
    return await _png(request, picture, name, picture.png, headers)


@router.get("/images/{name}/thumbnail.png", response_class=Response, responses=_PNG)  # type: ignore[arg-type]
async def thumbnail(name: str, request: Request, services: ServicesHere) -> Response:
    """The picture as a small PNG."""
    picture = await services.lab.picture(name)
    return await _png(request, picture, name, picture.thumbnail, {})


@router.get("/images/{name}")
async def image(name: str, services: ServicesHere) -> schemas.PictureEntry:
    """A picture's size and places."""
    picture = await services.lab.picture(name)
    return picture_entry(picture).model_copy(update=_places(name))


def _places(name: str) -> dict[str, str]:
    """The id that a picture is asked for by, and its places under that."""
    return {"id": name, "url": f"/api/v1/images/{name}.png", "thumbnail": f"/api/v1/images/{name}/thumbnail.png"}


def _preset_entry(preset: Preset) -> schemas.PresetEntry:
    return schemas.PresetEntry(**_places(preset.id), truth=preset.truth, credit=preset.credit)


async def _png(
    request: Request, picture: Picture, name: str, encode: Callable[[], bytes], headers: dict[str, str]
) -> Response:
    """The PNG that `encode` gives, unless the browser has it: pixels of an id never change, those of a preset may."""
    lasting = "max-age=31536000, immutable" if name == picture.id else "max-age=3600"
    tag = f'"{picture.id}"'
    headers |= {"Cache-Control": f"private, {lasting}", "ETag": tag}
    wanted = request.headers.get("if-none-match", "").split(",")
    if {one.strip().removeprefix("W/") for one in wanted} & {tag, "*"}:
        return Response(status_code=304, headers=headers)
    return Response(await asyncio.to_thread(encode), headers=headers, media_type="image/png")


def _file_in_form(media_type: str, content: bytes) -> bytes:
    """The content of a multipart form's only part.  Raises `MalformedError`."""
    parts: list[list[bytes]] = []
    complete: list[bool] = []
    try:
        boundary = parse_options_header(media_type)[1].get(b"boundary")
        if not boundary:
            raise MalformedError("the form's Content-Type names no boundary.")
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": lambda: parts.append([]),
                "on_part_data": lambda data, start, end: parts[-1].append(data[start:end]),
                "on_end": lambda: complete.append(True),
            },
        )
        parser.write(content)
    except (FormParserError, UnicodeError) as error:
        raise MalformedError(f"the form cannot be read: {error}.") from None
    if not complete:
        raise MalformedError("the form ends too early.")
    if len(parts) != 1:
        raise MalformedError(f"the form must have one part, the image file; it has {len(parts)}.")
    return b"".join(parts[0])
