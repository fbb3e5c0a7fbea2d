"""Opus as WebRTC carries it (RFC 6716, RFC 7587): PCM16 in, packets out, and back, with what was lost made up for."""

from fractions import Fraction
from typing import TypeAlias

import av
import numpy as np

from streams.audio import Samples

RATE = 24_000
"""Hz on our side."""
CLOCK = 48_000
"""Hz of the RTP clock, whatever the audio's rate (RFC 7587, section 4.1)."""
FRAME = RATE // 50
"""Samples of a packet we send: 20 ms."""
TICKS = CLOCK // 50
"""What a packet we send takes on the RTP clock."""
OpusPacket: TypeAlias = "av.Packet[av.AudioStream]"
_PLACES = np.arange(-31, 32)
_HALF_BAND = (0.5 * np.sinc(_PLACES / 2) * np.kaiser(len(_PLACES), 6.0)).astype(np.float32)
"""From `CLOCK` to `RATE`, 0.65 ms late. FFmpeg's own resampler starts a thread for each core, in every call."""
_BITS = 32_000  # a second: transparent for one voice


class Encoder:
    """One stream of packets."""

    def __init__(self) -> None:
        self._codec = av.CodecContext.create("libopus", "w")
        self._codec.format, self._codec.layout, self._codec.sample_rate = "s16", "mono", RATE
        self._codec.bit_rate, self._codec.time_base = _BITS, Fraction(1, RATE)
        self._codec.options = {"application": "voip", "frame_duration": "20", "compression_level": "8"}
        self._count = 0

    def encode(self, samples: Samples, tick: int) -> OpusPacket:
        """A packet with the next 20 ms: int16, shape (480,); `tick` is its place on the RTP clock."""
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="s16", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), self._count
        self._count += FRAME
        (packet,) = self._codec.encode(frame)
        packet.pts, packet.time_base = tick, Fraction(1, CLOCK)
        return packet


class Decoder:
    """The other way, for one stream. Packets come in their order."""

    def __init__(self) -> None:
        self._codec = av.CodecContext.create("libopus", "r")
        self._codec.format, self._codec.layout, self._codec.sample_rate = "s16", "mono", CLOCK
        self._before = np.zeros(len(_HALF_BAND) - 1, np.float32)  # sound that the filter still needs
        self._last = b""  # the first byte of the last packet: how it was coded, and its length in time

    def decode(self, payload: bytes) -> Samples:
        """The sound in a packet: int16, shape (n,), at `RATE`.

        Raises:
            ValueError: this is no Opus.
        """
        try:
            sound = self._decode(payload)
        except av.FFmpegError as error:
            raise ValueError(f"{len(payload)} bytes are no Opus packet ({error})") from error
        self._last = bytes([payload[0] & 0xFC])  # of the frames in a packet, one
        return sound

    def conceal(self) -> Samples:
        """What may have been in a packet that did not come: the decoder's own guess, which fades; empty at the start.

        A packet without a frame behind its first byte is how Opus says that a frame was lost (RFC 6716, section 3.2.1).
        """
        return self._decode(self._last) if self._last else np.zeros(0, np.int16)

    def _decode(self, payload: bytes) -> Samples:
        frames = self._codec.decode(av.Packet(payload))
        sound = np.concatenate([self._before, *(frame.to_ndarray()[0].astype(np.float32) for frame in frames)])
        self._before = sound[len(sound) - len(self._before) :]
        halved = np.convolve(sound, _HALF_BAND, "valid")[::2]  # packets hold a multiple of 2.5 ms, so an even number
        return np.clip(np.rint(halved), -32768, 32767).astype(np.int16)
