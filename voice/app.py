"""The composition root: engines, gateway, and the server that runs them."""

import ctypes
import logging
import socket
import time
from http import HTTPStatus

import anyio
import uvicorn
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

import voice
from streams.admission import Admission, Refused
from streams.link import Link, LinkClosed
from streams.metrics import Prometheus, watch_loop
from streams.tap import Tap
from streams.websocket import WebSocketLink, WebSocketProtocol, bound_sending
from voice import pages
from voice.access import Access, caller_of, keys_required
from voice.answering import Engines
from voice.calls import Calls
from voice.captions import Publisher
from voice.config import Config, ServerConfig
from voice.guard import Guard
from voice.hosting import host
from voice.logs import set_up
from voice.models import REGISTRY, Store, needed
from voice.quota import Quota
from voice.realtime.opening import opening
from voice.realtime.refused import Refused as BadSettings
from voice.realtime.server import ServerSide
from voice.realtime.settings import SessionDefaults
from voice.rest import REQUESTS, failure, router
from voice.rest import calls as offers
from voice.rest import captions as reading
from voice.rest import secrets as keys
from voice.rooms import NoRoom, Rooms
from voice.service import open_engines
from voice.session import Session

BINARY_PROTOCOL = "rejoinder.v1"
REALTIME_PROTOCOL = "realtime"
"""What the vendors' browser clients offer beside their key."""
PROTOCOLS = (BINARY_PROTOCOL, REALTIME_PROTOCOL)

M_ARENA_MAX, ARENAS = -8, 2
"""An option of glibc's (mallopt(3)), and its value."""

_log = logging.getLogger(__name__)


class Gateway:
    """What the routes share."""

    def __init__(self, config: Config, engines: Engines, tap: Tap) -> None:
        self.config = config
        self.engines = engines
        self.tap = tap
        self.admission = Admission(config.limits.sessions, tap)
        self.files = Admission(REQUESTS, tap)
        self.sessions: set[Session] = set()
        self.access = Access(config.auth, config.server.host)
        self.quota = Quota(config.limits, tap)
        self.rooms = Rooms(config.captions, tap)
        self.calls = Calls(self)

    def model_names(self) -> tuple[str, ...]:
        """All names a client may call this server's model by."""
        own = (self.config.asr.model, self.config.llm.model, self.config.tts.voice)
        return tuple(dict.fromkeys((*self.config.aliases, *own)))

    def voices(self) -> dict[str, str]:
        """Every voice name a client may use -> the engine's voice."""
        default = self.config.tts.voice
        own = {name: name for name in self.engines.tts.voices}
        return {"default": default, **{name: voice or default for name, voice in self.config.voices.items()}, **own}

    def defaults(self, model: str) -> SessionDefaults:
        """What a session begins with."""
        config = self.config
        return SessionDefaults(
            expires_at=int(time.time() + config.limits.session_seconds),
            model=model or "rejoinder",
            models=self.model_names(),
            voice=config.tts.voice,
            voices=self.voices(),
            transcription_model=config.asr.model,
            transcription_models=self.model_names(),
            languages=self.engines.asr.languages,
            instructions=config.llm.instructions,
            detection=config.endpoint.detection,
            threshold=config.vad.threshold,
            prefix_padding_ms=round(config.vad.preroll_seconds * 1000),
            silence_duration_ms=round(config.endpoint.silence_seconds * 1000),
        )

    async def host(self, session: Session, link: Link, owner: str, transport: str) -> None:
        """Run a session in a place of its own, for as long as its key may talk.

        Raises:
            Refused: there is no place, or the key has used what it may.
            LinkClosed: the client does not take what it is sent.
        """
        with self.admission.admit(transport), self.quota.admit(owner) as meter:
            self.sessions.add(session)
            try:
                await host(session, link, meter, self.config.limits.drain_seconds)
            finally:
                self.sessions.discard(session)

    async def drain(self) -> None:
        """Let nobody in any more, let running answers end, and say goodbye."""
        self.admission.drain()
        self.files.drain()
        for session in list(self.sessions):
            session.leave(1012, "the server restarts; connect again")
        await self.admission.emptied(self.config.limits.drain_seconds)
        self.rooms.close()


