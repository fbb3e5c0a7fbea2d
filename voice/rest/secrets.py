"""Ephemeral keys, as OpenAI's `POST /v1/realtime/client_secrets` shapes them."""

from typing import Annotated, Any, Literal, Protocol

import anyio
import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from voice.access import Access, Caller, caller_of
from voice.realtime.opening import opening
from voice.realtime.refused import Refused
from voice.realtime.settings import SessionDefaults, show_session
from voice.realtime.shapes import new_id
from voice.rest.answer import UPLOAD_SECONDS, bounded, told
from voice.tickets import LONGEST, SHORTEST, USUAL, TooLarge

MOST_BYTES = 256 * 1024
"""Of a request."""
FIELDS = ("expires_after", "session")


class Shared(Protocol):
    """What the routes share with the callers."""

    access: Access

    def defaults(self, model: str) -> SessionDefaults: ...


class ExpiresAfter(msgspec.Struct, forbid_unknown_fields=True):
    """How long a key is to be valid."""

    anchor: Literal["created_at"] | None = None
    seconds: Annotated[int, msgspec.Meta(ge=SHORTEST, le=LONGEST)] | None = None


def router(gateway: Shared) -> APIRouter:
    """The route that makes keys."""
    routes = APIRouter(prefix="/v1/realtime")

    @routes.post("/client_secrets")
    async def client_secrets(request: Request) -> Response:
        """A key for a page or an app, valid for minutes, and the session that calls with it begin with (JSON)."""
        return await told(_make(gateway, request))

    return routes


async def _make(gateway: Shared, request: Request) -> Response:
    with anyio.fail_after(UPLOAD_SECONDS):
        body = b"".join([chunk async for chunk in bounded(request, MOST_BYTES)])
    return JSONResponse(_made(gateway, caller_of(request.scope), body), headers={"Cache-Control": "no-store"})


def _made(gateway: Shared, caller: Caller, body: bytes) -> dict[str, Any]:
    """The answer. Raises Refused."""
    given = _object(body)
    unknown = next((name for name in given if name not in FIELDS), None)
    if unknown is not None:
        raise Refused("unknown_parameter", unknown[:200], f"it is not known; known here are {', '.join(FIELDS)}")
    try:
        expires = msgspec.convert(_or_empty(given.get("expires_after")), ExpiresAfter)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$")
        raise Refused("invalid_value", f"expires_after{place.rstrip('`')}", reason) from error
    session = _or_empty(given.get("session"))
    defaults = gateway.defaults("")
    settings = opening(session, defaults)
    try:
        seconds = expires.seconds or USUAL
        value, expires_at = gateway.access.tickets.make(caller.owner, seconds, session)
    except TooLarge as large:
        advice = "shorten it, or send the rest with session.update"
        raise Refused("invalid_value", "session", f"{large}; {advice}") from large
    shown = msgspec.to_builtins(show_session(settings, new_id("sess"), expires_at=0))
    return {"value": value, "expires_at": expires_at, "session": shown}


def _or_empty(given: Any) -> Any:
    return {} if given is None else given


def _object(body: bytes) -> dict[str, Any]:
    try:
        given = msgspec.json.decode(body) if body.strip() else {}
    except (ValueError, RecursionError) as error:
        raise Refused("invalid_json", None, f"the body is not JSON ({error}); send one JSON object") from error
    if not isinstance(given, dict):
        raise Refused("invalid_value", None, "the body is JSON, but no object; send one")
    return given
