"""Audio as it travels: mono PCM16 on a stream's own sample clock, and the conversions at the edges."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

Samples = NDArray[np.int16]

_BLOCK = 1 << 16  # frames decoded at a time


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """A run of mono samples.

    Attributes:
        samples: int16, shape (n,).
        rate: Hz.
        start: index of the first sample on the clock of its stream, in samples at `rate`.
    """

    samples: Samples
    rate: int
    start: int = 0

    @property
    def end(self) -> int:
        """Index one past the last sample, on the stream's clock."""
        return self.start + len(self.samples)

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return len(self.samples) / self.rate

    def floats(self) -> NDArray[np.float32]:
        """The samples as float32 in [-1, 1), shape (n,)."""
        return self.samples.astype(np.float32) / 32768.0

    def span(self, start: int, end: int) -> "Audio":
        """The part between two indices of the stream's clock, cut to what is there."""
        first = min(max(start - self.start, 0), len(self.samples))
        last = min(max(end - self.start, first), len(self.samples))
        return Audio(self.samples[first:last], self.rate, self.start + first)

    def frames(self, size: int) -> Iterator["Audio"]:
        """Pieces of at most `size` samples, in order."""
        for first in range(0, len(self.samples), size):
            yield Audio(self.samples[first : first + size], self.rate, self.start + first)


def seconds_of(audio: Audio) -> float:
    """Weight of a piece of audio in a channel that is bounded in seconds."""
    return audio.seconds


def silence(seconds: float, rate: int, start: int = 0) -> Audio:
    """Digital silence."""
    return Audio(np.zeros(round(seconds * rate), dtype=np.int16), rate, start)


def from_floats(samples: NDArray[np.floating], rate: int, start: int = 0) -> Audio:
    """Audio from floats in [-1, 1]; values beyond are clipped."""
    return Audio((np.clip(samples, -1.0, 32767 / 32768) * 32768.0).astype(np.int16), rate, start)


def join(pieces: list[Audio]) -> Audio:
    """One piece from adjacent ones of equal rate; at least one piece is needed."""
    return Audio(np.concatenate([piece.samples for piece in pieces]), pieces[0].rate, pieces[0].start)


class Resampler:
    """Converts a stream from one rate to another, piece by piece, with libsoxr (band-limited, time-aligned; LQ holds
    back at most 20 ms at 24 kHz, MQ 38 ms).

    The output's clock starts at zero and is aligned with the input's: output sample k sounds at k / target seconds.
    """

    def __init__(self, source: int, target: int) -> None:
        self.source = source
        self.target = target
        self._written = 0
        self._stream = (
            None
            if source == target
            else soxr.ResampleStream(source, target, num_channels=1, dtype="int16", quality="LQ")
        )

    def push(self, samples: Samples, last: bool = False) -> Audio:
        """Feed samples at the source rate; get what is ready at the target rate (possibly nothing).

        `last` flushes the filter's tail; the resampler must not be used afterwards.
        """
        ready = samples if self._stream is None else self._stream.resample_chunk(samples, last=last)
        audio = Audio(ready, self.target, self._written)
        self._written = audio.end
        return audio


def resample(audio: Audio, rate: int) -> Audio:
    """A whole piece at another rate; its clock starts at the same moment."""
    if audio.rate == rate:
        return audio
    samples = soxr.resample(audio.samples, audio.rate, rate, quality="HQ")
    return Audio(samples, rate, round(audio.start * rate / audio.rate))


def read(source: Path | BinaryIO, longest: float = inf) -> Audio:
    """Decode a file (WAV, FLAC, Ogg, Opus, MP3) to mono at its own rate.

    Args:
        longest: seconds it may have; fewer at rates above 48 kHz.

    Raises:
        ValueError: the file is no audio that libsndfile reads, or too long.
    """
    name = source if isinstance(source, Path) else "the file"
    pieces, count = [silence(0, 1).samples], 0
    try:
        with soundfile.SoundFile(source) as file:
            rate = file.samplerate
            while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
                pieces.append(from_floats(block.mean(axis=1), rate).samples)
                count += len(block)
                if count > longest * min(rate, 48_000):
                    raise ValueError(f"{name}: longer than {longest:.0f} s; cut it into parts")
    except soundfile.LibsndfileError as error:
        raise ValueError(
            f"{name}: not readable as audio ({error.error_string}); give WAV, FLAC, Ogg, Opus or MP3"
        ) from error
    return Audio(np.concatenate(pieces), rate)


def write(target: Path | BinaryIO, audio: Audio, kind: str = "WAV") -> None:
    """Encode to a file; `kind` is a libsndfile format (WAV, FLAC, OGG, MP3), or OPUS for Opus in Ogg."""
    subtype = {"WAV": "PCM_16", "OPUS": "OPUS"}.get(kind)
    soundfile.write(target, audio.samples, audio.rate, format="OGG" if kind == "OPUS" else kind, subtype=subtype)
