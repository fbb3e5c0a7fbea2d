"""How many callers the server takes, and how it stops taking any."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from streams.tap import SILENT, Tap

_RETRY_AFTER = {"full": 5, "draining": 30}  # seconds


class Refused(Exception):
    """No room for this caller.

    Attributes:
        reason: "full" or "draining".
        retry_after: seconds after which another attempt may succeed.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.retry_after = _RETRY_AFTER[reason]
        super().__init__(f"the server is {reason}; try again in {self.retry_after} s")


class Admission:
    """Counts sessions up to a limit.

    Args:
        limit: most sessions at a time, over all transports.
        tap: receives `sessions` and `sessions_refused_total`.
    """

    def __init__(self, limit: int, tap: Tap = SILENT) -> None:
        self.limit = limit
        self.draining = False
        self._tap = tap
        self._sessions: Counter[str] = Counter()
        self._left = anyio.Event()

    @property
    def sessions(self) -> int:
        """Sessions under way."""
        return self._sessions.total()

    @contextmanager
    def admit(self, transport: str) -> Iterator[None]:
        """Hold a place for one session while the context lasts.

        Raises:
            Refused: all places are taken, or the server is draining.
        """
        if self.draining or self.sessions >= self.limit:
            refused = Refused("draining" if self.draining else "full")
            self._tap.count("sessions_refused_total", reason=refused.reason)
            raise refused
        self._change(transport, 1)
        try:
            yield
        finally:
            self._change(transport, -1)

    def drain(self) -> None:
        """Admit nobody from now on; those who are in stay."""
        self.draining = True

    async def emptied(self, timeout: float) -> bool:  # noqa: ASYNC109 - the answer tells whether it passed
        """Wait until no session is left, at most `timeout` seconds; whether that came about."""
        with anyio.move_on_after(timeout):
            while self.sessions:
                await self._left.wait()
        return not self.sessions

    def _change(self, transport: str, by: int) -> None:
        self._sessions[transport] += by
        self._tap.level("sessions", self._sessions[transport], transport=transport)
        if by < 0:
            self._left.set()
            self._left = anyio.Event()
