"""Reading captions over HTTP: server-sent events, live WebVTT, files, and tickets for who cannot send a key."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, Protocol, get_args

import anyio
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from msgspec.structs import replace
from starlette.types import Receive, Scope, Send

from voice.access import Access, Denied
from voice.captions import Emit, FileFormat, Room, write_events, write_vtt
from voice.config import Config
from voice.rest.answer import EVENTS, STALLED_SECONDS, failure, watch
from voice.rooms import NoRoom, Rooms

RETRY_AFTER = "5"
LIVE = "text/vtt; charset=utf-8"
KINDS = {"txt": "text/plain; charset=utf-8", "srt": "application/x-subrip; charset=utf-8", "vtt": LIVE}
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Authorization, Last-Event-ID",
    "Access-Control-Max-Age": "600",
}

Write = Callable[[Room, Emit], Awaitable[None]]


class Shared(Protocol):
    """What the routes share with the callers."""

    config: Config
    rooms: Rooms


class ReaderTickets:
    """Short-lived rights to read one room, for players that can send no key. They end with the process that gave them.

    Args:
        seconds: how long one is good to begin reading with.
        now: unix seconds.
    """

    def __init__(self, seconds: float, now: Callable[[], float] = time.time) -> None:
        self._seconds = seconds
        self._now = now
        self._secret = secrets.token_bytes(32)

    def give(self, room: str) -> tuple[str, int]:
        """A ticket, and when it expires in Unix seconds."""
        expires = int(self._now() + self._seconds)
        return f"{expires}-{self._sign(room, str(expires))}", expires

    def good(self, ticket: str, room: str) -> bool:
        """Whether the ticket is one for this room and not expired."""
        expires, _, signature = ticket.partition("-")
        if not hmac.compare_digest(signature.encode(), self._sign(room, expires).encode()):
            return False
        return int(expires) >= self._now()

    def _sign(self, room: str, expires: str) -> str:
        return hmac.new(self._secret, f"{expires} {room}".encode(), hashlib.sha256).hexdigest()


def readers(config: Config) -> Access:
    """Who may read: whoever knows a room's name, or, where there are keys for it, who has one."""
    captions, auth = config.captions, config.auth
    mode: Literal["keys", "none"] = "keys" if captions.read_keys else "none"
    keys, origins = (*captions.read_keys, *auth.keys), (*captions.origins, *auth.origins)
    return Access(replace(auth, mode=mode, keys=keys, origins=origins), config.server.host)


def publishers(config: Config) -> Access | None:
    """Who may feed a room; None: whoever may call."""
    keys = config.captions.publish_keys
    return Access(replace(config.auth, mode="keys", keys=keys), config.server.host) if keys else None


