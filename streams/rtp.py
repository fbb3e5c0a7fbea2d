"""A caller's packets as they come over a lossy network, made a stream without holes. Pure, but for the decoder."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from streams.audio import Samples
from streams.opus import CLOCK, RATE, Decoder

PATIENCE = 3
"""Packets that come after a missing one before it counts as lost."""
MADE_UP = 0.1
"""Seconds that a decoder can guess; beyond, the guess is silence anyway."""
FILLED = 1.0
"""Longest hole that is filled, in seconds; after a longer one the stream goes on as if nothing had been."""
_RESTART = 500  # packets: a stream that jumps so far has begun anew


class Packet(NamedTuple):
    """An RTP packet: number (16 bits), place on the RTP clock (32 bits), and what it carries."""

    sequence: int
    timestamp: int
    payload: bytes


class Reorder:
    """Packets in, the same packets in order out, at once where nothing is missing.

    A missing one is waited for until `PATIENCE` later ones are here: nobody listens to what comes in, so the stream
    may stand still for a moment and then catch up, and what arrives in time is not held back.
    """

    def __init__(self) -> None:
        self._next: int | None = None
        self._held: dict[int, Packet] = {}

    def push(self, packet: Packet) -> list[Packet]:
        """What can be heard now that this packet is here."""
        ahead = 0 if self._next is None else _signed(packet.sequence - self._next, 16)
        if abs(ahead) > _RESTART:
            self._held, ahead = {}, 0
        if ahead < 0:
            return []  # too late, or again
        if self._next is None or not (ahead or self._held):
            self._next = packet.sequence
        self._held[packet.sequence] = packet
        ready = self._ready()
        if len(self._held) >= PATIENCE:
            self._next = min(self._held, key=lambda number: _signed(number - (self._next or 0), 16))
            ready += self._ready()
        return ready

    def _ready(self) -> list[Packet]:
        ready: list[Packet] = []
        assert self._next is not None
        while found := self._held.pop(self._next, None):
            ready.append(found)
            self._next = (self._next + 1) % 2**16
        return ready


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """A run of the caller's sound: int16, shape (n,), at `RATE`.

    Attributes:
        guessed, silent: seconds of it that never arrived: the decoder's guess, and silence.
    """

    samples: Samples
    guessed: float = 0.0
    silent: float = 0.0


class Hearing:
    """Packets of one caller -> sound."""

    def __init__(self, decoder: Callable[[], Decoder] = Decoder) -> None:
        self._make = decoder
        self._source: int | None = None
        self._begin()

    def _begin(self) -> None:
        self._decoder = self._make()
        self._reorder = Reorder()
        self._last: int | None = None  # number of the last packet heard
        self._end = 0  # where it ended, on the RTP clock

    def push(self, source: int, packet: Packet) -> list[Heard]:
        """The sound that there is now that this packet is here; a packet of another source begins another stream."""
        if source != self._source:
            self._source = source
            self._begin()
        return [self._hear(ready) for ready in self._reorder.push(packet) if ready.payload]

    def _hear(self, packet: Packet) -> Heard:
        filling = self._fill(packet)
        try:
            sound = self._decoder.decode(packet.payload)
        except ValueError:
            sound = self._decoder.conceal()
        self._last = packet.sequence
        self._end = (packet.timestamp + len(sound) * CLOCK // RATE) % 2**32
        return Heard(np.concatenate([filling.samples, sound]), filling.guessed, filling.silent)

    def _fill(self, packet: Packet) -> Heard:
        """What lies between the last packet and this one."""
        missing = 0 if self._last is None else _signed(packet.timestamp - self._end, 32) * RATE // CLOCK
        if not 0 < missing <= FILLED * RATE:
            return Heard(np.zeros(0, np.int16))
        pieces: list[Samples] = []
        guessed = 0
        while guessed < min(missing, MADE_UP * RATE) and len(guess := self._decoder.conceal()):
            pieces.append(guess[: missing - guessed])
            guessed += len(pieces[-1])
        pieces.append(np.zeros(missing - guessed, np.int16))
        lost = packet.sequence != ((self._last or 0) + 1) % 2**16  # else the caller's side chose to send nothing
        return Heard(np.concatenate(pieces), lost * guessed / RATE, lost * (missing - guessed) / RATE)


def _signed(difference: int, bits: int) -> int:
    """A difference of two numbers that wrap around."""
    half = 1 << (bits - 1)
    return (difference + half) % (2 * half) - half
