"""A link over WebRTC: the caller's sound on one track, ours on another, events on the data channel."""

from collections.abc import Callable
from dataclasses import dataclass

import anyio
import numpy as np
from aiortc import (
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.exceptions import InternalError, InvalidAccessError, InvalidStateError, OperationError
from aiortc.sdp import MediaDescription, SessionDescription

from streams.channel import Channel, ChannelClosed, ChannelFull, Overflow
from streams.link import STALLED_SECONDS, Frame, LinkClosed, SlowReader
from streams.opus import RATE
from streams.tap import SILENT, Tap
from streams.tracks import Ears, Mouth, Piece

EVENTS = "oai-events"
"""The data channel's name."""
MOST_CANDIDATES = 32
"""Addresses an offer may name; each is sent packets."""
_MESSAGES = 1024 * 1024  # bytes of the client's events, if nobody takes them
_BUFFERED = 256 * 1024  # bytes on the data channel that the client has not taken
_CLOSING_SECONDS = 2.0
_UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, AssertionError)  # what the SDP parser raises


class BadOffer(ValueError):
    """An offer that cannot be answered; says why, and what to send instead."""


@dataclass(frozen=True, slots=True)
class Ice:
    """Servers that help to find a way through firewalls; empty: none. URIs as in RFC 7064 and RFC 7065.

    aiortc asks one STUN and one TURN server, and binds ports that the system chooses.
    """

    stun: str = ""
    turn: str = ""
    user: str = ""
    password: str = ""

    def servers(self) -> list[RTCIceServer]:
        """As aiortc wants them. An empty list keeps it from asking a public server of its own choice."""
        stun = [RTCIceServer(self.stun)] if self.stun else []
        return stun + ([RTCIceServer(self.turn, self.user, self.password)] if self.turn else [])