def create_app(gateway: Gateway, metrics: Prometheus) -> FastAPI:
    """The HTTP and WebSocket routes."""
    app = FastAPI(title="Rejoinder", version=voice.__version__, docs_url=None, redoc_url=None)
    app.add_middleware(Guard, access=gateway.access, tap=metrics, publishers=reading.publishers(gateway.config))
    app.include_router(router(gateway))
    app.include_router(keys.router(gateway))
    app.include_router(offers.router(gateway))
    app.include_router(pages.router(app, gateway.config.captions.frame_ancestors))
    app.include_router(reading.router(gateway))

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Alive."""
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        """Whether new callers are admitted."""
        draining = gateway.admission.draining
        return JSONResponse({"status": "draining" if draining else "ready"}, 503 if draining else 200)

    @app.get("/metrics")
    async def show_metrics() -> Response:
        """Prometheus metrics."""
        body, kind = metrics.render()
        return Response(body, media_type=kind)

    @app.get("/v1/models")
    async def models() -> dict[str, object]:
        """Names a client may use."""
        entries = [{"id": name, "object": "model", "owned_by": "rejoinder"} for name in gateway.model_names()]
        return {"object": "list", "data": entries}

    @app.websocket("/v1/realtime")
    async def realtime(websocket: WebSocket) -> None:
        """A conversation, or (`intent=transcription`) captions, as OpenAI's Realtime API has them."""
        await (_publish if "room" in websocket.query_params else _converse)(gateway, websocket)

    @app.websocket("/{path:path}")
    async def nowhere(websocket: WebSocket, path: str) -> None:
        refusal = failure(f"/{path} takes no WebSocket; conversations are at /v1/realtime", 404, "not_found")
        await websocket.send_denial_response(refusal)

    @app.exception_handler(HTTPException)
    async def refuse(request: Request, refused: HTTPException) -> JSONResponse:
        status = HTTPStatus(refused.status_code)
        message = f"{request.method} {request.url.path}: {refused.detail}; /docs lists what there is"
        return failure(message, status, status.phrase.lower().replace(" ", "_"), refused.headers)

    return app


async def _publish(gateway: Gateway, websocket: WebSocket) -> None:
    """Captions of what is said, put into a room for many to read."""
    query = websocket.query_params
    if query.get("intent") != "transcription":
        refusal = failure("room: captions come of transcriptions; add intent=transcription", 400, "invalid_value")
        return await websocket.send_denial_response(refusal)
    try:
        with gateway.rooms.publish(query["room"]) as publisher:
            await _converse(gateway, websocket, publisher)
    except NoRoom as none:  # a page cannot read why it was not let in, but why it was sent away
        await websocket.accept(next((name for name in PROTOCOLS if name in websocket.scope["subprotocols"]), None))
        await WebSocketLink(websocket).close(1008 if none.status == 400 else 1013, str(none))


async def _converse(gateway: Gateway, websocket: WebSocket, captions: Publisher | None = None) -> None:
    """A conversation, or (`intent=transcription`) captions, until either side leaves."""
    offered, query = websocket.scope["subprotocols"], websocket.query_params
    model, binary = query.get("model", ""), BINARY_PROTOCOL in offered
    if model and model not in gateway.model_names():
        known = ", ".join(gateway.model_names())
        refusal = failure(f"model {model!r} is not known here; choose one of {known}", 400, "model_not_found")
        return await websocket.send_denial_response(refusal)
    defaults, caller = gateway.defaults(model), caller_of(websocket.scope)
    try:
        settings = opening(caller.session, defaults, transcription=query.get("intent") == "transcription")
    except BadSettings as wrong:
        return await websocket.send_denial_response(failure(str(wrong), 400, wrong.code, param=wrong.param))
    await websocket.accept(next((name for name in PROTOCOLS if name in offered), None))
    link = WebSocketLink(websocket, gateway.config.limits.stalled_reader_seconds)
    protocol = ServerSide(defaults, extensions=binary or query.get("extensions") == "1", binary=binary)
    protocol.begin(settings)
    session = Session(link, protocol, gateway.engines, gateway.config, gateway.tap, captions)
    try:
        await gateway.host(session, link, caller.owner, "websocket")
    except Refused as refused:
        await link.close(1013, str(refused))
    except LinkClosed as closed:
        await link.close(closed.code, closed.reason)
    except Exception:
        await link.close(1011, "the session failed; this is our mistake, and it is in the server's log")
        raise


