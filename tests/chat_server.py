"""A chat completions server that misbehaves on purpose, over real sockets, and engines that talk to it."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from streams.lane import Lane
from streams.tap import SILENT, Tap
from voice.config import Config, LlmConfig
from voice.engines import Setup
from voice.engines.chat import ChatLlm
from voice.engines.sglang import SglangLlm
from voice.events import LlmEvent, Message, Priority, Prompt

SECRET = "the caller's own words"
PROMPT = Prompt((Message("system", "Be brief."), Message("user", SECRET)), max_tokens=20, temperature=0.5)
REQUEST = "0123456789abcdef"
SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
Scene = Callable[[SocketStream], Awaitable[None]]


def chunk(body: str | bytes) -> bytes:
    data = body.encode() if isinstance(body, str) else body
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(value: object) -> bytes:
    return chunk(f"data: {json.dumps(value)}\n\n")


def delta(finish: str | None = None, **fields: object) -> bytes:
    return event({"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]})


def usage(prompt: int = 9, cached: int = 4, completion: int = 2) -> bytes:
    details = {"cached_tokens": cached}
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "prompt_tokens_details": details}
    return event({"choices": [], "usage": counts})


DONE = chunk("data: [DONE]\n\n") + chunk("")


def says(*texts: str) -> bytes:
    """A whole answer, in so many pieces."""
    words = b"".join(delta(content=text) for text in texts)
    return SSE + delta(role="assistant", content="") + words + delta("stop") + usage() + DONE


GOOD = says("Hel", "lo.")
READ = SSE + delta(role="assistant", content="") + delta("length") + usage(9, 4, 0) + DONE
PATIENT = {"first_token_seconds": 60.0, "stall_seconds": 60.0}


def answer(status: int, body: object, kind: str = "application/json") -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(content)}\r\n\r\n"
    return head.encode() + content


class Server:
    """Plays one scene after the other, one for each chat request; the last is repeated."""

    def __init__(self) -> None:
        self.scenes: list[bytes | Scene] = [GOOD]
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.connections = 0
        self.gone = anyio.Event()
        """The client closed a connection in the middle of a scene."""
        self.aborted = anyio.Event()
        self.abort_status = 200
        self.ready_status = 200
        self.load: int | None = None
        """What `/v1/loads` tells; None: there is no such route."""
        self.url = ""

    @property
    def chats(self) -> list[tuple[dict[str, str], Any]]:
        return [(headers, body) for path, headers, body in self.requests if path == "/v1/chat/completions"]

    async def handle(self, stream: SocketStream) -> None:
        self.connections += 1
        reader = BufferedByteReceiveStream(stream)
        async with stream:
            try:
                while True:
                    head = (await reader.receive_until(b"\r\n\r\n", 65536)).decode().split("\r\n")
                    headers = {key.lower(): value for key, value in (line.split(": ", 1) for line in head[1:])}
                    body = await reader.receive_exactly(int(headers.get("content-length", 0)))
                    path = head[0].split()[1]
                    self.requests.append((path, headers, json.loads(body) if body else None))
                    await self._reply(path, stream)
            except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError):
                self.gone.set()

    async def _reply(self, path: str, stream: SocketStream) -> None:
        if path == "/v1/models":
            await stream.send(answer(200, {"data": [{"id": "first", "max_model_len": 4096}, {"id": "second"}]}))
        elif path == "/ready":
            await stream.send(answer(self.ready_status, {}))
        elif path.startswith("/v1/loads"):
            loads = {"loads": [{"num_running_reqs": self.load, "num_waiting_reqs": 0}]}
            await stream.send(answer(404 if self.load is None else 200, loads))
        elif path == "/abort_request":
            self.aborted.set()
            await stream.send(answer(self.abort_status, {}))
        else:
            scene = self.scenes.pop(0) if len(self.scenes) > 1 else self.scenes[0]
            if isinstance(scene, bytes):
                await stream.send(scene)
            else:
                await scene(stream)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@asynccontextmanager
async def running(server: Server, port: int = 0) -> AsyncIterator[Server]:
    """The server at a port, until the end of the block: then it dies, and its connections with it."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port)
    async with listener, anyio.create_task_group() as tasks:
        server.url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        tasks.start_soon(listener.serve, server.handle)
        yield server
        tasks.cancel_scope.cancel()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with running(Server()) as server:
        yield server


def setup(url: str, tap: Tap = SILENT, **settings: Any) -> Setup:
    quick = {"connect_seconds": 0.4, "first_token_seconds": 0.4, "stall_seconds": 0.4}
    config = LlmConfig(**{"engine": "openai", "url": url, "key": "sesame", **quick, **settings})

    def model(name: str) -> Path:
        raise AssertionError(name)

    return Setup(Config(llm=config), model, Lane("llm", 1, 1), tap)


@asynccontextmanager
async def engine(
    server: Server, kind: type[ChatLlm | SglangLlm] = ChatLlm, tap: Tap = SILENT, **settings: Any
) -> AsyncIterator[Any]:
    async with kind(setup(server.url, tap, **settings)) as llm:
        yield llm


async def ask(llm: Any, prompt: Prompt = PROMPT) -> list[LlmEvent]:
    async with llm.stream(prompt, request=REQUEST, priority=Priority.FINAL) as events:
        return [item async for item in events]


async def silence(stream: SocketStream) -> None:
    await stream.receive()


def after(event: anyio.Event, scene: bytes) -> Scene:
    async def play(stream: SocketStream) -> None:
        await event.wait()
        await stream.send(scene)

    return play


def then_silence(*pieces: bytes) -> Scene:
    async def play(stream: SocketStream) -> None:
        await stream.send(b"".join(pieces))
        await silence(stream)

    return play


def then_drop(*pieces: bytes) -> Scene:
    async def play(stream: SocketStream) -> None:
        await stream.send(b"".join(pieces))
        await stream.aclose()

    return play
