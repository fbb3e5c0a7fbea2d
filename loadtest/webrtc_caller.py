"""One simulated caller over WebRTC: speaks a recording in real time, over a network that loses packets if wanted."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import anyio
import av
import httpx
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from loadtest.caller import AUDIBLE, FRAME, RATE, Call
from streams.audio import Audio, Samples, resample, silence
from streams.tap import SILENT
from streams.tracks import Ears
from streams.webrtc import EVENTS
from voice.realtime.client import ClientSide, Event

SETUP_SECONDS = 15.0


class Microphone(MediaStreamTrack):
    """Says what it is given, in real time, and silence otherwise.

    Attributes:
        sent: when each frame of `FRAME` samples left.
    """

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[float] = []
        self._saying: Samples = np.zeros(0, np.int16)
        self._origin = 0.0

    def say(self, samples: Samples) -> int:
        """Say this after what waits; returns in which frame it begins."""
        first = len(self.sent) + -(-len(self._saying) // FRAME)
        self._saying = np.concatenate([self._saying, samples])
        return first

    async def recv(self) -> av.AudioFrame:
        """The next 20 ms; what aiortc calls."""
        self._origin = self._origin or anyio.current_time()
        await anyio.sleep_until(self._origin + len(self.sent) * FRAME / RATE)
        if self.readyState != "live":
            raise MediaStreamError
        samples, self._saying = self._saying[:FRAME], self._saying[FRAME:]
        samples = np.concatenate([samples, np.zeros(FRAME - len(samples), np.int16)])
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="s16", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), len(self.sent) * FRAME
        self.sent.append(anyio.current_time())
        return frame


@dataclass
class Line:
    """A call under way.

    Attributes:
        events: what came on the data channel, and when.
        heard: what came on the track, and when; mono at `RATE`.
        audible: when something came that can be heard.
        place: the call's address on the server.
        open: whether the data channel is.
    """

    connection: RTCPeerConnection
    microphone: Microphone
    channel: Any
    client: ClientSide = field(default_factory=ClientSide)
    events: list[tuple[float, Event]] = field(default_factory=list)
    heard: list[tuple[float, Samples]] = field(default_factory=list)
    audible: list[float] = field(default_factory=list)
    place: str = ""
    open: bool = False
    closed: bool = False
    changed: anyio.Event = field(default_factory=anyio.Event)

    def send(self, *frames: str) -> None:
        """Send events."""
        for frame in frames:
            self.channel.send(frame)

    def types(self) -> list[str]:
        """Names of the events seen, in order."""
        return [getattr(event, "type", None) or str(event.__struct_config__.tag) for _, event in self.events]

    async def until(self, happened: Callable[[], object], patience: float = 30.0) -> bool:
        """Wait for something to be seen; whether it was."""
        with anyio.move_on_after(patience):
            while not happened():
                self.changed = anyio.Event()
                await self.changed.wait()
        return bool(happened())

    @property
    def sound(self) -> Samples:
        """All that was heard."""
        return np.concatenate([np.zeros(0, np.int16), *(samples for _, samples in self.heard)])

    def news(self) -> None:
        """Something has come."""
        self.changed.set()


Exchange = Callable[[str], Awaitable[tuple[str, str]]]
"""Takes the offer to the server; returns the answer and the call's address."""


def over_http(url: str, query: str = "", headers: dict[str, str] | None = None) -> Exchange:
    """To the server at http://host:port. The exchange raises httpx.HTTPStatusError where the offer is not taken."""

    async def exchange(offer: str) -> tuple[str, str]:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=SETUP_SECONDS) as http:
            kind = {"Content-Type": "application/sdp", **(headers or {})}
            response = await http.post(f"/v1/realtime/calls?{query}", content=offer, headers=kind)
        response.raise_for_status()
        return response.text, response.headers["location"]

    return exchange