class Server(uvicorn.Server):
    """Serves a gateway: `await serve([listener])`, until a signal comes or `should_exit` is set.

    Lets answers end before it closes connections.
    """

    def __init__(self, gateway: Gateway, metrics: Prometheus) -> None:
        self.gateway = gateway
        config = gateway.config
        settings = uvicorn.Config(
            create_app(gateway, metrics),
            ws=WebSocketProtocol,
            ws_max_size=config.limits.message_bytes,
            ws_max_queue=4,
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=round(config.limits.drain_seconds),
        )
        super().__init__(settings)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        async with self.gateway.calls.open():
            await super().serve(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self.gateway.drain()
        await super().shutdown(sockets)


async def run(config: Config) -> None:
    """Load the engines, and serve until a signal comes.

    Raises:
        EngineError, ModelError: an engine does not load.
        OSError: the address cannot be bound.
    """
    metrics = Prometheus()
    async with open_engines(config, Store(config.models), metrics) as engines:
        server = Server(Gateway(config, engines, metrics), metrics)
        with listen(config.server) as listener:
            _announce(config, listener.getsockname()[1])
            print(f"  devices   {devices(config, engines)}")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(watch_loop, metrics)
                await server.serve([listener])
                tasks.cancel_scope.cancel()


def listen(config: ServerConfig) -> socket.socket:
    """The socket callers connect to. Raises OSError where the address cannot be bound."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.create_server((config.host, config.port), family=family, backlog=128)
    bound_sending(listener)
    return listener


def _announce(config: Config, port: int) -> None:
    """Say where to click, what answers, and what to expect of it."""
    host = config.server.host
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    print(f"Rejoinder {voice.__version__} listens on http://{place}")
    print(f"  realtime  ws://{place}/v1/realtime   metrics  http://{place}/metrics")
    for name in needed(config):
        print(f"  {REGISTRY[name].kind:9} {name}: {REGISTRY[name].about}")
    if not keys_required(config.auth, host):
        print("  no key is needed to call" + ("" if config.auth.mode == "none" else ": only this machine reaches it"))


def devices(config: Config, engines: Engines) -> str:
    """Where each engine computes: "cpu", "cuda", the servers it asks, or its name where that is not known."""
    known = {"silero", "smart-turn", "piper", "llama"}
    names = {"vad": config.vad.engine, "turn": config.endpoint.engine, "tts": config.tts.engine}
    places = {slot: "cpu" if name in known else name for slot, name in names.items() if name}
    places["asr"] = getattr(engines.asr, "device", "") or config.asr.engine
    for slot, llm in (("llm", config.llm), ("fallback", config.llm.fallback), ("quick", config.llm.quick)):
        if llm.engine:
            urls = [llm.url, *config.llm.workers] if llm is config.llm else [llm.url]
            places[slot] = "cpu" if llm.engine in known else f"{llm.engine} at {' and '.join(filter(None, urls))}"
    return ", ".join(f"{slot} {place}" for slot, place in places.items())


def serve(config: Config) -> None:
    """`run`, in an event loop of its own."""
    set_up(config.logging)
    _share_memory()
    anyio.run(run, config, backend_options={"use_uvloop": True})


def _share_memory() -> None:
    """Have all threads take memory from two places.

    glibc gives most of them one of their own, and keeps what is freed in each: 150 MB in the end.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(M_ARENA_MAX, ARENAS)
