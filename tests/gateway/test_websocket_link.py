"""The WebSocket link over a real server and real sockets: peers that do not read, and peers that send too much."""

import asyncio
import base64
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import anyio
import pytest
import uvicorn
import uvloop
from anyio.abc import SocketStream
from anyio.lowlevel import checkpoint
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from streams import websocket as module
from streams.link import LinkClosed, SlowReader
from streams.websocket import WebSocketLink, WebSocketProtocol, bound_sending

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    return "asyncio", {"loop_factory": request.param}


Serve = Callable[[WebSocketLink], Awaitable[None]]


@dataclass
class Gateway:
    """A server whose application accepts a WebSocket and hands its link to `serve`."""

    serve: Serve
    stalled_seconds: float = 30.0
    port: int = 0
    closing: anyio.Event = field(default_factory=anyio.Event)  # the application sends a close frame
    gone: anyio.Event = field(default_factory=anyio.Event)  # the connection is lost
    wait_until_gone: bool = False
    failure: BaseException | None = None
    server: uvicorn.Server = field(init=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def watched(message: Message) -> None:
            if message["type"] == "websocket.close":
                self.closing.set()
            await send(message)

        websocket = WebSocket(scope, receive, watched)
        await websocket.accept()
        try:
            await self.serve(WebSocketLink(websocket, self.stalled_seconds))
        except (AssertionError, pytest.fail.Exception, LinkClosed) as failure:
            self.failure = failure
        while self.wait_until_gone and (await receive())["type"] != "websocket.disconnect":
            pass
        self.gone.set()

    def write_buffers(self) -> list[int]:
        protocols = [each for each in self.server.server_state.connections if isinstance(each, WebSocketProtocol)]
        return [each.transport.get_write_buffer_size() for each in protocols]


@asynccontextmanager
async def running(gateway: Gateway) -> AsyncIterator[Gateway]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        bound_sending(listener)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        gateway.port = listener.getsockname()[1]
        config = uvicorn.Config(
            gateway, ws=WebSocketProtocol, log_level="error", lifespan="off", timeout_graceful_shutdown=1
        )
        gateway.server = uvicorn.Server(config)
        async with anyio.create_task_group() as group:
            group.start_soon(gateway.server.serve, [listener])
            with anyio.fail_after(60):
                yield gateway
            gateway.server.should_exit = True
        if gateway.failure:
            raise gateway.failure


async def raw(port: int) -> SocketStream:
    """A connection after the handshake; nothing is read unless the test reads."""
    stream = await anyio.connect_tcp("127.0.0.1", port)
    plain = stream.extra(anyio.abc.SocketAttribute.raw_socket)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
    key = base64.b64encode(os.urandom(16)).decode()
    await stream.send(
        f"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += await stream.receive(1)
    return stream


def client_frame(payload: bytes, opcode: int = 2) -> bytes:
    """A masked frame (RFC 6455 section 5.2) of at least 126 bytes; the mask is zero."""
    return struct.pack("!BBH4x", 0x80 | opcode, 0x80 | 126, len(payload)) + payload


async def talk(client: ClientConnection) -> tuple[str | bytes, int, str]:
    """The first frame that comes, and how the connection ends."""
    first = await client.recv()
    with suppress(ConnectionClosed):
        while True:
            await client.recv()
    return first, client.close_code or 0, client.close_reason or ""


class Flood:
    """Sends for as long as the link takes it."""

    def __init__(self) -> None:
        self.frame = b"x" * 32_000
        self.sent = 0
        self.end: Exception | None = None

    async def __call__(self, link: WebSocketLink) -> None:
        try:
            while True:
                await link.send(self.frame)
                self.sent += len(self.frame)
        except LinkClosed as end:
            self.end = end


async def test_frames_pass_and_a_close_is_told() -> None:
    async def echo(link: WebSocketLink) -> None:
        for _ in range(2):
            await link.send(await link.receive())
        await link.close(4000, "ä" * 100)
        with pytest.raises(LinkClosed):
            await link.send("more")
        with pytest.raises(LinkClosed):
            await link.receive()

    async with running(Gateway(echo)) as gateway, connect(f"ws://127.0.0.1:{gateway.port}") as client:
        await client.send("text")
        assert await client.recv() == "text"
        await client.send(b"\x00\xff")
        assert await talk(client) == (b"\x00\xff", 4000, "ä" * 61)


async def test_the_end_reaches_both_directions() -> None:
    ends: list[tuple[int, str]] = []

    async def listen(link: WebSocketLink) -> None:
        for attempt in (link.receive, link.receive, lambda: link.send("late")):
            with pytest.raises(LinkClosed) as caught:
                await attempt()
            ends.append((caught.value.code, caught.value.reason))

    async with running(Gateway(listen)) as gateway:
        async with connect(f"ws://127.0.0.1:{gateway.port}") as client:
            await client.close(4001, "bye")
        await gateway.gone.wait()
    assert ends == [(4001, "bye")] * 3


async def test_sending_to_a_peer_that_vanished_says_so() -> None:
    flood = Flood()

    async def speak(link: WebSocketLink) -> None:
        await flood(link)
        assert isinstance(flood.end, LinkClosed)
        assert flood.end.code == 1006

    async with running(Gateway(speak)) as gateway:
        stream = await raw(gateway.port)
        await stream.aclose()
        await gateway.gone.wait()


async def test_a_peer_that_stops_reading_is_given_up_at_bounded_cost() -> None:
    flood = Flood()
    async with running(Gateway(flood, stalled_seconds=0.3)) as gateway:
        async with await raw(gateway.port):
            await gateway.closing.wait()
            assert max(gateway.write_buffers()) < 200_000
            await gateway.gone.wait()
        assert isinstance(flood.end, SlowReader)
        assert flood.sent < 2_000_000


async def test_a_peer_that_reads_again_in_time_learns_why() -> None:
    flood = Flood()
    async with running(Gateway(flood, stalled_seconds=0.3)) as gateway, await raw(gateway.port) as stream:
        await gateway.closing.wait()
        received = b""
        with suppress(anyio.EndOfStream):
            while b"nothing was read" not in received:
                received = received[-200:] + await stream.receive()
        assert struct.pack("!H", 1013) + b"nothing was read for 0.3 s" in received


async def test_a_given_up_connection_does_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GIVE_UP_SECONDS", 1)
    stalling = Gateway(Flood(), stalled_seconds=0.3, wait_until_gone=True)
    async with running(stalling) as gateway, await raw(gateway.port):
        await gateway.gone.wait()


async def test_a_stalled_peer_does_not_hold_up_another() -> None:
    started = anyio.Event()

    async def serve(link: WebSocketLink) -> None:
        if await link.receive() == "flood me":
            started.set()
            await Flood()(link)
        else:
            await link.send("still here")

    async with running(Gateway(serve, stalled_seconds=0.3)) as gateway, await raw(gateway.port) as stalled:
        await stalled.send(b"\x81\x88\0\0\0\0flood me")
        await started.wait()
        async with connect(f"ws://127.0.0.1:{gateway.port}") as client:
            await client.send("hello")
            assert (await talk(client))[0] == "still here"


async def test_pings_of_a_peer_that_does_not_read_do_not_pile_up() -> None:
    pings = struct.pack("!BB4x", 0x89, 0x80 | 125).ljust(6 + 125, b"p") * 100

    async def serve(link: WebSocketLink) -> None:
        assert await link.receive() == "enough"
        (size,) = gateway.write_buffers()
        assert 0 < size < 200_000

    async with running(Gateway(serve)) as gateway, await raw(gateway.port) as stream:
        for _ in range(300):  # 4 MB
            await stream.send(pings)
        await stream.send(b"\x81\x86\0\0\0\0enough")
        await gateway.gone.wait()


async def test_what_is_not_received_is_not_read() -> None:
    """Messages go up to a full socket while the application does not receive, and all of them once it does."""
    frames, size = 2000, 32_000
    go_on, received = anyio.Event(), list[int]()

    async def serve(link: WebSocketLink) -> None:
        await go_on.wait()
        while len(received) < frames:
            frame = await link.receive()
            assert isinstance(frame, bytes)
            received.append(struct.unpack_from("!I", frame)[0])

    sent = 0

    async def flood(stream: SocketStream) -> None:
        nonlocal sent
        for number in range(frames):
            await stream.send(client_frame(struct.pack("!I", number).ljust(size, b"x")))
            sent += 1

    async with (
        running(Gateway(serve)) as gateway,
        await raw(gateway.port) as stream,
        anyio.create_task_group() as group,
    ):
        group.start_soon(flood, stream)
        still = 0
        while still < 2000 and sent < frames:  # until nothing has moved for many turns of the loop
            before = sent
            await checkpoint()
            still = still + 1 if sent == before else 0
        assert sent * size < 3_000_000, "the server reads what nobody asked for"
        go_on.set()
        await gateway.gone.wait()
    assert received == list(range(frames))
