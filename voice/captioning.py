"""Captions of one speaker: sound in, a room kept up to date, here or on a server."""

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit, urlunsplit

import anyio
from anyio.to_thread import run_sync
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from streams.audio import Audio, Resampler, read, resample, silence
from streams.pipe import Pipe
from streams.tap import SILENT
from voice import commands, dialog
from voice.captions import Publisher, Room
from voice.config import Config
from voice.engines import Asr, Vad
from voice.events import Tick
from voice.listening import RATE, Heard, Listening
from voice.realtime.client import ClientSide
from voice.realtime.conversation import Conversation
from voice.state import Policy, State

BLOCK = 3200
"""Bytes read from a pipe at most: 0.1 s at 16 kHz."""
PATIENCE = 20.0
"""Seconds for the last words to come back from a server."""
SERVER_RATE = 24_000


class NotFed(Exception):
    """The server does not take captions, or takes them no longer; says why."""


class BadSound(Exception):
    """The sound cannot be read; says why."""


async def sound(source: str, rate: int, pipe_rate: int, *, paced: bool) -> AsyncIterator[Audio]:
    """A file's sound, or ("-") that of standard input as it comes, in pieces of at most 0.1 s.

    Args:
        rate: of the pieces.
        pipe_rate: of standard input, unless it is a WAV stream.
        paced: a file's sound comes no faster than it sounds.

    Raises:
        BadSound: it cannot be read, or is no sound.
    """
    pieces = _piped(rate, pipe_rate) if source == "-" else _filed(Path(source), rate, paced)
    try:
        async for piece in pieces:
            yield piece
    except (OSError, ValueError) as error:
        raise BadSound(f"{'standard input' if source == '-' else source}: {error}") from error


async def _filed(source: Path, rate: int, paced: bool) -> AsyncIterator[Audio]:
    due = anyio.current_time()
    for piece in resample(await run_sync(read, source), rate).frames(rate // 50):
        due += piece.seconds
        if paced:
            await anyio.sleep_until(due)
        yield piece


async def _piped(rate: int, pipe_rate: int) -> AsyncIterator[Audio]:
    pipe = Pipe(pipe_rate)
    resampler: Resampler | None = None
    while data := await run_sync(os.read, sys.stdin.fileno(), BLOCK, abandon_on_cancel=True):
        samples = pipe.push(data)
        if len(samples):
            resampler = resampler or Resampler(pipe.rate, rate)
            yield resampler.push(samples)


class Captioning:
    """Recognises one speaker into a room; the room's clock is that of the sound."""

    def __init__(self, room: Room, vad: Vad, asr: Asr, config: Config) -> None:
        self._publisher = Publisher(room)
        self._state = State()
        self._policy = Policy(answer=False, interrupt=False, silence_seconds=config.endpoint.silence_seconds)
        self._moved = anyio.Event()
        self._listening = Listening(
            vad,
            asr,
            config.asr,
            "caption",
            self._happened,
            SILENT,
            turn=None,
            limit=config.limits.utterance_seconds,
            ahead=config.limits.audio_ahead_seconds,
        )
        self._listening.configure(config.vad)

    async def run(self, pieces: AsyncIterator[Audio]) -> None:
        """Take the sound (16 kHz) to its end, and the words to theirs."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listening.run)
            async for piece in pieces:
                self._listening.push(piece)
                self._happened(Tick(self._listening.position / RATE))
                await self._listening.room()
            self._listening.starve()
            if self._state.utterance:
                self._happened(commands.Commit(self._listening.position / RATE))
            while self._state.pending:
                self._moved = anyio.Event()
                await self._moved.wait()
            tasks.cancel_scope.cancel()
        self._listening.hang_up()

    def _happened(self, event: Heard | Tick) -> None:
        self._state, decided = dialog.step(self._state, event, self._policy)
        for command in decided:
            match command:
                case commands.Closed():
                    self._listening.close()
                case commands.Dropped():
                    self._listening.clear()
            self._publisher.tell(command)
        self._moved.set()


async def feed(pieces: AsyncIterator[Audio], url: str, room: str, key: str) -> None:
    """Send sound (24 kHz) to a server, which captions it in a room; returns when its last words are known.

    Args:
        url: of the server, http(s) or ws(s).

    Raises:
        NotFed: the server cannot be reached, refuses, or breaks off.
    """
    parts = urlsplit(url if "//" in url else f"http://{url}")
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    query = urlencode({"intent": "transcription", "room": room})
    place = urlunsplit((scheme, parts.netloc, "/v1/realtime", query, ""))
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        async with connect(place, additional_headers=headers, subprotocols=["rejoinder.v1"]) as line:  # type: ignore[list-item]
            await _Feed(line).run(pieces)
    except InvalidStatus as refused:
        body = (refused.response.body or b"").decode(errors="replace")[:300]
        raise NotFed(f"{url} answers {refused.response.status_code}: {body}") from refused
    except ConnectionClosed as closed:
        reason = closed.rcvd.reason if closed.rcvd else ""
        raise NotFed(f"{url} hung up: {reason or 'it gave no reason'}") from closed
    except (OSError, InvalidHandshake, InvalidURI, TimeoutError) as error:
        raise NotFed(f"cannot reach {url}: {error}") from error


class _Feed:
    """One connection to a server."""

    def __init__(self, line: ClientConnection) -> None:
        self._line = line
        self._client = ClientSide(binary=True)
        self._seen = Conversation()
        self._moved = anyio.Event()
        self._closed: ConnectionClosed | None = None

    async def run(self, pieces: AsyncIterator[Audio]) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen, tasks.cancel_scope)
            async for piece in pieces:
                await self._say(piece)
            await self._say(silence(1.5, SERVER_RATE))
            with anyio.move_on_after(PATIENCE):
                while any(not each.error and each.transcript is None for each in self._seen.utterances.values()):
                    self._moved = anyio.Event()
                    await self._moved.wait()
            tasks.cancel_scope.cancel()
        if self._closed:
            raise self._closed

    async def _say(self, piece: Audio) -> None:
        try:
            await self._line.send(self._client.append(piece.samples))
        except ConnectionClosed as closed:
            self._closed = closed
            await anyio.sleep_forever()  # the listener ends it

    async def _listen(self, scope: anyio.CancelScope) -> None:
        try:
            while True:
                self._seen.apply(self._client.receive(await self._line.recv()))
                self._moved.set()
        except ConnectionClosed as closed:
            self._closed = closed
        scope.cancel()
