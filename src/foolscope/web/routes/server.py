"""The server itself: what it is, whether it lives, and signing in."""

from __future__ import annotations

from fastapi import Request, Response

import foolscope
from foolscope.experiments.provenance import versions
from foolscope.filters.chain_file import LONGEST
from foolscope.web import schemas
from foolscope.web.guard import COOKIE, is_token, session
from foolscope.web.job_kinds import KINDS
from foolscope.web.problems import ConflictError, TokenError
from foolscope.web.routes.common import ServicesHere, new_router
from foolscope.web.services import START_ATTACK, START_IMAGE, START_MODEL

router = new_router("server")


@router.get("/about")
async def about(services: ServicesHere) -> schemas.About:
    """What the server is, what it allows, and what a page selects first."""
    settings = services.settings
    return schemas.About(
        version=foolscope.__version__,
        api="v1",
        offline=settings.offline,
        limits=schemas.Limits(
            upload_bytes=settings.upload_bytes,
            side=settings.side,
            filters=LONGEST,
            attack_seconds=settings.attack_seconds,
        ),
        start=schemas.Start(model=START_MODEL, image=START_IMAGE, attack=START_ATTACK),
        jobs=list(KINDS),
        versions=versions(),
    )


@router.get("/session")
async def session_state(request: Request, services: ServicesHere) -> schemas.Session:
    """Whether the server wants a token, and has it."""
    token = services.settings.token
    cookie = request.cookies.get(COOKIE, "")
    return schemas.Session(needed=token is not None, signed_in=token is None or is_token(cookie, session(token)))


@router.post("/session", status_code=204)
async def sign_in(body: schemas.SessionRequest, request: Request, services: ServicesHere) -> Response:
    """Exchange the token for a cookie."""
    return signed_in(Response(status_code=204), body.token, request, services.settings.token)


@router.delete("/session", status_code=204)
async def sign_out() -> Response:
    """Forget the cookie."""
    response = Response(status_code=204)
    response.delete_cookie(COOKIE)
    return response


def signed_in(response: Response, given: str, request: Request, token: str | None) -> Response:
    """`response` with the cookie.  Raises `TokenError` for another token, `ConflictError` where there is none."""
    if token is None:
        raise ConflictError("this server wants no token.")
    if not is_token(given, token):
        raise TokenError("this is not the server's token.")
    is_secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, session(token), httponly=True, samesite="strict", secure=is_secure, path="/")
    return response