@asynccontextmanager
async def calling(exchange: Exchange, *, loss: float = 0.0, seed: int = 0) -> AsyncIterator[Line]:
    """A call that is connected; it ends with the block.

    Args:
        loss: share of the media packets that get lost, in either direction.

    Raises:
        RuntimeError: no connection comes about.
    """
    connection, microphone = RTCPeerConnection(RTCConfiguration(iceServers=[])), Microphone()
    line = Line(connection, microphone, connection.createDataChannel(EVENTS))
    chance = random.Random(seed)
    try:
        connection.addTrack(microphone)
        _listen(line, connection.getReceivers()[0], lambda: chance.random() < loss)
        await connection.setLocalDescription(await connection.createOffer())
        answer, line.place = await exchange(connection.localDescription.sdp)
        await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        lossy(connection, lambda: chance.random() < loss)
        if not await line.until(lambda: line.open, SETUP_SECONDS):
            raise RuntimeError(f"no connection within {SETUP_SECONDS:g} s: {connection.connectionState}")
        yield line
    finally:
        with anyio.CancelScope(shield=True):
            await connection.close()


def _listen(line: Line, receiver: RTCRtpReceiver, lost: Callable[[], bool]) -> None:
    ears = Ears(SILENT)
    ears.listen(receiver)
    add = ears.add

    def take(packet: Any) -> tuple[bool, None]:
        if not lost():
            add(packet)
        return False, None

    def news() -> None:
        now = anyio.current_time()
        for piece in ears.sound.clear():
            line.heard.append((now, piece.sound.samples))
            if np.abs(piece.sound.samples.astype(np.int32)).max(initial=0) > AUDIBLE:
                line.audible.append(now)
        line.news()

    def told(message: str) -> None:
        line.events.append((anyio.current_time(), line.client.receive(message)))
        line.news()

    def opened() -> None:
        line.open = True
        line.news()

    def closed() -> None:
        line.closed = True
        line.news()

    ears.add, ears.news = take, news  # type: ignore[method-assign]
    line.channel.on("open", opened)
    line.channel.on("close", closed)
    line.channel.on("message", told)


def lossy(connection: RTCPeerConnection, lost: Callable[[], bool]) -> None:
    """Lose some of the media packets on their way out, and nothing else: media is RTP, and not RTCP (RFC 5761)."""
    transport: Any = connection.getSenders()[0].transport
    send = transport._send_rtp

    async def maybe(data: bytes) -> None:
        if 192 <= data[1] < 224 or not lost():
            await send(data)

    transport._send_rtp = maybe


def vanish(line: Line) -> None:
    """Let nothing of the client through any more, as when its network is gone."""
    ice: Any = line.connection.getSenders()[0].transport.transport
    for protocol in ice._connection._protocols:
        protocol.transport.abort()


async def speak(url: str, clip: Audio, offset: float, patience: float, loss: float = 0.0) -> tuple[Call, Line]:
    """As `loadtest.caller.speak`, over WebRTC at http://host:port."""
    exchange = over_http(url, "model=rejoinder&extensions=1")
    async with calling(exchange, loss=loss, seed=len(clip.samples)) as line:
        line.send(line.client.update(audio={"input": {"transcription": {"model": "rejoinder"}}}))
        await line.until(lambda: "session.updated" in line.types())
        sound = np.concatenate([resample(clip, RATE).samples, silence(0.1, RATE).samples])
        first = line.microphone.say(sound)
        last = first + int(offset * RATE / FRAME)
        await line.until(lambda: len(line.microphone.sent) > last, clip.seconds + patience)
        call = Call(sent=line.microphone.sent, spoken=line.microphone.sent[last], audible=line.audible)
        told = 0

        def over() -> bool:
            nonlocal told
            for at, event in line.events[told:]:
                call.note(event, at)
            told = len(line.events)
            return len(line.microphone.sent) * FRAME > first * FRAME + len(sound) and bool(call.waited and call.marks)

        await line.until(over, clip.seconds - offset + patience)
    return call, line


def longest_stall(line: Line, since: float) -> float:
    """Longest time in which nothing came on the track, in seconds."""
    times = np.array([at for at, _ in line.heard if at >= since])
    return float(np.diff(times).max(initial=0.0))
