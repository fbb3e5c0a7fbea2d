"""The WebRTC link against aiortc's own client over real sockets; no models."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import numpy as np
import pytest

from loadtest.webrtc_caller import Line, calling, vanish
from streams.audio import Samples
from streams.link import LinkClosed
from streams.opus import RATE
from streams.webrtc import BadOffer, Ice, WebRtcLink

pytestmark = pytest.mark.anyio


def tone(seconds: float, hertz: float, rate: int = RATE) -> Samples:
    return (9000 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.int16)


def strongest(samples: Samples) -> float:
    """Frequency in Hz."""
    return float(np.abs(np.fft.rfft(samples)).argmax() * RATE / len(samples))


def loud(samples: Samples) -> float:
    """Seconds that are not silent."""
    frames = samples[: len(samples) // 240 * 240].reshape(-1, 240).astype(np.float64)
    return float((np.sqrt((frames**2).mean(axis=1)) > 500).sum() / 100)


@asynccontextmanager
async def connected(loss: float = 0.0) -> AsyncIterator[tuple[WebRtcLink, Line]]:
    link = WebRtcLink(Ice())

    async def exchange(offer: str) -> tuple[str, str]:
        return await link.answer(offer), ""

    try:
        async with calling(exchange, loss=loss) as line:
            with anyio.fail_after(10):
                await link.connected()
            yield link, line
    finally:
        await link.close(1000, "")


async def heard(link: WebRtcLink, seconds: float) -> Samples:
    pieces: list[Samples] = []
    with anyio.fail_after(20):
        while sum(map(len, pieces)) < seconds * RATE:
            frame = await link.receive()
            if isinstance(frame, bytes):
                pieces.append(np.frombuffer(frame, np.int16))
    return np.concatenate(pieces)


async def ended(link: WebRtcLink) -> str:
    """Why the call is over, once it is."""
    with anyio.fail_after(5):
        while True:
            try:
                await link.receive()
            except LinkClosed as closed:
                return str(closed)


async def test_events_and_sound_both_ways() -> None:
    async with connected() as (link, line):
        line.send(line.client.cancel())
        with anyio.fail_after(10):
            while isinstance(frame := await link.receive(), bytes):
                pass
        assert "response.cancel" in frame
        await link.send('{"type":"a"}')
        assert await line.until(lambda: line.types() == ["a"])
        line.microphone.say(tone(1.0, 440))
        sound = await heard(link, 1.6)
        assert loud(sound) == pytest.approx(1.0, abs=0.1)
        assert strongest(sound) == pytest.approx(440, abs=5)
        for first in range(48):  # 0.96 s, no faster than it sounds
            await link.send(tone(1.0, 600)[first * 480 : (first + 1) * 480].tobytes())
        assert await line.until(lambda: loud(line.sound) > 0.9 and not line.sound[-960:].any())
        assert strongest(line.sound) == pytest.approx(600, abs=5)


async def test_a_flush_silences_what_has_not_been_sent() -> None:
    async with connected() as (link, line):
        await link.send(tone(0.28, 600).tobytes())
        await line.until(lambda: loud(line.sound) > 0.03)
        link.flush()
        before = len(line.sound)
        assert await line.until(lambda: len(line.sound) > before + RATE // 2)
        assert loud(line.sound) < 0.2


async def test_lost_packets_leave_no_hole() -> None:
    async with connected(loss=0.1) as (link, line):
        line.microphone.say(tone(3.0, 440))
        sound = await heard(link, 3.5)
        assert loud(sound) == pytest.approx(3.0, abs=0.15)
        assert strongest(sound) == pytest.approx(440, abs=5)


async def test_sound_that_nobody_takes_becomes_silence() -> None:
    lost: list[tuple[float, float, str]] = []
    async with connected() as (link, line):
        link.lost = lambda *gap: lost.append(gap)
        await heard(link, 0.1)
        frames = len(line.microphone.sent)
        await line.until(lambda: len(line.microphone.sent) > frames + 75)  # 1.5 s
        await heard(link, 1.4)
        ((start, end, why),) = lost
        assert why == "not taken in time"
        assert end - start == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("goodbye", ["client", "channel", "server"])
async def test_either_side_may_end_it(goodbye: str) -> None:
    async with connected() as (link, line):
        if goodbye == "client":
            await line.connection.close()
        elif goodbye == "channel":
            line.channel.close()
        else:
            await link.close(1000, "bye")
        await ended(link)
        with pytest.raises(LinkClosed):
            await link.send("x")
        if goodbye == "server":
            assert await line.until(lambda: line.closed or line.connection.connectionState == "closed")


async def test_a_peer_that_vanishes_is_noticed() -> None:
    async with connected() as (link, line):
        vanish(line)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(link.watch, 1.0)
            assert "nothing came" in await ended(link)


async def test_nothing_stays() -> None:
    async def visit(number: int) -> None:
        async with connected() as (_, line):
            if number % 2:
                vanish(line)

    await visit(0)
    tasks, threads = len(asyncio.all_tasks()), threading.active_count()
    for number in range(4):
        await visit(number)
    with anyio.fail_after(5):
        while len(asyncio.all_tasks()) > tasks:
            await anyio.lowlevel.checkpoint()
    assert threading.active_count() <= threads


OFFER = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
MEDIA = "{}a=mid:{}\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\n"
AUDIO = (
    "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=rtpmap:111 opus/48000/2\r\na=rtcp-mux\r\na=sendrecv\r\n"
)
DATA = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=sctp-port:5000\r\n"
PRINT = f"a=fingerprint:sha-256 {':'.join(['AB'] * 32)}\r\n"
WHOLE = MEDIA.format(AUDIO, 0) + PRINT, MEDIA.format(DATA, 1) + PRINT


@pytest.mark.parametrize(
    ("offer", "says"),
    [
        ("", "no session description"),
        ("hello", "no session description"),
        (OFFER, "no audio"),
        (OFFER + WHOLE[1], "no audio"),
        (OFFER + WHOLE[0], "no data channel"),
        (OFFER + WHOLE[0] + WHOLE[0] + WHOLE[1], "one audio track"),
        (OFFER + MEDIA.format(AUDIO, 0) + WHOLE[1], "fingerprint"),
        (OFFER + WHOLE[0].replace("opus", "speex") + WHOLE[1], "Opus"),
        (OFFER + WHOLE[0] + WHOLE[1] + "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n" * 33, "addresses"),
    ],
)
async def test_offers_that_are_none(offer: str, says: str) -> None:
    link = WebRtcLink(Ice())
    with pytest.raises(BadOffer, match=says):
        await link.answer(offer)
    await link.close(1000, "")
