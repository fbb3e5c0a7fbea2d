"""The two tracks of a call over WebRTC: what the caller says, and what it hears."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anyio
import numpy as np
from aiortc import MediaStreamTrack, RTCRtpReceiver
from aiortc.mediastreams import MediaStreamError

from streams.audio import Audio, Samples, seconds_of
from streams.channel import Channel, Overflow
from streams.opus import FRAME, RATE, TICKS, Encoder, OpusPacket
from streams.rtp import Heard, Hearing, Packet
from streams.tap import Tap

HEARD_SECONDS = 0.5
"""Of the caller's sound, what is kept if nobody takes it."""
SPOKEN_SECONDS = 0.3
"""Of ours, what may wait to be sent."""
_TICK = FRAME / RATE  # seconds
_LATE_SECONDS = 0.2  # a loop that stood still for longer does not catch up
_FADE = RATE // 100  # samples: what is cut ends in 10 ms, without a click
_NOTHING: Samples = np.zeros(0, np.int16)


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Sound of the caller; of it, from its start on, `lost` samples never arrived, which is too long for a guess."""

    sound: Audio
    lost: int = 0


class Ears:
    """The caller's packets -> its sound, in the place of aiortc's jitter buffer.

    aiortc's own (1.16) holds four packets back, stands still for 16 after a lost one, and is as late from then on.

    Attributes:
        news: called when there is more of `sound`.
    """

    def __init__(self, tap: Tap) -> None:
        self.news: Callable[[], None] = lambda: None
        self.sound: Channel[Piece] = Channel("webrtc_heard", HEARD_SECONDS, Overflow.DROP_OLDEST, _seconds, tap)
        self._tap = tap
        self._hearing = Hearing()
        self._heard = 0  # samples

    def listen(self, receiver: RTCRtpReceiver) -> None:
        """Take the receiver's packets from now on; its decoder stays idle."""
        name = "_RTCRtpReceiver__jitter_buffer"
        assert hasattr(receiver, name), "this aiortc keeps its jitter buffer elsewhere; install one of 1.15 to 1.16"
        setattr(receiver, name, self)

    def add(self, packet: Any) -> tuple[bool, None]:
        """What aiortc calls with each packet; it is told that there is nothing to decode."""
        if not self.sound.closed:
            arrived = Packet(packet.sequence_number, packet.timestamp, packet._data)
            for heard in self._hearing.push(packet.ssrc, arrived):
                self._take(heard)
            self.news()
        return False, None

    def _take(self, heard: Heard) -> None:
        for by, seconds in (("guess", heard.guessed), ("silence", heard.silent)):
            if seconds:
                self._tap.count("concealed_seconds_total", seconds, by=by)
        lost = round((heard.guessed + heard.silent) * RATE) if heard.silent else 0
        self.sound.offer(Piece(Audio(heard.samples, RATE, self._heard), lost))
        self._heard += len(heard.samples)


def _seconds(piece: Piece) -> float:
    return piece.sound.seconds


class Mouth(MediaStreamTrack):
    """Our sound, 20 ms at a time, in real time; silence where there is none.

    Attributes:
        open: whether the caller listens.
    """

    kind = "audio"

    def __init__(self, tap: Tap) -> None:
        super().__init__()
        self.open = True
        self.sound: Channel[Audio] = Channel("webrtc_spoken", SPOKEN_SECONDS, Overflow.WAIT, seconds_of, tap)
        self._rest = _NOTHING  # of the piece in hand
        self._encoder: Encoder | None = Encoder()
        self._origin: float | None = None
        self._ticks = 0

    async def say(self, samples: Samples) -> None:
        """Say this too, after what waits. Raises ChannelClosed."""
        if self.open:
            await self.sound.send(Audio(samples, RATE))

    def hush(self) -> None:
        """Say nothing of what waits."""
        waiting = np.concatenate([self._rest, *(audio.samples for audio in self.sound.clear())])[:_FADE]
        self._rest = (waiting * np.linspace(1, 0, len(waiting), dtype=np.float32)).astype(np.int16)

    async def recv(self) -> OpusPacket:
        """What aiortc calls for the next packet."""
        now = anyio.current_time()
        if self._origin is None:
            self._origin = now
        self._ticks += max(0, int((now - self._origin - _LATE_SECONDS) / _TICK) - self._ticks)
        await anyio.sleep_until(self._origin + self._ticks * _TICK)
        samples = await self._next()
        if self._encoder is None:
            raise MediaStreamError
        packet = self._encoder.encode(samples, self._ticks * TICKS)
        self._ticks += 1
        return packet

    def stop(self) -> None:
        """Say nothing any more; lets go of the encoder, which holds a thread."""
        super().stop()
        self._encoder = None

    async def _next(self) -> Samples:
        pieces, count = [self._rest], len(self._rest)
        while count < FRAME and len(self.sound):
            pieces.append((await self.sound.receive()).samples)
            count += len(pieces[-1])
        samples = np.concatenate([*pieces, np.zeros(max(0, FRAME - count), np.int16)])
        self._rest = samples[FRAME:]
        return samples[:FRAME]
