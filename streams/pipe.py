"""Sound that comes through a pipe: a WAV stream whose length nobody knows, or bare samples."""

import struct

import numpy as np

from streams.audio import Samples

_PCM, _EXTENSIBLE = 1, 0xFFFE
_LONGEST_HEADER = 64 * 1024


class Pipe:
    """Reads PCM16, little-endian. A WAV header says its own rate and channels; without one it is mono at `rate`.

    Attributes:
        rate: samples a second; known for certain once `push` has returned samples.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._channels = 1
        self._header = True
        self._rest = b""

    def push(self, data: bytes) -> Samples:
        """Take the next bytes; the mono samples that are complete, int16, shape (n,), possibly none.

        Raises:
            ValueError: a WAV stream that is not PCM16.
        """
        self._rest += data
        if self._header and not self._understood():
            return np.zeros(0, np.int16)
        whole = len(self._rest) - len(self._rest) % (2 * self._channels)
        samples = np.frombuffer(self._rest[:whole], "<i2").reshape(-1, self._channels)
        self._rest = self._rest[whole:]
        return samples[:, 0].copy() if self._channels == 1 else samples.mean(axis=1).astype(np.int16)

    def _understood(self) -> bool:
        """Whether the sound itself begins; leaves it in `_rest`."""
        if not b"RIFF".startswith(self._rest[:4]):
            self._header = False
            return True
        place = 12
        while len(self._rest) >= place + 8:
            name, size = struct.unpack_from("<4sI", self._rest, place)
            if name == b"data":
                self._rest = self._rest[place + 8 :]
                self._header = False
                return True
            if name == b"fmt " and len(self._rest) >= place + 24:
                kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", self._rest, place + 8)
                if (
                    kind not in (_PCM, _EXTENSIBLE)
                    or bits != 16
                    or not 1 <= channels <= 32
                    or not 4000 <= rate <= 384000
                ):
                    raise ValueError(
                        "the WAV stream is not PCM with 16 bits; convert it, for instance: ffmpeg -f s16le"
                    )
                self.rate, self._channels = rate, channels
            place += 8 + size + size % 2
        if len(self._rest) > _LONGEST_HEADER:
            raise ValueError("the WAV stream holds no sound")
        return False
