"""Callers that send rubbish, too much, or read nothing: they are told, and nobody else notices."""

import base64
import json
import os
import random
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import msgspec
import pytest
from anyio.abc import SocketStream
from websockets.exceptions import ConnectionClosed

from tests.live import CONFIG, PATIENCE, Caller, Live, Place, clip
from voice.config import LimitsConfig, PlayoutConfig
from voice.realtime import server_events as ev

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def quiet_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever callers do, it is no error of the server."""
    yield
    loud = [record for record in caplog.get_records("call") if record.exc_info or record.levelname == "ERROR"]
    assert not loud, [record.getMessage() for record in loud]


def nested(depth: int) -> str:
    return '{"type":"session.update","session":' + '{"a":' * depth + "1" + "}" * depth + "}"


def append(audio: str) -> str:
    return json.dumps({"type": "input_audio_buffer.append", "event_id": "here", "audio": audio})


MISTAKES: dict[str, tuple[str | bytes, str | None]] = {
    "no JSON": ("{", "invalid_json"),
    "no object": ("[1, 2]", "invalid_event"),
    "no type": ("{}", "missing_required_parameter"),
    "unknown event": ('{"type": "do.it"}', "invalid_value"),
    "wrong type of type": ('{"type": {"a": []}}', "invalid_value"),
    "unknown field": ('{"type": "response.create", "loud": true}', "unknown_parameter"),
    "wrong type": ('{"type": "session.update", "session": 5}', "invalid_type"),
    "deep": (nested(100), None),
    "very deep": (nested(100_000), None),
    "very deep list": ("[" * 1_000_000, None),
    "many values": (json.dumps({"type": "session.update", "session": {"tools": [0] * 300_000}}), "invalid_event"),
    "huge number": ('{"type": "session.update", "session": {"max_output_tokens": 1' + "0" * 5000 + "}}", None),
    "not a number": ('{"type": "session.update", "session": {"max_output_tokens": NaN}}', "invalid_json"),
    "lone surrogate": ('{"type": "conversation.item.delete", "item_id": "\\ud800"}', None),
    "bad base64": (append("@@@@"), "invalid_value"),
    "half a sample": (append("AA=="), None),
    "wrong rate": (
        '{"type": "session.update", "session": {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 44100}}}}}',
        None,
    ),
    "binary": (b"\x00\x01\x02\x03", "invalid_event"),
    "empty": ("", "invalid_json"),
}


def errors(caller: Caller) -> list[ev.ErrorShape]:
    return caller.seen.errors


async def mistaken(caller: Caller, frame: str | bytes) -> ev.ErrorShape:
    """Send a wrong frame; the error it gets."""
    before = len(errors(caller))
    await caller.send(frame)
    await caller.until(lambda: caller.end or len(errors(caller)) > before)
    assert caller.end is None, caller.end
    return errors(caller)[before]


async def test_every_mistake_is_told_and_the_session_goes_on(live: Live) -> None:
    async with live.serving() as place, place.call() as caller:
        for name, (frame, code) in MISTAKES.items():
            error = await mistaken(caller, frame)
            assert error.type == "invalid_request_error", name
            assert code in (None, error.code), (name, error)
            assert len(error.message) < 2000, name
        assert len(errors(caller)) == len(MISTAKES)
        assert (await caller.ask("Hello", output_modalities=["text"])).text


async def test_the_error_names_the_event_and_the_field(live: Live) -> None:
    async with live.serving() as place, place.call() as caller:
        error = await mistaken(caller, append("@@@@"))
        assert (error.event_id, error.param) == ("here", "audio")
        assert "input_audio_buffer.append" in error.message


async def test_random_frames(live: Live) -> None:
    """Random bytes, cut and spoilt events, events with wrong values: one error each, or they do what they say."""
    chance = random.Random(20)
    events: list[dict[str, Any]] = [
        {"type": "session.update", "session": {"type": "realtime", "audio": {"input": {"turn_detection": None}}}},
        {"type": "input_audio_buffer.append", "audio": base64.b64encode(os.urandom(960)).decode()},
        {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": []}},
        {"type": "conversation.item.truncate", "item_id": "x", "content_index": 0, "audio_end_ms": 5},
        {"type": "response.cancel"},
        {"type": "rejoinder.playback", "item_id": "x", "audio_ms": 5},
    ]
    values = [None, 0, -1, 2**63, 1e308, "", "x" * 1000, [], {}, [[]], {"type": "x"}, True, "\u0000", "😀"]

    def spoilt() -> str | bytes:
        frame = json.dumps(chance.choice(events))
        match chance.randrange(4):
            case 0:
                return chance.randbytes(chance.randrange(200))
            case 1:
                return frame[: chance.randrange(len(frame))]
            case 2:
                at = chance.randrange(len(frame))
                return frame[:at] + chr(chance.randrange(32, 0x3000)) + frame[at + 1 :]
            case _:
                event = dict(chance.choice(events))
                event[chance.choice([*event, "extra"])] = chance.choice(values)
                return json.dumps(event)

    limits = LimitsConfig(bad_messages=10_000)
    async with live.serving(limits=limits) as place, place.call() as other, place.call() as caller:
        for _ in range(500):
            await caller.send(spoilt())
        await caller.send('{"type": "response.cancel", "event_id": "the last"}')
        await caller.until(lambda: caller.end or (errors(caller) and errors(caller)[-1].event_id == "the last"))
        assert caller.end is None
        assert len(errors(caller)) > 250
        assert all(error.message for error in errors(caller))
        assert (await other.ask("Hello", output_modalities=["text"])).text
        await caller.send('{"type": "response.cancel"}')
        assert (await caller.ask("Hello", output_modalities=["text"])).text
        assert not errors(other)


async def test_nothing_but_mistakes_ends_the_session(live: Live) -> None:
    async with live.serving() as place, place.call() as caller:
        await caller.send(*["{"] * CONFIG.limits.bad_messages)
        assert await caller.ended() == (1008, f"{CONFIG.limits.bad_messages} invalid events in a row")
        assert len(errors(caller)) == CONFIG.limits.bad_messages


@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_a_frame_beyond_the_limit(live: Live, compression: str | None) -> None:
    async with live.serving() as place, place.call() as other, place.call(compression=compression) as caller:
        with suppress(ConnectionClosed):
            await caller.send(append("A" * CONFIG.limits.message_bytes))
        assert (await caller.ended())[0] == 1009
        assert (await other.ask("Hello", output_modalities=["text"])).text


async def test_text_that_is_no_text(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    async with live.serving() as place, place.call() as caller:
        await caller.line.send(b"\xff\xfe", text=True)
        assert (await caller.ended())[0] == 1007
    caplog.clear()  # uvicorn writes a line about it


async def test_binary_frames_of_half_a_sample(live: Live) -> None:
    async with live.serving() as place, place.call(binary=True) as caller:
        assert (await mistaken(caller, b"\x00\x01\x02")).param == "audio"
        assert (await caller.ask("Hello", output_modalities=["text"])).text


@pytest.mark.parametrize("request_line", [b"\x00\xff\x16\x03\x01" * 50, b"GET / HTTP/9\r\n\r\n", b"G" * 100_000])
async def test_no_http_at_all(live: Live, request_line: bytes) -> None:
    async with live.serving() as place, await anyio.connect_tcp("127.0.0.1", place.port) as stream:
        await stream.send(request_line)
        assert (await stream.receive()).startswith(b"HTTP/1.1 400")


# Slow readers -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def deaf(place: Place) -> AsyncIterator[SocketStream]:
    """A connection whose handshake is done and that is never read again."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    plain.setblocking(False)
    plain.connect_ex(("127.0.0.1", place.port))
    async with await SocketStream.from_socket(plain) as stream:
        await stream.send(
            f"GET /v1/realtime HTTP/1.1\r\nHost: 127.0.0.1:{place.port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive(1)
        yield stream


def masked(text: str) -> bytes:
    """A client's text frame with a mask of zeros (RFC 6455 section 5.2)."""
    data = text.encode()
    return b"\x81\xfe" + len(data).to_bytes(2, "big") + bytes(4) + data


def frame(**event: Any) -> bytes:
    return masked(msgspec.json.encode(event).decode().ljust(130))


async def gone(place: Place, sessions: int) -> None:
    """Wait until so many sessions are left."""
    with anyio.fail_after(PATIENCE):
        while place.gateway.admission.sessions > sessions:
            await anyio.lowlevel.checkpoint()


async def ask_for_a_story(stream: SocketStream) -> None:
    content = [{"type": "input_text", "text": "Tell me a long story about an old ship and its captain."}]
    await stream.send(
        frame(type="conversation.item.create", item={"type": "message", "role": "user", "content": content})
        + frame(type="response.create")
    )
    sound = base64.b64encode(clip("lj-LJ001-0002.flac").samples[:9600].tobytes()).decode()
    for _ in range(5):
        await stream.send(frame(type="input_audio_buffer.append", audio=sound))


async def ask_for_the_same_again_and_again(stream: SocketStream) -> None:
    settings = {"type": "realtime", "instructions": "x" * 500}
    for _ in range(2000):
        try:
            await stream.send(frame(type="session.update", session=settings))
        except anyio.BrokenResourceError:
            return


@pytest.mark.parametrize("wish", [ask_for_a_story, ask_for_the_same_again_and_again])
async def test_a_caller_that_reads_nothing_is_let_go(live: Live, wish: Callable[[SocketStream], Any]) -> None:
    limits = LimitsConfig(stalled_reader_seconds=0.5)
    llm = msgspec.structs.replace(CONFIG.llm, max_tokens=160)
    fast = PlayoutConfig(ahead_seconds=60)
    async with (
        live.serving(limits=limits, llm=llm, playout=fast) as place,
        place.call() as other,
        deaf(place) as stream,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(wish, stream)
        assert (await other.ask("Hello", output_modalities=["text"])).text
        await gone(place, sessions=1)
        with anyio.fail_after(PATIENCE), suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            while True:
                await stream.receive()
        tasks.cancel_scope.cancel()
        assert other.end is None