class Door:
    """Who may read, and what pages of other origins may see of it.

    Attributes:
        tickets: given here.
    """

    def __init__(self, config: Config) -> None:
        captions = config.captions
        self.tickets = ReaderTickets(captions.ticket_seconds)
        self._locked = bool(captions.read_keys)
        self._access = readers(config)

    def headers(self, request: Request) -> dict[str, str]:
        """What lets pages of other origins read the answer (CORS)."""
        plain = {"Vary": "Origin", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        origin = request.headers.get("origin", "")
        readable = origin and self._access.may_read(origin)
        return {"Access-Control-Allow-Origin": origin, **plain} if readable else plain

    def denied(self, request: Request, room: str, *, ticket: bool = True) -> Response | None:
        """Why this request may not read, if it may not; `ticket`: one is as good as a key."""
        bearer = request.headers.get("authorization", "").partition(" ")[2]
        shown = (request.query_params.get("ticket", ""), bearer)
        welcome = not self._locked or (ticket and any(self.tickets.good(each, room) for each in shown))
        try:
            if welcome:
                self._access.check_page(request.headers)
            else:
                self._access.check(request.url.path, request.headers)
        except Denied as error:
            message = str(error).replace("auth.origins", "captions.origins")
            return failure(message, error.status, "access_denied", self.headers(request))
        return None


def router(gateway: Shared) -> APIRouter:
    """The routes of `/v1/captions`."""
    routes = APIRouter(prefix="/v1/captions")
    door = Door(gateway.config)
    denied, headers = door.denied, door.headers

    def live(request: Request, room: str, kind: str, write: Write) -> Response:
        return denied(request, room) or Reading(gateway.rooms, room, kind, headers(request), write)

    @routes.options("/{path:path}")
    async def preflight(request: Request, path: str) -> Response:
        """Whether a page of another origin may ask."""
        return Response(status_code=204, headers=headers(request) | PREFLIGHT)

    @routes.get("/{room}/events")
    async def events(request: Request, room: str) -> Response:
        """What is shown in a room, as server-sent events; `Last-Event-ID` goes on where a reader was."""
        seen = request.headers.get("last-event-id", "")
        return live(request, room, EVENTS, lambda found, emit: write_events(found, seen, emit))

    @routes.post("/{room}/tickets")
    async def give_ticket(request: Request, room: str) -> Response:
        """A ticket (`?ticket=`) to read the room with, for players that can send no key."""
        refusal = denied(request, room, ticket=False)
        if refusal:
            return refusal
        ticket, expires = door.tickets.give(room)
        return JSONResponse({"ticket": ticket, "expires_at": expires}, 201, headers(request))

    @routes.get("/{room}.{kind}")
    async def file(request: Request, room: str, kind: str) -> Response:
        """The committed text: `vtt` grows while the room is live, unless `download` is asked for; `txt` and `srt` are
        what there is. `mpegts` ties the room's zero to a stream's clock of 90 kHz."""
        if kind not in get_args(FileFormat):
            message = f"captions come as {', '.join(get_args(FileFormat))}, not as {kind[:20]!r}"
            return failure(message, 404, "not_found", headers(request))
        if kind == "vtt" and "download" not in request.query_params:
            stamp = request.query_params.get("mpegts", "")
            if stamp and not (stamp.isdecimal() and len(stamp) <= 10):
                return failure("mpegts: give a number of ticks", 400, "invalid_value", headers(request))
            return live(request, room, LIVE, lambda found, emit: write_vtt(found, stamp, emit))
        refusal, found = denied(request, room), gateway.rooms.find(room)
        if refusal:
            return refusal
        if found is None:
            return failure(f"no room {room[:80]!r} is here now", 404, "no_such_room", headers(request))
        attached = {"Content-Disposition": f'attachment; filename="{room}.{kind}"'}
        shape: FileFormat = "vtt" if kind == "vtt" else "srt" if kind == "srt" else "txt"
        return Response(found.file(shape), media_type=KINDS[kind], headers=headers(request) | attached)

    return routes


class Reading(Response):
    """An answer that goes on while a room is live and its reader stays; a reader that takes nothing is let go."""

    def __init__(self, rooms: Rooms, name: str, kind: str, headers: Mapping[str, str], write: Write) -> None:
        super().__init__(headers=headers)
        self._rooms = rooms
        self._name = name
        self._kind = kind
        self._extra = headers
        self._write = write

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        try:
            with self._rooms.read(self._name) as room:
                head = [(name.lower().encode(), value.encode()) for name, value in self._extra.items()]
                head.append((b"content-type", self._kind.encode()))
                await send({"type": "http.response.start", "status": 200, "headers": head})

                async def emit(data: bytes, *, more: bool = True) -> None:
                    with anyio.fail_after(STALLED_SECONDS):
                        await send({"type": "http.response.body", "body": data, "more_body": more})

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(watch, receive, tasks.cancel_scope)
                    try:
                        await self._write(room, emit)
                        await emit(b"", more=False)
                    except TimeoutError:
                        pass  # the server closes what is not complete
                    tasks.cancel_scope.cancel()
        except NoRoom as none:
            wait = {"Retry-After": RETRY_AFTER}
            await failure(str(none), none.status, none.code, {**self._extra, **wait})(scope, receive, send)
