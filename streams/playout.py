"""The speaker edge: audio leaves at most a little ahead of real time, can be made softer, held back and taken up again,
and it is known how much has sounded."""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable

import anyio
import numpy as np

from streams.audio import Audio

FRAME_SECONDS = 0.04
"""What is sent at a time, and how long a change of volume takes."""

DUCKED = 10 ** (-15 / 20)
"""Volume under a voice that may be an interruption."""

DUCKED_AHEAD = 0.06
"""Seconds sent ahead meanwhile: what the listener holds already cannot be held back."""

TRUSTED = 0.5
"""Seconds for which a listener's account is carried on; one who plays tells again."""

REMEMBERED = 2.0
"""Seconds of sound sent that can be taken up again."""

Out = Callable[[Audio], Awaitable[None]]


class Playout:
    """Paces one reply.

    The listener is taken to play each sample as soon as it may: right away when nothing is queued before it.
    When nothing is queued and nothing arrives, the listener hears a gap.

    Args:
        ahead: seconds that may be sent ahead of real time.
        moved: told when sound is repeated: what lay from the first number of seconds on now lies the second later.

    Attributes:
        sent: seconds of sound handed over.
        gaps: seconds of silence the listener heard in between because the next sound was late.
    """

    def __init__(self, ahead: float, moved: Callable[[float, float], None] = lambda *_: None) -> None:
        self.sent = 0.0
        self.gaps = 0.0
        self._ahead = ahead
        self._moved = moved
        self._origin = 0.0  # loop time at which sample 0 sounded, gaps left out
        self._report: tuple[float, float] | None = None  # seconds sounded by the listener's account, and when
        self._queue: deque[Audio] = deque()
        self._recent: deque[tuple[float, Audio]] = deque()  # what was sent, at full volume, and where it lies
        self._places: deque[float] = deque()  # where it may be taken up again
        self._volume = 1.0
        self._wanted = 1.0
        self._going = anyio.Event()
        self._going.set()

    def sounded(self) -> float:
        """Seconds of the reply the listener has heard by now: since it last told, or else since the first was sent."""
        now = anyio.current_time()
        estimate = now - self._origin if self._report is None else self._report[0] + min(now - self._report[1], TRUSTED)
        return max(0.0, min(self.sent, estimate)) if self.sent else 0.0

    def reported(self, seconds: float) -> None:
        """The listener says how much it has heard."""
        self._report = seconds, anyio.current_time()

    async def play(self, audio: Audio, out: Out, places: Iterable[float] = ()) -> None:
        """Hand `audio` to `out` frame by frame, each as soon as it is not more than the allowance ahead.

        Args:
            places: seconds from its start at which it may be taken up again after it was held.
        """
        self._places += [self.sent + place for place in places]
        self._queue += audio.frames(round(FRAME_SECONDS * audio.rate))
        while self._queue:
            await anyio.sleep_until(self._origin + self.sent - self._allowed)
            if not self._going.is_set():
                await self._going.wait()
                continue
            frame = self._queue.popleft()
            await out(self._at_volume(frame, self._wanted))
            self._recent.append((self.sent, frame))
            self.gaps += self._late() if self.sent else 0.0
            self._count(frame)

    async def drained(self) -> None:
        """Wait until everything sent has sounded."""
        await anyio.sleep_until(self._origin + self.sent)

    def duck(self) -> None:
        """Go on softly, and close to real time."""
        self._wanted = DUCKED

    def hold(self) -> Audio | None:
        """Stop until `resume`; returns the fade that is to be sent at once, if sound is under way."""
        if not self._going.is_set():
            return None
        self._going = anyio.Event()
        if not (self._queue and self.sent):
            return None
        fade = self._at_volume(self._queue[0], 0.0)
        self._count(fade)
        return fade

    def resume(self) -> None:
        """Go on at full volume; after `hold`, from the beginning of the word it was held in."""
        self._wanted = 1.0
        if self._going.is_set():
            return
        self._late()
        upto = max((at + frame.seconds for at, frame in self._recent), default=0.0)
        place = max((place for place in self._places if place < upto), default=upto)
        again = [_from(frame, place - at) for at, frame in self._recent if at + frame.seconds > place]
        self._queue.extendleft(reversed(again))
        self._recent = deque((at, frame) for at, frame in self._recent if at + frame.seconds <= place)
        shift = self.sent - place
        self._places = deque(old if old < place else old + shift for old in self._places)
        self._moved(place, shift)
        self._going.set()

    @property
    def _allowed(self) -> float:
        """Seconds that may be sent ahead now."""
        return self._ahead if self._wanted == 1.0 else min(self._ahead, DUCKED_AHEAD)

    def _at_volume(self, frame: Audio, wanted: float) -> Audio:
        """The frame with the volume going from what it is to what is wanted."""
        before, self._volume = self._volume, wanted
        if before == wanted == 1.0:
            return frame
        ramp = np.linspace(before, wanted, len(frame.samples), dtype=np.float32)
        return Audio((frame.samples * ramp).astype(np.int16), frame.rate, frame.start)

    def _late(self) -> float:
        """Take note that the listener has come to the end of what was sent; returns how long ago."""
        gap = max(0.0, anyio.current_time() - self._origin - self.sent)
        self._origin += gap
        return gap

    def _count(self, frame: Audio) -> None:
        """The frame has been sent."""
        self._late()
        self.sent += frame.seconds
        while self._recent and self._recent[0][0] < self.sent - REMEMBERED:
            self._recent.popleft()
        while self._places and self._places[0] < self.sent - REMEMBERED:
            self._places.popleft()


def _from(frame: Audio, seconds: float) -> Audio:
    """The frame without so many of its first seconds."""
    return frame.span(frame.start + max(0, round(seconds * frame.rate)), frame.end)
