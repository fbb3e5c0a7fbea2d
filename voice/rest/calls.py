"""WebRTC calls over HTTP, as OpenAI's `POST /v1/realtime/calls` has them."""

from typing import Any, Protocol

import anyio
from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from streams.admission import Refused
from streams.webrtc import BadOffer
from voice.access import CALLS, Caller, caller_of
from voice.calls import Calls
from voice.quota import OverLimit, Quota
from voice.realtime.opening import opening
from voice.realtime.reading import parse
from voice.realtime.server import ServerSide
from voice.realtime.settings import SessionDefaults
from voice.rest.answer import UPLOAD_SECONDS, Fault, bounded, failure, told

MOST_BYTES = 256 * 1024
"""Of an offer with its session."""
SDP = "application/sdp"
FORM = "multipart/form-data"


class Shared(Protocol):
    """What the routes share with the callers."""

    calls: Calls
    quota: Quota

    def defaults(self, model: str) -> SessionDefaults: ...

    def model_names(self) -> tuple[str, ...]: ...


def router(gateway: Shared) -> APIRouter:
    """The routes that begin calls and end them."""
    routes = APIRouter(prefix=CALLS)

    @routes.post("")
    async def offer(request: Request) -> Response:
        """A WebRTC offer (application/sdp, or multipart/form-data with `sdp` and `session`); the answer is SDP."""
        return await told(_begin(gateway, request))

    @routes.delete("/{call_id}")
    async def end(request: Request, call_id: str) -> Response:
        """Hang up."""
        return await _hang_up(gateway, request, call_id, 204)

    @routes.post("/{call_id}/hangup")
    async def hang_up(request: Request, call_id: str) -> Response:
        """Hang up."""
        return await _hang_up(gateway, request, call_id, 200)

    return routes


async def _begin(gateway: Shared, request: Request) -> Response:
    with anyio.fail_after(UPLOAD_SECONDS):
        sdp, session = await _read(request)
    try:
        caller = caller_of(request.scope)
        gateway.quota.check_calls(caller.owner)
        protocol = _protocol(gateway, request, caller, session)
        call_id, answer = await gateway.calls.begin(sdp, protocol, caller.owner)
    except BadOffer as bad:
        return failure(f"sdp: {bad}", 400, "invalid_offer", param="sdp")
    except Refused as refused:
        status, wait = 429 if isinstance(refused, OverLimit) else 503, {"Retry-After": str(refused.retry_after)}
        return failure(str(refused), status, refused.reason, wait)
    return Response(answer, 201, {"Location": f"{CALLS}/{call_id}"}, SDP)


async def _hang_up(gateway: Shared, request: Request, call_id: str, status: int) -> Response:
    if await gateway.calls.hang_up(call_id, caller_of(request.scope).owner):
        return Response(status_code=status)
    return failure(f"no call {call_id[:100]!r} is under way; it may be over", 404, "call_not_found")


async def _read(request: Request) -> tuple[str, dict[str, Any]]:
    """The offer, and the session that came with it. Raises Fault, refused.Refused."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == FORM:
        fields = await _fields(request)
        if "sdp" not in fields:
            raise Fault(400, "missing_required_parameter", "sdp: missing; send the offer as a field of the form")
        return fields["sdp"], parse(fields["session"]) if fields.get("session") else {}
    if kind == SDP:
        return _text("sdp", b"".join([chunk async for chunk in bounded(request, MOST_BYTES)])), {}
    raise Fault(415, "invalid_body", f"the body is {kind[:100] or 'of no type'}; send {SDP} or {FORM}")


async def _fields(request: Request) -> dict[str, str]:
    parser = MultiPartParser(
        request.headers, bounded(request, MOST_BYTES), max_files=2, max_fields=8, max_part_size=MOST_BYTES
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Fault(400, "invalid_body", f"the form cannot be read: {error.message}") from error
    try:
        return {
            name: _text(name, await value.read()) if isinstance(value, UploadFile) else value
            for name, value in form.items()
        }
    finally:
        await form.close()


def _text(name: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Fault(400, "invalid_value", f"{name}: not UTF-8; send text") from error


def _protocol(gateway: Shared, request: Request, caller: Caller, session: dict[str, Any]) -> ServerSide:
    """The session that is asked for: by the ephemeral key, over that by the offer. Raises Fault, refused.Refused."""
    query = request.query_params
    model = query.get("model", "")
    if model and model not in gateway.model_names():
        known = ", ".join(gateway.model_names())
        raise Fault(400, "model_not_found", f"model: {model[:100]!r} is not known here; choose one of {known}")
    defaults = gateway.defaults(model)
    protocol = ServerSide(defaults, extensions=query.get("extensions") == "1", media=True)
    protocol.begin(
        opening({**caller.session, **session}, defaults, transcription=query.get("intent") == "transcription")
    )
    return protocol
