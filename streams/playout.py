"""The speaker edge: audio leaves at most a little ahead of real time, and it is known how much has sounded."""

from collections.abc import Awaitable, Callable

import anyio

from streams.audio import Audio


class Playout:
    """Paces one reply.

    The listener is taken to play each sample as soon as it may: right away when nothing is queued before it.
    When nothing is queued and nothing arrives, the listener hears a gap.

    Attributes:
        sent: seconds of sound handed over.
        gaps: seconds of silence the listener heard in between.
    """

    def __init__(self, ahead: float) -> None:
        self.sent = 0.0
        self.gaps = 0.0
        self._ahead = ahead
        self._origin = 0.0  # loop time at which sample 0 sounded, gaps left out

    def sounded(self) -> float:
        """Seconds of the reply the listener has heard by now."""
        return max(0.0, min(self.sent, anyio.current_time() - self._origin)) if self.sent else 0.0

    async def send(self, audio: Audio, out: Callable[[Audio], Awaitable[None]]) -> None:
        """Hand `audio` to `out` as soon as it is not more than the allowance ahead."""
        await anyio.sleep_until(self._origin + self.sent - self._ahead)
        await out(audio)
        gap = anyio.current_time() - self._origin - self.sent
        if gap > 0:
            self.gaps += gap if self.sent else 0.0
            self._origin += gap
        self.sent += audio.seconds

    async def drained(self) -> None:
        """Wait until everything sent has sounded."""
        await anyio.sleep_until(self._origin + self.sent)
