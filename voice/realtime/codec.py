"""Audio on the wire: three encodings, and the binary frame of subprotocol `rejoinder.v1`."""

import struct
from enum import Enum
from typing import NamedTuple

import numpy as np

from streams import g711
from streams.audio import Samples

MAX_AUDIO_BYTES = 15 * 1024 * 1024
_HEADER = struct.Struct("<BBHI")
_AUDIO = 1


class Format(Enum):
    """How samples are written, by the name the API gives it."""

    PCM = "audio/pcm"
    PCMU = "audio/pcmu"
    PCMA = "audio/pcma"

    @property
    def rate(self) -> int:
        """Samples a second."""
        return 24000 if self is Format.PCM else 8000

    @property
    def width(self) -> int:
        """Bytes a sample."""
        return 2 if self is Format.PCM else 1

    def decode(self, data: bytes) -> Samples:
        """Samples at `rate`. Raises ValueError when a 16-bit sample is cut in half."""
        match self:
            case Format.PCM:
                if len(data) % 2:
                    raise ValueError(f"{len(data)} bytes are not whole 16-bit samples; send an even number")
                return np.frombuffer(data, "<i2").astype(np.int16, copy=False)
            case Format.PCMU:
                return g711.decode_mulaw(data)
            case Format.PCMA:
                return g711.decode_alaw(data)

    def encode(self, samples: Samples) -> bytes:
        """The bytes of samples at `rate`."""
        match self:
            case Format.PCM:
                return samples.astype("<i2", copy=False).tobytes()
            case Format.PCMU:
                return g711.encode_mulaw(samples)
            case Format.PCMA:
                return g711.encode_alaw(samples)


class AudioFrame(NamedTuple):
    """One binary frame: where its audio belongs, and the audio as encoded."""

    item_id: str
    output_index: int
    offset: int
    data: bytes


def pack(frame: AudioFrame) -> bytes:
    """The frame as bytes: kind, header length, output index, sample offset (little-endian), item id, audio.

    The id is ASCII, padded with zeros to a multiple of four, so that the audio is aligned.
    """
    name = frame.item_id.encode("ascii")
    name += bytes(-len(name) % 4)
    return _HEADER.pack(_AUDIO, _HEADER.size + len(name), frame.output_index, frame.offset) + name + frame.data


def unpack(data: bytes) -> AudioFrame:
    """The inverse of `pack`. Raises ValueError for anything else."""
    if len(data) < _HEADER.size:
        raise ValueError(f"a binary frame of {len(data)} bytes is shorter than its header of {_HEADER.size}")
    kind, size, output_index, offset = _HEADER.unpack_from(data)
    if kind != _AUDIO or not _HEADER.size <= size <= len(data):
        raise ValueError(f"binary frame of unknown kind {kind} with header length {size}; 1 is audio")
    name = data[_HEADER.size : size].rstrip(b"\0").decode("ascii")
    return AudioFrame(name, output_index, offset, data[size:])