class WebRtcLink:
    """A link over a WebRTC call that the other side offers: `answer` it, wait until it is `connected`, then use it.

    Text frames travel on the data channel `oai-events`, which the client makes. Binary frames are mono PCM16 at 24 kHz:
    the caller's sound, without holes, as it comes in; and ours, which is sent in real time. Of the caller's sound half
    a second is kept; if nobody takes it, the oldest is dropped, and becomes silence.

    Args:
        ice: helpers on the way.
        stalled_seconds: how long a send may wait for the peer to read.
        tap: receives the edges `webrtc_heard`, `webrtc_spoken`, `webrtc_events` and `concealed_seconds_total`.

    Attributes:
        lost: told of stretches of the caller's sound that are silence now: start and end in seconds of the sound
            received, and why.
    """

    def __init__(self, ice: Ice, stalled_seconds: float = STALLED_SECONDS, tap: Tap = SILENT) -> None:
        self.lost: Callable[[float, float, str], None] = lambda *_: None
        self._stalled_seconds = stalled_seconds
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=ice.servers()))
        self._events: RTCDataChannel | None = None
        self._messages: Channel[str] = Channel("webrtc_events", _MESSAGES, Overflow.FAIL, _size, tap)
        self._ears = Ears(tap)
        self._mouth = Mouth(tap)
        self._piece: Piece | None = None  # of the caller's sound, the next to be received
        self._position = 0  # samples of it received
        self._told_to = 0  # position up to which it is known what was dropped
        self._end: tuple[int, str] | None = None
        self._news = anyio.Event()
        self._drained = anyio.Event()
        self._ears.news = self._wake
        self._connection.on("datachannel", self._offered)
        self._connection.on("connectionstatechange", self._changed)

    # Setting up -------------------------------------------------------------------------------------------------

    async def answer(self, offer: str) -> str:
        """The answer to an offer, both in SDP. Addresses are found within about 5 s, if a STUN server is asked.

        Raises:
            BadOffer: it is no offer, or asks for what is not here.
        """
        offer = _understand(offer)
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
            (transceiver,) = self._connection.getTransceivers()
            self._ears.listen(transceiver.receiver)
            self._connection.addTrack(self._mouth)
            await self._connection.setLocalDescription(await self._connection.createAnswer())
        except (OperationError, InternalError, InvalidAccessError, InvalidStateError, *_UNREADABLE) as error:
            raise BadOffer(f"the offer cannot be answered ({error}); offer audio in Opus, as browsers do") from error
        self._mouth.open = transceiver.currentDirection in ("sendonly", "sendrecv")
        return str(self._connection.localDescription.sdp)

    async def connected(self) -> None:
        """Wait until events can travel. Raises LinkClosed when the connection is over before."""
        while self._events is None:
            self._check()
            await self._news.wait()

    async def watch(self, seconds: float) -> None:
        """End the connection when nothing at all comes for so many seconds; returns when it is over."""
        before, since = -1, anyio.current_time()
        while self._end is None:
            with anyio.move_on_after(min(1.0, seconds / 2)):
                await self._news.wait()
            received = await self._received()
            if received != before:
                before, since = received, anyio.current_time()
            elif anyio.current_time() - since >= seconds:
                self._over(1006, f"nothing came for {seconds:g} s")

    async def _received(self) -> int:
        """Packets that came, of whatever kind but connectivity checks."""
        reports = (await self._connection.getStats()).values()
        return sum(report.packetsReceived for report in reports if report.type == "transport")

    def _offered(self, channel: RTCDataChannel) -> None:
        if channel.label != EVENTS or self._events or self._end:
            return channel.close()
        channel.bufferedAmountLowThreshold = _BUFFERED // 2
        channel.on("message", self._told)
        channel.on("bufferedamountlow", self._taken)
        channel.on("close", lambda: self._over(1000, ""))
        self._events = channel
        return self._wake()

    def _changed(self) -> None:
        if self._connection.connectionState in ("failed", "closed"):
            self._over(1006, "")

    # In and out -------------------------------------------------------------------------------------------------

    def _told(self, message: str | bytes) -> None:
        try:
            self._messages.offer(message if isinstance(message, str) else message.decode(errors="replace"))
        except ChannelFull:
            self._over(1008, "more events than can be taken; send fewer at a time")
        except ChannelClosed:
            return
        self._wake()

    async def receive(self) -> Frame:
        while True:
            if len(self._messages):
                return await self._messages.receive()
            if self._piece is None and len(self._ears.sound):
                self._piece = await self._ears.sound.receive()
            if self._piece is not None:
                return self._hear(self._piece)
            self._check()
            await self._news.wait()

    def _hear(self, piece: Piece) -> bytes:
        """The piece; first, a second at a time, silence in the place of what was dropped before it."""
        start, dropped = self._position, piece.sound.start - self._position
        if dropped:
            if start >= self._told_to:
                self._told_to = piece.sound.start
                self.lost(start / RATE, piece.sound.start / RATE, "not taken in time")
            self._position += min(dropped, RATE)
            return bytes(2 * (self._position - start))
        if piece.lost:
            self.lost(start / RATE, (start + piece.lost) / RATE, "lost on the way")
        self._piece = None
        self._position += len(piece.sound.samples)
        return piece.sound.samples.tobytes()

    async def send(self, frame: Frame) -> None:
        self._check()
        try:
            with anyio.fail_after(self._stalled_seconds):
                if isinstance(frame, bytes):
                    await self._mouth.say(np.frombuffer(frame, np.int16))
                else:
                    await self._tell(frame)
        except TimeoutError:
            slow = SlowReader(self._stalled_seconds)
            self._over(slow.code, slow.reason)
            raise slow from None
        except (ChannelClosed, InvalidStateError):
            self._over(1006, "")
            self._check()

    async def _tell(self, text: str) -> None:
        await self.connected()
        events = self._events
        assert events is not None
        while events.bufferedAmount > _BUFFERED:
            self._drained = anyio.Event()
            await self._drained.wait()
            self._check()
        try:
            events.send(text)
        except ValueError as error:  # aiortc: larger than the peer takes
            self._over(1009, str(error))
            self._check()

    def flush(self) -> None:
        self._mouth.hush()

    async def close(self, code: int, reason: str) -> None:
        with anyio.move_on_after(_CLOSING_SECONDS, shield=True):
            events = self._events
            if self._end is None and events and events.bufferedAmount:
                events.bufferedAmountLowThreshold, self._drained = 0, anyio.Event()
                with anyio.move_on_after(_CLOSING_SECONDS / 2):
                    await self._drained.wait()
            self._over(code, reason)
            await self._connection.close()
        self._mouth.stop()
        for edge in (self._messages, self._ears.sound, self._mouth.sound):
            edge.clear()

    def _over(self, code: int, reason: str) -> None:
        """From now on nothing is sent or received, but for what came before."""
        if self._end is None:
            self._end = code, reason
            self._messages.close()
            self._ears.sound.close()
            self._mouth.sound.close()
        self._wake()
        self._taken()

    def _check(self) -> None:
        if self._end is not None:
            raise LinkClosed(*self._end)

    def _wake(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    def _taken(self) -> None:
        self._drained.set()


def _size(message: str) -> float:
    """Bytes a message holds on to, about."""
    return len(message) + 64


def _understand(offer: str) -> str:
    """The offer, without addresses that only the caller's own network can look up. Raises BadOffer."""
    try:
        if not offer.startswith("v=0"):
            raise ValueError("it does not begin with v=0")
        description = SessionDescription.parse(offer)
        kinds = sorted(media.kind for media in description.media)
        complete = all(_complete(media) for media in description.media)
        addresses = sum(len(media.ice_candidates) for media in description.media)
    except _UNREADABLE as error:
        raise BadOffer(f"this is no session description ({error}); send the offer of an RTCPeerConnection") from error
    if "audio" not in kinds:
        raise BadOffer("the offer holds no audio; add the microphone's track, or an audio transceiver, before offering")
    if "application" not in kinds:
        raise BadOffer(f"the offer holds no data channel; create one named {EVENTS!r} before offering")
    if len(kinds) > 2:
        raise BadOffer(f"the offer holds {', '.join(kinds)}; offer one audio track and the data channel, nothing else")
    if not complete:
        raise BadOffer("the offer lacks ICE credentials or a DTLS fingerprint; send it as the browser made it")
    if addresses > MOST_CANDIDATES:
        raise BadOffer(f"the offer names {addresses} addresses; at most {MOST_CANDIDATES} are tried")
    return "".join(line for line in offer.splitlines(keepends=True) if not _mdns(line))


def _complete(media: MediaDescription) -> bool:
    ice, dtls = media.ice, media.dtls
    return bool(ice and ice.usernameFragment and ice.password and dtls and dtls.fingerprints)


def _mdns(line: str) -> bool:
    """Whether it names an address by multicast DNS (RFC 8828): that may take a second, and the caller calls."""
    return line.startswith("a=candidate:") and ".local " in line
